"""Messages built by hand from the protocol's tables; where upstream has the same message, its CRC binds every byte.

The CRCs marked `upstream` are those in the headers of OpenIGTLink's own test messages (openigtlink/OpenIGTLink,
Testing/igtlutil/igtl_test_data_*.h, BSD-3-Clause): a body that has them is, byte for byte, upstream's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from guidance.wire.openigtlink import (
    Capability,
    Decoder,
    Image,
    Message,
    Point,
    Points,
    PolyData,
    Position,
    Query,
    Refusal,
    Reply,
    Status,
    Text,
    Trajectories,
    Trajectory,
    Transform,
    pack,
)
from tests.helpers.openigtlink_peer import crc64, image_content, message

TIMESTAMP = 1234567892
DEVICE = "DeviceName"
PATIENT = {"First patient age": "22", "Second patient age": "25"}
MATRIX = struct.unpack(
    ">12f",
    bytes.fromhex("bf7473cd3e4959e6be63dd98be4959e63e12491b3f7852d63e63dd983f7852d6bdc830ae42383660419bc46742383660"),
)


def _fields(message_of: type[Message], **fields: object) -> Message:
    return message_of(device=DEVICE, timestamp_igtl=TIMESTAMP, **fields)


def _point_bytes(name: str, rgba: tuple[int, ...], xyz: tuple[float, ...], diameter: float) -> bytes:
    return struct.pack(">64s32s4B4f20s", name.encode(), b"Landmark", *rgba, *xyz, diameter, b"IMAGE_0")


def _trajectory_bytes(name: str, rgba: tuple[int, ...], numbers: tuple[float, ...]) -> bytes:
    return struct.pack(">64s32sBB4B7f20s", name.encode(), b"TRAJECTORY", 3, 0, *rgba, *numbers, b"IMAGE_0")


_POINTS = (
    ("POINT_DESCRIPTION_0", (255, 0, 0, 255), (10.0, 15.0, 20.0), 5.0),
    ("POINT_DESCRIPTION_1", (0, 255, 0, 255), (25.0, 30.0, 35.0), 3.0),
    ("POINT_DESCRIPTION_2", (0, 0, 255, 255), (40.0, 45.0, 50.0), 1.0),
)
_TRAJECTORIES = (
    ("TRAJECTORY_DESCRIPTION_0", (255, 0, 0, 255), (10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 5.0)),
    ("TRAJECTORY_DESCRIPTION_1", (0, 255, 0, 255), (40.0, 45.0, 50.0, 55.0, 60.0, 65.0, 2.5)),
    ("TRAJECTORY_DESCRIPTION_2", (0, 0, 255, 255), (70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 0.0)),
)
_CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], np.float32)


def _golden() -> Iterator[object]:
    """(message, header version, type on the wire, content by hand, upstream's CRC or None)."""
    transform = _fields(Transform, matrix=MATRIX)
    content = struct.pack(">12f", *MATRIX)
    yield pytest.param(transform, 1, "TRANSFORM", content, 0xF6DD2B8EB4DF6DD2, id="transform-v1-upstream")
    with_patient = replace(transform, metadata=PATIENT, message_id=1)
    yield pytest.param(with_patient, 2, "TRANSFORM", content, 0xF698F64FDAE266DD, id="transform-v2-upstream")

    place = (46.0531, 19.4709, 46.0531)
    position = _fields(
        Position,
        position_ras_mm=struct.unpack(">3f", bytes.fromhex("42383660419bc46742383660")),
        quaternion=struct.unpack(">4f", bytes.fromhex("000000003f13cd3a3f13cd3a3eaaaaab")),
        metadata=PATIENT,
        message_id=1,
    )
    content = bytes.fromhex("42383660419bc46742383660000000003f13cd3a3f13cd3a3eaaaaab")
    assert np.allclose(struct.unpack(">3f", content[:12]), place, atol=1e-3)
    yield pytest.param(position, 2, "POSITION", content, 0xC71116427681C1E2, id="position-v2-upstream")

    points = _fields(
        Points,
        points=tuple(
            Point(name=n, group="Landmark", rgba=c, position_ras_mm=p, diameter_mm=d, owner="IMAGE_0")
            for n, c, p, d in _POINTS
        ),
    )
    content = b"".join(_point_bytes(*point) for point in _POINTS)
    assert len(content) == 408
    yield pytest.param(points, 1, "POINT", content, 0xA55CC62D99C18210, id="point-v1-upstream")

    trajectories = _fields(
        Trajectories,
        trajectories=tuple(
            Trajectory(
                name=n,
                group="TRAJECTORY",
                rgba=c,
                entry_ras_mm=v[0:3],
                target_ras_mm=v[3:6],
                diameter_mm=v[6],
                owner="IMAGE_0",
            )
            for n, c, v in _TRAJECTORIES
        ),
        metadata=PATIENT,
        message_id=1,
    )
    content = b"".join(_trajectory_bytes(*trajectory) for trajectory in _TRAJECTORIES)
    assert len(content) == 450
    yield pytest.param(trajectories, 2, "TRAJ", content, 0x2944657AC8A396E9, id="traj-v2-upstream")

    status = _fields(Status, code=15, subcode=10, error_name="ACTUATOR_DISABLED", text="Actuator A is disabled.")
    content = struct.pack(">Hq20s", 15, 10, b"ACTUATOR_DISABLED") + b"Actuator A is disabled.\0"
    yield pytest.param(status, 1, "STATUS", content, 0x98EE43EED8E431CF, id="status-v1-upstream")

    text = _fields(Text, text="Welcome to OpenIGTLink")
    content = struct.pack(">HH", 3, 22) + b"Welcome to OpenIGTLink"
    yield pytest.param(text, 1, "STRING", content, 0xCEF1B42A701104D4, id="string-v1-upstream")
    text = _fields(Text, text="Zuführung")
    yield pytest.param(text, 2, "STRING", struct.pack(">HH", 106, 10) + "Zuführung".encode(), None, id="string-utf8")

    names = ("IMAGE", "GET_IMAGE", "TRANSFORM", "GET_TRANS")
    content = b"".join(name.encode().ljust(12, b"\0") for name in names)
    yield pytest.param(
        _fields(Capability, types=names), 1, "CAPABILITY", content, 0x6957E29E2B35EA1E, id="capability-v1-upstream"
    )

    polydata = _fields(PolyData, points_ras_mm=_CORNERS, lines=((0, 1), (1, 2, 3)), polygons=((0, 1, 2, 3),))
    content = (
        struct.pack(">10I", 4, 0, 0, 2, 28, 1, 20, 0, 0, 0)
        + struct.pack(">12f", *_CORNERS.ravel())
        + struct.pack(">3I", 2, 0, 1)
        + struct.pack(">4I", 3, 1, 2, 3)
        + struct.pack(">5I", 4, 0, 1, 2, 3)
    )
    yield pytest.param(polydata, 2, "POLYDATA", content, None, id="polydata")

    for verb, subject, wire in (
        ("GET", "CAPABILITY", "GET_CAPABIL"),
        ("GET", "TRANSFORM", "GET_TRANS"),
        ("STT", "IMAGE", "STT_IMAGE"),
        ("STP", "POLYDATA", "STP_POLYDATA"),
    ):
        query = _fields(Query, verb=verb, subject=subject, wire_type=wire)
        yield pytest.param(query, 2, wire, b"", None, id=wire)
    yield pytest.param(_fields(Reply, subject="IMAGE", status=1), 2, "RTS_IMAGE", b"\1", None, id="RTS_IMAGE")


@pytest.mark.parametrize(("value", "version", "type_name", "content", "upstream_crc"), list(_golden()))
def test_packs_and_reads_the_golden_bytes(
    value: Message, version: int, type_name: str, content: bytes, upstream_crc: int | None
) -> None:
    golden = message(
        type_name,
        DEVICE,
        content,
        version=version,
        timestamp=TIMESTAMP,
        metadata=value.metadata,
        message_id=value.message_id,
    )
    if upstream_crc is not None:
        assert crc64(golden[58:]) == upstream_crc
    assert pack(value, version) == golden
    decoder = Decoder()
    decoder.feed(golden)
    read = decoder.next_event()
    assert type(read) is type(value)
    if isinstance(value, PolyData) and isinstance(read, PolyData):
        assert np.array_equal(read.points_ras_mm, value.points_ras_mm)
        assert (read.lines, read.polygons) == (value.lines, value.polygons)
    else:
        assert read == replace(value, header_version=version)
    assert decoder.next_event() is None
    assert decoder.end() is None


_NAMED = {3: np.uint8, 2: np.int8, 5: np.uint16, 4: np.int16, 10: np.float32, 6: np.int32, 7: np.uint32, 11: np.float64}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("scalar", "dtype"), _NAMED.items(), ids=lambda x: getattr(x, "__name__", str(x)))
def test_image_golden_bytes(version: int, scalar: int, dtype: type) -> None:
    """5 columns, 3 rows: an asymmetric picture whose first row is first on the wire."""
    pixels = np.arange(15).reshape(3, 5).astype(dtype)
    matrix = (0.5, 0.0, 0.0, 0.0, -0.25, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0)
    content = image_content(5, 3, pixels.astype(pixels.dtype.newbyteorder("<")).tobytes(), scalar=scalar, matrix=matrix)
    metadata = {"XRay.FrameNumber": "7"} if version == 2 else {}
    golden = message("IMAGE", "Fluoro", content, version=version, timestamp=TIMESTAMP, metadata=metadata)
    value = Image(device="Fluoro", timestamp_igtl=TIMESTAMP, pixels=pixels, matrix=matrix, metadata=metadata)
    assert pack(value, version) == golden
    decoder = Decoder()
    decoder.feed(golden)
    read = decoder.next_event()
    assert isinstance(read, Image)
    assert read.pixels.dtype == dtype
    assert np.array_equal(read.pixels, pixels)
    assert read.matrix == matrix
    assert read.metadata == metadata
    assert read.pixels_crc64 == crc64(pixels.tobytes())


