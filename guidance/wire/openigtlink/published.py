"""What the server publishes, packed once per header version however many clients there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from guidance.messages import Pixels
from guidance.wire.openigtlink.bodies import Message
from guidance.wire.openigtlink.encoder import pack
from guidance.wire.openigtlink.image import pack_image_parts, picture_matrix
from guidance.wire.openigtlink.outbox import OutgoingPicture
from guidance.wire.openigtlink.outputs import THICKNESS_DEVICE, without_empty_body


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedPicture:
    """One IMAGE for all clients.

    Attributes:
        device: output's device name.
        timestamp_igtl: of the frame it was made from, bit for bit.
        pixels: (rows, columns) or (rows, columns, components), C order, native byte order; not copied.
        pixels_crc64: CRC-64 of their bytes.
        pixel_pitch_mm: (column, row); None where unknown.
        metadata: texts; left out in version 1.
        lease: kept while somebody sends from the pixels.
    """

    device: str
    timestamp_igtl: int
    pixels: Pixels
    pixels_crc64: int
    pixel_pitch_mm: tuple[float, float] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    lease: object = None
    _packed: dict[int, OutgoingPicture] = field(default_factory=dict)

    @property
    def slot(self) -> str:
        """What a newer one replaces; maps of two planes share a device name, and neither replaces the other."""
        if self.device != THICKNESS_DEVICE:
            return self.device
        return f"{self.device} {self.metadata.get('Guidance.Input', '')}".strip()

    def outgoing(self, header_version: int) -> OutgoingPicture:
        """Its buffers in wire order."""
        if header_version not in self._packed:
            prefix, suffix = pack_image_parts(
                self.device,
                self.timestamp_igtl,
                self.pixels.shape,
                self.pixels.dtype,
                pixels_crc64=self.pixels_crc64,
                matrix=picture_matrix(self.pixel_pitch_mm),
                metadata=self.metadata,
                header_version=header_version,
            )
            parts = [memoryview(prefix), self.pixels.data.cast("B")]
            if suffix:
                parts.append(memoryview(suffix))
            self._packed[header_version] = OutgoingPicture(tuple(parts), (self.pixels, self.lease))
        return self._packed[header_version]

    def renamed(self, device: str) -> PublishedPicture:
        """The same picture under the name that a query has."""
        return replace(self, device=device, _packed={})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedMessage:
    """Any other message for all clients."""

    message: Message
    _packed: dict[int, bytes] = field(default_factory=dict)

    def packed(self, header_version: int) -> bytes:
        """The whole message; an empty list becomes one invisible element in version 1 (no empty bodies)."""
        if header_version not in self._packed:
            message = self.message if header_version >= 2 else without_empty_body(self.message)
            self._packed[header_version] = pack(message, header_version)
        return self._packed[header_version]

    def renamed(self, device: str) -> PublishedMessage:
        """The same message under the name that a query has."""
        return PublishedMessage(message=replace(self.message, device=device))
