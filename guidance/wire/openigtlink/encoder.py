"""Any message to bytes; pictures on the hot path go through `image.pack_image_parts` instead."""

from __future__ import annotations

from guidance import kernels
from guidance.wire.openigtlink.bodies import Image, Message
from guidance.wire.openigtlink.content import content_of
from guidance.wire.openigtlink.header import Header, pack_header
from guidance.wire.openigtlink.image import frame_content, pack_image_parts


def pack(message: Message, header_version: int = 2) -> bytes:
    """One whole message as it goes over the wire.

    Args:
        message: its `header_version` is ignored; its metadata are left out in version 1, which has none.
        header_version: 1 or 2.

    Raises:
        WireError: a value does not fit its field, or the type is never sent.
    """
    if isinstance(message, Image):
        pixels = message.pixels.tobytes()
        prefix, suffix = pack_image_parts(
            message.device,
            message.timestamp_igtl,
            message.pixels.shape,
            message.pixels.dtype,
            pixels_crc64=kernels.crc64(pixels),
            matrix=message.matrix,
            metadata=message.metadata,
            header_version=header_version,
            message_id=message.message_id,
        )
        return prefix + pixels + suffix
    type_name, content = content_of(message)
    front, suffix = frame_content(content, message.metadata, header_version, message.message_id)
    body = front + suffix
    header = Header(
        version=header_version,
        type=type_name,
        device=message.device,
        timestamp_igtl=message.timestamp_igtl,
        body_size=len(body),
        crc64=kernels.crc64(body),
    )
    return pack_header(header) + body