@pytest.mark.parametrize("shape", [(3, 5, 3), (3, 5, 4), (2, 3, 5, 1)], ids=["rgb", "rgba", "two-slices"])
def test_components_are_interleaved_and_slices_come_first(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    slices, rows, columns, components = (1, *shape) if len(shape) == 3 else shape
    content = image_content(columns, rows, pixels.tobytes(), components=components, slices=slices)
    golden = message("IMAGE", "Overlay", content)
    matrix = (0.5, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    assert pack(Image(device="Overlay", pixels=pixels, components=components, matrix=matrix)) == golden
    decoder = Decoder()
    decoder.feed(golden)
    read = decoder.next_event()
    assert isinstance(read, Image)
    assert np.array_equal(read.pixels, pixels.squeeze())


def test_empty_version_2_body_has_14_bytes() -> None:
    """Upstream receivers lose their place at a body of 0 bytes (fine print 8)."""
    packed = pack(Query(verb="GET", subject="STATUS"))
    assert packed[58:] == bytes.fromhex("000c 0002 00000000 00000000 0000")


def test_upstream_metadata_order_is_key_value_key_value() -> None:
    packed = pack(Transform(metadata=PATIENT))
    assert packed.endswith(b"First patient age22Second patient age25")


def test_polydata_of_upstream_with_attributes_is_read() -> None:
    """Upstream's cube (igtl_test_data_polydata.h, CRC 73dddfc80c48c62b): eight points, six polygons, one attribute."""
    cube = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    faces = [(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    content = (
        struct.pack(">10I", 8, 0, 0, 0, 0, 6, 120, 0, 0, 1)
        + b"".join(struct.pack(">3f", *corner) for corner in cube)
        + b"".join(struct.pack(">5I", 4, *face) for face in faces)
        + struct.pack(">BBI6s", 0, 1, 8, b"attr")
        + struct.pack(">8f", *range(8))
    )
    golden = message("POLYDATA", DEVICE, content, version=1, timestamp=TIMESTAMP, crc=0x73DDDFC80C48C62B)
    decoder = Decoder()
    decoder.feed(golden)
    read = decoder.next_event()
    assert not isinstance(read, Refusal)
    assert isinstance(read, PolyData)
    assert np.array_equal(read.points_ras_mm, np.array(cube, np.float32))
    assert read.polygons == tuple(faces)
