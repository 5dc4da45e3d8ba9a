"""Approach templates as data, and which of them a drawn path is: told with its reason, or not told."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Final, Literal

import msgspec
import numpy as np

from guidance.errors import ConfigError, GeometryError
from guidance.messages import Vector3, Zone, ZoneSide, ZoneSite
from guidance.planning.along import Axis, crossed
from guidance.planning.answers import ApproachMatch
from guidance.planning.solid import DistanceField

BonePart = Literal["sacrum", "ilium", "vertebra"]
_MEND: Final = "see guidance/planning/data/approaches.toml"
# Shorter stretches in a bone zone are its rim in voxels, not a bone that the path goes through.
_LEAST_STRETCH_MM: Final = 2.0
_STEP_MM: Final = 1.0


class Approach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One template; every attribute as `data/approaches.toml` explains it."""

    id: str
    name: str
    words: str
    bones: tuple[BonePart, ...]
    si_joints: int
    mediolateral_deg: tuple[float, float]
    craniocaudal_deg: tuple[float, float]
    instrument: str
    source: str
    level: str = ""
    permits: tuple[ZoneSite, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parts: dict[BonePart, tuple[str, ...]]
    approach: tuple[Approach, ...]


def templates() -> tuple[Approach, ...]:
    """All approach templates, in the order of the data."""
    return _file().approach


def permitted_zones(template: Approach, zones: Sequence[Zone], *, side: ZoneSide | None = None) -> tuple[str, ...]:
    """Ids of the zones that such a path crosses by intent.

    Args:
        side: only zones of that side, and those without one; None for all.
    """
    return tuple(
        zone.id for zone in zones if zone.site in template.permits and (side is None or zone.side in (side, None))
    )


def clinical_angles_deg(entry_lps_mm: Vector3, target_lps_mm: Vector3) -> tuple[float, float]:
    """Mediolateral and craniocaudal angle of a path, from entry to target in the patient's axes.

    Returns:
        Mediolateral: in the axial plane from straight to the front, positive towards the patient's left, (-180, 180];
        0 where the path runs along the body. Craniocaudal: above the axial plane, [-90, 90].

    Raises:
        GeometryError: `zero_length`: entry and target are the same point.
    """
    x, y, z = (target - entry for entry, target in zip(entry_lps_mm, target_lps_mm, strict=True))
    length_mm = math.hypot(x, y, z)
    if not length_mm > 0.0:
        raise GeometryError(
            "target_lps_mm: is where entry_lps_mm is", code="zero_length", mend="move one of the two ends"
        )
    across_mm = math.hypot(x, y)
    mediolateral_deg = math.degrees(math.atan2(x, -y)) if across_mm > 1e-9 * length_mm else 0.0
    return mediolateral_deg, math.degrees(math.atan2(z, across_mm))


def classify(
    entry_lps_mm: Vector3,
    target_lps_mm: Vector3,
    zones: Sequence[tuple[Zone, DistanceField]],
    bone: DistanceField | None = None,
) -> ApproachMatch:
    """Which template a path is.

    By the bones it goes through, the SI joints it crosses, its level and its direction. What no zone tells is left
    open: where the direction alone leaves one template, that one is told as such; where it leaves several, none is.

    Args:
        zones: of the path's frame, with their fields.
        bone: of any bone at all; a path that touches none is no approach.

    Returns:
        `id` "" where none fits or several do; `reason` says why in words.
    """
    mediolateral_deg, craniocaudal_deg = clinical_angles_deg(entry_lps_mm, target_lps_mm)
    told = f"{abs(mediolateral_deg):.0f}° mediolateral, {craniocaudal_deg:+.0f}° craniocaudal"
    axis = _axis(entry_lps_mm, target_lps_mm)
    if bone is not None and not crossed(axis, bone):
        return ApproachMatch(id="", name="", reason="the path touches no bone")
    way = _Way(axis, zones)
    fitting = [
        template
        for template in templates()
        if template.mediolateral_deg[0] <= abs(mediolateral_deg) <= template.mediolateral_deg[1]
        and template.craniocaudal_deg[0] <= craniocaudal_deg <= template.craniocaudal_deg[1]
        and False not in way.evidence(template)
    ]
    sure = [template for template in fitting if None not in way.evidence(template)]
    if len(sure) == 1:
        match = sure[0]
        return ApproachMatch(id=match.id, name=match.name, reason=f"{way.told()}; {told}")
    if not fitting:
        return ApproachMatch(id="", name="", reason=f"no template fits: {way.told()}; {told}")
    names = ", ".join(template.name for template in sure or fitting)
    # Where the bones tell and only the level does not, "not S1" is no proof of S2.
    only_level = way.evidence(fitting[0]) == (True, None)
    if len(sure) > 1 or len(fitting) > 1 or only_level:
        return ApproachMatch(id="", name="", reason=f"may be {names}: {way.told()}; {told}; {way.missing(fitting)}")
    match = fitting[0]
    reason = f"by direction only, {way.missing(fitting)}: {told}"
    return ApproachMatch(id=match.id, name=match.name, reason=reason)


class _Way:
    """What zones tell about a path: bone parts in order, joints crossed, levels."""

    def __init__(self, axis: Axis, zones: Sequence[tuple[Zone, DistanceField]]) -> None:
        stretches: list[tuple[float, BonePart, ZoneSide | None]] = []
        self.known_parts: set[BonePart] = set()
        self.known_levels: set[str] = set()
        self.levels: set[str] = set()
        self.known_joints = 0
        self.joints = 0
        for zone, field in zones:
            if zone.site == ZoneSite.SI_JOINT:
                self.known_joints += 1
                self.joints += bool(crossed(axis, field, step_mm=0.5 * _STEP_MM))
            if zone.site != ZoneSite.BONE:
                continue
            parts = [
                part
                for part in crossed(axis, field, step_mm=_STEP_MM)
                if part.stop_mm - part.start_mm >= _LEAST_STRETCH_MM
            ]
            level = _level(zone)
            if level:
                self.known_levels.add(level)
                if parts:
                    self.levels.add(level)
            bone_part = part_of(zone)
            if bone_part:
                self.known_parts.add(bone_part)
                stretches += [(0.5 * (part.start_mm + part.stop_mm), bone_part, zone.side) for part in parts]
        self.sequence: list[tuple[BonePart, ZoneSide | None]] = []
        for _, bone_part, side in sorted(stretches, key=lambda stretch: stretch[0]):
            if not self.sequence or self.sequence[-1][0] != bone_part:
                self.sequence.append((bone_part, side))

    def evidence(self, template: Approach) -> tuple[bool | None, bool | None]:
        """Whether bones (with joints) and level fit; None where no zone tells."""
        bones = self._bones_fit(template)
        too_many, too_few = self.joints > template.si_joints, self.joints < template.si_joints
        if bones is None and (too_many or (too_few and self.known_joints > 1)):
            bones = False
        level: bool | None = True
        if template.level:
            level = template.level in self.levels if template.level in self.known_levels else None
            if level is None and self.levels and self.levels <= _same_bone(template.level) - {template.level}:
                level = False
        return bones, level

    def _bones_fit(self, template: Approach) -> bool | None:
        seen = [part for part, _ in self.sequence]
        wanted = [part for part in template.bones if part in self.known_parts]
        if set(template.bones) <= self.known_parts:
            return seen == list(template.bones)
        # A part that is not segmented may be there or not; the others must be met in their order.
        without_repeats = [part for index, part in enumerate(wanted) if index == 0 or wanted[index - 1] != part]
        return None if seen == without_repeats else False

    def told(self) -> str:
        """The way in words."""
        parts = [f"{part}{f' {side}' if side else ''}" for part, side in self.sequence]
        words = ["through " + ", ".join(parts) if parts else "no bone zone on the way"]
        if self.known_joints:
            words.append(f"{self.joints} SI joint{'' if self.joints == 1 else 's'} crossed")
        if self.levels:
            words.append("level " + ", ".join(sorted(self.levels)))
        return "; ".join(words)

    def missing(self, fitting: Sequence[Approach]) -> str:
        """Which zones would have told more."""
        parts = sorted({part for template in fitting for part in template.bones} - self.known_parts)
        levels = sorted({template.level for template in fitting if template.level} - self.known_levels)
        wanted = parts + levels
        return f"no zones of {', '.join(wanted)}" if wanted else "zones and direction fit more than one"


def part_of(zone: Zone) -> BonePart | Literal[""]:
    """Which part of bone a bone zone is, by its level and name; "" where neither tells."""
    level = _level(zone)
    if level:
        return "sacrum" if level.startswith("S") else "vertebra"
    words = set(re.split(r"[^0-9a-zäöüß]+", zone.name.casefold()))
    for part, names in _file().parts.items():
        if words & set(names):
            return part
    return ""


def _level(zone: Zone) -> str:
    """`S1`, `L5`, ...: of the zone's own field, or of its name."""
    found = re.search(r"(?<![0-9a-z])([ctls]\d{1,2})(?![0-9a-z])", f"{zone.level}_{zone.name}".casefold())
    return found.group(1).upper() if found else ""


def _same_bone(level: str) -> set[str]:
    return {f"{level[0]}{number}" for number in range(1, 13)}


def _axis(entry_lps_mm: Vector3, target_lps_mm: Vector3) -> Axis:
    entry = np.array(entry_lps_mm, dtype=np.float64)
    along = np.array(target_lps_mm, dtype=np.float64) - entry
    length_mm = float(np.linalg.norm(along))
    return Axis(entry, along / length_mm, length_mm)


@lru_cache(maxsize=1)
def _file() -> _File:
    file = resources.files("guidance.planning") / "data" / "approaches.toml"
    return approaches_of(file.read_text(encoding="utf-8"), "approaches.toml")


def approaches_of(text: str, origin: str) -> _File:
    """Read a file of templates.

    Raises:
        ConfigError: `not_toml` or `bad_approach`, naming the entry, the field and the mend.
    """
    try:
        file = msgspec.convert(tomllib.loads(text), _File, strict=True)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}", code="not_toml", mend=_MEND) from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {error}", code="bad_approach", mend=_MEND) from None
    ids = [template.id for template in file.approach]
    for template in file.approach:
        for field, fits in _CHECKS.items():
            if not fits(template) or ids.count(template.id) > 1:
                told = f"{origin}: approach {template.id!r}: {field}"
                raise ConfigError(told, code="bad_approach", mend=_MEND)
    return file


_CHECKS: Final[dict[str, Callable[[Approach], bool]]] = {
    "id must be its own, in ASCII": lambda it: bool(it.id) and it.id.isascii() and it.id.isprintable(),
    "bones is empty": lambda it: bool(it.bones),
    "si_joints must be 0 to 2": lambda it: 0 <= it.si_joints <= 2,
    "mediolateral_deg must rise within 0 and 180": (
        lambda it: 0.0 <= it.mediolateral_deg[0] < it.mediolateral_deg[1] <= 180.0
    ),
    "craniocaudal_deg must rise within -90 and 90": (
        lambda it: -90.0 <= it.craniocaudal_deg[0] < it.craniocaudal_deg[1] <= 90.0
    ),
}
