"""What the frames of one input say together; pure: agreement, warning, contradiction, and their cause."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from guidance.config import ConsistencySettings
from guidance.consistency.measurement import GOOD, Measurement
from guidance.consistency.motion import MotionHistory, followed
from guidance.messages import CheckState, GeometryState, GeometryVerdict, ImageCheck, PatientMotion

_SMOOTHING_S: Final = 0.5
_GAP_S: Final = 2.0  # after a longer one smoothing begins anew
_SIGMAS: Final = 2.0  # that a frame's own residual must lie above the limit
_WARNING_SIGMAS: Final = 1.0  # and above the warning's, which costs less
_MODEL_MM: Final = 0.15  # what a coarse volume and bones outside it add to the measurement's own deviation
_UNSURE_MM: Final = 1.0  # a wider deviation says nothing of residuals near the limits of 1 and 2 mm
_SETTLED: Final = 0.8  # of the warning limit, below which a warning ends
# Less than this is what phantoms, test pictures and pictures beside the volume give.
_LEAST_PROJECTION: Final = 0.03
_LEAST_COMPARED: Final = 0.02
_LEAST_SHOWN: Final = 0.3
_MOSTLY_SHOWN: Final = 0.6
_TRUSTED_FOR_S: Final = 5.0  # how long after agreement a picture that hides half of it is read leniently
_OTHER_SCALE: Final = 0.015
_FAR_OTHER_SCALE: Final = 0.05  # 37 mm along the view: no patient moves so
_SCALE_SIGMAS: Final = 4.0
_UNCHECKED: Final = ImageCheck()
_NO_HISTORY: Final = MotionHistory()

_ARRANGED: Final = {
    "mirrored": ("picture_mirrored", "the picture is mirrored against what is told"),
    "upside_down": ("picture_mirrored", "the picture is upside down and mirrored against what is told"),
    "turned_90": ("picture_turned", "the picture is turned by 90 deg against what is told"),
    "turned_180": ("picture_turned", "the picture is turned by 180 deg against what is told"),
    "turned_270": ("picture_turned", "the picture is turned by 270 deg against what is told"),
    "transposed": ("picture_transposed", "rows and columns of the picture are exchanged"),
    "transverse": ("picture_transposed", "rows and columns of the picture are exchanged and reversed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyTrack:
    """One input's history; begins anew with an epoch, a volume or a registration.

    Attributes:
        check: of the newest frame.
        smoothed_mm, smoothed_px: of the residual; None where there is none.
        at_ns: when the newest residual was received.
        agreed_ns: when a picture last agreed; None: never.
        history: how what is seen moves.
    """

    check: ImageCheck = _UNCHECKED
    smoothed_mm: float | None = None
    smoothed_px: float | None = None
    at_ns: int = 0
    agreed_ns: int | None = None
    history: MotionHistory = _NO_HISTORY


@dataclass(frozen=True, slots=True)
class _Finding:
    state: CheckState
    code: str = ""
    reason: str = ""
    registration_offered: bool = False


def observe(
    track: ConsistencyTrack,
    measurement: Measurement,
    *,
    received_ns: int,
    moved: bool,
    settings: ConsistencySettings,
) -> ConsistencyTrack:
    """Take one frame's measurement in.

    Args:
        received_ns: server's monotonic clock.
        moved: the told matrix is another than the frame's before.
        settings: limits.

    Returns:
        The track; its `check` is this frame's. A contradiction is told on the frame that shows it: the limit is
        compared with the frame's own residual less two standard deviations (one for warnings), and with the smoothed
        one.
    """
    unseen = _cannot_tell(measurement, settings)
    if unseen is not None:
        check = ImageCheck(state=CheckState.CANNOT_TELL, code=unseen[0], reason=unseen[1])
        return replace(track, check=_with_similarity(check, measurement), smoothed_mm=None, smoothed_px=None)
    if measurement.residual_mm is None or _arranged(measurement) or _unlikely(measurement, settings):
        finding = _disagreement(track, measurement, received_ns)
        check = ImageCheck(
            state=finding.state,
            code=finding.code,
            reason=finding.reason,
            registration_offered=finding.registration_offered,
        )
        return replace(track, check=_with_similarity(check, measurement), smoothed_mm=None, smoothed_px=None)
    sigma_mm = math.hypot(measurement.sigma_mm or 0.0, _MODEL_MM)
    shift_mm = measurement.shift_mm or (0.0, 0.0)
    history = followed(track.history, shift_mm, sigma_mm, received_ns, moved=moved)
    smoothed_mm, smoothed_px = _smoothed(track, measurement, received_ns)
    finding = _judged_residual(track, measurement, history, smoothed_mm, sigma_mm, received_ns, moved, settings)
    agrees = finding.state is CheckState.AGREES and (measurement.similarity or 0.0) >= GOOD
    check = ImageCheck(
        state=finding.state,
        code=finding.code,
        reason=finding.reason,
        residual_mm=smoothed_mm,
        residual_px=smoothed_px,
        raw_mm=measurement.residual_mm,
        raw_px=measurement.residual_px,
        similarity=measurement.similarity,
        motion=history.motion,
        breathing_mm=history.breathing_mm,
        registration_offered=finding.registration_offered,
    )
    return ConsistencyTrack(
        check=check,
        smoothed_mm=smoothed_mm,
        smoothed_px=smoothed_px,
        at_ns=received_ns,
        agreed_ns=received_ns if agrees else track.agreed_ns,
        history=history,
    )


def judged_with_check(verdict: GeometryVerdict, check: ImageCheck) -> GeometryVerdict:
    """The verdict on the numbers, with what the picture says of them: never better than it was.

    Args:
        verdict: of `guidance.geometry.trust.judge`.
        check: of the same frame.
    """
    if verdict.pixel_from_patient is None:
        return replace(verdict, check=check)
    if check.state is CheckState.CONTRADICTS:
        return replace(
            verdict,
            state=GeometryState.WITHHELD,
            reason=check.reason,
            code=check.code,
            pixel_from_patient=None,
            check=check,
        )
    if check.state is CheckState.WARNING and verdict.state is GeometryState.TRUSTED:
        return replace(verdict, state=GeometryState.DEGRADED, reason=check.reason, code=check.code, check=check)
    return replace(verdict, check=check)


def _cannot_tell(measurement: Measurement, settings: ConsistencySettings) -> tuple[str, str] | None:
    """Code and words where there is nothing to compare; None where there is."""
    if measurement.projection_shows < _LEAST_PROJECTION:
        return "volume_shows_nothing", "not verified: the volume shows too little here to compare the picture with"
    if (
        measurement.similarity is None
        or measurement.picture_shows < _LEAST_SHOWN
        or measurement.compared < _LEAST_COMPARED
    ):
        return "picture_shows_nothing", "not verified: the picture shows too little to compare with the volume"
    agrees = (measurement.similarity or 0.0) >= GOOD
    unsure = measurement.residual_mm is not None and (measurement.sigma_mm or 0.0) > _UNSURE_MM
    if agrees and unsure and not _surely_off(measurement, settings):
        return "picture_shows_nothing", "not verified: picture and volume show too little to compare well"
    return None


def _surely_off(measurement: Measurement, settings: ConsistencySettings) -> bool:
    """By more than the warning's limit, however badly it is known how far."""
    sigma_mm = math.hypot(measurement.sigma_mm or 0.0, _MODEL_MM)
    return (measurement.residual_mm or 0.0) - _SIGMAS * sigma_mm > settings.warning_mm


