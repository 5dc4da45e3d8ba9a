"""How what is seen moves against what is told: breathing, drift and jumps told apart; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from guidance.messages import F64, PatientMotion

_SAMPLE_S: Final = 0.09  # breathing is slow: 10 Hz shows it
_KEPT_S: Final = 20.0
_GAP_S: Final = 2.0  # a longer gap begins anew
_LOOK_NS: Final = 500_000_000  # how often the history is looked through
_NEEDED_S: Final = 2.0
_BREATHS_PER_MIN: Final = np.linspace(8.0, 30.0, 23)
_BREATHS_NEEDED: Final = 1.3
_LEAST_BREATHING_MM: Final = 0.5  # peak to peak
_SHARE: Final = 0.6  # of the variance that a sinusoid explains
_LEAST_DRIFT_MM: Final = 0.7
_LEAST_JUMP_MM: Final = 1.0
_JUMP_SIGMAS: Final = 5.0
_JUMP_SHOWN_S: Final = 3.0
_RECENT: Final = 10  # samples that a jump is held against
_BEFORE_JUMP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionHistory:
    """Displacements of the pivot while one pose stands, and what they say.

    Attributes:
        samples: (seconds, u mm, v mm) since the first, at most 10 a second for 20 s.
        first_ns, last_ns, looked_ns: received times.
        motion: None while too little is known.
        breathing_mm: peak to peak; None without.
        jumped_ns: when it last jumped; 0: never.
    """

    samples: tuple[tuple[float, float, float], ...] = ()
    first_ns: int = 0
    last_ns: int = 0
    looked_ns: int = 0
    motion: PatientMotion | None = None
    breathing_mm: float | None = None
    jumped_ns: int = 0


def followed(
    history: MotionHistory, shift_mm: tuple[float, float], sigma_mm: float, received_ns: int, *, moved: bool
) -> MotionHistory:
    """Take one frame's displacement in.

    Args:
        shift_mm: of the pivot along u and v.
        sigma_mm: its standard deviation.
        moved: the pose is another than the frame's before: u and v mean other directions now.
    """
    since_last_s = (received_ns - history.last_ns) * 1e-9
    if not history.samples or moved or not 0.0 <= since_last_s <= _GAP_S:
        jumped_ns = history.jumped_ns if history.samples and since_last_s >= 0.0 else 0
        return MotionHistory(
            samples=((0.0, *shift_mm),),
            first_ns=received_ns,
            last_ns=received_ns,
            looked_ns=received_ns,
            jumped_ns=jumped_ns,
        )
    at_s = (received_ns - history.first_ns) * 1e-9
    if _jumps(history, shift_mm, sigma_mm):
        # What was before the jump says nothing of what comes after it.
        return MotionHistory(
            samples=((0.0, *shift_mm),),
            first_ns=received_ns,
            last_ns=received_ns,
            looked_ns=received_ns,
            motion=PatientMotion.JUMP,
            jumped_ns=received_ns,
        )
    history = replace(history, last_ns=received_ns)
    if at_s - history.samples[-1][0] < _SAMPLE_S:
        return history
    samples = tuple(sample for sample in history.samples if at_s - sample[0] <= _KEPT_S)
    history = replace(history, samples=(*samples, (at_s, *shift_mm)))
    if received_ns - history.looked_ns < _LOOK_NS:
        return history
    return _looked_through(replace(history, looked_ns=received_ns), sigma_mm, received_ns)


def _jumps(history: MotionHistory, shift_mm: tuple[float, float], sigma_mm: float) -> bool:
    recent = history.samples[-_RECENT:]
    if len(recent) < _BEFORE_JUMP:
        return False
    places = np.array(recent)[:, 1:]
    last = places[-_BEFORE_JUMP:].mean(axis=0)
    step = float(np.hypot(*(np.asarray(shift_mm) - last)))
    usual = float(np.hypot(*np.abs(np.diff(places, axis=0)).max(axis=0)))
    return step > max(_LEAST_JUMP_MM, _JUMP_SIGMAS * sigma_mm, 4.0 * usual)


def _looked_through(history: MotionHistory, sigma_mm: float, now_ns: int) -> MotionHistory:
    table = np.array(history.samples)
    seconds, places = table[:, 0] - table[0, 0], table[:, 1:]
    length_s = float(seconds[-1])
    if length_s < _NEEDED_S:
        return history
    jumped = history.jumped_ns > 0 and (now_ns - history.jumped_ns) * 1e-9 < _JUMP_SHOWN_S
    breathing_mm = _breathing_mm(seconds, places, length_s)
    if breathing_mm is not None:
        motion = PatientMotion.BREATHING
    elif jumped:
        motion = PatientMotion.JUMP
    elif _drift_mm(seconds, places) > max(_LEAST_DRIFT_MM, 4.0 * sigma_mm):
        motion = PatientMotion.DRIFT
    else:
        motion = PatientMotion.STILL
    return replace(history, motion=motion, breathing_mm=breathing_mm)


def _breathing_mm(seconds: F64, places: F64, length_s: float) -> float | None:
    """Peak to peak of a periodic motion of 8 to 30 breaths a minute along one line; None without."""
    centred = places - places.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    along = centred @ directions[0]
    slope = np.polynomial.polynomial.polyfit(seconds, along, 1)
    along = along - np.polynomial.polynomial.polyval(seconds, slope)
    whole = float(along @ along)
    rates = _BREATHS_PER_MIN[_BREATHS_PER_MIN / 60.0 * length_s >= _BREATHS_NEEDED]
    if whole <= 0.0 or len(rates) == 0:
        return None
    best, explained = 0.0, 0.0
    for rate in rates:
        phase = 2.0 * np.pi * rate / 60.0 * seconds
        waves = np.stack((np.ones_like(phase), np.cos(phase), np.sin(phase)), axis=1)
        fitted, *_ = np.linalg.lstsq(waves, along, rcond=None)
        share = 1.0 - float(((along - waves @ fitted) ** 2).sum()) / whole
        if share > explained:
            best, explained = float(np.hypot(fitted[1], fitted[2])), share
    if explained < _SHARE or 2.0 * best < _LEAST_BREATHING_MM:
        return None
    return 2.0 * best


def _drift_mm(seconds: F64, places: F64) -> float:
    """How far a straight line goes from the first to the last sample."""
    slopes = np.polynomial.polynomial.polyfit(seconds, places, 1)[1]
    return float(np.hypot(*slopes)) * float(seconds[-1])
