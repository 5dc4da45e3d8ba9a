"""The suite's calibration table as TOML text: read with every key checked, and written."""

from __future__ import annotations

import math
import tomllib
from typing import Any, Final

import numpy as np

from guidance.errors import ConfigError, GeometryError
from guidance.geometry.calibration_field import FieldModel
from guidance.geometry.calibration_table import CalibratedView, CalibrationTable
from guidance.geometry.camera import check_plausible, decomposed, normalised
from guidance.geometry.detector import FOV_ROTATIONS_DEG
from guidance.geometry.positioner import positioner_axes
from guidance.messages import F64

__all__ = ["FORMAT", "CalibratedView", "CalibrationTable", "calibration_table_from_text", "text_of_calibration_table"]

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
    "model",
    "view",
}
_VIEW_KEYS: Final = {
    "primary_deg",
    "secondary_deg",
    "detector_rotation_deg",
    "source_to_detector_mm",
    "pixel_from_equipment",
    "intrinsics_px",
    "camera_from_equipment",
    "translation_mm",
    "covariance",
}
_MODEL_KEYS: Final = {"local_deg", "local_share", "signal_mm", "repeat_mm"}
_NUMBERS: Final = 9


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
        model=_model(table["model"], origin) if "model" in table else None,
    )


def text_of_calibration_table(table: CalibrationTable) -> str:
    """What `calibration_table_from_text` reads again: the same numbers to the last bit, covariances to 9 digits."""
    model = table.field_model
    lines = [
        f'format = "{FORMAT}"',
        "version = 1",
        f"suite = {_quoted(table.suite)}",
        f"rows = {table.rows}",
        f"columns = {table.columns}",
        f"fov_rotation_deg = {table.fov_rotation_deg}",
        f"fov_flip = {'true' if table.fov_flip else 'false'}",
        f"tolerance_deg = {table.tolerance_deg!r}",
        f"tolerance_mm = {table.tolerance_mm!r}",
        "",
        "[model]",
        f"local_deg = {model.local_deg!r}",
        f"local_share = {model.local_share!r}",
        f"signal_mm = {model.signal_mm!r}",
        f"repeat_mm = {model.repeat_mm!r}",
    ]
    for view in table.views:
        numbers = ", ".join(repr(value) for value in view.pixel_from_equipment.ravel().tolist())
        lines += [
            "",
            "[[view]]",
            f"primary_deg = {view.primary_deg!r}",
            f"secondary_deg = {view.secondary_deg!r}",
            f"detector_rotation_deg = {view.detector_rotation_deg!r}",
            f"source_to_detector_mm = {view.source_to_detector_mm!r}",
            f"pixel_from_equipment = [{numbers}]",
        ]
        if view.covariance is not None:
            triangle = view.covariance[np.tril_indices(_NUMBERS)].tolist()
            lines.append(f"covariance = [{', '.join(f'{value:.9g}' for value in triangle)}]")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


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
        covariance=_covariance(view, where) if "covariance" in view else None,
    )


def _model(model: Any, origin: str) -> FieldModel:
    if not isinstance(model, dict):
        raise _refused(f"{origin}: model is no table")
    where = f"{origin}, model"
    _only_known(model, _MODEL_KEYS, where)
    return FieldModel(
        local_deg=_number(model, "local_deg", where, 1.0, 180.0),
        local_share=_number(model, "local_share", where, 0.001, 1.0),
        signal_mm=_number(model, "signal_mm", where, 0.01, 100.0),
        repeat_mm=_number(model, "repeat_mm", where, 0.0, 100.0, 0.0),
    )


def _covariance(view: dict[str, Any], where: str) -> F64:
    """(9, 9) from its lower triangle, row by row."""
    rows = np.tril_indices(_NUMBERS)
    covariance = np.zeros((_NUMBERS, _NUMBERS))
    covariance[rows] = _numbers(view, "covariance", where, len(rows[0]))
    covariance += np.tril(covariance, -1).T
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    if np.linalg.eigvalsh(covariance / np.outer(scale, scale))[0] < -1e-6:
        raise _refused(f"{where}: covariance is none: it has a negative variance")
    return covariance


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
