"""Positioner angles: patient-related and equipment-related, for every patient position; never a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.errors import GeometryError
from guidance.messages import F64

# Where the patient's left (L), back (P) and head (H) point in the equipment's axes of design section 3
# (x to the left of a supine head-first patient, y down, z to that patient's head): rows of lps_from_equipment.
# PS3.3 C.7.3.1.1.2: in "decubitus left" the patient lies on the left side.
_LPS_FROM_EQUIPMENT: Final[dict[str, tuple[tuple[int, int, int], ...]]] = {
    "HFS": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "HFP": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "FFS": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "FFP": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "HFDL": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "HFDR": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "FFDL": ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
    "FFDR": ((0, -1, 0), (-1, 0, 0), (0, 0, -1)),
}

# patient angle = sign * equipment angle + offset; feet first mirrors both angles and turns the picture by 180 degrees,
# because "up" in an unrotated picture is the equipment's +z in one system and the patient's head in the other.
_SIGN_AND_OFFSET_DEG: Final[dict[str, tuple[int, float]]] = {
    "HFS": (1, 0.0),
    "HFP": (1, 180.0),
    "HFDL": (1, -90.0),
    "HFDR": (1, 90.0),
    "FFS": (-1, 0.0),
    "FFP": (-1, 180.0),
    "FFDL": (-1, -90.0),
    "FFDR": (-1, 90.0),
}

PATIENT_POSITIONS: Final = tuple(_LPS_FROM_EQUIPMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CArmPose:
    """Where the gantry stands for one exposure, relative to the patient.

    Attributes:
        primary_angle_deg: Positioner Primary Angle; LAO positive, [-180, 180].
        secondary_angle_deg: Positioner Secondary Angle; cranial positive, [-90, 90].
        source_to_detector_mm: Distance Source to Detector; > source_to_isocenter_mm.
        source_to_isocenter_mm: Distance Source to Isocenter; > 0.
        detector_rotation_deg: turns the picture's content clockwise on the screen, [-360, 360].

    Raises:
        GeometryError: `angle_out_of_range`, `distance_out_of_range` or `not_finite`.

    Source: DICOM PS3.3 C.8.7.5.1.2 (angles), (0018,1110) and (0018,9402) (distances).
    """

    primary_angle_deg: float
    secondary_angle_deg: float
    source_to_detector_mm: float
    source_to_isocenter_mm: float
    detector_rotation_deg: float = 0.0

    def __post_init__(self) -> None:
        _check_angle("primary angle", self.primary_angle_deg, 180.0)
        _check_angle("secondary angle", self.secondary_angle_deg, 90.0)
        _check_angle("detector rotation", self.detector_rotation_deg, 360.0)
        if not 0.0 < self.source_to_isocenter_mm < self.source_to_detector_mm < math.inf:
            raise GeometryError(
                f"isocenter ({self.source_to_isocenter_mm} mm from the source) does not lie between source and "
                f"detector ({self.source_to_detector_mm} mm)",
                code="distance_out_of_range",
                mend="0 < source to isocenter < source to detector",
            )


def lps_from_equipment(patient_position: str) -> F64:
    """Rotation that turns a vector in equipment axes into the patient's LPS axes.

    Args:
        patient_position: DICOM (0018,5100), one of `PATIENT_POSITIONS`.

    Returns:
        (3, 3) float64, a proper rotation.

    Raises:
        GeometryError: `unknown_patient_position`.

    Source: design section 3; PS3.3 C.8.19.6.13 (axes), C.7.3.1.1.2 (positions).
    """
    return np.array(_LPS_FROM_EQUIPMENT[check_patient_position(patient_position)], dtype=np.float64)


def positioner_from_isocenter_angles(
    primary_deg: float, secondary_deg: float, patient_position: str
) -> tuple[float, float]:
    """Patient-related positioner angles of the same central ray as equipment-related ones.

    Args:
        primary_deg: Positioner Isocenter Primary Angle (0018,9463), [-180, 180].
        secondary_deg: Positioner Isocenter Secondary Angle (0018,9464), [-180, 180].
        patient_position: one of `PATIENT_POSITIONS`.

    Returns:
        (primary, secondary): primary in (-180, 180], secondary in [-90, 90].

    Raises:
        GeometryError: `unknown_patient_position`, `angle_out_of_range` or `not_finite`.
    """
    primary, secondary, _ = positioner_from_isocenter(primary_deg, secondary_deg, 0.0, patient_position)
    return primary, secondary


def positioner_from_isocenter(
    primary_deg: float, secondary_deg: float, detector_rotation_deg: float, patient_position: str
) -> tuple[float, float, float]:
    """The same with the detector's rotation (0018,9465), so that the picture stays the same picture.

    Returns:
        (primary, secondary, detector rotation), patient-related; the rotation in (-180, 180].

    Raises:
        GeometryError: `unknown_patient_position`, `angle_out_of_range` or `not_finite`.
    """
    _check_angle("isocenter primary angle", primary_deg, 180.0)
    _check_angle("isocenter secondary angle", secondary_deg, 180.0)
    _check_angle("detector rotation", detector_rotation_deg, 360.0)
    sign, offset_deg = _SIGN_AND_OFFSET_DEG[check_patient_position(patient_position)]
    primary, secondary = sign * primary_deg + offset_deg, sign * secondary_deg
    rotation = detector_rotation_deg + (0.0 if sign > 0 else 180.0)
    if abs(secondary) > 90.0:  # over the pole: the same ray from the other side, the picture upside down
        primary, secondary, rotation = primary + 180.0, math.copysign(180.0, secondary) - secondary, rotation + 180.0
    return wrap_deg(primary), secondary, wrap_deg(rotation)


def isocenter_from_positioner(
    primary_deg: float, secondary_deg: float, detector_rotation_deg: float, patient_position: str
) -> tuple[float, float, float]:
    """Inverse of `positioner_from_isocenter`; secondary comes back in [-90, 90].

    Raises:
        GeometryError: `unknown_patient_position`, `angle_out_of_range` or `not_finite`.
    """
    _check_angle("primary angle", primary_deg, 180.0)
    _check_angle("secondary angle", secondary_deg, 90.0)
    _check_angle("detector rotation", detector_rotation_deg, 360.0)
    sign, offset_deg = _SIGN_AND_OFFSET_DEG[check_patient_position(patient_position)]
    rotation = detector_rotation_deg - (0.0 if sign > 0 else 180.0)
    return wrap_deg(sign * (primary_deg - offset_deg)), sign * secondary_deg, wrap_deg(rotation)


def positioner_axes(primary_deg: float, secondary_deg: float, detector_rotation_deg: float = 0.0) -> F64:
    """Axes of DICOM's positioner frame, turned with the detector.

    Args:
        primary_deg, secondary_deg: patient-related angles (then the axes are LPS) or equipment-related ones
            (then they are equipment axes); any value.
        detector_rotation_deg: content turns clockwise on the screen.

    Returns:
        (3, 3) float64, rows Xp (along picture rows), Yp (isocentre to source), Zp (up the picture's columns);
        a proper rotation.

    Source: PS3.3 C.8.19.6.13; design section 3.
    """
    p, s, r = math.radians(primary_deg), math.radians(secondary_deg), math.radians(detector_rotation_deg)
    sin_p, cos_p, sin_s, cos_s, sin_r, cos_r = (
        math.sin(p),
        math.cos(p),
        math.sin(s),
        math.cos(s),
        math.sin(r),
        math.cos(r),
    )
    x0, x1 = cos_p, sin_p
    z0, z1, z2 = -sin_p * sin_s, cos_p * sin_s, cos_s
    # Content turned clockwise by r: what was right goes down, what was up goes right.
    return np.array(
        (
            (cos_r * x0 + sin_r * z0, cos_r * x1 + sin_r * z1, sin_r * z2),
            (-sin_p * cos_s, cos_p * cos_s, -sin_s),
            (cos_r * z0 - sin_r * x0, cos_r * z1 - sin_r * x1, cos_r * z2),
        )
    )


def angles_of_direction(toward_detector: F64) -> tuple[float, float]:
    """Primary and secondary angle of a ray.

    Args:
        toward_detector: (3,) float64, from source to detector, any length > 0, LPS (or equipment axes, for
            equipment-related angles).

    Returns:
        (primary_deg, secondary_deg); primary 0 where the ray runs along the head-feet axis and has none.
    """
    x, y, z = (float(value) for value in toward_detector)
    across = math.hypot(x, y)
    if across < 1e-12 * abs(z):
        return 0.0, math.copysign(90.0, z)
    return math.degrees(math.atan2(x, -y)), math.degrees(math.atan2(z, across))


def check_patient_position(patient_position: str) -> str:
    """The same text, if it is one of DICOM's eight.

    Raises:
        GeometryError: `unknown_patient_position`.
    """
    if patient_position not in _LPS_FROM_EQUIPMENT:
        raise GeometryError(
            f"patient position {patient_position!r} is none of DICOM's eight",
            code="unknown_patient_position",
            mend=f"one of {' '.join(PATIENT_POSITIONS)}",
        )
    return patient_position


def wrap_deg(angle_deg: float) -> float:
    """The same angle in (-180, 180]."""
    return 180.0 - (180.0 - angle_deg) % 360.0


def _check_angle(name: str, value_deg: float, limit_deg: float) -> None:
    if not math.isfinite(value_deg):
        raise GeometryError(f"{name} is {value_deg}", code="not_finite", mend="send a finite number")
    if abs(value_deg) > limit_deg:
        raise GeometryError(
            f"{name} {value_deg} deg is out of range",
            code="angle_out_of_range",
            mend=f"-{limit_deg:.0f} to {limit_deg:.0f} deg",
        )
