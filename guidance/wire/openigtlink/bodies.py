"""One frozen value per OpenIGTLink message; numbers in the wire's own units (mm) and axes (RAS), no bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.messages import Vector3

Matrix12 = tuple[float, ...]  # 12 numbers in wire order: x, y and z column, then translation or centre
Color = tuple[int, int, int, int]  # red green blue alpha, 0..255

WHITE: Final[Color] = (255, 255, 255, 255)
IDENTITY: Final[Matrix12] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


class ScalarType(IntEnum):
    """IMAGE scalar types (protocol: image.md)."""

    INT8 = 2
    UINT8 = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7
    FLOAT32 = 10
    FLOAT64 = 11


DTYPES: Final[Mapping[int, np.dtype[Any]]] = {
    ScalarType.INT8: np.dtype(np.int8),
    ScalarType.UINT8: np.dtype(np.uint8),
    ScalarType.INT16: np.dtype(np.int16),
    ScalarType.UINT16: np.dtype(np.uint16),
    ScalarType.INT32: np.dtype(np.int32),
    ScalarType.UINT32: np.dtype(np.uint32),
    ScalarType.FLOAT32: np.dtype(np.float32),
    ScalarType.FLOAT64: np.dtype(np.float64),
}
SCALAR_TYPES: Final[Mapping[np.dtype[Any], ScalarType]] = {dtype: ScalarType(t) for t, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What every message has.

    Attributes:
        device: device name, at most 20 ASCII characters.
        timestamp_igtl: header timestamp as on the wire, 32.32 fixed point seconds; 0 = unused.
        metadata: texts of the message; empty in version 1.
        header_version: as received; the sender chooses its own.
        message_id: of the extended header.
    """

    TYPE: ClassVar[str] = ""
    device: str = ""
    timestamp_igtl: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    header_version: int = 2
    message_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image(Message):
    """IMAGE.

    Attributes:
        pixels: (rows, columns), (rows, columns, components) or with slices in front; native byte order, not writable.
        matrix: 12 numbers: steps along i (columns), j (rows) and k in RAS mm, then the picture's centre.
        coordinate_system: 1 RAS, 2 LPS, as sent; receivers ignore it.
        pixels_crc64: CRC-64 of the pixel bytes as on the wire.
    """

    TYPE: ClassVar[str] = "IMAGE"
    pixels: npt.NDArray[Any]
    components: int = 1
    matrix: Matrix12 = IDENTITY
    coordinate_system: int = 1
    pixels_crc64: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform(Message):
    """TRANSFORM: 3x3 by columns, then the translation, mm."""

    TYPE: ClassVar[str] = "TRANSFORM"
    matrix: Matrix12 = IDENTITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Position(Message):
    """POSITION: a point and a unit quaternion (x y z w)."""

    TYPE: ClassVar[str] = "POSITION"
    position_ras_mm: Vector3
    quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One element of POINT; `diameter_mm` is what the C++ API calls radius and writes as it is."""

    name: str = ""
    group: str = ""
    rgba: Color = WHITE
    position_ras_mm: Vector3
    diameter_mm: float = 0.0
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points(Message):
    """POINT."""

    TYPE: ClassVar[str] = "POINT"
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One element of TRAJ; `kind` 1 has only an entry, 2 only a target, 3 both."""

    name: str = ""
    group: str = ""
    kind: int = 3
    rgba: Color = WHITE
    entry_ras_mm: Vector3
    target_ras_mm: Vector3
    diameter_mm: float = 0.0
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectories(Message):
    """TRAJ."""

    TYPE: ClassVar[str] = "TRAJ"
    trajectories: tuple[Trajectory, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Message):
    """STRING; at most 65535 bytes of UTF-8."""

    TYPE: ClassVar[str] = "STRING"
    text: str = ""


class StatusCode(IntEnum):
    """The STATUS codes this server uses (protocol: status.md)."""

    OK = 1
    UNKNOWN_ERROR = 2
    UNKNOWN_INSTRUCTION = 12
    NOT_READY = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Message):
    """STATUS; error names have at most 20 ASCII characters."""

    TYPE: ClassVar[str] = "STATUS"
    code: int = StatusCode.OK
    subcode: int = 0
    error_name: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability(Message):
    """CAPABILITY: the message types that a peer understands."""

    TYPE: ClassVar[str] = "CAPABILITY"
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolyData(Message):
    """POLYDATA of lines and polygons; point attributes are neither sent nor read.

    Attributes:
        points_ras_mm: (N, 3) float32.
        lines, polygons: point numbers of each cell; polygons of one size also as an (N, size) int32 array. Vertex
            cells break a receiver, so there are none.
    """

    TYPE: ClassVar[str] = "POLYDATA"
    points_ras_mm: npt.NDArray[np.float32]
    lines: Sequence[Sequence[int]] = ()
    polygons: Sequence[Sequence[int]] | npt.NDArray[np.int32] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(Message):
    """GET_, STT_ or STP_ of a type.

    Attributes:
        subject: full type asked for: GET_TRANS, GET_TRANSFOR -> TRANSFORM; GET_CAPABIL -> CAPABILITY.
        wire_type: the type field as received, for the answer `RTS_<type>`.
        body: uninterpreted content (STT_TDATA's resolution and such).
    """

    verb: Literal["GET", "STT", "STP"]
    subject: str
    wire_type: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Message):
    """RTS_ of a type: `status` 0 success, 1 failure."""

    subject: str
    status: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty(Message):
    """A known type with an empty body: legal to read, never sent."""

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message, or a part of one, that was not taken.

    Attributes:
        code: stable name: see `docs/openigtlink.md`.
        device, type: of the message's header.
        detail: words for people.
        kept: the message itself is handed out all the same (one metadata entry was ignored).
        fatal: nothing behind it can be trusted: close the connection.
        header_version: of the message, so that the answer is in one that its sender reads.
    """

    code: str
    device: str
    type: str
    detail: str = ""
    kept: bool = False
    fatal: bool = False
    header_version: int = 2
