"""The scatter of one pose, from its reference and the frames that it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from guidance.cement.body_shadow import BodyShadow
from guidance.cement.reference import ReferencePicture
from guidance.cement.scatter import Scatter, scatter_of
from guidance.cement.values import CementFrame
from guidance.messages import F32, U8, Matrix34

_USUAL_SID_MM: Final = 1150.0  # of angiography C-arms, 900 to 1300: a projection alone does not tell it
_DARKER: Final = 0.6  # than the open field's median: a blade, not a saturated place
_PLATEAU: Final = 0.2  # of the dark part at one and the same number: a display shutter, which tells nothing
_LEAST_DARK: Final = 0.005  # of the picture


def scatter_of_pose(
    reference: ReferencePicture, frames: Sequence[CementFrame], body: BodyShadow | None
) -> Scatter | None:
    """Estimate it.

    Args:
        reference: of the pose.
        frames: that it is made of; at least one.
        body: what the volume predicts of the pose; None: no volume or no geometry.

    Returns:
        on the reference's grid; None of display-processed pictures, whose numbers are no counts.
    """
    if not reference.linear:
        return None
    counts = reference.counts()
    matrix = reference.pixel_from_patient
    pitch_mm = None if matrix is None else _pitch_mm(matrix) * reference.scale.step
    dark = _behind_blades(reference, frames, counts)
    if dark is not None:
        counts = np.where(dark > 0, _mean_of(reference, frames), counts)
    return scatter_of(counts, reference.valid, behind_blades=dark, pitch_mm=pitch_mm, body=body)


def _pitch_mm(matrix: Matrix34) -> float:
    """Of a pixel at the detector."""
    rows = np.array(matrix, np.float64).reshape(3, 4)[:, :3]
    focal_px = float(np.linalg.norm(np.cross(rows[0], rows[2])) / max(float(rows[2] @ rows[2]), 1e-12))
    return _USUAL_SID_MM / max(focal_px, 1.0)


def _behind_blades(reference: ReferencePicture, frames: Sequence[CementFrame], counts: F32) -> U8 | None:
    """Dark parts beside the open field in which the detector's numbers differ from bin to bin."""
    inside = reference.valid > 0
    if not inside.any():
        return None
    mean = _mean_of(reference, frames)
    dark = ~inside & (mean > 0.0) & (mean < _DARKER * float(np.median(counts[inside])))
    if np.count_nonzero(dark) < _LEAST_DARK * dark.size:
        return None
    step = reference.scale.step
    newest = frames[-1].pixels[::step, ::step][: dark.shape[0], : dark.shape[1]][dark]
    _, often = np.unique(newest, return_counts=True)
    return None if float(often.max()) > _PLATEAU * newest.size else dark.astype(np.uint8)


def _mean_of(reference: ReferencePicture, frames: Sequence[CementFrame]) -> F32:
    """(R, C) of the frames' numbers, as they lie: blades do not move with the patient."""
    rows, columns = reference.attenuation.shape
    step = reference.scale.step
    alike = [frame for frame in frames if frame.pixels.shape == reference.picture]
    total = np.zeros((rows, columns), np.float32)
    for frame in alike:
        part = frame.pixels[: rows * step, : columns * step].astype(np.float32)
        total += cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(total / np.float32(max(len(alike), 1)), np.float32)
