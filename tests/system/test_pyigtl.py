"""An outside peer, pyigtl 0.3.4: byte for byte where it is deterministic, and over real sockets both ways.

pyigtl checks no CRC, keeps one message per device name and packs slowly, so pictures here are small; pictures are
given to it as (1, rows, columns), because it sends 2-D arrays turned.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pyigtl
import pytest
from pyigtl.messages import MessageBase

from drivers.openigtlink_input import FluoroInput
from drivers.openigtlink_output import OverlayOutput
from guidance import kernels
from guidance.config import OpenIGTLinkSettings
from guidance.wire.openigtlink import (
    Decoder,
    Image,
    Message,
    Point,
    Points,
    PolyData,
    Text,
    Transform,
    pack,
    picture_matrix,
    timestamp_from_unix_ns,
)
from tests.helpers.heard import Heard

TIME_S = 1234567890.5
TIMESTAMP = timestamp_from_unix_ns(1_234_567_890_500_000_000)
METADATA = {"XRay.FrameNumber": "7", "XRay.PrimaryAngleDeg": "-12.5"}
DEADLINE_S = 30.0


def _centred(columns: int, rows: int, column_mm: float, row_mm: float) -> np.ndarray:
    """ijk_to_world of a picture whose centre is at 0, in the axes of `picture_matrix`."""
    matrix = np.diag([column_mm, -row_mm, -1.0, 1.0])
    matrix[:3, 3] = [-(columns - 1) / 2 * column_mm, (rows - 1) / 2 * row_mm, 0.0]
    return matrix


def _image_pair(dtype: type, components: int) -> tuple[Message, MessageBase]:
    shape = (3, 5) if components == 1 else (3, 5, components)
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    ours = Image(
        device="Fluoro",
        timestamp_igtl=TIMESTAMP,
        pixels=pixels,
        components=components,
        matrix=picture_matrix((0.5, 0.25)),
        metadata=METADATA,
    )
    theirs = pyigtl.ImageMessage(
        pixels[np.newaxis],
        ijk_to_world_matrix=_centred(5, 3, 0.5, 0.25),
        world_coordinate_system="ras",
        timestamp=TIME_S,
        device_name="Fluoro",
    )
    return ours, theirs


def _transform_pair() -> tuple[Message, MessageBase]:
    matrix = np.array([[1, 2, 3, 10], [4, 5, 6, 11], [7, 8, 9, 12], [0, 0, 0, 1]], np.float32)
    ours = Transform(
        device="DetectorToPatient",
        timestamp_igtl=TIMESTAMP,
        matrix=tuple(matrix[:3].T.ravel().tolist()),
        metadata=METADATA,
    )
    return ours, pyigtl.TransformMessage(matrix, timestamp=TIME_S, device_name="DetectorToPatient")


def _text_pair() -> tuple[Message, MessageBase]:
    ours = Text(device="Alert", timestamp_igtl=TIMESTAMP, text='[{"id":"1"}]', metadata=METADATA)
    return ours, pyigtl.StringMessage('[{"id":"1"}]', timestamp=TIME_S, device_name="Alert")


def _point_pair() -> tuple[Message, MessageBase]:
    places = ((1.0, 2.0, 3.0), (-4.5, 5.25, 6.0))
    ours = Points(
        device="Plan",
        timestamp_igtl=TIMESTAMP,
        points=tuple(
            Point(name=name, group="S1", rgba=(1, 2, 3, 4), position_ras_mm=place, diameter_mm=6.5, owner="o")
            for name, place in zip(("S1 entry", "S1 target"), places, strict=True)
        ),
        metadata=METADATA,
    )
    theirs = pyigtl.PointMessage(
        positions=places,
        names=["S1 entry", "S1 target"],
        rgba_colors=[1, 2, 3, 4],
        diameters=6.5,
        groups="S1",
        owners="o",
        timestamp=TIME_S,
        device_name="Plan",
    )
    return ours, theirs


PAIRS: dict[str, Callable[[], tuple[Message, MessageBase]]] = {
    "image-uint16": lambda: _image_pair(np.uint16, 1),
    "image-int16": lambda: _image_pair(np.int16, 1),
    "image-uint8": lambda: _image_pair(np.uint8, 1),
    "image-int8": lambda: _image_pair(np.int8, 1),
    "image-float32": lambda: _image_pair(np.float32, 1),
    "image-rgb": lambda: _image_pair(np.uint8, 3),
    "image-rgba": lambda: _image_pair(np.uint8, 4),
    "transform": _transform_pair,
    "string": _text_pair,
    "point": _point_pair,
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_both_pack_the_same_bytes_and_read_each_other(
    pair: Callable[[], tuple[Message, MessageBase]], version: int
) -> None:
    ours, theirs = pair()
    theirs.header_version = version
    theirs.metadata = dict(METADATA) if version == 2 else {}
    packed = theirs.pack()
    assert pack(ours, version) == packed

    decoder = Decoder()
    decoder.feed(packed)
    read = decoder.next_event()
    assert type(read) is type(ours)
    assert read.metadata == (METADATA if version == 2 else {})
    if isinstance(read, Image) and isinstance(ours, Image):
        assert np.array_equal(read.pixels, ours.pixels)
        assert read.pixels.dtype == ours.pixels.dtype

    fields = MessageBase.parse_header(packed[:58])
    again = MessageBase.create_message(fields["message_type"])
    again.unpack(fields, pack(ours, version)[58:])
    assert again.device_name == ours.device
    assert again.timestamp == TIME_S
    if isinstance(ours, Image):
        assert np.array_equal(again.image.reshape(ours.pixels.shape), ours.pixels)
        assert np.allclose(again.ijk_to_world_matrix, theirs.ijk_to_world_matrix)


@pytest.mark.parametrize("version", [1, 2])
def test_polydata_is_packed_alike(version: int) -> None:
    """Lines and polygons; pyigtl never reads POLYDATA, and its POSITION is not the protocol's."""
    points = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0)], np.float32)
    ours = PolyData(
        device="Paths", timestamp_igtl=TIMESTAMP, points_ras_mm=points, lines=((0, 1),), polygons=((0, 1, 2),)
    )
    theirs = pyigtl.PolyDataMessage(
        points=points,
        lines=np.array([2, 0, 1]),
        polygons=np.array([3, 0, 1, 2]),
        timestamp=TIME_S,
        device_name="Paths",
    )
    theirs.header_version = version
    assert pack(ours, version) == theirs.pack()


