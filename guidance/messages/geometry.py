"""What was found out about a frame's geometry: by the numbers, by the picture, by registration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from guidance.messages.basics import Matrix34, Vector3


class GeometryState(StrEnum):
    """What the overlay may do with a frame's geometry (contract 5.3)."""

    TRUSTED = "trusted"
    DEGRADED = "degraded"
    WITHHELD = "withheld"
    ABSENT = "absent"


class CheckState(StrEnum):
    """What a picture itself says of the geometry that is told for it."""

    UNCHECKED = "unchecked"  # nothing to compare it with yet, or switched off
    CANNOT_TELL = "cannot_tell"  # picture or volume shows too little there
    AGREES = "agrees"
    WARNING = "warning"
    CONTRADICTS = "contradicts"


class PatientMotion(StrEnum):
    """How what is seen moves against what is told."""

    STILL = "still"
    BREATHING = "breathing"
    DRIFT = "drift"
    JUMP = "jump"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCheck:
    """A frame held against the volume's projection.

    Attributes:
        state: see `CheckState`.
        reason: words for the operator; "" where it agrees.
        code: stable snake_case name of the reason; "" where it agrees.
        residual_mm, residual_px: how far off what is seen lies, at the isocentre's depth and in px of the picture as
            sent, smoothed over the last frames; None where it cannot be told.
        raw_mm, raw_px: the same of this frame alone.
        similarity: agreement of picture and projection after the residual is taken out, 1 = the same.
        motion: how it moves; None where not known yet.
        breathing_mm: peak to peak of the breathing; None without.
        registration_offered: a registration may mend it.
    """

    state: CheckState = CheckState.UNCHECKED
    reason: str = ""
    code: str = ""
    residual_mm: float | None = None
    residual_px: float | None = None
    raw_mm: float | None = None
    raw_px: float | None = None
    similarity: float | None = None
    motion: PatientMotion | None = None
    breathing_mm: float | None = None
    registration_offered: bool = False


UNCHECKED: Final = ImageCheck()


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRegistration:
    """Where the active volume is seen, as found by registration; ends with its epoch.

    Attributes:
        seen_lps_from_volume_lps: 16 numbers, row-major; a volume point x is seen where the told geometry puts M x.
        pivot_lps_mm, covariance: 36 numbers, of a small motion after M (`guidance.registration.values`).
        residual_px: that it was accepted with.
        inputs: whose pictures it was made from.
        frame_of_reference_uid: that the streams told; "" where they told none. It is the registration that connects
            such a stream with the volume.
        views: `pixel_from_patient` of the pictures it was made from, as told, without M; () where they are not known.
    """

    seen_lps_from_volume_lps: tuple[float, ...]
    pivot_lps_mm: Vector3
    covariance: tuple[float, ...]
    residual_px: float | None = None
    inputs: tuple[str, ...] = ()
    frame_of_reference_uid: str = ""
    views: tuple[Matrix34, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EquipmentUncertainty:
    """What a calibration says of itself at one pose.

    Attributes:
        covariance: 81 numbers, row-major: a small motion of equipment points about the isocentre (shift mm, turn deg,
            equipment axes), principal point u, v in px of the picture as sent, focal length relative.
        lps_from_equipment: 9 numbers, row-major rotation.
        isocenter_lps_mm: where the isocentre is now in the frame of M x; None where that is not told.
    """

    covariance: tuple[float, ...]
    lps_from_equipment: tuple[float, ...]
    isocenter_lps_mm: Vector3 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryVerdict:
    """What was found out about a frame's geometry.

    Attributes:
        state: see `GeometryState`.
        reason: words for the operator; "" when trusted.
        code: stable snake_case name of the reason, counted in /metrics; "" when trusted.
        pixel_from_patient: 12 numbers row-major, pixel of the picture as sent from patient LPS mm at the time of
            the CBCT, scaled so that w is mm along the central ray, an accepted registration applied; None unless
            trusted or degraded.
        source: `metadata_matrix`, `metadata_angles`, `transforms`, `table` or "".
        check: what the picture itself says.
        calibration: how well the table knows it, where it comes from one that says so.
    """

    state: GeometryState
    reason: str = ""
    code: str = ""
    pixel_from_patient: Matrix34 | None = None
    source: str = ""
    check: ImageCheck = UNCHECKED
    calibration: EquipmentUncertainty | None = None