def _arranged(measurement: Measurement) -> bool:
    return measurement.arranged is not None and measurement.xray_like


def _unlikely(measurement: Measurement, settings: ConsistencySettings) -> bool:
    """It agrees only in part, with a motion that is not small or not sure: chance does as much."""
    if (measurement.similarity or 0.0) >= GOOD:
        return False
    residual_mm, sigma_mm = measurement.residual_mm or 0.0, math.hypot(measurement.sigma_mm or 0.0, _MODEL_MM)
    return sigma_mm > _UNSURE_MM or residual_mm - _WARNING_SIGMAS * sigma_mm > settings.warning_mm


def _disagreement(track: ConsistencyTrack, measurement: Measurement, received_ns: int) -> _Finding:
    """No motion makes picture and projection agree, or another arrangement does it better."""
    agreed = track.agreed_ns is not None
    if not measurement.xray_like and not (agreed and measurement.picture_shows >= _MOSTLY_SHOWN):
        words = "not verified: the picture shows nothing that an X-ray picture of the volume would"
        return _Finding(CheckState.CANNOT_TELL, "picture_not_xray", words)
    if measurement.arranged is not None:
        return _Finding(CheckState.CONTRADICTS, *_ARRANGED[measurement.arranged])
    if measurement.scaled is not None:
        return _scale(measurement.scaled)
    if agreed:
        words = "the picture no longer shows what is told: patient or C-arm has moved far"
        return _Finding(CheckState.CONTRADICTS, "geometry_contradicts_picture", words, registration_offered=True)
    words = "the picture does not show what volume and geometry say: another patient, volume or pose"
    return _Finding(CheckState.CONTRADICTS, "picture_not_of_this_volume", words)


