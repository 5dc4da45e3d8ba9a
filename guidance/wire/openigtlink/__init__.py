"""OpenIGTLink without I/O: bytes to messages and back, header versions 1 to 3; used by server and simulator."""

from guidance.wire.openigtlink.bodies import (
    Capability,
    Color,
    Empty,
    Image,
    Matrix12,
    Message,
    Point,
    Points,
    PolyData,
    Position,
    Query,
    Refusal,
    Reply,
    ScalarType,
    Status,
    StatusCode,
    Text,
    Trajectories,
    Trajectory,
    Transform,
)
from guidance.wire.openigtlink.coordinates import lps_from_ras, ras_from_lps
from guidance.wire.openigtlink.decoder import Decoder
from guidance.wire.openigtlink.encoder import pack
from guidance.wire.openigtlink.header import timestamp_from_unix_ns, unix_ns_from_timestamp
from guidance.wire.openigtlink.image import fluoro_frame, pack_image_parts, picture_matrix, pixel_pitch_mm
from guidance.wire.openigtlink.pool import BufferPool

__all__ = [
    "BufferPool",
    "Capability",
    "Color",
    "Decoder",
    "Empty",
    "Image",
    "Matrix12",
    "Message",
    "Point",
    "Points",
    "PolyData",
    "Position",
    "Query",
    "Refusal",
    "Reply",
    "ScalarType",
    "Status",
    "StatusCode",
    "Text",
    "Trajectories",
    "Trajectory",
    "Transform",
    "fluoro_frame",
    "lps_from_ras",
    "pack",
    "pack_image_parts",
    "picture_matrix",
    "pixel_pitch_mm",
    "ras_from_lps",
    "timestamp_from_unix_ns",
    "unix_ns_from_timestamp",
]
