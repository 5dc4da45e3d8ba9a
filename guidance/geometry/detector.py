"""From the detector's plane to the pixel of the picture as sent: pitch, crop, zoom, turn, flip; each its own 3x3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.errors import GeometryError
from guidance.messages import F64

FOV_ROTATIONS_DEG: Final = (0, 90, 180, 270)
LARGEST_DETECTOR_MM: Final = 1000.0  # the largest in use are 430 mm; room for a stitched or simulated one


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The detector as one picture sees it.

    Attributes:
        rows, columns: size of the cropped picture *before* turn and flip; > 0.
        pitch_row_mm: distance of neighbouring rows (v), first value of Imager Pixel Spacing (0018,1164); > 0.
        pitch_column_mm: distance of neighbouring columns (u), second value; > 0.
        principal_point_px: (u, v) where the isocentre projects, in pixels of the cropped picture before turn and
            flip; None: the middle, ((columns - 1) / 2, (rows - 1) / 2).
        fov_rotation_deg: Field of View Rotation (0018,7032), clockwise: 0, 90, 180 or 270.
        fov_flip: Field of View Horizontal Flip (0018,7034), after the rotation.

    Raises:
        GeometryError: `bad_picture_size`, `bad_pixel_spacing`, `bad_principal_point` or `bad_fov_rotation`.
    """

    rows: int
    columns: int
    pitch_row_mm: float
    pitch_column_mm: float
    principal_point_px: tuple[float, float] | None = None
    fov_rotation_deg: int = 0
    fov_flip: bool = False

    def __post_init__(self) -> None:
        if self.rows <= 0 or self.columns <= 0:
            raise GeometryError(f"picture of {self.rows} rows, {self.columns} columns", code="bad_picture_size")
        if not (0.0 < self.pitch_row_mm < math.inf and 0.0 < self.pitch_column_mm < math.inf):
            raise GeometryError(
                f"pixel spacing {self.pitch_row_mm} {self.pitch_column_mm} mm",
                code="bad_pixel_spacing",
                mend="row and column spacing in the detector's plane, greater than 0",
            )
        check_detector_size(self.rows * self.pitch_row_mm, self.columns * self.pitch_column_mm)
        if self.principal_point_px is not None and not all(math.isfinite(value) for value in self.principal_point_px):
            raise GeometryError(f"principal point {self.principal_point_px}", code="bad_principal_point")
        check_fov_rotation(self.fov_rotation_deg)

    @property
    def principal_point_or_middle_px(self) -> tuple[float, float]:
        """(u, v) before turn and flip."""
        return self.principal_point_px or ((self.columns - 1) / 2.0, (self.rows - 1) / 2.0)

    @property
    def picture_size(self) -> tuple[int, int]:
        """(rows, columns) of the picture as sent."""
        return (self.columns, self.rows) if self.fov_rotation_deg in (90, 270) else (self.rows, self.columns)

    def picture_from_plane(self) -> F64:
        """(3, 3): homogeneous (x right, y down) mm in the detector's plane from where the central ray meets it
        -> pixel (u, v) of the picture as sent."""
        u0, v0 = self.principal_point_or_middle_px
        cropped_from_plane = pixel_from_plane(self.pitch_row_mm, self.pitch_column_mm, (u0, v0))
        if self.fov_rotation_deg == 0 and not self.fov_flip:
            return cropped_from_plane
        return picture_from_cropped(self.rows, self.columns, self.fov_rotation_deg, self.fov_flip) @ cropped_from_plane


def detector_of_picture(
    rows: int,
    columns: int,
    *,
    pitch_row_mm: float,
    pitch_column_mm: float,
    principal_point_px: tuple[float, float] | None = None,
    fov_rotation_deg: int = 0,
    fov_flip: bool = False,
) -> Detector:
    """Detector from the size of the picture *as sent* (after turn and flip); the rest as in `Detector`."""
    if check_fov_rotation(fov_rotation_deg) in (90, 270):
        rows, columns = columns, rows
    return Detector(
        rows=rows,
        columns=columns,
        pitch_row_mm=pitch_row_mm,
        pitch_column_mm=pitch_column_mm,
        principal_point_px=principal_point_px,
        fov_rotation_deg=fov_rotation_deg,
        fov_flip=fov_flip,
    )


