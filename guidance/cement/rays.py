"""One view of cement in bins about as wide as a voxel, and the box in the patient that several such views enclose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from guidance.kernels.cement_body import RayView
from guidance.messages import F32, F64, U8, CementView

_RIM_BINS: Final = 3
_AROUND_BINS: Final = 2  # within the rim: some 2 mm
_HIDDEN: Final = 0.5
_BIN_OF_VOXEL: Final = 1.15  # bins a little wider than voxels: no bin is between two of them and gets none
_UNSEEN_REACH: Final = 0.5  # prior where a view is blind: nothing speaks for cement there, nor against it
_LEAST_REACH: Final = 1e-3  # of an older view, far from what it showed


@dataclass(frozen=True, slots=True, eq=False)
class BinnedView:
    """A view's cement, cut to where it is.

    Attributes:
        view: what was binned.
        pixel_from_patient: (3, 4) as the patient lay at the reference.
        step_px: width of a bin.
        first_px: (u, v) of the middle of bin (0, 0).
        thickness_mm: (rows, columns) float32, mean over each bin, 0 where the view shows none; None without thickness.
        valid: (rows, columns) uint8: 1 where at least half of a bin could be seen.
        shown: (rows, columns) uint8: bins with cement, and those beside them.
        touched: (rows, columns) uint8: bins with cement.
        depth_mm: w at which the cement is, roughly.
        front_hidden: most of what lies around the cement could not be seen, or only what grew is shown: where it
            ends is not known.
    """

    view: CementView
    pixel_from_patient: F64
    step_px: int
    first_px: tuple[float, float]
    thickness_mm: F32 | None
    valid: U8
    shown: U8
    touched: U8
    depth_mm: float
    front_hidden: bool = False

    @property
    def bin_from_patient(self) -> F64:
        """(3, 4), w in mm along the central ray."""
        return bins_of_pixels(self.step_px, self.first_px) @ self.pixel_from_patient

    @property
    def focal_bins(self) -> float:
        """Focal length in bins."""
        return focal_px(self.pixel_from_patient) / self.step_px

    def volume_ml(self, depth_mm: float) -> float:
        """Were all of the cement at one depth; 0 without thickness."""
        if self.thickness_mm is None:
            return 0.0
        bins = np.argwhere(self.thickness_mm > 0.0)
        rays = np.column_stack([bins[:, 1], bins[:, 0], np.ones(len(bins))])
        rays = rays @ np.linalg.inv(self.bin_from_patient[:, :3]).T
        lengths = self.thickness_mm[tuple(bins.T)] / np.linalg.norm(rays, axis=1)
        return float(lengths.sum(dtype=np.float64)) * (depth_mm / self.focal_bins) ** 2 / 1000.0

    def corners_px(self, margin_px: float = 0.0) -> F64:
        """(4, 2) u, v of the outer corners of what is shown, around, and a margin."""
        (u, v), step = self.first_px, self.step_px
        rows, columns = np.flatnonzero(self.shown.any(axis=1)), np.flatnonzero(self.shown.any(axis=0))
        left, right = u + step * (columns[0] - 0.5) - margin_px, u + step * (columns[-1] + 0.5) + margin_px
        top, bottom = v + step * (rows[0] - 0.5) - margin_px, v + step * (rows[-1] + 0.5) + margin_px
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])

    def rays(self, *, older_mm: float | None = None, spacing_mm: float) -> RayView:
        """For the fit.

        Args:
            older_mm: how far cement may have grown since, on all sides; None: this view is of now.
            spacing_mm: of the voxels.
        """
        thickness = self.thickness_mm if self.thickness_mm is not None else np.zeros(self.shown.shape, np.float32)
        valid = self.valid if self.thickness_mm is not None else np.zeros_like(self.valid)
        if older_mm is None:
            reach = np.where(self.valid > 0, self.shown, np.float32(_UNSEEN_REACH)).astype(np.float32)
            return RayView(bin_from_patient=self.bin_from_patient, thickness_mm=thickness, valid=valid, reach=reach)
        away_mm = np.asarray(ndimage.distance_transform_edt(self.touched == 0) * spacing_mm * _BIN_OF_VOXEL, np.float32)
        reach = np.maximum(np.exp(-away_mm / np.float32(older_mm)), np.float32(_LEAST_REACH))
        return RayView(
            bin_from_patient=self.bin_from_patient,
            thickness_mm=thickness,
            valid=valid,
            reach=np.asarray(reach, np.float32),
            beyond=_LEAST_REACH,
            lower=True,
        )


def bins_of_pixels(step_px: int, first_px: tuple[float, float]) -> F64:
    """(3, 3): homogeneous pixel to bin."""
    u, v = first_px
    return np.array([[1.0 / step_px, 0.0, -u / step_px], [0.0, 1.0 / step_px, -v / step_px], [0.0, 0.0, 1.0]])


def binned(view: CementView, pixel_from_patient: F64, *, spacing_mm: float, depth_mm: float) -> BinnedView | None:
    """Cut and bin a view; None where it shows no cement.

    Args:
        view: with a mask.
        pixel_from_patient: (3, 4), w in mm.
        spacing_mm: of the voxels.
        depth_mm: w at which the cement is, roughly.
        front_hidden: most of what lies around the cement could not be seen: where it ends is not known.
    """
    assert view.mask is not None
    columns, rows = np.flatnonzero(view.mask.any(axis=0)), np.flatnonzero(view.mask.any(axis=1))
    if len(columns) == 0:
        return None
    step = max(1, round(_BIN_OF_VOXEL * spacing_mm * focal_px(pixel_from_patient) / depth_mm))
    height, width = view.mask.shape
    # Whole bins, counted from the picture's corner, so that a growing mask does not shift them.
    first_column, first_row = max(columns[0] // step - _RIM_BINS, 0), max(rows[0] // step - _RIM_BINS, 0)
    count_u = min(columns[-1] // step + 1 + _RIM_BINS, width // step) - first_column
    count_v = min(rows[-1] // step + 1 + _RIM_BINS, height // step) - first_row
    if count_u <= 0 or count_v <= 0:
        return None
    part = (
        slice(first_row * step, (first_row + count_v) * step),
        slice(first_column * step, (first_column + count_u) * step),
    )
    mask = view.mask[part] > 0
    sighted = np.ones(mask.shape, np.float32) if view.blind is None else (view.blind[part] == 0).astype(np.float32)
    touched = _block_sums(mask.astype(np.float32), step) > 0.0
    if not touched.any():
        return None
    shown = ndimage.binary_dilation(touched, np.ones((3, 3)))
    seen = _block_sums(sighted, step)
    thickness = None
    if view.thickness_mm is not None:
        values = np.nan_to_num(view.thickness_mm[part], nan=0.0, posinf=0.0, neginf=0.0) * sighted
        mean = np.where(shown, _block_sums(values, step) / np.maximum(seen, 1.0), 0.0)
        thickness = np.maximum(mean, 0.0).astype(np.float32)
    middle = (step - 1) / 2.0
    valid = seen >= 0.5 * step * step
    around = ndimage.binary_dilation(shown, np.ones((3, 3)), iterations=_AROUND_BINS) & ~shown
    return BinnedView(
        view=view,
        pixel_from_patient=pixel_from_patient,
        step_px=step,
        first_px=(float(first_column * step + middle), float(first_row * step + middle)),
        thickness_mm=thickness,
        valid=valid.astype(np.uint8),
        shown=shown.astype(np.uint8),
        touched=touched.astype(np.uint8),
        depth_mm=depth_mm,
        front_hidden=view.growth_only
        or bool(around.any() and np.count_nonzero(around & ~valid) > _HIDDEN * np.count_nonzero(around)),
    )


def enclosed_box(
    views: Sequence[BinnedView], margins_mm: Sequence[float], *, near_mm: float, far_mm: float
) -> F64 | None:
    """Least and greatest LPS coordinates of what lies in all views' rectangles: (2, 3); None where nothing does.

    The corners of a common part of pyramids lie on edges of one that are within all others.

    Args:
        views: one or more.
        margins_mm: around each view's rectangle, mm at the cement.
        near_mm, far_mm: w between which cement is looked for in each view.
    """
    rectangles = [
        one.corners_px(mm * focal_px(one.pixel_from_patient) / one.depth_mm)
        for one, mm in zip(views, margins_mm, strict=True)
    ]
    corners = []
    for n, one in enumerate(views):
        source = source_of(one.pixel_from_patient)
        for direction in _directions(one.pixel_from_patient, rectangles[n]):
            first, last = near_mm, far_mm
            for m, other in enumerate(views):
                if m != n:
                    first, last = _clipped(other.pixel_from_patient, rectangles[m], source, direction, first, last)
            if first < last:
                corners += [source + first * direction, source + last * direction]
    if not corners:
        return None
    points = np.array(corners)
    return np.stack([points.min(axis=0), points.max(axis=0)])


def source_of(pixel_from_patient: F64) -> F64:
    """(3,) LPS of the X-ray source."""
    return -(np.linalg.inv(pixel_from_patient[:, :3]) @ pixel_from_patient[:, 3])


def focal_px(pixel_from_patient: F64) -> float:
    """Focal length, w in mm."""
    return float(np.sqrt(abs(np.linalg.det(pixel_from_patient[:, :3]))))


def _directions(pixel_from_patient: F64, corners_px: F64) -> F64:
    """(4, 3) of the rays through the corners; w grows by 1 along each."""
    return np.asarray(np.column_stack([corners_px, np.ones(4)]) @ np.linalg.inv(pixel_from_patient[:, :3]).T)


def _clipped(
    pixel_from_patient: F64, corners_px: F64, source: F64, direction: F64, first: float, last: float
) -> tuple[float, float]:
    """The part of a ray that falls into a view's rectangle."""
    (left, top), _, (right, bottom), _ = corners_px
    u, v, w = pixel_from_patient
    for plane in (u - left * w, right * w - u, v - top * w, bottom * w - v, w - np.array([0.0, 0.0, 0.0, 1.0])):
        at, slope = float(plane[:3] @ source + plane[3]), float(plane[:3] @ direction)
        if abs(slope) < 1e-12:
            if at < 0.0:
                return 1.0, 0.0
        elif slope > 0.0:
            first = max(first, -at / slope)
        else:
            last = min(last, -at / slope)
    return first, last


def _block_sums(values: F32, step: int) -> F32:
    rows, columns = values.shape
    blocks: F32 = values.reshape(rows // step, step, columns // step, step).sum(axis=(1, 3))
    return blocks
