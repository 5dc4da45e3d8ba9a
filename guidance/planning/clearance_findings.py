"""What is wrong or uncertain about a measured path, in words; severities say what stops it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from guidance.messages import Finding, PlannedPath, Severity, ZoneKind, ZoneSite
from guidance.planning.along import Axis, BoneWay
from guidance.planning.answers import BoneAlongTip, ZoneClearance
from guidance.planning.instruments import Instrument

_SAME_DIAMETER_MM: Final = 0.1
# A path that comes out at the far skin is no plan; entries may lie anywhere above the bone.
_NEAR_SKIN_MM: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """What was measured of a path, as far as findings look at it.

    Attributes:
        unmeasured_paths: names of those without a length, a diameter or finite ends.
        holding_target: ids of the zones that the target lies in.
        left_out_zones, left_out_paths: names of what is in another frame or of another patient.
        union, unknown: labels of other probes whose ablation zones count with this one, and cannot be told.
        seen: part of the axis that the volume has seen; None without a volume.
        skin: depths of entry and target below the skin; None where it is not known.
    """

    path: PlannedPath
    instrument: Instrument | None
    axis: Axis
    zones: tuple[ZoneClearance, ...]
    holding_target: frozenset[str]
    left_out_zones: tuple[str, ...]
    left_out_paths: tuple[str, ...]
    unmeasured_paths: tuple[str, ...]
    union: tuple[str, ...]
    unknown: tuple[str, ...]
    seen: float | None
    skin: tuple[float, float] | None
    ablation_to_skin_mm: float | None
    tip: BoneAlongTip | None
    suggested_length_mm: float | None
    way: BoneWay | None


def findings_of(facts: PathFacts) -> tuple[Finding, ...]:
    """All findings, errors first."""
    found = [*_about_place(facts), *_about_zones(facts), *_about_instrument(facts), *_about_ablation(facts)]
    return tuple(sorted(found, key=lambda finding: finding.severity != Severity.ERROR))


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message)


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)


def _about_place(facts: PathFacts) -> Iterator[Finding]:
    if facts.seen == 0.0:
        yield _error("path_outside_volume", "the whole path lies outside what the volume shows")
    elif facts.seen is not None and facts.seen < 1.0:
        unseen_mm = (1.0 - facts.seen) * facts.axis.length_mm
        yield _warning("outside_field_of_view", f"{unseen_mm:.0f} mm of the path lie outside what the volume shows")
    if facts.skin is not None:
        entry_mm, target_mm = facts.skin
        if target_mm < _NEAR_SKIN_MM and entry_mm > max(target_mm, 0.0) + _NEAR_SKIN_MM:
            told = f"the target is {target_mm:.0f} mm below the skin, the entry {entry_mm:.0f} mm"
            yield _error("entry_target_swapped", f"{told}: swap entry_lps_mm and target_lps_mm")
    way = facts.way
    if way is None:
        yield _warning("bone_unknown", "bone is not known: no lengths through skin and bone, no margin in bone")
    elif way.intervals and way.skin_to_bone_mm is None:
        yield _warning("skin_unknown", "the skin on the path's way in is not known, or lies outside the volume")
    if way is not None and not way.intervals:
        yield _warning("no_bone", "the path reaches no bone before its target")
    if way is not None and way.intervals and way.target_to_far_cortex_mm is None:
        yield _warning("far_cortex_unknown", "the target is not in bone, or the volume ends before the far cortex")


def _about_zones(facts: PathFacts) -> Iterator[Finding]:
    if facts.left_out_zones:
        names = ", ".join(facts.left_out_zones)
        yield _warning("zone_in_other_frame", f"left out, of another frame of reference or patient: {names}")
    if facts.left_out_paths:
        names = ", ".join(facts.left_out_paths)
        yield _warning("path_in_other_frame", f"left out, of another frame of reference or patient: {names}")
    if facts.unmeasured_paths:
        names = ", ".join(facts.unmeasured_paths)
        yield _warning("path_unmeasured", f"left out, without a length or a diameter: {names}")
    for zone in facts.zones:
        if zone.kind == ZoneKind.KEEP_OUT and not zone.permitted and zone.min_distance_mm <= 0.0:
            told = f"reaches {-zone.min_distance_mm:.1f} mm into {zone.name or zone.zone_id}"
            yield _error("touches_keep_out", f"{told} at depth {zone.at_depth_mm:.0f} mm, which is not permitted")
    known = {zone.zone_id for zone in facts.zones}
    missing = [zone_id for zone_id in facts.path.permitted_zone_ids if zone_id not in known]
    if missing:
        yield _warning("permitted_zone_unknown", f"permitted, but no such zone here: {', '.join(missing)}")
    targets = {zone.zone_id for zone in facts.zones if zone.kind == ZoneKind.TARGET}
    if targets and not targets & facts.holding_target:
        yield _warning("target_outside_target_zones", "the target lies in no target zone")


def _about_instrument(facts: PathFacts) -> Iterator[Finding]:
    path, instrument = facts.path, facts.instrument
    if instrument is None:
        if path.instrument:
            told = f"instrument {path.instrument!r} is not in the library"
            yield _warning("instrument_unknown", f"{told}: distances are for diameter_mm {path.diameter_mm:g}")
        return
    if abs(path.diameter_mm - instrument.diameter_mm) > _SAME_DIAMETER_MM:
        used_mm = max(path.diameter_mm, instrument.diameter_mm)
        told = f"diameter_mm is {path.diameter_mm:g}, {instrument.name} has {instrument.diameter_mm:g}"
        yield _warning("diameter_differs", f"{told}: distances are for {used_mm:g}")
    if instrument.flexible:
        yield _warning("flexible_instrument", f"{instrument.name} bends: it need not follow the straight path")
    if instrument.kind in ("screw", "nail"):
        if facts.suggested_length_mm is None and instrument.lengths_mm:
            yield _warning("no_length_fits", f"the shortest of {instrument.name} passes the target")
    elif instrument.lengths_mm and instrument.lengths_mm[-1] < facts.axis.length_mm:
        told = f"{instrument.name} is at most {instrument.lengths_mm[-1]:g} mm long"
        yield _warning("instrument_too_short", f"{told}, the path {facts.axis.length_mm:.0f} mm")
    if facts.tip is not None and facts.tip.preserved is None:
        yield _warning("tip_bone_unknown", "metal, cement or unseen parts about the tip: its bone cannot be judged")


def _about_ablation(facts: PathFacts) -> Iterator[Finding]:
    instrument, setting = facts.instrument, facts.path.ablation
    probe = instrument is not None and instrument.kind in ("cryoprobe", "rf_electrode")
    if probe and setting is None:
        yield _warning("ablation_not_set", "power and time are not set: distances are of the probe alone")
    if setting is not None and (instrument is None or instrument.ablation is None):
        yield _warning(
            "no_ablation_table", "the library holds no ablation zone of it: distances are of the shaft alone"
        )
    if setting is None or instrument is None or instrument.ablation is None:
        return
    if instrument.ablation.quality == "typical":
        yield _warning("ablation_typical", f"the expected zone is a typical one: {instrument.ablation.source}")
    if facts.union:
        names = ", ".join(facts.union)
        told = f"counted as one with the zones of {names}"
        yield _warning("ablation_union", f"{told}; that probes together reach farther is not known and not in it")
    if facts.unknown:
        names = ", ".join(facts.unknown)
        yield _warning("ablation_unknown", f"the ablation zones of {names} cannot be told and are not in it")
    if facts.ablation_to_skin_mm is not None and facts.ablation_to_skin_mm <= 0.0:
        yield _error(
            "ablation_reaches_skin", f"the expected zone passes the skin by {-facts.ablation_to_skin_mm:.1f} mm"
        )
    for zone in facts.zones:
        # A skin zone that the target lies in is the whole body; any other is its outer layer.
        layer = zone.site == ZoneSite.SKIN and zone.zone_id not in facts.holding_target
        if layer and zone.ablation_distance_mm is not None and zone.ablation_distance_mm <= 0.0:
            told = f"reaches {-zone.ablation_distance_mm:.1f} mm into {zone.name or zone.zone_id}"
            yield _error("ablation_reaches_skin", f"the expected zone {told}")
