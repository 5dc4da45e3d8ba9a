"""The geometry keys of an IMAGE message: text in, checked values out, or a GeometryError that names the key."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from guidance.errors import GeometryError
from guidance.geometry.detector import check_fov_rotation
from guidance.geometry.positioner import check_patient_position
from guidance.messages import Vector3

# float() also takes "1_000", "nan", "infinity" and other scripts' digits, none of which the contract allows.
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LARGEST_FRAME_NUMBER: Final = 2**63 - 1
_FARTHEST_MM: Final = 5000.0  # further from the frame's origin there is neither patient nor room

# key -> how many numbers, least, most; angles' ranges are DICOM's (PS3.3 C.8.7.5.1.2, C.8.19.6.13).
_NUMBERS: Final[dict[str, tuple[int, float, float]]] = {
    "XRay.ProjectionMatrix": (12, -math.inf, math.inf),
    "XRay.PrimaryAngleDeg": (1, -180.0, 180.0),
    "XRay.SecondaryAngleDeg": (1, -90.0, 90.0),
    "XRay.IsocenterPrimaryAngleDeg": (1, -180.0, 180.0),
    "XRay.IsocenterSecondaryAngleDeg": (1, -180.0, 180.0),
    "XRay.DetectorRotationDeg": (1, -360.0, 360.0),
    "XRay.SourceToDetectorMm": (1, 1.0, _FARTHEST_MM),
    "XRay.SourceToIsocenterMm": (1, 1.0, _FARTHEST_MM),
    "XRay.ImagerPixelSpacingMm": (2, 0.01, 10.0),
    "XRay.IsocenterProjectionPx": (2, -1e5, 1e5),
    "XRay.IsocenterLpsMm": (3, -_FARTHEST_MM, _FARTHEST_MM),
    "XRay.CollimatorPx": (4, -1e5, 1e5),
    "XRay.TableMm": (3, -_FARTHEST_MM, _FARTHEST_MM),
    "XRay.TableAtCbctMm": (3, -_FARTHEST_MM, _FARTHEST_MM),
}
_WORDS: Final = (
    "XRay.PatientPosition",
    "XRay.FrameOfReferenceUID",
    "XRay.FovRotationDeg",
    "XRay.FovFlip",
    "XRay.Live",
)
GEOMETRY_KEYS: Final = (*_NUMBERS, *_WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class XRayMetadata:
    """What the metadata say, checked one by one; None (or "") where a key is missing or empty.

    Attributes:
        projection_matrix: 12 numbers row-major, patient LPS mm -> pixel as sent, any scale and sign.
        primary_angle_deg, secondary_angle_deg: relative to the patient.
        isocenter_primary_angle_deg, isocenter_secondary_angle_deg: relative to the equipment.
        detector_rotation_deg: of the system that the angles are in.
        imager_pixel_spacing_mm: (row, column), detector's plane.
        isocenter_projection_px: (u, v), cropped picture before turn and flip.
        isocenter_lps_mm: isocentre in the patient.
        table_mm, table_at_cbct_mm: equipment axes.
        collimator_px: left, top, right, bottom; not checked against each other, for only their place counts.
        live: False for a held picture; None if not stated.
    """

    projection_matrix: tuple[float, ...] | None = None
    primary_angle_deg: float | None = None
    secondary_angle_deg: float | None = None
    isocenter_primary_angle_deg: float | None = None
    isocenter_secondary_angle_deg: float | None = None
    detector_rotation_deg: float | None = None
    source_to_detector_mm: float | None = None
    source_to_isocenter_mm: float | None = None
    imager_pixel_spacing_mm: tuple[float, float] | None = None
    isocenter_projection_px: tuple[float, float] | None = None
    isocenter_lps_mm: Vector3 | None = None
    collimator_px: tuple[float, float, float, float] | None = None
    table_mm: Vector3 | None = None
    table_at_cbct_mm: Vector3 | None = None
    patient_position: str = ""
    frame_of_reference_uid: str = ""
    fov_rotation_deg: int | None = None
    fov_flip: bool | None = None
    live: bool | None = None

    @property
    def has_angles(self) -> bool:
        """Whether any positioner angle is told, complete or not."""
        return not (
            self.primary_angle_deg is None
            and self.secondary_angle_deg is None
            and self.isocenter_primary_angle_deg is None
            and self.isocenter_secondary_angle_deg is None
        )


def read_metadata(metadata: Mapping[str, str]) -> XRayMetadata:
    """Read the geometry keys of contract 5.3; other keys are not looked at.

    Raises:
        GeometryError: `bad_number`, `wrong_count`, `not_finite`, `out_of_range`, `unknown_patient_position`,
            `bad_fov_rotation` or `bad_flag`, naming key, value and mend.
    """
    get = metadata.get
    # A stream repeats most of its texts from frame to frame, so they are looked up before they are parsed again.
    return _read(tuple([get(key, "") for key in GEOMETRY_KEYS]))


def read_frame_number(metadata: Mapping[str, str]) -> int | None:
    """`XRay.FrameNumber`: whole, 0 to 2^63 - 1; None where it is missing or empty.

    Raises:
        GeometryError: `bad_frame_number`.
    """
    text = metadata.get("XRay.FrameNumber", "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _LARGEST_FRAME_NUMBER):
        raise GeometryError(
            f"XRay.FrameNumber is {_shown(text)}", code="bad_frame_number", mend="a whole number, 0 to 2^63 - 1"
        )
    return int(text)


@lru_cache(maxsize=256)
def _read(texts: tuple[str, ...]) -> XRayMetadata:
    by_key = {key: text.strip() for key, text in zip(GEOMETRY_KEYS, texts, strict=True) if text and text.strip()}
    numbers = {key: _numbers(key, by_key[key]) for key in _NUMBERS if key in by_key}

    def one(key: str) -> float | None:
        return numbers[key][0] if key in numbers else None

    def two(key: str) -> tuple[float, float] | None:
        return (numbers[key][0], numbers[key][1]) if key in numbers else None

    def three(key: str) -> Vector3 | None:
        return (numbers[key][0], numbers[key][1], numbers[key][2]) if key in numbers else None

    def four(key: str) -> tuple[float, float, float, float] | None:
        return (numbers[key][0], numbers[key][1], numbers[key][2], numbers[key][3]) if key in numbers else None

    position = by_key.get("XRay.PatientPosition", "")
    rotation = by_key.get("XRay.FovRotationDeg", "")
    return XRayMetadata(
        projection_matrix=numbers.get("XRay.ProjectionMatrix"),
        primary_angle_deg=one("XRay.PrimaryAngleDeg"),
        secondary_angle_deg=one("XRay.SecondaryAngleDeg"),
        isocenter_primary_angle_deg=one("XRay.IsocenterPrimaryAngleDeg"),
        isocenter_secondary_angle_deg=one("XRay.IsocenterSecondaryAngleDeg"),
        detector_rotation_deg=one("XRay.DetectorRotationDeg"),
        source_to_detector_mm=one("XRay.SourceToDetectorMm"),
        source_to_isocenter_mm=one("XRay.SourceToIsocenterMm"),
        imager_pixel_spacing_mm=two("XRay.ImagerPixelSpacingMm"),
        isocenter_projection_px=two("XRay.IsocenterProjectionPx"),
        isocenter_lps_mm=three("XRay.IsocenterLpsMm"),
        collimator_px=four("XRay.CollimatorPx"),
        table_mm=three("XRay.TableMm"),
        table_at_cbct_mm=three("XRay.TableAtCbctMm"),
        patient_position=check_patient_position(position) if position else "",
        frame_of_reference_uid=by_key.get("XRay.FrameOfReferenceUID", "").rstrip("\0"),
        fov_rotation_deg=check_fov_rotation(_number("XRay.FovRotationDeg", rotation)) if rotation else None,
        fov_flip=_flag("XRay.FovFlip", by_key),
        live=_flag("XRay.Live", by_key),
    )


def _numbers(key: str, text: str) -> tuple[float, ...]:
    count, least, most = _NUMBERS[key]
    parts = text.split()
    if len(parts) != count:
        raise GeometryError(
            f"{key} has {len(parts)} values: {_shown(text)}",
            code="wrong_count",
            mend=f"{count} decimal number{'s' if count > 1 else ''} separated by blanks",
        )
    values = tuple(_number(key, part) for part in parts)
    for value in values:
        if not least <= value <= most:
            raise GeometryError(f"{key} is {_shown(text)}", code="out_of_range", mend=f"from {least:g} to {most:g}")
    return values


def _number(key: str, text: str) -> float:
    if _DECIMAL.fullmatch(text) is None:
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise GeometryError(f"{key} holds {_shown(text)}", code="not_finite", mend="send finite numbers")
        raise GeometryError(f"{key} holds {_shown(text)}", code="bad_number", mend="decimal text with a point")
    value = float(text)
    if not math.isfinite(value):
        raise GeometryError(f"{key} holds {_shown(text)}", code="not_finite", mend="send finite numbers")
    return value


def _flag(key: str, by_key: Mapping[str, str]) -> bool | None:
    text = by_key.get(key)
    if text is None:
        return None
    if text not in ("0", "1"):
        raise GeometryError(f"{key} is {_shown(text)}", code="bad_flag", mend="0 or 1")
    return text == "1"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
