"""What can happen to the live session, and what its shell must do about it."""

from __future__ import annotations

from dataclasses import dataclass

from guidance.case import Case
from guidance.consistency.measurement import Measurement
from guidance.consistency.volume import WatchVolume
from guidance.messages import FluoroFrame, Matrix34, PlannedPath, TransformSample
from guidance.overlay.zones import ZonesOnPicture
from guidance.session.planned import Planned
from guidance.session.state import InputTrack
from guidance.tracking.known_metal import KnownMetal
from guidance.tracking.sightings import FoundInstrument
from guidance.tracking.values import PlacedInstrument


@dataclass(frozen=True, slots=True)
class FrameArrived:
    frame: FluoroFrame


@dataclass(frozen=True, slots=True)
class TransformArrived:
    sample: TransformSample


@dataclass(frozen=True, slots=True)
class CaseEdited:
    """The case was changed by one of guidance.case's functions."""

    case: Case


@dataclass(frozen=True, slots=True)
class PlanWorkedOut:
    """Planning knows more than before: surfaces, margins, views."""

    planned: Planned


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    connection_id: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; nothing else happened."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameMeasured:
    """A frame was held against the volume, as `MeasureFrame` asked.

    Attributes:
        track, pixel_from_patient, watch: as they were asked with.
        measurement: what came out.
        found: instruments along the paths.
    """

    track: InputTrack
    pixel_from_patient: Matrix34
    watch: WatchVolume
    measurement: Measurement
    found: tuple[FoundInstrument, ...] = ()


Event = FrameArrived | FrameMeasured | TransformArrived | CaseEdited | PlanWorkedOut | ConnectionClosed | Tick


@dataclass(frozen=True, slots=True, eq=False)
class MeasureFrame:
    """Hold this input's newest frame against the volume; the newest of an input wins. `FrameMeasured` answers.

    `metal` is the volume's, for the instruments that are looked for along `paths`; None: none are looked for.
    """

    track: InputTrack
    pixel_from_patient: Matrix34
    watch: WatchVolume
    paths: tuple[PlannedPath, ...]
    metal: KnownMetal | None


@dataclass(frozen=True, slots=True)
class DrawFrame:
    """Draw this input's newest frame and publish it; `again` where the frame itself was published before."""

    track: InputTrack
    again: bool = False


@dataclass(frozen=True, slots=True)
class StoreCase:
    """The case must be on disk before whoever changed it is answered."""

    case: Case


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """The paths that receivers show have changed."""

    case: Case


@dataclass(frozen=True, slots=True)
class PublishZones:
    """The zones that receivers show have changed, or their surfaces."""

    zones: ZonesOnPicture


@dataclass(frozen=True, slots=True, eq=False)
class PublishNeedleTip:
    """Where an instrument's tip is has changed; None: it is not known any more. `track` has the newest frame of it."""

    path: PlannedPath
    placed: PlacedInstrument | None
    track: InputTrack | None


@dataclass(frozen=True, slots=True)
class InputChanged:
    """An input's state, its geometry's state or the reason changed."""

    before: InputTrack | None
    after: InputTrack


Effect = MeasureFrame | DrawFrame | StoreCase | PublishPlan | PublishZones | PublishNeedleTip | InputChanged
