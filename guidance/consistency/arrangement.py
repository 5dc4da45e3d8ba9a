"""Whether a picture fits far better when its rows and columns, or its scale, are taken otherwise than told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

import numpy as np
import numpy.typing as npt

from guidance.consistency.measurement import Arrangement
from guidance.consistency.picture import SeenPicture
from guidance.consistency.prediction import Prediction
from guidance.kernels.watch import best_shift
from guidance.messages import F64

F32 = npt.NDArray[np.float32]

# What takes a picture so arranged back to what was told.
_BACK: Final[dict[Arrangement, Callable[[F32], F32]]] = {
    "mirrored": lambda picture: picture[:, ::-1],
    "upside_down": lambda picture: picture[::-1],
    "turned_180": lambda picture: picture[::-1, ::-1],
    "turned_90": lambda picture: np.rot90(picture, 1),
    "turned_270": lambda picture: np.rot90(picture, 3),
    "transposed": lambda picture: picture.T,
    "transverse": lambda picture: picture[::-1, ::-1].T,
}
ARRANGEMENTS: Final[tuple[Arrangement, ...]] = get_args(Arrangement)
SCALES: Final = (0.5, 0.625, 2 / 3, 0.75, 0.8, 0.9, 1.1, 1.25, 4 / 3, 1.5, 1.6, 2.0)
_COARSE, _FINE = 1, 0  # levels: where it lies, and whether it is so (anatomy is nearly symmetric when it is blurred)
_REACH: Final = 4  # bins of the coarse level, about 12 mm: the patient may have moved as well
_FINE_REACH: Final = 1
_CANDIDATES: Final = 2
_SCALE_REACH: Final = 2
_SCALE_LEVEL: Final = 2
_LEAST: Final = 0.4
_BETTER: Final = (
    0.05  # a mirrored pelvis agrees by 0.5 and more after a motion is fitted, another arrangement never better
)
_SCALE_BETTER: Final = 0.15


def arranged_otherwise(
    seen: SeenPicture, prediction: Prediction, told: F64, found_similarity: float
) -> Arrangement | None:
    """The arrangement that agrees better by far than what was found as told; None where none does."""
    coarse = seen.layer(_COARSE)
    template = prediction.template(told, np.zeros(6), coarse.grid)
    found: list[tuple[float, int, int, Arrangement]] = []
    for name, back in _BACK.items():
        picture = np.ascontiguousarray(back(coarse.shown.normalised))
        if picture.shape != template[0].shape:
            continue
        core = np.ascontiguousarray(back(coarse.shown.core))
        columns, rows, agreement = best_shift(picture, core, template[0], template[1], reach=_REACH)
        found.append((agreement, 2 * columns, 2 * rows, name))
    fine = seen.layer(_FINE)
    template = prediction.template(told, np.zeros(6), fine.grid)
    best, least = None, max(_LEAST, found_similarity + _BETTER)
    for _, columns, rows, name in sorted(found, reverse=True)[:_CANDIDATES]:
        picture, core = (
            _shifted(np.ascontiguousarray(_BACK[name](part)), columns, rows)
            for part in (fine.shown.normalised, fine.shown.core)
        )
        agreement = best_shift(picture, core, template[0], template[1], reach=_FINE_REACH)[2]
        if agreement > least:
            best, least = name, agreement
    return best


def _shifted(picture: F32, columns: int, rows: int) -> F32:
    """`picture(x + shift)` at x; 0 where it ends."""
    shifted = np.zeros_like(picture)
    height, width = picture.shape
    top, left = max(0, -rows), max(0, -columns)
    bottom, right = min(height, height - rows), min(width, width - columns)
    shifted[top:bottom, left:right] = picture[top + rows : bottom + rows, left + columns : right + columns]
    return shifted


def scaled_otherwise(seen: SeenPicture, prediction: Prediction, told: F64) -> float | None:
    """The magnification about the picture's middle, seen over told, that agrees better by far; None where none does."""
    layer = seen.layer(_SCALE_LEVEL)
    rows, columns = layer.grid.rows * layer.grid.step, layer.grid.columns * layer.grid.step
    middle = np.array(((columns - 1) / 2.0, (rows - 1) / 2.0))
    told_template = prediction.template(told, np.zeros(6), layer.grid)
    least = _LEAST
    own = best_shift(layer.shown.normalised, layer.shown.core, told_template[0], told_template[1], reach=_SCALE_REACH)[
        2
    ]
    best: float | None = None
    for scale in SCALES:
        matrix = told.copy()
        matrix[:2] = scale * told[:2] + np.outer((1.0 - scale) * middle, told[2])
        template = prediction.made(matrix, layer.grid)
        agreement = best_shift(layer.shown.normalised, layer.shown.core, template[0], template[1], reach=_SCALE_REACH)[
            2
        ]
        if agreement > max(least, own + _SCALE_BETTER):
            best, least = scale, agreement
    return best