@asynccontextmanager
async def fluoro_input(heard: Heard, **changes: Any) -> AsyncIterator[FluoroInput]:
    refused: list[Any] = []
    driver = FluoroInput(
        msgspec.structs.replace(OpenIGTLinkSettings(input_port=0), **changes),
        on_frame=heard.hear(heard.frames),
        on_transform=heard.hear(heard.transforms),
        on_plan=heard.hear(heard.plans),
        on_other=heard.hear(heard.others),
        on_connection=heard.hear([]),
        on_refused=heard.hear(refused),
    )
    await driver.start()
    try:
        yield driver
        assert refused == []
    finally:
        await driver.stop()


@asynccontextmanager
async def overlay_output(heard: Heard, **changes: Any) -> AsyncIterator[OverlayOutput]:
    driver = OverlayOutput(
        msgspec.structs.replace(OpenIGTLinkSettings(output_port=0), **changes),
        heartbeat=lambda: (1, "{}"),
        on_client=heard.hear([]),
        on_refused=lambda _refusal, _client: None,
    )
    await driver.start()
    try:
        yield driver
    finally:
        await driver.stop()


@pytest.fixture
def own_signals() -> Iterator[None]:
    """pyigtl's server takes SIGINT and SIGTERM for itself."""
    taken = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in taken.items():
        signal.signal(number, handler)


def _send(link: Any, heard_device: str, number: int, version: int) -> None:
    pixels = (np.arange(48 * 64) + number).astype(np.uint16).reshape(1, 48, 64)
    picture = pyigtl.ImageMessage(
        pixels,
        ijk_to_world_matrix=_centred(64, 48, 0.3, 0.2),
        world_coordinate_system="ras",
        timestamp=TIME_S + number,
        device_name=heard_device,
    )
    picture.header_version = version
    if version == 2:
        picture.metadata = {"XRay.FrameNumber": str(number)}
    link.send_message(picture, wait=True)


