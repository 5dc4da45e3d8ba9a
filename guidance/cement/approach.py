"""How fast one distance shrinks: distance and speed with their covariance, and the time that is surely left."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

_JITTER_MM: Final = 0.3  # from frame to frame, of the nearest point of a front a third of a pixel sharp
_SPEED_AT_FIRST_MM_S: Final = 2.0
# White acceleration, mm^2/s^3: at 3 to 15 frames/s 0.6 mm/s are told from standing still, and a front that starts at
# 2 mm/s is so within 2.5 mm. With 0.5 a slow one hides in its noise and a fast one is told 1 mm earlier.
_RESTLESSNESS: Final = 0.06
_JUMP_SIGMAS: Final = 4.0
_LEAST_JUMP_MM: Final = 1.0
_EARLY: Final = 1.645  # one-sided 95 %
_LEAST_CLOSING_MM_S: Final = 0.05
# Two frames of a jump tell no speed worth a warning; and what is told of a way as long as this is no time.
_AFTER_JUMP_S: Final = 0.3
_AFTER_GAP_S: Final = 1.0  # what came meanwhile is seen little by little
_FARTHEST_MM: Final = 30.0
_LONGEST_STEP_S: Final = 2.0  # after a longer one nothing of the speed is known
# A drop's front is fast and slows down within a second; what overlaps in that time did not run there.
_SETTLING_S: Final = 1.0
# Times as fast as the cement's radius grows: a front up to the first goes with the body, from the second on it runs.
_WITH_BODY: Final = 1.5
_RUNS_AHEAD: Final = 3.0
LONGEST_UNSEEN_S: Final = 12.0  # what is told of longer is no estimate


@dataclass(frozen=True, slots=True)
class Growth:
    """The whole of the cement in one view as a disc: its radius, and how fast that grows."""

    radius_mm: float
    speed_mm_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """One distance's filter (Kalman, constant speed).

    Attributes:
        distance_mm, speed_mm_s: estimate; speed is negative where the distance shrinks.
        variance_mm2, covariance_mm2_s, variance_mm2_s2: of both.
        at_s: of the newest observation.
        sigma_mm: what all observations have in common (geometry), which no averaging takes away.
        count: observations so far; a single one is no finding.
        since_s: of the first one.
        unsure_until_s: a jump or a gap was so short a time ago that speeds tell nothing.
        began_inside: it was 0 or less within the first second: cement came there, it did not run there.
        doubted_mm, doubted_s: an observation far off, kept until the next one confirms or denies it.
    """

    distance_mm: float
    speed_mm_s: float = 0.0
    variance_mm2: float = _JITTER_MM**2
    covariance_mm2_s: float = 0.0
    variance_mm2_s2: float = _SPEED_AT_FIRST_MM_S**2
    at_s: float
    sigma_mm: float
    count: int = 1
    since_s: float
    unsure_until_s: float = -math.inf
    began_inside: bool = False
    doubted_mm: float | None = None
    doubted_s: float = 0.0


def observed(before: Approach | None, distance_mm: float, sigma_mm: float, at_s: float) -> Approach:
    """Take one frame's distance in.

    A jump counts from its second frame on; one frame alone changes nothing.

    Args:
        distance_mm: finite, negative inside.
        sigma_mm: of it, all in all.
        at_s: by the clock that speeds are told in; an observation that is not later than the newest is left out.
    """
    if before is None:
        return Approach(
            distance_mm=distance_mm, at_s=at_s, sigma_mm=sigma_mm, since_s=at_s, began_inside=distance_mm <= 0.0
        )
    step_s = at_s - before.at_s
    if not step_s > 0.0:
        return before
    if step_s > _LONGEST_STEP_S:
        return Approach(
            distance_mm=distance_mm,
            at_s=at_s,
            sigma_mm=sigma_mm,
            count=2,
            since_s=before.since_s,
            unsure_until_s=at_s + _AFTER_GAP_S,
            began_inside=before.began_inside,
        )
    predicted_mm, variance, covariance, speed_variance = _predicted(before, step_s)
    innovation = distance_mm - predicted_mm
    spread = variance + _JITTER_MM**2
    if abs(innovation) > max(_JUMP_SIGMAS * math.sqrt(spread), _LEAST_JUMP_MM):
        if before.doubted_mm is None or (before.doubted_mm - predicted_mm) * innovation < 0.0:
            return replace(before, doubted_mm=distance_mm, doubted_s=at_s, count=max(before.count, 1))
        return _begun_anew(before, distance_mm, sigma_mm, at_s)
    gain, speed_gain = variance / spread, covariance / spread
    return Approach(
        distance_mm=predicted_mm + gain * innovation,
        speed_mm_s=before.speed_mm_s + speed_gain * innovation,
        variance_mm2=(1.0 - gain) * variance,
        covariance_mm2_s=(1.0 - gain) * covariance,
        variance_mm2_s2=speed_variance - speed_gain * covariance,
        at_s=at_s,
        sigma_mm=sigma_mm,
        count=before.count + 1,
        since_s=before.since_s,
        unsure_until_s=before.unsure_until_s,
        began_inside=_began_inside(before, distance_mm, at_s),
    )


def time_to_contact_s(approach: Approach, growth: Growth | None = None) -> float | None:
    """The time after which contact has come with a chance of 5 %: real contact is later in 95 of 100 cases.

    A front that runs keeps its speed. One that goes with the whole body slows down with it: of a steady inflow the
    cube of the radius grows steadily.

    Args:
        growth: of the body; None: the front keeps its speed.

    Returns:
        None where the distance does not shrink by more than its noise explains, within the first second, when a drop's
        front tells nothing of later, right after a jump, and of more than 30 mm; 0 at or inside the outline.

    Source: smaller root of (d + v t)^2 = z^2 var(d + v t), as Fieller's interval of a ratio.
    """
    if approach.distance_mm <= 0.0:
        return 0.0
    closing, spread = -approach.speed_mm_s, approach.variance_mm2_s2
    if approach.count < 2 or closing < max(_EARLY * math.sqrt(spread), _LEAST_CLOSING_MM_S):
        return None
    if approach.at_s - approach.since_s < _SETTLING_S or approach.distance_mm > _FARTHEST_MM:
        return None
    if approach.at_s < approach.unsure_until_s:
        return None
    z2 = _EARLY**2
    variance = approach.variance_mm2 + approach.sigma_mm**2
    a = closing**2 - z2 * spread
    b = -2.0 * (approach.distance_mm * closing + z2 * approach.covariance_mm2_s)
    c = approach.distance_mm**2 - z2 * variance
    if c <= 0.0:
        return 0.0  # what is left is less than what is not known
    root = math.sqrt(max(b * b - 4.0 * a * c, 0.0))
    if -b + root <= 0.0:
        return None
    return max(0.0, 2.0 * c / (-b + root)) * _slowing(approach, closing, growth)


def way_since_mm(approach: Approach, growth: Growth | None, seconds: float) -> float:
    """How much nearer cement has likely come in a time in which nobody looked.

    Args:
        growth: of the body; None: the front keeps its speed.
        seconds: since the newest observation; what is more than `LONGEST_UNSEEN_S` does not count.

    Returns:
        mm, 0 where the distance did not shrink by more than its noise explains.
    """
    closing, seconds = -approach.speed_mm_s, min(max(seconds, 0.0), LONGEST_UNSEEN_S)
    if approach.count < 2 or closing < max(_EARLY * math.sqrt(approach.variance_mm2_s2), _LEAST_CLOSING_MM_S):
        return 0.0
    straight_mm = closing * seconds
    if growth is None or not growth.radius_mm > 0.0 or not growth.speed_mm_s > 0.0:
        return straight_mm
    radius, part = growth.radius_mm, _with_body(closing, growth)
    slower_mm = radius * (math.cbrt(1.0 + 3.0 * straight_mm / radius) - 1.0)
    return part * slower_mm + (1.0 - part) * straight_mm


def _with_body(closing: float, growth: Growth) -> float:
    """1: the front goes with the body; 0: it runs ahead."""
    ahead = (closing / growth.speed_mm_s - _WITH_BODY) / (_RUNS_AHEAD - _WITH_BODY)
    return 1.0 - min(max(ahead, 0.0), 1.0)


def _slowing(approach: Approach, closing: float, growth: Growth | None) -> float:
    """How much longer the way takes than at the present speed, at least 1."""
    if growth is None or not growth.radius_mm > 0.0 or not growth.speed_mm_s > 0.0:
        return 1.0
    way = approach.distance_mm / growth.radius_mm
    return 1.0 + _with_body(closing, growth) * (((1.0 + way) ** 3 - 1.0) / (3.0 * way) - 1.0)


def _predicted(before: Approach, step_s: float) -> tuple[float, float, float, float]:
    q = _RESTLESSNESS
    covariance = before.covariance_mm2_s + step_s * before.variance_mm2_s2
    return (
        before.distance_mm + before.speed_mm_s * step_s,
        before.variance_mm2 + step_s * (before.covariance_mm2_s + covariance) + q * step_s**3 / 3.0,
        covariance + q * step_s**2 / 2.0,
        before.variance_mm2_s2 + q * step_s,
    )


def _begun_anew(before: Approach, distance_mm: float, sigma_mm: float, at_s: float) -> Approach:
    """From two observations in a row that both lie far off."""
    doubted_mm = before.doubted_mm if before.doubted_mm is not None else distance_mm
    step_s = max(at_s - before.doubted_s, 1e-3)
    return Approach(
        distance_mm=distance_mm,
        speed_mm_s=(distance_mm - doubted_mm) / step_s,
        covariance_mm2_s=_JITTER_MM**2 / step_s,
        variance_mm2_s2=2.0 * (_JITTER_MM / step_s) ** 2,
        at_s=at_s,
        sigma_mm=sigma_mm,
        count=before.count + 1,
        since_s=before.since_s,
        unsure_until_s=at_s + _AFTER_JUMP_S,
        began_inside=_began_inside(before, distance_mm, at_s),
    )


def _began_inside(before: Approach, distance_mm: float, at_s: float) -> bool:
    return before.began_inside or (distance_mm <= 0.0 and at_s - before.since_s <= _SETTLING_S)
