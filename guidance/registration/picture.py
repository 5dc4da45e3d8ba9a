"""A radiograph made ready for comparison: line integrals up to a monotone curve, what is no picture masked, binned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.errors import GeometryError
from guidance.messages import F64
from guidance.registration.values import RegistrationView

F32 = npt.NDArray[np.float32]

LEVEL_PIXEL_MM: Final = (3.0, 1.5, 0.75)
"""Coarse to fine, at the pivot's depth; a picture that is coarser than that is taken as it is."""

_LEAST_SIDE_PX: Final = 24  # of a level: below it there is nothing to compare
_LEAST_VALID: Final = 0.75  # of the pixels binned into one
_PLATEAU: Final = 0.002  # share of pixels of one extreme value that makes it a limit, not a measurement
_FLAT: Final = 0.12  # of the usual local spread
_LEAST_PICTURE: Final = 0.08  # of the pixels must be comparable


@dataclass(frozen=True, slots=True, eq=False)
class PictureLevel:
    """One resolution.

    Attributes:
        integrals: (rows, columns), more material = higher; scale and offset unknown.
        valid: (rows, columns) 1 where it may be compared, else 0.
        step_px: pixels as sent per pixel.
        pixel_mm: size of a pixel at the pivot's depth.
    """

    integrals: F32
    valid: F32
    step_px: int
    pixel_mm: float

    @property
    def origin_px(self) -> float:
        """Of the first pixel's centre, in pixels as sent, along both axes."""
        return (self.step_px - 1) / 2.0


@dataclass(frozen=True, slots=True, eq=False)
class PreparedView:
    """A view ready for registration.

    Attributes:
        name: for words.
        pixel_from_patient: (3, 4), w in mm along the central ray, > 0 at the pivot.
        levels: coarse to fine.
        pixel_mm: of the picture as sent, at the pivot's depth.
        across_mm: (2, 3): how far, in LPS mm at the pivot's depth, one mm right and one mm down in the picture are.
        depth: (3,) unit vector from the source towards the detector.
    """

    name: str
    pixel_from_patient: F64
    levels: tuple[PictureLevel, ...]
    pixel_mm: float
    across_mm: F64
    depth: F64


def checked_matrix(view: RegistrationView) -> F64:
    """(3, 4) with w in mm; GeometryError `bad_geometry` if it is none of a camera."""
    matrix = np.asarray(view.pixel_from_patient, np.float64)
    if matrix.shape != (3, 4) or not np.isfinite(matrix).all():
        raise GeometryError(f"the geometry of {_named(view)} is not a finite 3x4 matrix", code="bad_geometry")
    scale = float(np.linalg.norm(matrix[2, :3]))
    if not scale > 0.0 or abs(np.linalg.det(matrix[:, :3] / scale)) < 1e-3:
        raise GeometryError(f"the geometry of {_named(view)} is no cone beam's", code="bad_geometry")
    return matrix / scale


def checked_pixels(view: RegistrationView) -> npt.NDArray[Any]:
    """The pixels; GeometryError `bad_picture` if they are no picture."""
    pixels = view.pixels
    if pixels.ndim != 2 or min(pixels.shape) < _LEAST_SIDE_PX or pixels.dtype.kind not in "uif":
        raise GeometryError(f"{_named(view)} is no grey picture of {_LEAST_SIDE_PX} px or more", code="bad_picture")
    if view.valid is not None and view.valid.shape != pixels.shape:
        raise GeometryError(f"the mask of {_named(view)} has another size than its picture", code="bad_picture")
    return pixels


