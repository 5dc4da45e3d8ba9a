"""A bead phantom as data: beads with names, places and diameters; refused where its picture could be mislabelled."""

from __future__ import annotations

import itertools
import math
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from guidance.errors import ConfigError
from guidance.geometry.rotations import nearest_rotation
from guidance.messages import F64, Vector3

Indices = npt.NDArray[np.int64]

_MEND: Final = "the format is in docs/calibration.md"
FEWEST_BEADS: Final = 12  # 9 unknowns of a view want 5; the rest are for what is missing, hidden or false
_KEYS: Final = (5, 16)  # members of the smallest size class
# Depth within the phantom changes a bead's size in the picture by up to 1.2, so classes must differ by more.
SIZE_RATIO: Final = 1.3
_SAME_SIZE: Final = 1.02
_CLOSEST_MM: Final = 3.0  # surface to surface
_LIKE_MM: Final = 4.0  # places that a first guess at a pose cannot tell apart
_LIKE_SHARE: Final = 0.7
_FLAT: Final = 0.12  # thickness over width below which depth is hardly seen


class Bead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bead: its centre in the phantom's own frame, and its diameter."""

    name: str
    position_mm: Vector3
    diameter_mm: float


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds the beads, for the simulator: a tube along the phantom's z, its middle at the origin."""

    outer_diameter_mm: float
    length_mm: float
    bore_mm: float = 0.0
    material: str = "pmma"


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    bead: tuple[Bead, ...]
    tolerance_mm: float = 0.02
    material: str = "stainless_steel"
    body: Body | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phantom:
    """A phantom that every view can be labelled with.

    Attributes:
        name: what it is called.
        beads: at least `FEWEST_BEADS`.
        tolerance_mm: standard deviation of a bead's place against what is told here, each axis; > 0.
        material: of the beads, for the simulator.
        body: what holds them, for the simulator.
        points_mm: (N, 3) their centres.
        diameters_mm: (N,).
        size_class: (N,) int, 0 for the smallest diameter.
        keys: indices of the beads of the class with the fewest members: a picture's first hold.
    """

    name: str
    beads: tuple[Bead, ...]
    tolerance_mm: float
    material: str
    body: Body | None
    points_mm: F64
    diameters_mm: F64
    size_class: Indices
    keys: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(bead.name for bead in self.beads)


