"""Does a straight corridor through bone exist, and which is the roomiest: searched to a proof, never bent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from guidance.errors import GeometryError
from guidance.messages import F64, Finding, Severity, Vector3, ZoneSide
from guidance.planning.answers import Corridor
from guidance.planning.bone import BoneModel, ZoneField, propose_bone, working_spacing_mm
from guidance.planning.corridor_problem import Asked, Best, Level, without_keep_outs
from guidance.planning.free_corridor import free_corridor
from guidance.planning.line_search import Progress
from guidance.planning.pelvic_ring import ring_of_bone, ring_of_zones
from guidance.planning.ring_corridor import in_sacrum, ring_fields, through_ring
from guidance.planning.sacral_levels import level_gate
from guidance.planning.volume import PlanningVolume

__all__ = ["MINIMUM_LENGTH_MM", "Level", "search_corridor"]

MINIMUM_LENGTH_MM: Final = 30.0
"""A `free` corridor is at least this long, so that a scratch at an edge is none."""

_FINEST_MM: Final = 1.0  # of the grid that is searched; the answer is that of the surface itself

_LEVEL_NOT_VERIFIED: Final = Finding(
    code="level_not_verified",
    severity=Severity.WARNING,
    message="the sacral level was judged from the volume alone: no zones name sacrum and hips",
)


def search_corridor(
    volume: PlanningVolume,
    zones: Sequence[ZoneField],
    *,
    level: Level,
    diameter_mm: float,
    margin_mm: float = 0.0,
    side: ZoneSide | None = None,
    minimum_length_mm: float = MINIMUM_LENGTH_MM,
    bone: BoneModel | None = None,
    progress: Progress | None = None,
) -> Corridor:
    """Find the roomiest straight corridor, or show that none is roomy enough.

    Bone is that of the zones of site bone, else proposed from CT values; keep-out zones are cut out of it. `s1`, `s2`:
    from outer ilium to outer ilium, within 20 deg of left-right, across both sacroiliac joints; `iliosacral`: from
    outer ilium across one joint into the body of S1, its tip at or past the midline; there the joint's own gap (up to
    6 mm, where sacrum and hip face each other) and zones of site si_joint count as solid. `free`: from any surface of
    bone to any other.

    Args:
        zones: those of the volume's frame; levels come from zones named sacrum, S1, hip, where there are some.
        diameter_mm: of the screw, > 0.
        margin_mm: asked all round, >= 0.
        side: of an iliosacral entry; None: both are tried. Of the entry of `s1` and `s2` [left].
        minimum_length_mm: of a free corridor, > 0; its length is also at least twice its tunnel's width.
        bone: the volume's bone where it is known already (saves seconds).
        progress: called with 0 to 1 now and then; what it raises ends the search.

    Raises:
        GeometryError: `bad_corridor_request`: a number out of range; `no_bone`.
    """
    _check(level, diameter_mm, margin_mm, minimum_length_mm)
    asked = Asked(level, diameter_mm, margin_mm, minimum_length_mm)
    if level == "free":
        best = free_corridor(volume, zones, asked, bone, progress)
        return _answer(asked, best, "from any surface of bone to any other", volume, ())
    spacing_mm = max(working_spacing_mm(volume.affine_lps_from_ijk), _FINEST_MM)
    ring = ring_of_zones(zones, spacing_mm)
    findings: tuple[Finding, ...] = ()
    if ring is None:
        occupancy = bone.solid if bone is not None else propose_bone(volume.voxels_hu, volume.affine_lps_from_ijk)
        ring = ring_of_bone(occupancy, spacing_mm)
        findings = (_LEVEL_NOT_VERIFIED,)
    if ring is None:
        return _nothing(asked, "sacrum and hips cannot be told apart in this volume: give zones of sacrum and hips")
    fields = ring_fields(ring, without_keep_outs(ring.solid, ring.grid, zones, joints_too=False))
    if fields is None:
        return _nothing(asked, "keep-out zones leave no bone", findings)
    at = in_sacrum(ring, fields, asked) if findings else None
    if findings and at is None:
        return _nothing(
            asked,
            "no straight line lies in bone from ilium to ilium: the level cannot be told from the volume alone",
            findings,
        )
    gate = level_gate(ring, fields.grid, "S2" if level == "s2" else "S1", at)
    if isinstance(gate, str):
        return _nothing(asked, gate, findings)
    best = through_ring(ring, fields, gate, asked, side, progress)
    words = gate.words + (" from the volume alone, not verified" if findings else "")
    return _answer(asked, best, words, volume, findings, swap=level != "iliosacral" and side is not ZoneSide.RIGHT)


def _check(level: str, diameter_mm: float, margin_mm: float, length_mm: float) -> None:
    for name, number, holds in (
        ("diameter_mm", diameter_mm, 0.0 < diameter_mm <= 50.0),
        ("margin_mm", margin_mm, 0.0 <= margin_mm <= 50.0),
        ("minimum_length_mm", length_mm, 1.0 <= length_mm <= 1000.0),
    ):
        if not holds:
            raise GeometryError(f"{name} {number:g} is out of range", code="bad_corridor_request", mend="mm, up to 50")
    if level not in get_args(Level):
        raise GeometryError(
            f"level {level!r} is not known", code="bad_corridor_request", mend=", ".join(get_args(Level))
        )


def _nothing(asked: Asked, reason: str, findings: tuple[Finding, ...] = ()) -> Corridor:
    return Corridor(
        level=asked.level,
        diameter_mm=asked.diameter_mm,
        asked_margin_mm=asked.margin_mm,
        exists=False,
        reason=reason,
        entry_lps_mm=None,
        target_lps_mm=None,
        margin_mm=None,
        largest_diameter_mm=None,
        findings=findings,
    )


def _answer(
    asked: Asked,
    best: Best | None,
    words: str,
    volume: PlanningVolume,
    findings: tuple[Finding, ...],
    *,
    swap: bool = False,
) -> Corridor:
    if best is None:
        return _nothing(asked, f"no straight line lies in bone: {words}", findings)
    tunnel = best.tunnel
    # Iliosacral and trans-sacral axes run outwards, to the left; an entry lies at the outer surface.
    entry, target = tunnel.start_lps_mm, tunnel.end_lps_mm
    if swap or asked.level == "iliosacral":
        entry, target = target, entry
    largest = 2.0 * (tunnel.radius_mm - asked.margin_mm)
    exists = tunnel.radius_mm >= asked.radius_mm
    fit = f"{asked.diameter_mm:g} mm with {asked.margin_mm:g} mm all round"
    if exists:
        reason = f"{fit} fits; {words}"
    else:
        reason = f"{fit} does not fit: the roomiest corridor takes {max(largest, 0.0):.1f} mm with that margin; {words}"
        if best.bound_mm >= asked.radius_mm:
            reason += f"; a tunnel of {2.0 * best.bound_mm:.1f} mm width is not excluded"
    return Corridor(
        level=asked.level,
        diameter_mm=asked.diameter_mm,
        asked_margin_mm=asked.margin_mm,
        exists=exists,
        reason=reason,
        entry_lps_mm=_vector(entry),
        target_lps_mm=_vector(target),
        margin_mm=tunnel.radius_mm - asked.diameter_mm / 2.0,
        largest_diameter_mm=largest,
        length_mm=tunnel.length_mm,
        uncertainty_mm=best.bound_mm - tunnel.radius_mm,
        side=best.side,
        findings=findings,
    )


def _vector(point: F64) -> Vector3:
    x, y, z = point.tolist()
    return (x, y, z)