def pixel_from_plane(pitch_row_mm: float, pitch_column_mm: float, principal_point_px: tuple[float, float]) -> F64:
    """(3, 3): mm in the detector's plane (x right, y down, from the central ray) -> pixel."""
    u0, v0 = principal_point_px
    return np.array(((1.0 / pitch_column_mm, 0.0, u0), (0.0, 1.0 / pitch_row_mm, v0), (0.0, 0.0, 1.0)))


def cropped_from_pixel(origin_row: float, origin_column: float) -> F64:
    """(3, 3): pixel of the whole detector -> pixel of the field of view cut out of it.

    Args:
        origin_row, origin_column: Field of View Origin (0018,7030), row offset first, in pixels of the detector.
    """
    return np.array(((1.0, 0.0, -origin_column), (0.0, 1.0, -origin_row), (0.0, 0.0, 1.0)))


def zoomed_from_pixel(factor_u: float, factor_v: float) -> F64:
    """(3, 3): pixel -> pixel of the picture resampled to `factor` times as many; the pitch shrinks by the factor.

    Pixel centres are at integers, so the picture's edge at -0.5 is what stays.
    """
    return np.array(
        (
            (factor_u, 0.0, 0.5 * factor_u - 0.5),
            (0.0, factor_v, 0.5 * factor_v - 0.5),
            (0.0, 0.0, 1.0),
        )
    )


def turned_from_cropped(rows: int, columns: int, rotation_deg: int) -> F64:
    """(3, 3): pixel -> pixel of the picture turned clockwise (as `np.rot90(picture, -rotation_deg // 90)`).

    Args:
        rows, columns: size before the turn.
        rotation_deg: 0, 90, 180 or 270.

    Raises:
        GeometryError: `bad_fov_rotation`.
    """
    right, bottom = columns - 1.0, rows - 1.0
    rotation = check_fov_rotation(rotation_deg)
    if rotation == 90:
        return np.array(((0.0, -1.0, bottom), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    if rotation == 180:
        return np.array(((-1.0, 0.0, right), (0.0, -1.0, bottom), (0.0, 0.0, 1.0)))
    if rotation == 270:
        return np.array(((0.0, 1.0, 0.0), (-1.0, 0.0, right), (0.0, 0.0, 1.0)))
    return np.eye(3)


def flipped_from_turned(columns: int) -> F64:
    """(3, 3): pixel -> pixel of the picture flipped left to right (`np.fliplr`); `columns` after the turn."""
    return np.array(((-1.0, 0.0, columns - 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def picture_from_cropped(rows: int, columns: int, rotation_deg: int, flip: bool) -> F64:
    """(3, 3): turn, then flip; `rows`, `columns` before the turn. Source: PS3.3 C.8.11.4, (0018,7032), (0018,7034)."""
    turned = turned_from_cropped(rows, columns, rotation_deg)
    if not flip:
        return turned
    return flipped_from_turned(rows if rotation_deg in (90, 270) else columns) @ turned


def check_detector_size(height_mm: float, width_mm: float) -> None:
    """Refuse a detector that no C-arm carries, as a picture sent with a default spacing of 1 mm would need.

    Raises:
        GeometryError: `bad_pixel_spacing`.
    """
    if max(height_mm, width_mm) > LARGEST_DETECTOR_MM:
        raise GeometryError(
            f"a detector of {height_mm:.0f} x {width_mm:.0f} mm",
            code="bad_pixel_spacing",
            mend="pixel spacing in mm in the detector's plane",
        )


def check_fov_rotation(rotation_deg: float) -> int:
    """The rotation as one of DICOM's four.

    Raises:
        GeometryError: `bad_fov_rotation`.
    """
    if rotation_deg not in FOV_ROTATIONS_DEG:
        raise GeometryError(
            f"field of view rotation {rotation_deg} deg", code="bad_fov_rotation", mend="0, 90, 180 or 270, clockwise"
        )
    return int(rotation_deg)
