"""Marrow: what cortex encloses, also through small leaks; tunnels that are open to the outside stay open."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]

# Leaks in a cortex that are sealed, as the radius of a ball that does not pass: nutrient foramina and the partial
# volume of a thin cortex, but no neuroforamen of S1 to S3.
_LEAKS_MM: Final = (0.0, 1.0, 2.0)
_SMALLEST_ML: Final = 1.0  # of a bone that is looked at by itself


def dilated(mask: Mask, times: int) -> Mask:
    """Grow by `times` voxels: its 6 neighbours and its 26 by turns, nearly a ball."""
    out = mask.copy()
    for n in range(times):
        grown = out.copy()
        for axis in range(3):
            if n % 2 == 0:
                _or_neighbours(grown, out, axis)
            else:
                _or_neighbours(grown, grown.copy(), axis)
        out = grown
    return out


def filled_bone(mask: Mask, spacing_mm: float) -> Mask:
    """A bone mask with its marrow; each bone by itself, so that a joint space between two is not taken for marrow."""
    solid = mask.copy()
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or sizes[label] * spacing_mm**3 < 1000.0 * _SMALLEST_ML:
            continue
        bone = labels[box] == label
        solid[box] |= _enclosed_by(bone, spacing_mm)
    return solid


def filled_slices(mask: Mask) -> Mask:
    """All that a body encloses in 3D or in any axial slice: bowel gas may leave the volume at its end."""
    out = mask.copy()
    for plane in out:
        plane |= ndimage.binary_fill_holes(plane)
    return out | _holes(out)


def _enclosed_by(bone: Mask, spacing_mm: float) -> Mask:
    rim = round(max(_LEAKS_MM) / spacing_mm) + 2
    padded = np.pad(bone, rim)
    found = np.zeros_like(padded)
    steps = sorted({round(leak / spacing_mm) for leak in _LEAKS_MM})
    for times in steps:
        holes = _holes(dilated(padded | found, times))
        if times:
            holes = dilated(holes, times)
        found |= holes & ~padded
    return found[rim:-rim, rim:-rim, rim:-rim]


def _holes(mask: Mask) -> Mask:
    """What is not in the mask and not joined to the border."""
    empty = ~mask
    labels, count = ndimage.label(empty)
    if count <= 1:
        return np.zeros_like(mask) if _touches_border(labels) else empty
    outside = np.zeros(count + 1, np.bool_)
    outside[0] = True
    for axis in range(3):
        for end in (0, -1):
            outside[np.unique(np.take(labels, end, axis=axis))] = True
    return np.asarray(~outside[labels])


def _touches_border(labels: npt.NDArray[np.int_]) -> bool:
    return any(bool(np.take(labels, end, axis=axis).any()) for axis in range(3) for end in (0, -1))


def _or_neighbours(out: Mask, source: Mask, axis: int) -> None:
    front = [slice(None)] * 3
    back = [slice(None)] * 3
    front[axis], back[axis] = slice(1, None), slice(None, -1)
    out[tuple(front)] |= source[tuple(back)]
    out[tuple(back)] |= source[tuple(front)]
