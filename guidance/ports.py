"""What the core needs from the world and the world from it, as Protocols; drivers satisfy them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from guidance.case import Case
from guidance.messages import CbctVolume, PlannedPath
from guidance.shapes import GeometryAnswer, PictureHeader, StatusAnswer


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

    def update_case(self, fields: Mapping[str, Any]) -> Case:
        """Apply `PUT /case`; see `guidance.case.update_case`."""

    def new_case(self) -> Case:
        """Begin an empty case for the next patient (`DELETE /case`)."""

    def volumes(self) -> Sequence[CbctVolume]:
        """Every volume, oldest first."""

    def volume(self, volume_id: str) -> CbctVolume:
        """One volume."""

    def paths(self) -> Sequence[PlannedPath]:
        """Every path, in the order they were made."""

    def path(self, path_id: str) -> PlannedPath:
        """One path."""

    def create_path(self, fields: Mapping[str, Any]) -> PlannedPath:
        """Add a path; stored on disk before it returns."""

    def replace_path(self, path_id: str, fields: Mapping[str, Any]) -> PlannedPath:
        """PUT a path."""

    def update_path(self, path_id: str, fields: Mapping[str, Any]) -> PlannedPath:
        """PATCH a path."""

    def delete_path(self, path_id: str) -> None:
        """Take a path away."""

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