def phantom_from_text(toml_text: str, *, origin: str = "phantom") -> Phantom:
    """Read a phantom.

    Raises:
        ConfigError: `bad_phantom`, naming file, bead and mend: also where two ways to hold it would look alike.
    """
    try:
        told = msgspec.convert(tomllib.loads(toml_text), _File, strict=True)
    except tomllib.TOMLDecodeError as error:
        raise _refused(f"{origin} is not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise _refused(f"{origin}: {error}") from None
    _check_beads(told, origin)
    points = np.array([bead.position_mm for bead in told.bead], np.float64)
    diameters = np.array([bead.diameter_mm for bead in told.bead], np.float64)
    classes = _size_classes(diameters, origin)
    keys = _keys(classes, origin)
    _check_shape(points, origin)
    _check_unlike_itself(points, classes, keys, origin)
    return Phantom(
        name=told.name,
        beads=told.bead,
        tolerance_mm=told.tolerance_mm,
        material=told.material,
        body=told.body,
        points_mm=points,
        diameters_mm=diameters,
        size_class=classes,
        keys=keys,
    )


@lru_cache(maxsize=1)
def built_in_phantom() -> Phantom:
    """The phantom of `guidance/calibration/data/helix.toml`."""
    file = resources.files("guidance.calibration") / "data" / "helix.toml"
    return phantom_from_text(file.read_text(encoding="utf-8"), origin="helix.toml")


def _check_beads(told: _File, origin: str) -> None:
    if len(told.bead) < FEWEST_BEADS:
        raise _refused(f"{origin} has {len(told.bead)} beads, fewer than {FEWEST_BEADS}")
    if not 0.0 < told.tolerance_mm <= 1.0:
        raise _refused(f"{origin}: tolerance_mm must be greater than 0 and at most 1")
    names = [bead.name for bead in told.bead]
    for bead in told.bead:
        if not bead.name.strip() or names.count(bead.name) > 1:
            raise _refused(f"{origin}: bead {bead.name!r} has no name of its own")
        if not all(math.isfinite(value) and abs(value) <= 1000.0 for value in bead.position_mm):
            raise _refused(f"{origin}: bead {bead.name!r} lies at {bead.position_mm}")
        if not 0.5 <= bead.diameter_mm <= 30.0:
            raise _refused(f"{origin}: bead {bead.name!r} has a diameter of {bead.diameter_mm} mm")
    for one, other in itertools.combinations(told.bead, 2):
        apart_mm = math.dist(one.position_mm, other.position_mm) - (one.diameter_mm + other.diameter_mm) / 2.0
        if apart_mm < _CLOSEST_MM:
            raise _refused(f"{origin}: beads {one.name!r} and {other.name!r} are {apart_mm:.1f} mm apart")
    body = told.body
    if body and not 0.0 <= body.bore_mm < body.outer_diameter_mm <= 1000.0:
        raise _refused(f"{origin}: body is no tube")
    if body and not 0.0 < body.length_mm <= 2000.0:
        raise _refused(f"{origin}: body's length_mm must be greater than 0")


def _size_classes(diameters_mm: F64, origin: str) -> Indices:
    distinct = sorted(set(diameters_mm.tolist()))
    classes = {distinct[0]: 0}
    for smaller, larger in itertools.pairwise(distinct):
        if _SAME_SIZE < larger / smaller < SIZE_RATIO:
            raise _refused(f"{origin}: diameters of {smaller:g} and {larger:g} mm cannot be told apart in a picture")
        classes[larger] = classes[smaller] + (larger / smaller >= SIZE_RATIO)
    return np.array([classes[diameter] for diameter in diameters_mm.tolist()], np.int64)


def _keys(classes: Indices, origin: str) -> tuple[int, ...]:
    members = [np.flatnonzero(classes == number) for number in range(int(classes.max()) + 1)]
    usable = [group for group in members if _KEYS[0] <= len(group) <= _KEYS[1]]
    if not usable:
        raise _refused(f"{origin}: no diameter is that of {_KEYS[0]} to {_KEYS[1]} beads, by which views are labelled")
    return tuple(int(n) for n in min(usable, key=len))


def _check_shape(points_mm: F64, origin: str) -> None:
    widths = np.linalg.svd(points_mm - points_mm.mean(axis=0), compute_uv=False)
    if widths[2] < _FLAT * widths[0]:
        raise _refused(f"{origin}: the beads lie nearly in one plane or line")


def _check_unlike_itself(points_mm: F64, classes: Indices, keys: tuple[int, ...], origin: str) -> None:
    """No turn, and no mirror, may lay the beads onto themselves: pictures of both would be the same."""
    held = max(itertools.combinations(keys, 3), key=lambda three: _area_mm2(points_mm[list(three)]))
    if _area_mm2(points_mm[list(held)]) < 100.0:
        raise _refused(f"{origin}: the beads by which views are labelled lie in one line")
    sides = _sides_mm(points_mm[list(held)])
    for laid in itertools.permutations(keys, 3):
        if np.abs(_sides_mm(points_mm[list(laid)]) - sides).max() > _LIKE_MM:
            continue
        for mirrored in (False, True):
            if laid == held and not mirrored:
                continue
            moved = _laid_onto(points_mm, points_mm[list(held)], points_mm[list(laid)], mirrored)
            away_mm = np.linalg.norm(moved[:, None] - points_mm[None], axis=2)
            hit = ((away_mm < _LIKE_MM) & (classes[:, None] == classes[None])).any(axis=1)
            still = np.linalg.norm(moved - points_mm, axis=1).max() < 2.0 * _LIKE_MM
            if hit.mean() >= _LIKE_SHARE and not still:
                how = "mirrored" if mirrored else "turned"
                raise _refused(f"{origin}: {how}, the phantom looks like itself")


def _laid_onto(points: F64, source: F64, target: F64, mirrored: bool) -> F64:
    """Points carried by the motion that lays three of them onto three others; mirrored in their plane if asked."""
    start, end = source - source.mean(axis=0), target - target.mean(axis=0)
    turn = nearest_rotation(end.T @ start)
    moved = (points - source.mean(axis=0)) @ turn.T
    if mirrored:
        normal = np.cross(end[1] - end[0], end[2] - end[0])
        normal /= np.linalg.norm(normal)
        moved = moved - 2.0 * (moved @ normal)[:, None] * normal
    laid: F64 = moved + target.mean(axis=0)
    return laid


def _sides_mm(three: F64) -> F64:
    sides: F64 = np.linalg.norm(three - np.roll(three, 1, axis=0), axis=1)
    return sides


def _area_mm2(three: F64) -> float:
    return float(np.linalg.norm(np.cross(three[1] - three[0], three[2] - three[0]))) / 2.0


def _refused(message: str) -> ConfigError:
    return ConfigError(message, code="bad_phantom", mend=_MEND)
