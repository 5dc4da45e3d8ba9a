"""Cannulas that a reference shows along planned paths, where the search for instruments has found none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.cement.reference import ReferencePicture
from guidance.messages import F32, F64, PlannedPath
from guidance.tracking.values import SeenInstrument

_OUTSIDE_MM: Final = 120.0  # before a path's entry: how far a cannula reaches out of the patient
_OFF_MM: Final = 6.0  # a cannula from its plan, at the target
_OFF_DEG: Final = np.arange(-8.0, 8.5, 1.0)  # ... and in direction, as seen
_STEEL: Final = 0.25  # natural logarithm over what lies beside it
_PART: Final = 0.5  # of the shaft's own contrast: where it ends
_WIDER: Final = 2.0  # diameters: what is wider is no shaft
_LEAST_DIAMETERS: Final = 4.0  # of length: seen along its axis it hides next to nothing
_BEYOND: Final = 3.0  # diameters beyond its planned end that it is looked for
_GAP_DIAMETERS: Final = 5.0  # where it crosses something dense
_WIDTH: Final = (0.6, 1.7)  # of the diameter, at half of the contrast
_SAME: Final = 0.5  # diameters, across: of one shaft as the search and as its steel tell it
_GOES_ON: Final = 1.0  # diameters: less is the search's to say, which tells ends better
_AWAY: Final = 8.0  # longer sides of the picture, from its middle: a tip that far off is not seen


def steel_along(
    reference: ReferencePicture, paths: Sequence[PlannedPath], pixel_from_patient: F64
) -> tuple[SeenInstrument, ...]:
    """Straight shafts near planned paths, in the reference's place; one at most per path, none where it is not sure.

    Args:
        reference: before the cement.
        paths: planned.
        pixel_from_patient: (3, 4) of the reference.
    """
    found = []
    for path in paths:
        line = _projected(path, pixel_from_patient, reference)
        if line is not None and (one := _shaft(reference, path, line)) is not None:
            found.append(one)
    return tuple(found)


def deeper(seen: SeenInstrument, steel: SeenInstrument) -> SeenInstrument | None:
    """A shaft with its steel's end, where that lies deeper: what crosses it ends it for the search; None: it does not.

    Args:
        seen: as the search tells it.
        steel: of the same path and picture, by `steel_along`.
    """
    if seen.bent or steel.tip_px is None:
        return None
    line, tip = np.asarray(seen.centreline_px, np.float64), np.array(steel.tip_px)
    end = line[-1] if seen.tip_px is None else np.array(seen.tip_px)
    along = (tip - steel.centreline_px[0]) / max(float(np.linalg.norm(tip - steel.centreline_px[0])), 1e-6)
    across = (line[[0, -1]] - tip) @ np.array((-along[1], along[0]))
    if np.abs(across).max() > _SAME * seen.diameter_px or (tip - end) @ along < _GOES_ON * seen.diameter_px:
        return None
    whole = np.concatenate((line[:1], tip[None]))
    return replace(seen, centreline_px=whole, tip_px=steel.tip_px, tip_sigma_px=steel.tip_sigma_px, tip_unknown="")


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """On the reference's grid.

    Attributes:
        tip: (2,) where it ends in the bone.
        back: (2,) unit vector towards where it comes from.
        reach: how far it may be seen from there.
        bone: how much of that is planned to be in the patient.
        width: of the shaft.
    """

    tip: F64
    back: F64
    reach: float
    bone: float
    width: float

    @property
    def across(self) -> F64:
        return np.array((-self.back[1], self.back[0]))

    def places(self) -> F64:
        """From beyond the tip, for it may have been pushed farther."""
        return np.arange(-_BEYOND * self.width, self.reach)

    def strip(self, steel: F32, off: int) -> F32:
        """(offsets, places) of contrast along it, as far to either side."""
        aside = np.arange(-off, off + 1.0)
        at = self.tip + aside[:, None, None] * self.across + self.places()[None, :, None] * self.back
        maps = at.astype(np.float32)
        border = cv2.BORDER_CONSTANT
        return np.asarray(cv2.remap(steel, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=border), np.float32)


def _projected(path: PlannedPath, pixel_from_patient: F64, reference: ReferencePicture) -> _Line | None:
    step, shape = reference.scale.step, reference.attenuation.shape
    entry, target = np.asarray(path.entry_lps_mm, np.float64), np.asarray(path.target_lps_mm, np.float64)
    length = float(np.linalg.norm(target - entry))
    if length <= 0.0:
        return None
    outer = entry - (target - entry) * (_OUTSIDE_MM / length)
    u, v, w = pixel_from_patient[:, :3] @ np.array([outer, entry, target]).T + pixel_from_patient[:, 3:]
    scale = float(np.linalg.norm(pixel_from_patient[2, :3]))
    if not (w / scale > 1.0).all():
        return None
    from_, into, tip = (np.stack((u / w, v / w), axis=1) - (step - 1) / 2.0) / step
    whole = float(np.linalg.norm(from_ - tip))
    focal_px = float(np.linalg.norm(np.cross(pixel_from_patient[0, :3], pixel_from_patient[2, :3]))) / scale**2
    width = path.diameter_mm * focal_px / (float(w[2]) / scale) / step
    away, side = float(np.linalg.norm(tip - np.array(shape[::-1]) / 2.0)), float(max(shape))
    if whole < _LEAST_DIAMETERS * width or away > _AWAY * side or _OFF_MM / path.diameter_mm * width > side:
        return None
    # What comes out near the source is projected to anywhere; beyond the picture nothing is looked for.
    reach = min(whole, away + float(np.hypot(*shape)))
    return _Line(tip=tip, back=(from_ - tip) / whole, reach=reach, bone=float(np.linalg.norm(into - tip)), width=width)


def _shaft(reference: ReferencePicture, path: PlannedPath, planned: _Line) -> SeenInstrument | None:
    steel = _steel_of(reference, planned.width)
    off = round(_OFF_MM / path.diameter_mm * planned.width)
    line = _nearest_steel(steel, planned, off)
    piece = None
    for _ in range(2):
        piece = _piece(line, line.strip(steel, 2 * round(planned.width)))
        if piece is None:
            return None
        # Its middle place by place tells the line better than the turns and shifts that were tried.
        slope, offset = np.polyfit(line.places()[piece.places], piece.aside, 1)
        back = (line.back + slope * line.across) / float(np.hypot(1.0, slope))
        line = replace(line, tip=line.tip + offset * line.across, back=back)
    piece = _piece(line, line.strip(steel, 2 * round(planned.width)))
    if piece is None or not _WIDTH[0] * line.width <= piece.wide <= _WIDTH[1] * line.width:
        return None
    step = reference.scale.step
    places = line.places()[piece.places]
    if places[0] > line.bone + _BEYOND * line.width or abs(float((line.tip - planned.tip) @ planned.across)) > off:
        return None  # it is not in the bone, or not there: another one
    tip, outer = ((line.tip + place * line.back) * step + (step - 1) / 2.0 for place in (places[0], places[-1]))
    return SeenInstrument(
        path_id=path.id,
        centreline_px=np.array([outer, tip]),
        tip_px=(float(tip[0]), float(tip[1])),
        tip_sigma_px=line.width * step,
        tip_unknown="",
        sigma_px=float(step),
        diameter_px=line.width * step,
        contrast=piece.contrast,
        score=len(places) / float(places[-1] - places[0] + 1.0),
        bend_px=0.0,
    )


def _steel_of(reference: ReferencePicture, width: float) -> F32:
    """What is denser than all beside it, and narrow."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, round(_WIDER * width)) | 1,) * 2)
    known = reference.valid > 0
    filled = np.where(known, reference.attenuation, np.float32(np.median(reference.attenuation[known])))
    steel = np.asarray(cv2.morphologyEx(filled.astype(np.float32), cv2.MORPH_TOPHAT, kernel), np.float32)
    steel[~known] = 0.0
    return steel