@pytest.mark.parametrize("version", [1, 2])
async def test_pyigtl_client_sends_fluoroscopy(version: int) -> None:
    heard = Heard()
    async with fluoro_input(heard) as driver:
        client = pyigtl.OpenIGTLinkClient("127.0.0.1", driver.port)
        try:
            for number in range(1, 6):
                await asyncio.to_thread(_send, client, "Fluoro", number, version)
            twist = pyigtl.TransformMessage(np.diag([1.0, 2.0, 3.0, 1.0]), device_name="DetectorToPatient")
            point = pyigtl.PointMessage(positions=[(1, 2, 3)], names=["S1 entry"], device_name="Plan")
            for sent in (twist, point, pyigtl.StringMessage("hello", device_name="Note")):
                await asyncio.to_thread(client.send_message, sent, wait=True)
            await heard.until(lambda: len(heard.frames) == 5 and bool(heard.others))
        finally:
            await asyncio.to_thread(client.stop)
        for number, frame in enumerate(heard.frames, 1):
            assert np.array_equal(frame.pixels, (np.arange(48 * 64) + number).astype(np.uint16).reshape(48, 64))
            assert frame.metadata == ({"XRay.FrameNumber": str(number)} if version == 2 else {})
            assert frame.timestamp_igtl == TIMESTAMP + (number << 32)
            assert frame.pixel_pitch_mm == pytest.approx((0.3, 0.2))
        assert np.array_equal(heard.transforms[0].matrix, np.diag([1.0, 2.0, 3.0, 1.0]))
        assert isinstance(heard.plans[0], Points)
        assert isinstance(heard.others[0], Text)
        assert heard.others[0].text == "hello"


@pytest.mark.usefixtures("own_signals")
async def test_pyigtl_server_is_dialled() -> None:
    heard = Heard()
    server = pyigtl.OpenIGTLinkServer(port=0)
    try:
        async with fluoro_input(heard, connect=(f"127.0.0.1:{server.server_address[1]}",)):
            for number in (1, 2):
                await asyncio.to_thread(_send, server, "FluoroA", number, 2)
            await heard.until(lambda: len(heard.frames) == 2)
            assert [frame.device for frame in heard.frames] == ["FluoroA", "FluoroA"]
            assert heard.frames[1].metadata == {"XRay.FrameNumber": "2"}
    finally:
        await asyncio.to_thread(server.stop)


@pytest.mark.parametrize("version", [1, 2])
async def test_pyigtl_clients_receive_the_overlay(version: int) -> None:
    """Two of them, over real sockets, with heartbeats in between that pyigtl does not know."""
    addresses = ("127.0.0.1",) if version == 1 else ()
    heard = Heard()
    async with overlay_output(heard, heartbeat_s=0.05, version_1_clients=addresses) as driver:
        clients = [pyigtl.OpenIGTLinkClient("127.0.0.1", driver.port) for _ in range(2)]
        try:
            await heard.until(lambda: len(driver.clients()) == 2)
            rgb = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
            driver.publish_image(
                "Overlay",
                timestamp_igtl=TIMESTAMP,
                pixels=rgb,
                pixels_crc64=kernels.crc64(rgb.reshape(-1)),
                pixel_pitch_mm=(0.3, 0.2),
                metadata={"Guidance.GeometryState": "trusted"},
            )
            driver.publish_message(Points(device="Targets", points=(Point(name="a", position_ras_mm=(1.0, 2.0, 3.0)),)))
            driver.publish_message(Transform(device="NeedleTip_a", metadata={"TransformStatus": "OK"}))
            driver.set_alerts([{"id": "1"}])
            for client in clients:
                picture = await asyncio.to_thread(client.wait_for_message, "Overlay", DEADLINE_S)
                assert np.array_equal(picture.image, rgb[np.newaxis])
                assert picture.timestamp == TIME_S
                assert picture.metadata == ({"Guidance.GeometryState": "trusted"} if version == 2 else {})
                assert np.allclose(picture.ijk_to_world_matrix, _centred(64, 48, 0.3, 0.2))
                targets = await asyncio.to_thread(client.wait_for_message, "Targets", DEADLINE_S)
                assert targets.positions == [(1.0, 2.0, 3.0)]
                tip = await asyncio.to_thread(client.wait_for_message, "NeedleTip_a", DEADLINE_S)
                assert np.array_equal(tip.matrix, np.eye(4))
                alert = await asyncio.to_thread(client.wait_for_message, "Alert", DEADLINE_S)
                assert alert.string == '[{"id":"1"}]'
        finally:
            for client in clients:
                await asyncio.to_thread(client.stop)
