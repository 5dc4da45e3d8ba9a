"""What the core needs from the world and the world from it, as Protocols; drivers satisfy them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from guidance.case import AuditPage, Author, Case
from guidance.cement.alert_answers import AlertAnswer, AlertList
from guidance.cement.answers import CementAnswer, CementBrand
from guidance.messages import CementMaterial, CementView, Finding, PlanItem, PlannedPath, Zone, ZoneSide
from guidance.planning.answers import Clearance, Corridor, Views
from guidance.planning.approaches import Approach
from guidance.planning.c_arms import CArmModel
from guidance.planning.instruments import Instrument
from guidance.planning.questions import Level, Proposal
from guidance.registration.answers import RegistrationAnswer
from guidance.registration.request import RegistrationRequest, RegistrationState
from guidance.shapes import GeometryAnswer, PictureHeader, StatusAnswer

_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveUpdate:
    """One frame of one input, ready for the page.

    Attributes:
        device: the input it is of, `Fluoro`, `FluoroA` or `FluoroB`; the newest update of each device wins.
        state: the object that `/geometry` answers, all inputs.
        header: what goes before the picture; None without a picture.
        picture: JPEG of the live picture without overlay; None where only the state has changed.
    """

    device: str
    state: GeometryAnswer
    header: PictureHeader | None = None
    picture: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFamily:
    """A Prometheus metric and its samples.

    Attributes:
        name: without the prefix `guidance_`; a counter's without `_total`.
        samples: ((label, value) pairs, number), every sample with the same label names.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: tuple[tuple[tuple[tuple[str, str], ...], float], ...]


class CaseApi(Protocol):
    """What HTTP needs; all calls come from the event loop's thread and return at once.

    Raises:
        CaseError: unknown id, field at fault (`guidance.case.BadFieldsError`), or a case that does not allow it;
            the HTTP driver turns it into problem+json by its `code`.
    """

    def case(self) -> Case:
        """The case as it is."""

    def edit(self, change: Callable[[Case], tuple[Case, _Told]], *, author: Author) -> _Told:
        """Apply one change of guidance.case: on disk, in the undo history and in the audit before it returns.

        Args:
            change: a pure function of the case that is held at this moment; what it raises, this raises, and the case
                stays as it was.
            author: whose change it is.

        Returns:
            What `change` has told beside the case.
        """

    def audit(self, *, before: int | None = None, limit: int = 100) -> AuditPage:
        """Lines of the audit, newest last.

        Args:
            before: only lines with a smaller number; None: up to the newest.
            limit: at most so many.
        """

    def geometry(self) -> GeometryAnswer:
        """The newest frame of each input, as contract 5.4 has it, with ages as of now."""

    def status(self) -> StatusAnswer:
        """Inputs, clients, counters, latency, versions, what the volume is."""

    def ready(self) -> tuple[bool, Sequence[str]]:
        """Whether all listen, and what is still missing in words."""

    def metrics(self) -> Sequence[MetricFamily]:
        """Every counter and gauge."""

    def subscribe(self, deliver: Callable[[LiveUpdate], None]) -> Callable[[], None]:
        """Have every update delivered, in the event loop's thread, until the returned function is called.

        `deliver` returns at once and never raises.
        """


class RegistrationApi(Protocol):
    """2D/3D registration for HTTP."""

    async def register(self, request: RegistrationRequest, *, author: Author) -> RegistrationAnswer:
        """Find where the active volume is seen in the live pictures; what is accepted is in force when this answers.

        Raises:
            CaseError: `no_view`, `no_active_volume`, `registration_running`, `case_changed`, `unknown_input`,
                `frame_of_reference_mismatch`, and what planning's process raises.
        """

    def registration(self) -> RegistrationState:
        """Where the active volume is seen now."""

    def drop(self, *, author: Author) -> None:
        """Take the geometry as it is told again; CaseError as `CaseApi.edit`."""


