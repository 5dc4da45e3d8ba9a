"""What the frames of one input say together: state for state, pure; breathing, drift and jumps told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from guidance.config import ConsistencySettings
from guidance.consistency.measurement import Measurement
from guidance.messages import CheckState, GeometryState, GeometryVerdict, ImageCheck

_SMOOTHING_S: Final = 0.5
_GOOD: Final = 0.5
_SIGMAS: Final = 2.0
_UNCHECKED: Final = ImageCheck()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyTrack:
    """One input's history, in the session; begins anew with an epoch, a volume or a registration.

    Attributes:
        check: of the newest frame.
        smoothed_mm, smoothed_px: of the residual.
        at_ns: when the newest frame was received.
    """

    check: ImageCheck = _UNCHECKED
    smoothed_mm: float | None = None
    smoothed_px: float | None = None
    at_ns: int = 0


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
    """
    if measurement.residual_mm is None or measurement.residual_px is None or measurement.similarity is None:
        check = ImageCheck(
            state=CheckState.CANNOT_TELL, code="picture_shows_nothing", reason="not verified: nothing to compare"
        )
        return replace(track, check=check, at_ns=received_ns)
    elapsed_s = (received_ns - track.at_ns) * 1e-9
    keep = math.exp(-max(elapsed_s, 0.0) / _SMOOTHING_S) if track.smoothed_mm is not None else 0.0
    mm = keep * (track.smoothed_mm or 0.0) + (1.0 - keep) * measurement.residual_mm
    px = keep * (track.smoothed_px or 0.0) + (1.0 - keep) * measurement.residual_px
    state, code, reason = CheckState.AGREES, "", ""
    if not measurement.xray_like or measurement.similarity < _GOOD:
        state, code, reason = CheckState.CANNOT_TELL, "picture_shows_nothing", "not verified: nothing to compare"
    elif measurement.residual_mm - _SIGMAS * (measurement.sigma_mm or 0.0) > settings.limit_mm:
        state, code = CheckState.CONTRADICTS, "patient_moved"
        reason = f"the picture lies {measurement.residual_mm:.1f} mm off what is told"
    elif mm > settings.warning_mm:
        state, code = CheckState.WARNING, "patient_moved"
        reason = f"the picture lies {mm:.1f} mm off what is told"
    check = ImageCheck(
        state=state,
        code=code,
        reason=reason,
        residual_mm=mm,
        residual_px=px,
        raw_mm=measurement.residual_mm,
        raw_px=measurement.residual_px,
        similarity=measurement.similarity,
        registration_offered=state in (CheckState.WARNING, CheckState.CONTRADICTS),
    )
    return ConsistencyTrack(check=check, smoothed_mm=mm, smoothed_px=px, at_ns=received_ns)


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
