"""What the live process and the planning process say to each other: length-prefixed msgpack, one value a frame."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from guidance.cement.space import CementSpace
from guidance.config import PlanningSettings
from guidance.consistency.volume import WatchVolume
from guidance.messages import CbctVolume, Finding, PlannedPath, Zone, ZoneSide
from guidance.planning.answers import Clearance, Corridor, Views
from guidance.registration.answers import RegistrationAnswer

LENGTH: Final = struct.Struct("<I")
LARGEST_FRAME_BYTES: Final = 1 << 28  # a surface has a few MB at most, everything else a few hundred kB


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """First frame to the process: section `planning` and the absolute folder of the server's data."""

    settings: PlanningSettings
    data_dir: str


class ClearanceQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How near one path comes to everything else; what takes seconds and is not there yet is left out and said."""

    path: PlannedPath
    others: tuple[PlannedPath, ...]
    zones: tuple[Zone, ...]
    volume: CbctVolume | None


class ViewsQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From where to look at one path."""

    path: PlannedPath
    zones: tuple[Zone, ...]
    volume: CbctVolume | None


class CorridorQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Whether a corridor exists; takes seconds."""

    level: str
    diameter_mm: float
    margin_mm: float
    side: ZoneSide | None
    zones: tuple[Zone, ...]
    volume: CbctVolume


class SurfaceQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The surface of one zone."""

    zone: Zone


class BoneQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Work the bone and the skin out, so that clearances can tell of them; takes seconds."""

    zones: tuple[Zone, ...]
    volume: CbctVolume


class ImportQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Read zones from a stored file; `filename` is for words, `names` a names table, or its well-known name."""

    path: str
    filename: str
    names: bytes | None = None
    volume: CbctVolume | None = None


class ProposeQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Propose bone mask or skin from the volume; takes seconds."""

    what: Literal["bone", "skin"]
    volume: CbctVolume


class WatchQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make the volume small, for the live process to hold every frame against; and ready for registration."""

    volume: CbctVolume


class SpaceQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make of the volume where cement can be; a second or two."""

    volume: CbctVolume


class ViewPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A `guidance.registration.values.RegistrationView` as bytes; `valid` one byte a pixel, 0 where nothing counts."""

    name: str
    pixels: bytes
    dtype: str
    rows: int
    columns: int
    pixel_from_patient: tuple[float, ...]
    intensity: Literal["LIN", "LOG", "DISP"]
    sign: Literal[1, -1]
    valid: bytes | None


class RegistrationQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Where the volume is seen in pictures; `start`: 16 numbers, where the search begins."""

    volume: CbctVolume
    views: tuple[ViewPicture, ...]
    start: tuple[float, ...]


Question = (
    ClearanceQuestion
    | ViewsQuestion
    | CorridorQuestion
    | SurfaceQuestion
    | BoneQuestion
    | ImportQuestion
    | ProposeQuestion
    | WatchQuestion
    | SpaceQuestion
    | RegistrationQuestion
)

Lane = Literal["quick", "pose", "long"]
"""A drag must not wait behind a registration, and neither behind a corridor search: each lane is a thread."""

_LANE_OF: Final[Mapping[type, Lane]] = {
    ClearanceQuestion: "quick",
    ViewsQuestion: "quick",
    SurfaceQuestion: "quick",
    WatchQuestion: "pose",
    SpaceQuestion: "pose",
    RegistrationQuestion: "pose",
}


def lane_of(question: Question) -> Lane:
    """Which lane answers a question."""
    return _LANE_OF.get(type(question), "long")


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Answered at once with `Pong` by a process that still reads, whatever its lanes are busy with."""


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for the question of that number any more: it need not be begun."""


class Ask(msgspec.Struct, frozen=True):
    """A question with its number."""

    number: int
    question: Question | Ping | Forget


class SurfaceAnswer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A surface: (V, 3) float32 LPS mm and (T, 3) int32, C order, native byte order."""

    vertices_lps_mm: bytes
    triangles: bytes


class BoneAnswer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Bone and skin are there; `words` say where they are from."""

    words: str


class ZonesAnswer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Zones read or proposed; their masks are stored. Ids, frame and patient are the case's to give."""

    zones: tuple[Zone, ...]
    findings: tuple[Finding, ...]
    frame_of_reference_uid: str


class ClearanceAnswer(msgspec.Struct, frozen=True, tag=True):
    clearance: Clearance


class ViewsAnswer(msgspec.Struct, frozen=True, tag=True):
    views: Views


class CorridorAnswer(msgspec.Struct, frozen=True, tag=True):
    corridor: Corridor


class WatchAnswer(msgspec.Struct, frozen=True, tag=True):
    """The small volume, and where its metal is: (N, 3) float64 LPS mm, C order, balls of one radius."""

    watch: WatchVolume
    metal_lps_mm: bytes = b""
    metal_radius_mm: float = 0.0


class SpaceAnswer(msgspec.Struct, frozen=True, tag=True):
    """Where cement can be in the volume."""

    space: CementSpace


class RegisteredAnswer(msgspec.Struct, frozen=True, tag=True):
    registration: RegistrationAnswer


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The process reads and answers."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The question has no answer; `kind` is the error's class, `fields` are (field, message) at fault of `what`."""

    kind: Literal["CaseError", "GeometryError", "WireError", "ConfigError", "BadFieldsError"]
    message: str
    code: str
    mend: str
    fields: tuple[tuple[str, str], ...] = ()
    what: str = ""


Answer = (
    SurfaceAnswer
    | BoneAnswer
    | ZonesAnswer
    | ClearanceAnswer
    | ViewsAnswer
    | CorridorAnswer
    | WatchAnswer
    | SpaceAnswer
    | RegisteredAnswer
    | Failed
)


class Told(msgspec.Struct, frozen=True):
    """An answer with its question's number."""

    number: int
    answer: Answer | Pong


_encoder: Final = msgspec.msgpack.Encoder()
decode_start = msgspec.msgpack.Decoder(Start).decode
decode_ask = msgspec.msgpack.Decoder(Ask).decode
decode_told = msgspec.msgpack.Decoder(Told).decode


def frame_of(value: msgspec.Struct) -> bytes:
    """The value's bytes behind their length."""
    body = _encoder.encode(value)
    return LENGTH.pack(len(body)) + body