def _nearest_steel(steel: F32, planned: _Line, off: int) -> _Line:
    """The turn and the shift at which most steel lies on the line."""
    best, most = planned, -1.0
    for turn in np.deg2rad(_OFF_DEG):
        line = replace(planned, back=np.cos(turn) * planned.back + np.sin(turn) * planned.across)
        amounts = np.minimum(line.strip(steel, off), 4.0 * _STEEL).sum(axis=1)
        amounts = cv2.blur(amounts[:, None], (1, round(planned.width) | 1))[:, 0]
        row = int(np.argmax(amounts))
        if float(amounts[row]) > most:
            best, most = replace(line, tip=line.tip + (row - off) * line.across), float(amounts[row])
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Places of a line that are steel, from the tip; its middle at each; contrast; its width at half of that."""

    places: npt.NDArray[np.intp]
    aside: F64
    contrast: float
    wide: float


def _piece(line: _Line, strip: F32) -> _Piece | None:
    """As far as steel goes on along the middle of a strip; None where that is not far."""
    middle = strip.shape[0] // 2
    core = np.median(strip[middle - 1 : middle + 2], axis=0)
    least = _LEAST_DIAMETERS * line.width
    on = np.flatnonzero(core > _STEEL)
    if len(on) < least:
        return None
    contrast = float(np.median(core[on]))
    on = np.flatnonzero(core > max(_PART * contrast, _STEEL))
    places = max(np.split(on, np.flatnonzero(np.diff(on) > _GAP_DIAMETERS * line.width) + 1), key=len)
    if len(places) < least:
        return None
    shown = strip[:, places]
    weight = np.where(shown > _PART * contrast, shown, 0.0)
    weight[middle] += 1e-6
    profile = np.median(shown, axis=1)
    return _Piece(
        places=places,
        aside=np.asarray(np.arange(-middle, middle + 1.0) @ weight / weight.sum(axis=0), np.float64),
        contrast=contrast,
        wide=float(np.count_nonzero(profile > _PART * contrast)),
    )
