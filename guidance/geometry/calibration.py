"""Geometry form (c): the suite's calibration table, from TOML text to the projection of a pose near a stored one."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from guidance.errors import ConfigError, GeometryError
from guidance.geometry.camera import check_plausible, decomposed, normalised
from guidance.geometry.detector import FOV_ROTATIONS_DEG
from guidance.geometry.positioner import positioner_axes
from guidance.messages import F64

FORMAT: Final = "guidance-calibration-table"
_TOP_KEYS: Final = {
    "format",
    "version",
    "suite",
    "rows",
    "columns",
    "fov_rotation_deg",
    "fov_flip",
    "tolerance_deg",
    "tolerance_mm",
    "view",
}
# A field of view ("zoom") has its own pitch; neighbouring ones differ by 20 % and more.
_PITCH_TOLERANCE: Final = 0.02
_VIEW_KEYS: Final = {
    "primary_deg",
    "secondary_deg",
    "detector_rotation_deg",
    "source_to_detector_mm",
    "pixel_from_equipment",
    "intrinsics_px",
    "camera_from_equipment",
    "translation_mm",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedView:
    """One calibrated stand of the gantry.

    Attributes:
        primary_deg, secondary_deg, detector_rotation_deg: equipment-related angles as the equipment shows them.
        source_to_detector_mm: as the equipment shows it.
        pixel_from_equipment: (3, 4), equipment axes with the isocentre as origin -> pixel as sent; w in mm.
    """

    primary_deg: float
    secondary_deg: float
    detector_rotation_deg: float
    source_to_detector_mm: float
    pixel_from_equipment: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationTable:
    """The suite's calibrated views.

    Attributes:
        suite: whose it is, for people.
        rows, columns: size of the pictures that it is true for, as sent.
        fov_rotation_deg, fov_flip: turn and flip of those pictures.
        tolerance_deg: how far (turn of the whole gantry, degrees) a pose may be from a calibrated one.
        tolerance_mm: how far its source to detector distance may be from the calibrated one's.
        views: at least one.
    """

    suite: str
    rows: int
    columns: int
    fov_rotation_deg: int
    fov_flip: bool
    tolerance_deg: float
    tolerance_mm: float
    views: tuple[CalibratedView, ...]

    def pixel_from_equipment(
        self,
        *,
        primary_deg: float,
        secondary_deg: float,
        detector_rotation_deg: float,
        source_to_detector_mm: float,
        rows: int,
        columns: int,
        fov_rotation_deg: int = 0,
        fov_flip: bool = False,
        pitch_row_mm: float | None = None,
    ) -> F64:
        """Projection for a pose: the nearest calibrated view's, turned about the isocentre by the difference.

        The nearest view carries what calibration found (sag, true focus, true centre); the small rest of the way is
        turned as the angles say, so that a pose that was calibrated gives exactly its matrix.

        Args:
            primary_deg, secondary_deg, detector_rotation_deg: equipment-related.
            source_to_detector_mm: as the equipment shows it.
            rows, columns: of the picture as sent.
            fov_rotation_deg, fov_flip: turn and flip that are in it.
            pitch_row_mm: Imager Pixel Spacing's first value if it is told; another one is another field of view.

        Returns:
            (3, 4), w in mm along the central ray.

        Raises:
            GeometryError: `view_not_calibrated` if nothing within the tolerances was calibrated, or the picture's
                size, turn, flip or field of view is not the table's.
        """
        ours = (self.columns, self.rows, self.fov_rotation_deg, self.fov_flip)
        if (columns, rows, fov_rotation_deg, fov_flip) != ours:
            raise GeometryError(
                f"picture of {columns} x {rows} pixels, turned {fov_rotation_deg} deg, flip {fov_flip:d}: "
                "the calibration table is for {} x {}, {} deg, {:d}".format(*ours),
                code="view_not_calibrated",
                mend="send the calibrated kind of picture or calibrate this one",
            )
        now = positioner_axes(primary_deg, secondary_deg, detector_rotation_deg)
        near = [v for v in self.views if abs(v.source_to_detector_mm - source_to_detector_mm) <= self.tolerance_mm]
        turns = [equipment_turn(view, now) for view in near]
        degrees = [_turned_deg(turn) for turn in turns]
        best = min(range(len(near)), key=degrees.__getitem__, default=None)
        if best is None or degrees[best] > self.tolerance_deg:
            raise GeometryError(
                f"no view within {self.tolerance_deg:g} deg and {self.tolerance_mm:g} mm of {primary_deg:.1f} / "
                f"{secondary_deg:.1f} deg at {source_to_detector_mm:.0f} mm is in the calibration table",
                code="view_not_calibrated",
                mend="calibrate this view or go to one that is",
            )
        view = near[best]
        if pitch_row_mm is not None:
            calibrated_mm = view.source_to_detector_mm / decomposed(view.pixel_from_equipment).focal_v_px
            if abs(pitch_row_mm / calibrated_mm - 1.0) > _PITCH_TOLERANCE:
                raise GeometryError(
                    f"pixel spacing {pitch_row_mm:.4f} mm, the calibration table's view has {calibrated_mm:.4f} mm",
                    code="view_not_calibrated",
                    mend="calibrate this field of view",
                )
        matrix = view.pixel_from_equipment.copy()
        matrix[:, :3] = matrix[:, :3] @ turns[best]
        return matrix


def calibration_table_from_text(toml_text: str, *, origin: str = "calibration table") -> CalibrationTable:
    """Read a calibration table; the format is in docs/geometry.md.

    Args:
        toml_text: the file's content.
        origin: the file's name, for the error.

    Raises:
        ConfigError: `bad_calibration_table`, naming file, view and mend.
    """
    try:
        table = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise _refused(f"{origin} is not valid TOML: {error}") from None
    _only_known(table, _TOP_KEYS, origin)
    if table.get("format") != FORMAT or table.get("version") != 1:
        raise _refused(f'{origin} does not begin with format = "{FORMAT}", version = 1')
    views = table.get("view")
    if not isinstance(views, list) or not views or not all(isinstance(view, dict) for view in views):
        raise _refused(f"{origin} has no [[view]]")
    suite = table.get("suite", "")
    if not isinstance(suite, str):
        raise _refused(f"{origin}: suite is not a text")
    flip = table.get("fov_flip", False)
    if not isinstance(flip, bool):
        raise _refused(f"{origin}: fov_flip is not true or false")
    rotation = table.get("fov_rotation_deg", 0)
    if isinstance(rotation, bool) or rotation not in FOV_ROTATIONS_DEG:
        raise _refused(f"{origin}: fov_rotation_deg must be 0, 90, 180 or 270")
    return CalibrationTable(
        suite=suite,
        fov_rotation_deg=int(rotation),
        fov_flip=flip,
        rows=_size(table, "rows", origin),
        columns=_size(table, "columns", origin),
        tolerance_deg=_number(table, "tolerance_deg", origin, 0.0, 10.0, 2.0),
        tolerance_mm=_number(table, "tolerance_mm", origin, 0.0, 50.0, 1.0),
        views=tuple(_view(view, f"{origin}, view {index}") for index, view in enumerate(views, start=1)),
    )


def equipment_turn(view: CalibratedView, axes_now: F64) -> F64:
    """(3, 3): turns equipment vectors so that the calibrated view sees them as the pose of `axes_now` would."""
    then = positioner_axes(view.primary_deg, view.secondary_deg, view.detector_rotation_deg)
    turn: F64 = then.T @ axes_now
    return turn


def _turned_deg(turn: F64) -> float:
    cosine = (float(turn[0, 0] + turn[1, 1] + turn[2, 2]) - 1.0) / 2.0
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _view(view: dict[str, Any], where: str) -> CalibratedView:
    _only_known(view, _VIEW_KEYS, where)
    if "pixel_from_equipment" in view:
        if _VIEW_KEYS & {"intrinsics_px", "camera_from_equipment", "translation_mm"} & view.keys():
            raise _refused(f"{where}: either pixel_from_equipment or the three parts, not both")
        matrix = _numbers(view, "pixel_from_equipment", where, 12).reshape(3, 4)
    else:
        rotation = _numbers(view, "camera_from_equipment", where, 9).reshape(3, 3)
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
            raise _refused(f"{where}: camera_from_equipment is not a rotation (or a rotation and a mirror)")
        translation = _numbers(view, "translation_mm", where, 3)
        matrix = _numbers(view, "intrinsics_px", where, 9).reshape(3, 3) @ np.column_stack((rotation, translation))
    try:
        # The isocentre is what the gantry turns about: it is between source and detector on every C-arm.
        matrix = normalised(matrix, np.zeros(3))
        parts = decomposed(matrix)
        check_plausible(parts)
    except GeometryError as error:
        raise _refused(f"{where}: {error.args[0]}") from None
    primary = _number(view, "primary_deg", where, -180.0, 180.0)
    secondary = _number(view, "secondary_deg", where, -180.0, 180.0)
    # 25 degrees: far more than any sag, far less than a wrong sign, a swapped pair or patient-related angles.
    toward_detector = -positioner_axes(primary, secondary)[1]
    if float(toward_detector @ parts.axes[2]) < math.cos(math.radians(25.0)):
        raise _refused(f"{where}: the matrix looks in another direction than primary_deg and secondary_deg say")
    return CalibratedView(
        primary_deg=primary,
        secondary_deg=secondary,
        detector_rotation_deg=_number(view, "detector_rotation_deg", where, -360.0, 360.0, 0.0),
        source_to_detector_mm=_number(view, "source_to_detector_mm", where, 1.0, 5000.0),
        pixel_from_equipment=matrix,
    )


def _numbers(table: dict[str, Any], key: str, where: str, count: int) -> F64:
    values = table.get(key)
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        or not all(math.isfinite(value) for value in values)
    ):
        raise _refused(f"{where}: {key} must be {count} finite numbers")
    return np.array(values, dtype=np.float64)


def _number(
    table: dict[str, Any], key: str, where: str, least: float, most: float, default: float | None = None
) -> float:
    value = table.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise _refused(f"{where}: {key} must be a number from {least:g} to {most:g}")
    return float(value)


def _size(table: dict[str, Any], key: str, where: str) -> int:
    value = table.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65535:
        raise _refused(f"{where}: {key} must be a whole number of pixels")
    return value


def _only_known(table: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise _refused(f"{where}: unknown key {unknown[0]}")


def _refused(message: str) -> ConfigError:
    return ConfigError(message, code="bad_calibration_table", mend="the format is in docs/geometry.md")
