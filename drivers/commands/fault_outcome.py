"""A case of the failure drill, and what came of it: values, no stream."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from drivers.commands.fault_scene import Patient, Received
from guidance.messages import GeometryState
from simulators.carm import CArmScript

LIMIT_MM: Final = 1.5  # the most that a path which is shown as trusted may be off
# Twice the age up to which a picture is live: at 3 pictures a second one that is lost must not make paths blink.
SCREEN_AGE_S: Final = 1.0
_RUNS_TOLD: Final = 5

Group = Literal["control", "picture", "geometry", "patient", "time", "volume", "several"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrillCase:
    """One lie, told in one view.

    Attributes:
        name: of the lie.
        group: what is wrong.
        view: where the C-arm stands.
        script: of the stream, its faults from `begins` on.
        begins, frames: index of the first wrong frame, and how many frames there are.
        cbct: what the server was sent.
        patient: who is exposed.
        delay_s: how much later than exposed the frames from `begins` on arrive.
        settles: of the frames before `begins`, how many are those of a lie that is over and what it may leave behind.
        is_anothers: the volume is somebody else's: no place of a path on the picture is right.
    """

    name: str
    group: Group
    view: str
    script: CArmScript
    begins: int
    frames: int
    cbct: Received
    patient: Patient
    delay_s: float = 0.0
    settles: int = 0
    is_anothers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFrame:
    """What stood on the screen after one frame of the stream.

    Attributes:
        index: of the stream's frame.
        state, code, reason: of the geometry.
        check: what the picture itself said.
        drawn: a path was drawn.
        error_mm: how far the worst drawn target lay from where it truly was on that picture, at the target's depth;
            infinite for somebody else's path; None where no path was drawn.
        told_mm: the same of the place that the told geometry gives, drawn or not; None where it gave none.
        age_s: since the picture shown was exposed.
        residual_mm, smoothed_mm: as measured, raw and smoothed; None where it could not be told.
    """

    index: int
    state: GeometryState
    code: str
    reason: str
    check: str
    drawn: bool
    error_mm: float | None
    told_mm: float | None
    age_s: float
    residual_mm: float | None
    smoothed_mm: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came of one case; `shown` has every frame from `begins` on, `before` the honest ones before any lie."""

    case: DrillCase
    before: tuple[ShownFrame, ...]
    shown: tuple[ShownFrame, ...]

    def is_wrong(self, frame: ShownFrame) -> bool:
        """A path shown as trusted that is off by more than the limit, or on a picture that is not live."""
        if frame.state is not GeometryState.TRUSTED or not frame.drawn:
            return False
        return (frame.error_mm or 0.0) > LIMIT_MM or frame.age_s > SCREEN_AGE_S

    @property
    def wrong(self) -> tuple[ShownFrame, ...]:
        return tuple(frame for frame in self.shown if self.is_wrong(frame))

    @property
    def marked(self) -> int:
        """Frames with a path that is off by more than the limit, drawn and marked as not to be trusted."""
        return sum(
            frame.state is GeometryState.DEGRADED and frame.drawn and (frame.error_mm or 0.0) > LIMIT_MM
            for frame in self.shown
        )

    @property
    def noticed(self) -> bool:
        """Something was said of it: marked, or nothing drawn."""
        return any(frame.state is not GeometryState.TRUSTED for frame in self.shown)

    @property
    def frames_to_notice(self) -> int:
        """Frames from the first wrong overlay to the first that was marked or withheld; all there are, if none was."""
        first = next((n for n, frame in enumerate(self.shown) if self.is_wrong(frame)), None)
        if first is None:
            return 0
        states = [frame.state for frame in self.shown[first:]]
        return next((n for n, state in enumerate(states) if state is not GeometryState.TRUSTED), len(states))

    @property
    def seconds_to_notice(self) -> float:
        return self.frames_to_notice / self.case.script.rate_hz

    @property
    def code(self) -> str:
        """Under which name it was noticed."""
        return next((frame.code for frame in self.shown if frame.state is not GeometryState.TRUSTED), "")

    @property
    def reason(self) -> str:
        """The first words that were said of it."""
        return next((frame.reason for frame in self.shown if frame.state is not GeometryState.TRUSTED), "")

    def error_mm(self, *states: GeometryState) -> float | None:
        """The largest error of a path that was drawn in one of these states; None where none was."""
        errors = [frame.error_mm for frame in self.shown if frame.state in states and frame.error_mm is not None]
        return max(errors, default=None)

    @property
    def meanwhile(self) -> str:
        """States in order, in words: "2 trusted, 10 withheld"."""
        runs = [(state, len(list(run))) for state, run in itertools.groupby(frame.state.value for frame in self.shown)]
        if len(runs) <= _RUNS_TOLD:
            return ", ".join(f"{count} {state}" for state, count in runs)
        counts = Counter(frame.state.value for frame in self.shown)
        return ", ".join(f"{count} {state}" for state, count in counts.items()) + ", in turn"
