"""Which rays of a picture a volume holds: through the body's whole thickness, or from face to face, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F32, F64

_AIR_HU: Final = -300.0
_WITHIN_VOXELS: Final = 1.5  # of a face: its own voxels may be half outside
_LEAST_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldRays:
    """Rays of a picture's bins through a volume that may be cut.

    Attributes:
        used: (R, C) bool: rays whose prediction lacks nothing (`whole`), or all the same slab of body outside.
        whole: used rays begin and end in air within the volume.
    """

    used: npt.NDArray[np.bool_]
    whole: bool


def held_rays(
    hu: F32,
    affine_lps_from_ijk: F64,
    pixel_from_patient: F64,
    *,
    size: tuple[int, int],
    first_px: float,
    step_px: float,
) -> HeldRays:
    """Follow the rays through the volume's box.

    A ray that leaves through another face than the rays beside it lacks more of the body than they do, which looks
    like a bright band: such rays are not used.

    Args:
        hu: `[k, j, i]`.
        affine_lps_from_ijk: (4, 4).
        pixel_from_patient: (3, 4).
        size: rows and columns of bins.
        first_px, step_px: pixel of the first bin's middle, both ways, and from bin to bin.
    """
    ijk_from_lps = np.linalg.inv(affine_lps_from_ijk)
    lps_from_pixel = np.linalg.inv(pixel_from_patient[:, :3])
    rows, columns = (first_px + step_px * np.arange(n) for n in size)
    u, v = np.meshgrid(columns, rows)
    toward = np.stack([u, v, np.ones_like(u)], axis=-1) @ (ijk_from_lps[:3, :3] @ lps_from_pixel).T
    source = ijk_from_lps[:3] @ np.append(-lps_from_pixel @ pixel_from_patient[:, 3], 1.0)
    shape = np.array(hu.shape[::-1], np.float64)
    toward = np.where(np.abs(toward) < 1e-9, 1e-9, toward)
    faces = np.stack([(-0.5 - source) / toward, (shape - 0.5 - source) / toward])
    near, far = faces.min(axis=0), faces.max(axis=0)
    begin, end = near.max(axis=-1), far.min(axis=-1)
    hit = (end > begin) & (begin > 0.0)
    if not hit.any():
        return HeldRays(used=np.zeros(size, np.bool_), whole=False)
    enters, leaves = near.argmax(axis=-1), far.argmin(axis=-1)
    within = _WITHIN_VOXELS / np.linalg.norm(toward, axis=-1)
    ends = [_at(hu, source + along[..., None] * toward) for along in (begin + within, end - within)]
    through_air = hit & (ends[0] < _AIR_HU) & (ends[1] < _AIR_HU)
    across = int(np.bincount(enters[hit], minlength=3).argmax())
    slab = hit & (enters == across) & (leaves == across)
    if np.count_nonzero(through_air) >= _LEAST_SHARE * np.count_nonzero(slab | through_air):
        return HeldRays(used=through_air, whole=True)
    return HeldRays(used=slab, whole=False)


def _at(hu: F32, places_ijk: F64) -> F32:
    """Of the nearest voxels."""
    last = np.array(hu.shape[::-1]) - 1
    i, j, k = np.moveaxis(np.clip(np.rint(places_ijk), 0, last).astype(np.intp), -1, 0)
    return np.asarray(hu[k, j, i], np.float32)
