"""What can happen to the live session, and what its shell must do about it."""

from __future__ import annotations

from dataclasses import dataclass

from guidance.alerts.book import AlertBook
from guidance.case import Case
from guidance.cement.progress import CementProgress
from guidance.cement.values import CementFrame
from guidance.consistency.measurement import Measurement
from guidance.consistency.volume import WatchVolume
from guidance.messages import (
    CementMaterial,
    CementSeen,
    FluoroFrame,
    InjectorReading,
    Matrix34,
    PlannedPath,
    TransformSample,
)
from guidance.overlay.zones import ZonesOnPicture
from guidance.session.cement import CementAsk
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
    """A frame was measured, as `MeasureFrame` asked.

    Attributes:
        track, pixel_from_patient, watch: as they were asked with.
        measurement: what came out; None where there was nothing to hold it against.
        found: instruments along the paths.
        cement: what the frame shows of cement; None where it is not followed.
    """

    track: InputTrack
    pixel_from_patient: Matrix34 | None
    watch: WatchVolume | None
    measurement: Measurement | None
    found: tuple[FoundInstrument, ...] = ()
    cement: CementSeen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CementStarted:
    """Cement shall be followed from now on; refused with a CaseError (`guidance.session.cement.start_cement`).

    `work_ends_ns` is when its working time ends, server's monotonic clock; None: not known.
    """

    material: CementMaterial
    work_ends_ns: int | None = None


@dataclass(frozen=True, slots=True)
class CementStopped:
    """Cement shall be followed no longer."""


@dataclass(frozen=True, slots=True)
class InjectorTold:
    reading: InjectorReading


@dataclass(frozen=True, slots=True)
class AlertAcknowledged:
    """Somebody has seen an alert; refused with a CaseError where there is no such alert."""

    alert_id: str
    by: str


Event = (
    FrameArrived
    | FrameMeasured
    | TransformArrived
    | CaseEdited
    | PlanWorkedOut
    | ConnectionClosed
    | CementStarted
    | CementStopped
    | InjectorTold
    | AlertAcknowledged
    | Tick
)


@dataclass(frozen=True, slots=True, eq=False)
class MeasureFrame:
    """Measure this input's newest frame; the newest of an input wins. `FrameMeasured` answers.

    Attributes:
        watch: the volume that it is held against at `pixel_from_patient`; both None where there is nothing to do so.
        metal: the volume's, for the instruments that are looked for along `paths`; None: none are looked for.
        cement: what to follow in it; None: nothing.
    """

    track: InputTrack
    pixel_from_patient: Matrix34 | None
    watch: WatchVolume | None
    paths: tuple[PlannedPath, ...]
    metal: KnownMetal | None
    cement: CementAsk | None = None


@dataclass(frozen=True, slots=True)
class DrawFrame:
    """Draw this input's newest frame and publish it; `again` where the frame itself was published before.

    `reference` is kept after that: cement may begin to be followed, and what was seen before is compared with.
    """

    track: InputTrack
    again: bool = False
    reference: CementFrame | None = None


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


@dataclass(frozen=True, slots=True, eq=False)
class PublishCement:
    """What is known of cement has changed."""

    cement: CementProgress


@dataclass(frozen=True, slots=True, eq=False)
class PublishAlerts:
    """The latched alerts have changed."""

    before: AlertBook
    after: AlertBook


Effect = (
    MeasureFrame
    | DrawFrame
    | StoreCase
    | PublishPlan
    | PublishZones
    | PublishNeedleTip
    | PublishCement
    | PublishAlerts
    | InputChanged
)