class CementApi(Protocol):
    """Cement and its alerts for HTTP; all calls come from the event loop's thread and return at once."""

    def cement(self) -> CementAnswer:
        """What is known now."""

    def cement_view(self, device: str) -> CementView | None:
        """What the newest followed frame of an input shows; None where cement is not tracked in it."""

    def brands(self) -> Sequence[CementBrand]:
        """The cements that are known by name."""

    def start_cement(self, material: CementMaterial, *, author: Author) -> None:
        """Take the last live frames of each input as the reference and follow what is new.

        Raises:
            CaseError: `already_tracking` or `no_reference` (409); `unknown_brand`, naming the known ones (422).
        """

    def stop_cement(self, *, author: Author) -> None:
        """Follow no longer; nothing happens where nothing is followed. Alerts stay until they are acknowledged."""

    def alerts(self) -> AlertList:
        """All latched alerts, the most important first."""

    def acknowledge(self, alert_id: str, *, by: str) -> AlertAnswer:
        """Say that an alert was seen; it is gone once its condition is no longer true.

        Raises:
            CaseError: `unknown_alert` (404).
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class NewZones:
    """Zones that were read from a file or proposed from the volume, before they are the case's.

    Attributes:
        zones: with name, site, side, kind, level, colour, shape, origin and origin UID; a mask's voxels are stored.
            Id, frame and patient are the case's to give (`guidance.case.import_zones`).
        findings: what was odd about the source; an error among them says what was left out.
        frame_of_reference_uid: frame of the shapes; "": the active volume's.
        patient_id: whose they are; None where the source doesn't say.
    """

    zones: tuple[Zone, ...]
    findings: tuple[Finding, ...] = ()
    frame_of_reference_uid: str = ""
    patient_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlan:
    """What a 3D Slicer markups file holds; `diameter_mm` of a path is 0 where the file has none."""

    paths: tuple[PlanItem, ...]
    zones: tuple[Zone, ...] = ()
    findings: tuple[Finding, ...] = ()


class PlanningApi(Protocol):
    """Planning for HTTP; nothing here changes the case. The async ones are answered by another process.

    Raises:
        CaseError: `planning_busy`, `planning_slow`, `planning_ended`, `stopping` (503); `no_active_volume` (409).
        GeometryError, WireError: what the case or the file does not allow to answer (422).
    """

    def diameter_of(self, instrument: str) -> float | None:
        """Outer diameter in mm of an instrument of the library; None for what is not in it."""

    def instruments(self) -> Sequence[Instrument]:
        """The instrument library."""

    def approaches(self) -> Sequence[Approach]:
        """The approach templates."""

    def c_arms(self) -> Sequence[CArmModel]:
        """The C-arm models whose reach views are checked with."""

    async def clearance(self, case: Case, path: PlannedPath) -> Clearance:
        """How near a path comes to everything else of its frame; `path` need not be in the case (what-if)."""

    async def views(self, case: Case, path: PlannedPath) -> Views:
        """From where to look at a path, best first."""

    async def corridor(
        self, case: Case, *, level: Level, diameter_mm: float, margin_mm: float, side: ZoneSide | None
    ) -> Corridor:
        """The best straight corridor through bone in the active volume; takes seconds."""

    async def read_zones(self, case: Case, file: Path, *, filename: str, names: bytes | None) -> NewZones:
        """Read zones from a label map, DICOM SEG, RT Structure Set or markups file; the content says which.

        Args:
            case: whose active volume gives the grid where one is needed.
            file: where it lies until this has answered.
            filename: as the client calls it, for words only.
            names: text of a names table for a label map, or the word `totalsegmentator`; None without.
        """

    async def propose_zones(self, case: Case, what: Proposal) -> NewZones:
        """Propose bone mask or skin surface from the active volume; takes seconds."""

    async def read_markups(self, case: Case, data: bytes, *, filename: str) -> NewPlan:
        """Read a 3D Slicer markups file."""

    async def write_markups(self, case: Case) -> bytes:
        """Paths and drawn zones of the active frame as a 3D Slicer markups file."""
