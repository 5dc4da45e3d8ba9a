"""The body of cement as another view would show it; for a view that begins in the middle, not for every frame."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from guidance.cement.rays import bins_of_pixels, focal_px, source_of
from guidance.messages import F32, F64


def body_thickness(
    share: F32, first_lps_mm: F64, spacing_mm: float, pixel_from_patient: F64, rows: int, columns: int
) -> F32:
    """Cement along the rays of a picture.

    Args:
        share: `[k, j, i]` of each voxel.
        first_lps_mm: (3,) of the first voxel's centre.
        spacing_mm: edge of a voxel.
        pixel_from_patient: (3, 4), w in mm > 0 in front of the source.
        rows, columns: of the picture.

    Returns:
        (rows, columns) float32, mm; as sharp as a voxel.
    """
    kji = np.argwhere(share > 0.0)
    out = np.zeros((rows, columns), np.float32)
    points = kji[:, ::-1] * spacing_mm + first_lps_mm
    u, v, w = pixel_from_patient[:, :3] @ points.T + pixel_from_patient[:, 3:]
    front = w > 1.0
    if not front.any():
        return out
    points, u, v, w = points[front], u[front] / w[front], v[front] / w[front], w[front]
    focal = focal_px(pixel_from_patient)
    # Bins as wide as a voxel's shadow, so that no pixel between two voxels stays empty.
    step = max(1, int(np.ceil(spacing_mm * focal / float(w.min()))))
    middle = (step - 1) / 2.0
    to_bins = bins_of_pixels(step, (middle, middle))
    bin_u, bin_v = u * to_bins[0, 0] + to_bins[0, 2], v * to_bins[1, 1] + to_bins[1, 2]
    cosine = w / np.linalg.norm(points - source_of(pixel_from_patient), axis=1)
    lengths = share[tuple(kji[front].T)] * spacing_mm**3 * (focal / step) ** 2 / (w**2 * cosine)
    # A bin of rim takes what falls half beside the picture.
    shape = (-(-rows // step) + 2, -(-columns // step) + 2)
    bins = np.zeros(shape[0] * shape[1])
    left, top = np.floor(bin_u).astype(np.intp), np.floor(bin_v).astype(np.intp)
    for down in (0, 1):
        for right in (0, 1):
            part = (bin_u - left if right else 1.0 - bin_u + left) * (bin_v - top if down else 1.0 - bin_v + top)
            row, column = top + down + 1, left + right + 1
            on = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
            bins += np.bincount((row * shape[1] + column)[on], (lengths * part)[on], len(bins))
    coarse = bins.reshape(shape).astype(np.float32)
    # Pixel n lies at bin (n - middle) / step, one more for the rim.
    ndimage.affine_transform(
        coarse, np.full(2, 1.0 / step), 1.0 - middle / step, out.shape, output=out, order=1, mode="nearest"
    )
    return out
