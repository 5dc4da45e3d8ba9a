"""Scattered radiation at the simulated detector: a wide blur of the primary, stronger behind more patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

_CELL_MM: Final = 4.0  # of the coarse grid, at the detector: a twentieth of the kernel
_BODY_MM: Final = 20.0  # less than that of water does not scatter to speak of


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterModel:
    """How much scatter there is behind the grid and how far it spreads.

    Attributes:
        ratio_at_200_mm: scatter over primary behind 200 mm of water in a wide field; grows with thickness.
        largest_ratio: and no more than this; in dark places the share is larger, as scatter comes from around them.
        near_mm, far_mm: standard deviations of its two parts at the detector.
        near_share: of the first part.
    """

    ratio_at_200_mm: float = 0.8
    largest_ratio: float = 1.1
    near_mm: float = 22.0
    far_mm: float = 65.0
    near_share: float = 0.45


def scatter_field(primary: F32, water_mm: F32, pitch_mm: float, model: ScatterModel) -> F32:
    """Share of the open beam that arrives scattered, per pixel.

    Args:
        primary: (rows, columns) share of the open beam that arrives unscattered, blades and all.
        water_mm: (rows, columns), of any coarser size too: water-equivalent thickness of what is in the beam.
        pitch_mm: of the primary's pixels.
        model: of the room.

    Returns:
        (rows, columns) float32, smooth.
    """
    rows, columns = primary.shape
    cells = (max(8, round(columns * pitch_mm / _CELL_MM)), max(8, round(rows * pitch_mm / _CELL_MM)))
    cell_mm = columns * pitch_mm / cells[0]
    coarse = cv2.resize(primary, cells, interpolation=cv2.INTER_AREA)
    water = cv2.resize(water_mm, cells, interpolation=cv2.INTER_AREA)
    ratio = np.clip((water - _BODY_MM) * (model.ratio_at_200_mm / (200.0 - _BODY_MM)), 0.0, model.largest_ratio)
    source = (coarse * ratio).astype(np.float32)
    spread = np.zeros_like(source)
    for share, sigma_mm in ((model.near_share, model.near_mm), (1.0 - model.near_share, model.far_mm)):
        # Nothing comes from outside the field: it ends at zero, and there is less scatter near its edge.
        blurred = cv2.GaussianBlur(source, (0, 0), sigma_mm / cell_mm, borderType=cv2.BORDER_CONSTANT)
        spread += np.float32(share) * blurred
    return np.asarray(cv2.resize(spread, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)
