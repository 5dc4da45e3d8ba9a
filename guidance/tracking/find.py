"""Instruments near their planned paths in one live picture; where nothing is, nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from guidance.geometry.intensity import PixelIntensity, Sign, proportional
from guidance.kernels.rod_values import MetalMask, PictureReading, Rod, TipState
from guidance.kernels.rods import rods_along
from guidance.messages import F64, PathStage, Pixels, PlannedPath
from guidance.tracking.known_metal import IN_PATIENT, NO_METAL, KnownMetal, metal_mask
from guidance.tracking.strip import Strip, strip_of
from guidance.tracking.values import SeenInstrument

# Least contrast per mm of the plan's diameter in natural logarithms: a titanium screw or a thin steel cannula behind a
# pelvis at 80 kVp takes away 0.23 or more, half of that where as much scatter as direct rays arrives; a cortex seen
# edge-on mostly less than 0.12, and the other tests are for the rest.
_LEAST_PER_MM: Final = 0.08
# Faint lines of bone are short: as many mm must be seen, at so much contrast per mm, growing with its inverse square.
_LENGTH_MM: Final = 25.0
_LENGTH_AT_PER_MM: Final = 0.16
_LENGTH_WITHOUT_UNIT_MM: Final = 40.0
_LEAST_CONTRAST: Final = 0.08
_LEAST_OF_RANGE: Final = 0.06  # of a picture whose values have no unit: of its strip's spread
# Beyond the entry: an instrument that is on its way in comes from outside, a line of bone begins anywhere.
_STARTS_BY_MM: Final = 10.0
_TIP_WIDTHS: Final = 3.0  # of a rod before its end, and
_BESIDE_WIDTHS: Final = 0.7  # between its edge and another's: nearer than that its tip is in doubt
_CURVE_PIECES: Final = 16
# Of the plan's width: from there on the end's model, which knows the plan's width, can take a flat end for a point.
_THICKEST: Final = 1.12
_SAME_WIDTHS: Final = 1.0  # two paths' findings nearer than this along each other are one instrument
_WHY_NO_TIP: Final = {
    TipState.KNOWN: "",
    TipState.UNCLEAR: "its tip cannot be told",
    TipState.OUTSIDE: "its tip is outside the picture",
    TipState.HIDDEN: "its tip is over known metal or in open air",
    TipState.BESIDE_METAL: "its tip is beside known metal",
    TipState.OVER_METAL: "its tip lies over other metal",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    strip: Strip
    rod: Rod
    points_px: F64
    aside_px: float
    tip_unknown: str


def find_instruments(
    pixels: Pixels,
    pixel_from_patient: F64,
    paths: Sequence[PlannedPath],
    *,
    intensity: Literal["LIN", "LOG", "DISP"] = "LIN",
    sign: Sign = 1,
    known_metal: KnownMetal = NO_METAL,
    collimator_px: tuple[float, float, float, float] | None = None,
) -> tuple[SeenInstrument, ...]:
    """Look for a straight or bent rod of each path's diameter within 12 mm of it, and up to 18 deg turned against it.

    Args:
        pixels: (rows, columns) as sent; never altered.
        pixel_from_patient: (3, 4) float64 as trusted, w in mm along the central ray, > 0 in front of the source.
        paths: the plan; those with a screw in (cemented or not) are known metal and not looked for.
        intensity: DICOM (0028,1040); with `LIN` metal is told from bone by how much it takes away.
        sign: 1 where more X-ray gives higher values, else -1.
        known_metal: of the volume: what lies on it is not looked at.
        collimator_px: left, top, right, bottom of the open field; None: all of the picture.

    Returns:
        One finding at most per path, in the paths' order.
    """
    rows, columns = pixels.shape
    if rows < 2 or columns < 2 or not np.isfinite(pixel_from_patient).all():
        return ()
    bounds = _bounds(rows, columns, collimator_px)
    looked_for = [path for path in paths if path.stage not in IN_PATIENT]
    if not looked_for:
        return ()
    pixels, sign = proportional(pixels, PixelIntensity(relationship=intensity, sign=sign))
    reading = PictureReading(logarithm=intensity == "LIN", sign=sign, bounds=bounds)
    metal = metal_mask(known_metal, paths, pixel_from_patient, (rows, columns))
    candidates: list[_Candidate] = []
    for path in looked_for:
        strip = strip_of(path, pixel_from_patient, (rows, columns))
        if isinstance(strip, Strip):
            candidates += _candidates(pixels, reading, strip, metal)
    chosen = _assigned(candidates)
    return tuple(_seen(_doubted(chosen[path.id], candidates)) for path in looked_for if path.id in chosen)


def why_not_seen(path: PlannedPath, pixel_from_patient: F64, size: tuple[int, int]) -> str:
    """Words for a path along which nothing was found."""
    if path.stage in IN_PATIENT:
        return "its screw is in"
    strip = strip_of(path, pixel_from_patient, size)
    return strip if isinstance(strip, str) else "no instrument seen near it"


def _candidates(pixels: Pixels, reading: PictureReading, strip: Strip, metal: MetalMask | None) -> list[_Candidate]:
    least, least_of_range = 0.0, _LEAST_OF_RANGE
    if reading.logarithm:
        least, least_of_range = max(_LEAST_PER_MM * strip.diameter_mm, _LEAST_CONTRAST), 0.0
    known_there = strip.path.stage is not PathStage.PLANNED
    px_per_mm = 0.5 * (strip.width_px[0] + strip.width_px[1]) / strip.diameter_mm
    starts_by_px = strip.entry_px + _STARTS_BY_MM * px_per_mm
    found = []
    for rod in rods_along(pixels, reading, strip, metal, least=least, least_of_range=least_of_range):
        if not (known_there or rod.goes_on or rod.start_px <= starts_by_px):
            continue
        if rod.end_px - rod.start_px < px_per_mm * _least_length_mm(rod, strip, reading):
            continue
        pieces = 1 if rod.curve.straight else _CURVE_PIECES
        step_px = (rod.end_px - rod.start_px) / pieces
        places = [rod.start_px + number * step_px for number in range(pieces + 1)]
        aside = [rod.curve.y_at(x) for x in places]
        points = np.array([strip.point(x, y) for x, y in zip(places, aside, strict=True)])
        why_no_tip = _WHY_NO_TIP[rod.tip]
        if not why_no_tip and rod.width_px > _THICKEST * 0.5 * (strip.width_px[0] + strip.width_px[1]):
            why_no_tip = "it is thicker than planned"
        found.append(_Candidate(strip, rod, points, sum(map(abs, aside)) / len(aside), why_no_tip))
    return found


def _least_length_mm(rod: Rod, strip: Strip, reading: PictureReading) -> float:
    """How much of a rod must be seen to be believed, mm."""
    if not reading.logarithm:
        return _LENGTH_WITHOUT_UNIT_MM
    return _LENGTH_MM * (_LENGTH_AT_PER_MM * strip.diameter_mm / rod.contrast) ** 2


def _assigned(candidates: list[_Candidate]) -> dict[str, _Candidate]:
    """At most one per path, the nearest to its plan first; no instrument twice."""
    chosen: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=_cost):
        path_id = candidate.strip.path.id
        if path_id not in chosen and not any(_same(candidate, other) for other in chosen.values()):
            chosen[path_id] = candidate
    return chosen


def _cost(candidate: _Candidate) -> float:
    # What looks half as much like a rod must lie half as far off its plan to be taken first.
    return (candidate.aside_px + candidate.rod.width_px) / candidate.rod.score


def _same(candidate: _Candidate, other: _Candidate) -> bool:
    points = other.points_px
    chord = points[-1] - points[0]
    length = float(np.hypot(*chord))
    along = chord / length
    offsets = candidate.points_px[[0, len(candidate.points_px) // 2, -1]] - points[0]
    on = (offsets @ along > 0.0) & (offsets @ along < length)
    across = np.abs(offsets @ np.array((-along[1], along[0])))
    reach = _SAME_WIDTHS * max(candidate.rod.width_px, other.rod.width_px) + other.rod.bend_px
    return bool(on.any() and (across[on] < reach).all())


def _doubted(candidate: _Candidate, candidates: list[_Candidate]) -> _Candidate:
    """Without its tip where another instrument lies so near to it that one's end may be the other's edge."""
    rod, points = candidate.rod, candidate.points_px
    if candidate.tip_unknown or len(candidates) < 2:
        return candidate
    heading = points[-1] - points[-2]
    heading = heading / float(np.hypot(*heading))
    last = points[-1] - np.linspace(-1.0, _TIP_WIDTHS, 5)[:, None] * rod.width_px * heading
    for other in candidates:
        if other.rod is rod or _same(candidate, other) or _same(other, candidate):
            continue
        reach = 0.5 * (rod.width_px + other.rod.width_px) + _BESIDE_WIDTHS * rod.width_px
        if float(_distance_px(last, other.points_px, 2.0 * other.rod.width_px).min()) < reach:
            return replace(candidate, tip_unknown="another instrument lies beside its tip")
    return candidate


def _distance_px(places: F64, line: F64, beyond_px: float) -> F64:
    """(N,) from places to the segments of a line that goes on for a while at its end."""
    heading = line[-1] - line[-2]
    whole = np.concatenate((line, line[-1:] + beyond_px * heading / float(np.hypot(*heading))))
    starts, steps = whole[:-1], np.diff(whole, axis=0)
    offsets = places[:, None] - starts
    part = np.clip((offsets * steps).sum(axis=2) / np.maximum((steps * steps).sum(axis=1), 1e-12), 0.0, 1.0)
    return np.asarray(np.sqrt(((offsets - part[..., None] * steps) ** 2).sum(axis=2)).min(axis=1))


def _seen(candidate: _Candidate) -> SeenInstrument:
    rod, points = candidate.rod, candidate.points_px
    tip = None if candidate.tip_unknown else (float(points[-1, 0]), float(points[-1, 1]))
    return SeenInstrument(
        path_id=candidate.strip.path.id,
        centreline_px=points,
        tip_px=tip,
        tip_sigma_px=None if tip is None else rod.tip_sigma_px,
        tip_unknown=candidate.tip_unknown,
        sigma_px=rod.sigma_px,
        diameter_px=rod.width_px,
        contrast=rod.contrast,
        score=rod.score,
        bend_px=rod.bend_px,
    )


def _bounds(
    rows: int, columns: int, collimator_px: tuple[float, float, float, float] | None
) -> tuple[float, float, float, float]:
    left, top, right, bottom = collimator_px or (0.0, 0.0, columns - 1.0, rows - 1.0)
    return max(left, 0.0), max(top, 0.0), min(right, columns - 1.0), min(bottom, rows - 1.0)
