"""A supposition of how much scatter there is and how wide: a blur of the primary, split off a signal in cells."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.messages import F32

CELLS: Final = 64
"""Along a picture's longer side."""
# A peak and wide tails (Seibert & Boone, Med Phys 15, 1988): two equal parts, standard deviations over the width.
_PARTS: Final = (0.5, 1.5)
_ROUNDS: Final = 3  # each begins where the supposition before ended
_NARROWEST_CELLS, _WIDEST_CELLS = 0.3, 2.0 * CELLS  # of a blur: beyond, it is none, or flat over all of the picture
_LARGEST_SHARE: Final = 0.9


class SplitSignal:
    """One supposition.

    Args:
        signal: (r, c) mean of each cell.
        weight: (r, c) share of the cell that is open.
        ratio: scatter over primary in a wide field.
        width_cells: of the blur.

    Attributes:
        wide_ratio: the ratio as given.
        scatter, primary: (r, c) parts of the signal, once `solve` was called.
    """

    def __init__(self, signal: F32, weight: F32, ratio: float, width_cells: float) -> None:
        self.wide_ratio = ratio
        self._signal, self._weight, self._width = signal, weight, width_cells
        self.scatter: F32 = np.zeros_like(signal)
        self.primary: F32 = signal

    def solve(self, before: SplitSignal | None) -> None:
        """Split the signal, so that scatter is the blur of the primary: multiplicative steps keep both positive."""
        primary = self._signal if before is None else before.primary
        for _ in range(_ROUNDS):
            scatter = self._blurred(primary)
            primary = self._signal * primary / np.maximum(primary + scatter, np.float32(1e-9))
        self.primary, self.scatter = primary, self._blurred(primary)

    def ratio(self, field: npt.NDArray[np.bool_]) -> float:
        """Scatter over primary, means over a part of the cells."""
        return float(np.mean(self.scatter[field]) / max(float(np.mean(self.primary[field])), 1e-9))

    def share(self) -> F32:
        """(r, c) scatter over the signal, in [0, 0.9]."""
        total = np.maximum(self.primary + self.scatter, np.float32(1e-9))
        return np.asarray(np.minimum(self.scatter / total, np.float32(_LARGEST_SHARE)), np.float32)

    def _blurred(self, primary: F32) -> F32:
        arriving = primary * self._weight
        total = np.zeros_like(arriving)
        for part in _PARTS:
            width = min(max(part * self._width, _NARROWEST_CELLS), _WIDEST_CELLS)
            total += cv2.GaussianBlur(arriving, (0, 0), width, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(total * np.float32(self.wide_ratio / len(_PARTS)), np.float32)


def share_of(scatter: F32, signal: npt.NDArray[np.float32]) -> F32:
    """Pixel by pixel: scatter is smooth, its share is large where the signal is small."""
    rows, columns = signal.shape
    smooth = cv2.resize(scatter, (columns, rows), interpolation=cv2.INTER_LINEAR)
    share = np.where(signal > 0.0, smooth / np.maximum(signal, np.float32(1e-9)), np.float32(0.0))
    return np.asarray(np.minimum(share, np.float32(_LARGEST_SHARE)), np.float32)


def cells_of(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of cells."""
    longer = max(rows, columns)
    cells = min(CELLS, longer)
    return max(1, round(rows * cells / longer)), max(1, round(columns * cells / longer))


def coarse(values: F32, mask: npt.NDArray[np.generic], size: tuple[int, int]) -> tuple[F32, F32]:
    """Mean over what is masked in each cell (0 where nothing is), and the masked share of the cell."""
    rows, columns = size
    weight = mask.astype(np.float32)
    share = cv2.resize(weight, (columns, rows), interpolation=cv2.INTER_AREA)
    kept = np.where(weight > 0.0, values, np.float32(0.0))
    total = cv2.resize(kept, (columns, rows), interpolation=cv2.INTER_AREA)
    mean = np.where(share > 1e-6, total / np.maximum(share, np.float32(1e-6)), np.float32(0.0))
    return mean.astype(np.float32), np.asarray(share, np.float32)
