"""What a stream sends: pictures and transforms, and what an input is doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from guidance.messages.basics import F64, Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class FluoroFrame:
    """One fluoroscopy picture as the sender gave it.

    Attributes:
        device: OpenIGTLink device name, `Fluoro`, `FluoroA` or `FluoroB`.
        pixels: (rows, columns), C order, native byte order; uint8, int8, uint16, int16 or float32. Never altered.
        timestamp_igtl: header timestamp as on the wire, 32.32 fixed point seconds; 0 = unused.
        received_ns: server's monotonic clock when the last byte was in.
        metadata: `XRay.*` texts of the message.
        pixel_pitch_mm: (column step, row step) from the IMAGE header's matrix; None where it is unusable.
        header_version: version in the OpenIGTLink header.
        connection_id: which connection it came by.
        sequence: the server's own running number of frames of this device, never reused.
        pixels_crc64: CRC-64 of the pixel bytes as they came over the wire: equal for repeated content.
    """

    device: str
    pixels: Pixels
    timestamp_igtl: int
    received_ns: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    pixel_pitch_mm: tuple[float, float] | None = None
    header_version: int = 2
    connection_id: int = 0
    sequence: int = 0
    pixels_crc64: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformSample:
    """One TRANSFORM message.

    Attributes:
        name: device name, `DetectorToPatient` or `SourceToPatient`, with `A` / `B` at the end for biplane.
        matrix: (4, 4) float64, as on the wire (no RAS/LPS conversion yet).
        timestamp_igtl: header timestamp; 0 = unused.
        received_ns: server's monotonic clock.
        connection_id: which connection it came by.
    """

    name: str
    matrix: F64
    timestamp_igtl: int
    received_ns: int
    connection_id: int = 0


class InputState(StrEnum):
    """What an input is doing (contract 5.3); `FROZEN_CLOCK` is a sender clock that stands while frames come."""

    CONNECTED = "connected"
    STREAMING = "streaming"
    VALID = "valid"
    HELD = "held"
    SILENT = "silent"
    FROZEN_CLOCK = "frozen_clock"
