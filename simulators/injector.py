"""A cement injector as seen from the network, without I/O: what it says at which time, and that it obeys a stop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from guidance.errors import ConfigError
from simulators.cement.injection import InjectionCurve

# Pressure of a screw injector pushing thick cement through a cannula: of the order of 10 bar at 0.1 ml/s, and the
# cement's viscosity doubles within two to three minutes as it sets (Bohner et al., Biomaterials 24, 2003).
_BAR_PER_ML_S: Final = 90.0
_DOUBLES_IN_S: Final = 150.0
_LARGEST_BAR: Final = 160.0  # the motor stops pressing there
_HUGE_ML: Final = 4.0e4
_BEYOND_ALL_ML: Final = 1e300


class InjectorFault(StrEnum):
    """What is wrong with an injector or with what it says, for a time.

    Attributes:
        SILENT: says nothing.
        NEGATIVE: tells its volume with a minus sign.
        HUGE: tells litres.
        BEYOND_ALL: tells a number that no reader's scale holds.
        STALLED: pressure without flow: nothing leaves it, though it runs.
        GARBLED: sends half of its text.
        WORDS: writes its numbers as words.
        NOT_TOLD: runs, and tells neither volume nor flow.
        OVER_AND_OVER: repeats the last reading, as a hung display does.
    """

    SILENT = "silent"
    NEGATIVE = "negative"
    HUGE = "huge"
    BEYOND_ALL = "beyond_all"
    STALLED = "stalled"
    GARBLED = "garbled"
    WORDS = "words"
    NOT_TOLD = "not_told"
    OVER_AND_OVER = "over_and_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTime:
    """A fault and when it is there.

    Attributes:
        fault: which.
        from_s, until_s: of the injector's clock.
    """

    fault: InjectorFault
    from_s: float
    until_s: float


def fault_time(text: str) -> FaultTime:
    """Read `silent@10-15`.

    Raises:
        ConfigError: another form, or no such fault.
    """
    name, _, times = text.partition("@")
    first, _, last = times.partition("-")
    try:
        found = FaultTime(fault=InjectorFault(name), from_s=float(first), until_s=float(last))
        if not found.from_s < found.until_s < float("inf"):
            raise ValueError("no length of time")
        return found
    except ValueError:
        raise ConfigError(
            f"{text!r} is no fault of an injector",
            code="bad_fault",
            mend=f"write NAME@FROM-UNTIL in seconds with one of {', '.join(InjectorFault)}",
        ) from None


class SimulatedInjector:
    """Follows a curve; whoever calls it has the clock. A stop is final, as on the device: what is out stays out.

    Args:
        curve: what it is to give.
        faults: when what is wrong.
    """

    def __init__(self, curve: InjectionCurve, faults: Sequence[FaultTime] = ()) -> None:
        self.curve = curve
        self._faults = tuple(faults)
        self._stopped_s: float | None = None
        self._last: bytes | None = None
        self.refused_commands = 0

    @property
    def stopped_s(self) -> float | None:
        """When it was told to stop; None: it was not."""
        return self._stopped_s

    def given_s(self, t_s: float) -> float:
        """How far along its curve it is, which the cement's growth goes by; still in a stall and after a stop."""
        ends_s = t_s if self._stopped_s is None else min(t_s, self._stopped_s)
        stalled = (each for each in self._faults if each.fault is InjectorFault.STALLED)
        return ends_s - sum(max(min(ends_s, each.until_s) - each.from_s, 0.0) for each in stalled)

    def volume_ml(self, t_s: float) -> float:
        """What has left it."""
        return self.curve.injector_ml(self.given_s(t_s))

    def running(self, t_s: float) -> bool:
        """The plunger is driven."""
        return self._stopped_s is None and self.given_s(t_s) < self.curve.times_s[-1]

    def command(self, payload: bytes, t_s: float) -> bool:
        """Obey `{"command": "stop"}`; whatever else comes is counted and changes nothing.

        Returns:
            Whether it was obeyed.
        """
        try:
            told = json.loads(payload)
        except (ValueError, UnicodeDecodeError):
            told = None
        if not isinstance(told, dict) or told.get("command") != "stop":
            self.refused_commands += 1
            return False
        if self._stopped_s is None:
            self._stopped_s = t_s
        return True

    def reading(self, t_s: float) -> bytes | None:
        """What it says then: the payload of `<suite>/injector/state`; None: nothing."""
        present = {each.fault for each in self._faults if each.from_s <= t_s < each.until_s}
        if InjectorFault.SILENT in present:
            return None
        if InjectorFault.OVER_AND_OVER in present and self._last is not None:
            return self._last
        told = self._state(t_s, stalled=InjectorFault.STALLED in present)
        volume = told["volume_ml"]
        if InjectorFault.NEGATIVE in present:
            told["volume_ml"] = -max(volume, 0.1)
        if InjectorFault.HUGE in present:
            told["volume_ml"] = _HUGE_ML
        if InjectorFault.BEYOND_ALL in present:
            told["volume_ml"] = _BEYOND_ALL_ML
        if InjectorFault.WORDS in present:
            told |= {"volume_ml": "about one", "running": "yes"}
        if InjectorFault.NOT_TOLD in present:
            told |= {"volume_ml": None, "flow_ml_s": None}
        payload = json.dumps(told).encode()
        if InjectorFault.GARBLED in present:
            payload = payload[: len(payload) // 2]
        self._last = payload
        return payload

    def _state(self, t_s: float, *, stalled: bool) -> dict[str, Any]:
        running = self.running(t_s)
        wanted = self.curve.flow_ml_s(self.given_s(t_s)) if running else 0.0
        pressure = wanted * _BAR_PER_ML_S * 2.0 ** (max(t_s, 0.0) / _DOUBLES_IN_S)
        return {
            "volume_ml": round(self.volume_ml(t_s), 4),
            "flow_ml_s": 0.0 if stalled else round(wanted, 4),
            "pressure_bar": _LARGEST_BAR if stalled else round(min(pressure, _LARGEST_BAR), 2),
            "elapsed_s": round(max(t_s, 0.0), 3),
            "running": running,
            "schema_version": 1,
        }