def _judged_residual(
    track: ConsistencyTrack,
    measurement: Measurement,
    history: MotionHistory,
    smoothed_mm: float,
    sigma_mm: float,
    received_ns: int,
    moved: bool,
    settings: ConsistencySettings,
) -> _Finding:
    raw_mm = measurement.residual_mm or 0.0
    surely_mm = raw_mm - _SIGMAS * sigma_mm
    likely_mm = raw_mm - _WARNING_SIGMAS * sigma_mm
    poor = (measurement.similarity or 0.0) < GOOD and not _agreed_lately(track, received_ns)
    warned = track.check.state in (CheckState.WARNING, CheckState.CONTRADICTS)
    if (
        surely_mm > settings.limit_mm
        or smoothed_mm - sigma_mm > settings.limit_mm
        or _scaled(measurement, _FAR_OTHER_SCALE)
    ):
        return _cause(track, measurement, history, max(raw_mm, smoothed_mm), moved, CheckState.CONTRADICTS)
    if poor:
        if not measurement.xray_like:
            words = "not verified: the picture shows nothing that an X-ray picture of the volume would"
            return _Finding(CheckState.CANNOT_TELL, "picture_not_xray", words)
        return _Finding(
            CheckState.WARNING, "picture_agrees_poorly", "the picture agrees poorly with volume and geometry"
        )
    if (
        likely_mm > settings.warning_mm
        or smoothed_mm - _WARNING_SIGMAS * sigma_mm > settings.warning_mm
        or (warned and max(smoothed_mm, raw_mm) > _SETTLED * settings.warning_mm)
    ):
        return _cause(track, measurement, history, max(raw_mm, smoothed_mm), moved, CheckState.WARNING)
    return _Finding(CheckState.AGREES)


def _cause(
    track: ConsistencyTrack,
    measurement: Measurement,
    history: MotionHistory,
    off_mm: float,
    moved: bool,
    state: CheckState,
) -> _Finding:
    """Why what is seen lies off."""
    if measurement.magnified is not None and _scaled(measurement, _OTHER_SCALE):
        return replace(_scale(measurement.magnified[0]), state=state)
    if history.motion is PatientMotion.BREATHING and history.breathing_mm is not None:
        words = f"breathing moves what is seen by {history.breathing_mm:.1f} mm; now {off_mm:.1f} mm off"
        return _Finding(state, "patient_breathes", words, registration_offered=True)
    if moved and track.agreed_ns is None:
        words = f"the picture lies {off_mm:.1f} mm off what the moving geometry says"
        return _Finding(state, "geometry_contradicts_picture", words, registration_offered=True)
    words = f"the picture lies {off_mm:.1f} mm off what is told: the patient has moved, or the table untold"
    return _Finding(state, "patient_moved", words, registration_offered=True)


def _scaled(measurement: Measurement, least: float) -> bool:
    """Surely larger or smaller than told by more than this share."""
    if measurement.magnified is None:
        return False
    factor, sigma = measurement.magnified
    return abs(factor - 1.0) - _SCALE_SIGMAS * sigma > 0.0 and abs(factor - 1.0) > least


def _scale(factor: float) -> _Finding:
    words = (
        f"the picture is {abs(factor - 1.0) * 100.0:.0f} % {'larger' if factor > 1.0 else 'smaller'} than told: "
        "source to detector distance, pixel spacing (zoom) or table height"
    )
    return _Finding(CheckState.CONTRADICTS, "picture_of_other_scale", words)


def _agreed_lately(track: ConsistencyTrack, received_ns: int) -> bool:
    return track.agreed_ns is not None and (received_ns - track.agreed_ns) * 1e-9 <= _TRUSTED_FOR_S


def _smoothed(track: ConsistencyTrack, measurement: Measurement, received_ns: int) -> tuple[float, float]:
    """Residuals with those of the last half second, in mm and px."""
    raw_mm, raw_px = measurement.residual_mm or 0.0, measurement.residual_px or 0.0
    elapsed_s = (received_ns - track.at_ns) * 1e-9
    if track.smoothed_mm is None or track.smoothed_px is None or not 0.0 <= elapsed_s <= _GAP_S:
        return raw_mm, raw_px
    keep = math.exp(-elapsed_s / _SMOOTHING_S)
    return keep * track.smoothed_mm + (1.0 - keep) * raw_mm, keep * track.smoothed_px + (1.0 - keep) * raw_px


def _with_similarity(check: ImageCheck, measurement: Measurement) -> ImageCheck:
    return replace(check, similarity=measurement.similarity)
