"""The clock of a cement from its mixing: still liquid, doughy, at its end; by brand and temperature of the room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from guidance.cement.profiles import Cement, Phases

WorkingPhase = Literal["unknown", "liquid", "doughy", "ended", "set"]
# Dough and setting times fall by about 5 % per degree (Dennell 2003; Koh et al., J Orthop Surg Res 10:178, 2015:
# 534 s at 20 and 381 s at 28 degrees of storage, 4.2 % per degree).
_SHARE_PER_DEGREE: Final = 0.05
_SHARE_SIGMA: Final = 0.015
_TEMPERATURE_C: Final = (0.0, 45.0)
_SIGMAS: Final = 1.645  # one-sided 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingTime:
    """Where a cement is on its way from liquid to hard.

    Attributes:
        phase: `liquid` runs and leaks into veins, `doughy` is worked, `ended` must not be injected any more.
        mixed_s: since the begin of mixing; None: not told.
        dough_s, end_s, set_s: usual seconds from mixing until doughy, no longer injectable, hard; None: not known.
        left_s: seconds until the end of injecting, 95 % early, at least 0; None: not known.
        reason: why something is not known; "" where all is.
    """

    phase: WorkingPhase
    mixed_s: float | None = None
    dough_s: float | None = None
    end_s: float | None = None
    set_s: float | None = None
    left_s: float | None = None
    reason: str = ""


def working_time(cement: Cement | None, *, mixed_s: float | None, temperature_c: float) -> WorkingTime:
    """The clock's reading.

    Args:
        cement: of the library; None where only an opacity was told.
        mixed_s: seconds since the begin of mixing, now; None: not told.
        temperature_c: of the room in which it is mixed and waits.
    """
    if cement is None:
        return WorkingTime(
            phase="unknown", mixed_s=mixed_s, reason="no brand is told, so its working time is not known"
        )
    if not cement.phases:
        return WorkingTime(
            phase="unknown", mixed_s=mixed_s, reason=f"no working time is on file for {cement.id}: see its instructions"
        )
    if not _TEMPERATURE_C[0] <= temperature_c <= _TEMPERATURE_C[1]:
        reason = f"a room of {temperature_c:g} degrees is outside what is known of {cement.id}"
        return WorkingTime(phase="unknown", mixed_s=mixed_s, reason=reason)
    at = phases_at(cement.phases, temperature_c)
    if mixed_s is None or not mixed_s >= 0.0:
        return WorkingTime(
            phase="unknown",
            dough_s=at.dough_s,
            end_s=at.end_s,
            set_s=at.set_s,
            reason="the time of mixing is not told (mixed_s_ago)",
        )
    early = np.exp(-_SIGMAS * at.spread)
    phase: WorkingPhase = "liquid"
    if mixed_s >= at.set_s:
        phase = "set"
    elif mixed_s >= at.end_s * early:
        phase = "ended"
    elif mixed_s >= at.dough_s:
        phase = "doughy"
    return WorkingTime(
        phase=phase,
        mixed_s=mixed_s,
        dough_s=at.dough_s,
        end_s=at.end_s,
        set_s=at.set_s,
        left_s=max(at.end_s * float(early) - mixed_s, 0.0),
    )


def phases_at(phases: tuple[Phases, ...], temperature_c: float) -> Phases:
    """At another temperature: between measured ones by the logarithm of the times, outside by 5 % per degree.

    Args:
        phases: at least one, each at its own temperature.
    """
    known = sorted(phases, key=lambda phase: phase.temperature_c)
    degrees = np.array([phase.temperature_c for phase in known])
    logs = np.log([[phase.dough_s, phase.end_s, phase.set_s] for phase in known])
    inside = float(np.clip(temperature_c, degrees[0], degrees[-1]))
    times = np.exp([np.interp(inside, degrees, column) for column in logs.T])
    outside = temperature_c - inside
    times *= (1.0 - _SHARE_PER_DEGREE) ** outside
    spread = float(np.interp(inside, degrees, [phase.spread for phase in known]))
    dough, end, hard = (float(seconds) for seconds in times)
    return Phases(
        temperature_c=temperature_c,
        dough_s=dough,
        end_s=end,
        set_s=hard,
        spread=float(np.hypot(spread, _SHARE_SIGMA * outside)),
    )