def prepared(view: RegistrationView, pivot_lps_mm: F64) -> PreparedView:
    """Make one view ready.

    Raises:
        GeometryError: `bad_geometry`, `bad_picture`, `pivot_behind_source` or `no_structure`, naming the view.
    """
    matrix = checked_matrix(view)
    pixels = checked_pixels(view)
    depth_mm = float(matrix[2, :3] @ pivot_lps_mm + matrix[2, 3])
    if not depth_mm > 1.0:
        raise GeometryError(f"the volume lies behind the source of {_named(view)}", code="pivot_behind_source")
    towards = matrix[2, :3]
    axes = matrix[:2, :3] - np.outer(matrix[:2, :3] @ towards, towards)
    # One mm along u at that depth, told in patient axes: the rows' pseudo-inverse, so that skewed pixels are right too.
    across = np.linalg.pinv(axes).T
    pixel_mm = depth_mm * float(np.sqrt(np.linalg.norm(across[0]) * np.linalg.norm(across[1])))
    integrals, valid = _integrals(view, pixels)
    levels: list[PictureLevel] = []
    for wanted_mm in LEVEL_PIXEL_MM:
        step = max(1, round(wanted_mm / pixel_mm))
        step = min(step, max(1, min(pixels.shape) // _LEAST_SIDE_PX))
        levels.append(_binned(view, integrals, valid, step, pixel_mm))
    outside = _flat_rim(levels[0])
    coarse_step = levels[0].step_px
    levels = [
        PictureLevel(
            level.integrals, level.valid * _enlarged(outside, coarse_step, level), level.step_px, level.pixel_mm
        )
        for level in levels
    ]
    for level in levels:
        if float(level.valid.mean()) < _LEAST_PICTURE:
            raise GeometryError(f"too little of {_named(view)} can be compared", code="no_structure")
    unit = across / np.linalg.norm(across, axis=1, keepdims=True)
    return PreparedView(_named(view), matrix, tuple(levels), pixel_mm, unit, towards)


def _named(view: RegistrationView) -> str:
    return view.name or "the picture"


def _integrals(view: RegistrationView, pixels: npt.NDArray[Any]) -> tuple[F32, npt.NDArray[np.bool_]]:
    """Values that rise with material (not yet logarithms where linear), and which of them are measurements."""
    values = np.asarray(pixels, np.float32)
    valid = np.isfinite(values) if pixels.dtype.kind == "f" else np.ones(pixels.shape, bool)
    if view.valid is not None:
        valid &= view.valid
    real = values[valid]
    if real.size < _LEAST_PICTURE * values.size or not float(np.ptp(real)) > 0.0:
        raise GeometryError(f"{_named(view)} shows nothing", code="no_structure")
    if pixels.dtype.kind in "ui":
        valid &= values < _overlay_limit(real)
        real = values[valid]
    low, high = float(real.min()), float(real.max())
    for limit in (low, high):
        at_limit = values == limit
        if np.count_nonzero(at_limit & valid) > _PLATEAU * real.size:
            valid &= ~at_limit
    if view.intensity == "LIN" and view.sign == 1:
        valid &= values > 0.0
    if np.count_nonzero(valid) < _LEAST_PICTURE * values.size:
        raise GeometryError(f"too little of {_named(view)} can be compared", code="no_structure")
    return values, valid


def _overlay_limit(values: F32) -> float:
    """Above it only overlay planes in unused high bits are left: a power of two that nearly nothing reaches."""
    bulk = float(np.percentile(values[:: max(1, values.size // 65536)], 97.0))
    return float(2 ** int(np.ceil(np.log2(max(bulk, 1.0) + 1.0))))


def _binned(
    view: RegistrationView, values: F32, valid: npt.NDArray[np.bool_], step: int, pixel_mm: float
) -> PictureLevel:
    """Means over step x step pixels; linear pictures are averaged before the logarithm, so that noise adds no bias."""
    rows, columns = values.shape[0] // step, values.shape[1] // step
    cut = np.s_[: rows * step, : columns * step]
    weight = valid[cut].astype(np.float32)
    known = np.where(valid[cut], values[cut], np.float32(0.0))
    if step > 1:
        share = cv2.resize(weight, (columns, rows), interpolation=cv2.INTER_AREA)
        mean = cv2.resize(known, (columns, rows), interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)
    else:
        share, mean = weight, known
    ok = share >= _LEAST_VALID
    mean = np.asarray(mean, np.float32)
    middle = float(np.median(mean[ok])) if ok.any() else 1.0
    if view.intensity == "LIN" and view.sign == 1:
        mean = -np.log(np.maximum(mean, max(abs(middle) * 1e-4, 1e-12)) / np.float32(max(abs(middle), 1e-12)))
    else:
        mean = np.float32(-view.sign) * (mean - np.float32(middle))
    return PictureLevel(
        np.where(ok, mean, np.float32(0.0)).astype(np.float32), ok.astype(np.float32), step, pixel_mm * step
    )


def _flat_rim(level: PictureLevel) -> npt.NDArray[np.bool_]:
    """Blades, iris, open field: regions without any structure that touch the picture's border."""
    smooth = cv2.GaussianBlur(level.integrals, (0, 0), 0.8)
    mean = cv2.blur(smooth, (3, 3), borderType=cv2.BORDER_REPLICATE)
    spread = np.sqrt(np.maximum(cv2.blur(smooth * smooth, (3, 3), borderType=cv2.BORDER_REPLICATE) - mean * mean, 0.0))
    known = level.valid > 0.0
    if not known.any():
        return ~known
    usual = float(np.median(spread[known]))
    flat = (spread < _FLAT * usual) | ~known
    square = np.ones((3, 3), bool)
    flat = ndimage.binary_dilation(ndimage.binary_erosion(flat, square, border_value=1), square)
    labels, _ = ndimage.label(flat)
    rim = np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))
    outside = np.isin(labels, rim[rim > 0])
    # Blur and the 3x3 window keep flat regions three pixels away from the edge of what casts them.
    return np.asarray(ndimage.binary_dilation(outside, square, iterations=3) if outside.any() else outside)


def _enlarged(outside: npt.NDArray[np.bool_], coarse_step: int, level: PictureLevel) -> F32:
    """1 where the picture is not outside, on another level's pixels."""
    rows, columns = level.integrals.shape
    v = np.minimum((np.arange(rows) * level.step_px + level.origin_px).astype(int) // coarse_step, outside.shape[0] - 1)
    u = np.minimum(
        (np.arange(columns) * level.step_px + level.origin_px).astype(int) // coarse_step, outside.shape[1] - 1
    )
    return np.asarray(~outside[v[:, None], u[None, :]], np.float32)
