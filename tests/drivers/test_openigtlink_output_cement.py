"""CementThickness and Alert over real sockets, as receivers get them."""

from __future__ import annotations

import asyncio
import json
import struct

import numpy as np
import pyigtl

from drivers.openigtlink_output import OverlayOutput
from guidance.case import Author
from guidance.cement.alert_answers import alert_objects
from guidance.kernels import crc64
from guidance.messages import CementMaterial
from guidance.overlay.picture import thickness_metadata
from guidance.wire.openigtlink.outputs import ALERT_DEVICE, MAXIMUM_TEXT_BYTES, THICKNESS_DEVICE
from tests.helpers.cement import FORAMEN, FakeCementApi, drop, near_site
from tests.helpers.drawn import track_of, view
from tests.helpers.openigtlink_peer import RawPeer
from tests.helpers.overlay_clients import TIMESTAMP, Clients, serving

FLOAT32 = 10  # image.md: SCALAR_TYPE


def followed() -> FakeCementApi:
    api = FakeCementApi((FORAMEN,))
    api.start_cement(CementMaterial(opacity_per_mm=0.1), author=Author(via="server"))
    for number in (1, 2):
        api.frame(drop(number, size=64, radius_px=9.0), near_site(1.0))
    return api


def publish(driver: OverlayOutput, thickness_mm: np.ndarray, device: str, number: int) -> None:
    driver.publish_image(
        THICKNESS_DEVICE,
        timestamp_igtl=TIMESTAMP + number,
        pixels=thickness_mm,
        pixels_crc64=crc64(thickness_mm.view(np.uint8).ravel()),
        pixel_pitch_mm=(0.3, 0.3),
        metadata={"Guidance.Input": device, "XRay.FrameNumber": str(number)},
    )


async def test_map_is_float32_of_the_frames_pixels_with_what_is_known() -> None:
    api = followed()
    thickness_mm = api.known.seen["Fluoro"].view.thickness_mm
    assert thickness_mm is not None
    metadata = thickness_metadata(track_of((), view()), 3.0, api.known)
    clients = Clients()
    async with serving(clients) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        driver.publish_image(
            THICKNESS_DEVICE,
            timestamp_igtl=TIMESTAMP,
            pixels=thickness_mm,
            pixels_crc64=crc64(thickness_mm.view(np.uint8).ravel()),
            pixel_pitch_mm=(0.3, 0.3),
            metadata=metadata,
        )
        picture = await peer.receive()
        peer.close()
    assert (picture.type, picture.device, picture.timestamp) == ("IMAGE", "CementThickness", TIMESTAMP)
    components, scalar_type, endian, _, columns, rows, slices = struct.unpack_from(">BBBB3H", picture.content, 2)
    assert (components, scalar_type, columns, rows, slices) == (1, FLOAT32, 64, 64, 1)
    received = np.frombuffer(picture.content, "<f4" if endian == 2 else ">f4", offset=72).reshape(64, 64)
    assert (received == thickness_mm).all()
    told = picture.metadata
    assert told.keys() >= {"Guidance.Input", "Guidance.Reason", "Guidance.Epoch", "XRay.FrameNumber"}
    assert (told["Guidance.Input"], told["Guidance.CementState"]) == ("Fluoro", "tracking")
    assert float(told["Guidance.CementAreaMm2"]) > 100.0
    assert told["Guidance.CementVolumeMl"] == ""  # unknown is empty, and the key is there


async def test_maps_of_two_planes_never_replace_each_other() -> None:
    maps = {"FluoroA": np.full((8, 9), 1.0, np.float32), "FluoroB": np.full((8, 9), 2.0, np.float32)}
    clock, clients = [0], Clients()
    async with serving(clients, output_rate_hz=10.0, now_ns=lambda: clock[0]) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        for number in range(4):
            clock[0] = number * 101_000_000
            for device, pixels in maps.items():
                publish(driver, pixels, device, number)
        heard = [(await peer.receive()).metadata for _ in range(8)]
        peer.close()
    assert [told["Guidance.Input"] for told in heard] == ["FluoroA", "FluoroB"] * 4
    assert [told["XRay.FrameNumber"] for told in heard] == ["0", "0", "1", "1", "2", "2", "3", "3"]


async def test_another_implementation_reads_the_map() -> None:
    thickness_mm = np.linspace(0.0, 5.0, 72, dtype=np.float32).reshape(8, 9)
    clients = Clients()
    async with serving(clients) as driver:
        client = pyigtl.OpenIGTLinkClient("127.0.0.1", driver.port)
        try:
            await clients.connected(1)
            publish(driver, thickness_mm, "Fluoro", 1)
            picture = await asyncio.to_thread(client.wait_for_message, THICKNESS_DEVICE, 20)
        finally:
            await asyncio.to_thread(client.stop)
    assert picture is not None
    assert picture.image.dtype == np.float32
    assert (picture.image[0] == thickness_mm).all()


async def test_alerts_go_out_on_every_change_and_to_a_newcomer_and_end_with_an_empty_list() -> None:
    api, clients = followed(), Clients()
    async with serving(clients) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        driver.set_alerts(alert_objects(api.alerts()))
        [first] = await _alerts(peer)
        assert (first["id"], first["site"], first["acknowledged_by"]) == ("A1", "foramen", None)
        newcomer = await RawPeer.connect(driver.port)
        assert [alert["id"] for alert in await _alerts(newcomer)] == ["A1"]
        newcomer.close()
        api.acknowledge("A1", by="Dr. Jörg")
        driver.set_alerts(alert_objects(api.alerts()))
        told = await _alerts(peer)
        while told[0]["acknowledged_by"] is None:  # repeated each second until then
            told = await _alerts(peer)
        assert told[0]["acknowledged_by"] == "Dr. Jörg"
        api.stop_cement(author=Author(via="server"))
        driver.set_alerts(alert_objects(api.alerts()))
        while told:
            told = await _alerts(peer)
        peer.close()


async def _alerts(peer: RawPeer) -> list[dict[str, object]]:
    said = await peer.receive()
    assert (said.type, said.device) == ("STRING", ALERT_DEVICE)
    encoding, length = struct.unpack_from(">HH", said.content)
    text = said.content[4 : 4 + length]
    assert (encoding, len(text) <= MAXIMUM_TEXT_BYTES, text.isascii()) == (3, True, True)
    told = json.loads(text)
    assert isinstance(told, list)
    return told
