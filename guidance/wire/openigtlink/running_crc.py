"""CRC of a body while it comes in, split where the pixels begin and end, so that theirs is known for free."""

from __future__ import annotations

from guidance import kernels
from guidance.wire.openigtlink.bodies import Image
from guidance.wire.openigtlink.header import EXTENDED_HEADER, EXTENDED_HEADER_BYTES, Header
from guidance.wire.openigtlink.image import IMAGE_HEADER_BYTES
from guidance.wire.openigtlink.pool import Block


class RunningCrc:
    """Begin with each body, update with each piece."""

    def __init__(self) -> None:
        self._version = 1
        self._is_image = False
        self._at = self._body = self._end = self._pixels_at = self._pixels_end = 0
        self._crcs = [0, 0, 0]

    def begin(self, header: Header, body: int) -> None:
        """A new body, which begins at offset `body` of its block."""
        self._version = header.version
        self._at = self._body = body
        self._end = body + header.body_size
        self._is_image = header.type == Image.TYPE
        # Without pixels all of the body is one section.
        self._pixels_at = self._pixels_end = self._end
        self._crcs = [0, 0, 0]

    def update(self, block: Block, until: int) -> None:
        """Take in the bytes up to offset `until` of the block."""
        if self._is_image and self._at == self._body and self._end - self._body >= EXTENDED_HEADER_BYTES:
            if until - self._body < EXTENDED_HEADER_BYTES:
                return
            self._find_pixels(block.view)
        borders = (self._pixels_at, self._pixels_end, self._end)
        for number, border in enumerate(borders):
            stop = min(until, border)
            if self._at < stop:
                self._crcs[number] = kernels.crc64(block.array[self._at : stop], self._crcs[number])
                self._at = stop

    def of_body(self) -> int:
        """CRC of all that was taken in."""
        front, pixels, back = self._crcs
        crc: int = kernels.crc64_combine(front, pixels, self._pixels_end - self._pixels_at)
        return kernels.crc64_combine(crc, back, self._end - self._pixels_end)

    def of_pixels(self) -> int:
        """CRC of the pixels alone; 0 for what is no picture."""
        return self._crcs[1]

    def _find_pixels(self, view: memoryview) -> None:
        size = behind = 0
        if self._version >= 2:
            size, metadata_header_size, metadata_size, _ = EXTENDED_HEADER.unpack_from(view, self._body)
            behind = metadata_header_size + metadata_size
        if size + IMAGE_HEADER_BYTES + behind <= self._end - self._body:  # else it is refused when it is complete
            self._pixels_at = self._body + size + IMAGE_HEADER_BYTES
            self._pixels_end = self._end - behind
