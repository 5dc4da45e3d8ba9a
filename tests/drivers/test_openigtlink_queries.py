"""What clients of the output driver may ask for, and what each is sent without asking."""

from __future__ import annotations

import asyncio
import struct

import pytest

from drivers.openigtlink_events import ConnectionEvent
from drivers.openigtlink_input import FluoroInput
from guidance.config import OpenIGTLinkSettings
from guidance.wire.openigtlink import (
    Transform,
)
from tests.helpers.openigtlink_peer import RawPeer, message
from tests.helpers.overlay_clients import (
    LINE,
    PATHS,
    TARGETS,
    TIMESTAMP,
    Clients,
    first_pixel,
    ignore,
    publish,
    serving,
)


async def test_what_is_sent_on_change_only_is_sent_to_a_new_client() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        driver.publish_message(LINE)
        driver.publish_message(TARGETS)
        driver.publish_message(PATHS)
        driver.publish_message(Transform(device="NeedleTip_a", metadata={"TransformStatus": "OK"}))
        driver.set_alerts([{"id": "1"}])
        peer = await RawPeer.connect(driver.port)
        received = [await peer.receive() for _ in range(4)]
        assert {(r.type, r.device) for r in received} == {
            ("POLYDATA", "Paths"),
            ("POINT", "Targets"),
            ("TRANSFORM", "NeedleTip_a"),
            ("STRING", "Alert"),
        }
        peer.close()


async def test_trajectories_only_for_those_who_ask() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        silent, get, start, capabilities = [await RawPeer.connect(driver.port) for _ in range(4)]
        await clients.connected(4)
        driver.publish_message(PATHS)
        await get.send(message("GET_TRAJ", "Q", b"", version=1))
        answer = await get.receive()
        assert (answer.type, answer.device, len(answer.content)) == ("TRAJ", "Q", 150)
        await start.send(message("STT_TRAJ", "Q", b""))
        assert (await start.receive()).content == b"\0"
        assert (await start.receive()).type == "TRAJ"
        await capabilities.send(message("GET_CAPABIL", "Q", b""))
        answer = await capabilities.receive()
        assert answer.type == "CAPABILITY"
        assert {"IMAGE", "TRAJ", "POLYDATA"} <= {
            answer.content[i : i + 12].rstrip(b"\0").decode() for i in range(0, len(answer.content), 12)
        }
        assert (await capabilities.receive()).device == "Paths"
        driver.publish_message(PATHS)
        publish(driver)
        for peer in (get, start, capabilities):
            assert [(await peer.receive()).type for _ in range(2)] == ["TRAJ", "IMAGE"]
        assert (await silent.receive()).type == "IMAGE"
        for peer in (silent, get, start, capabilities):
            peer.close()


async def test_configured_addresses_get_trajectories_unasked() -> None:
    clients = Clients()
    async with serving(clients, trajectory_clients=("127.0.0.1",)) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        driver.publish_message(PATHS)
        assert (await peer.receive()).type == "TRAJ"
        peer.close()


async def test_stop_and_start_are_per_client_and_type() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        one, other = await RawPeer.connect(driver.port), await RawPeer.connect(driver.port)
        await clients.connected(2)
        await one.send(message("STP_IMAGE", "Q", b"", version=1))
        reply = await one.receive()
        assert (reply.type, reply.device, reply.content) == ("RTS_IMAGE", "Q", b"\0")
        publish(driver, 1)
        driver.publish_message(LINE)
        assert (await one.receive()).type == "POLYDATA"
        assert [(await other.receive()).type for _ in range(2)] == ["IMAGE", "POLYDATA"]
        await one.send(message("STT_IMAGE", "Q", b"", version=1))
        assert (await one.receive()).type == "RTS_IMAGE"
        publish(driver, 2)
        assert first_pixel(await one.receive()) == 2
        one.close()
        other.close()


@pytest.mark.parametrize(
    ("wire", "device", "answer"),
    [
        ("GET_IMAGE", "OverlayLayer", ("IMAGE", 4)),
        ("GET_IMAGE", "Overlay", ("IMAGE", 9)),
        ("GET_IMAGE", "Slicer", ("IMAGE", 9)),
        ("GET_IMAGE", "", ("IMAGE", 9)),
        ("GET_IMAGE", "CementThickness", None),
        ("GET_IMAGE", "OverlayB", None),
        ("GET_POINT", "Slicer", ("POINT", None)),
        ("GET_POLYDATA", "Paths", ("POLYDATA", None)),
        ("GET_POLYDATA", "Zones", None),
        ("GET_TRAJ", "", ("TRAJ", None)),
        ("GET_TRANS", "NeedleTip_a", ("TRANSFORM", None)),
        ("GET_TRANSFOR", "NeedleTip_a", ("TRANSFORM", None)),
        ("GET_TRANS", "NeedleTip_b", None),
        ("GET_STATUS", "Slicer", ("STATUS", None)),
        ("GET_STRING", "Alert", None),
        ("GET_COLORT", "Q", None),
        ("STT_POINT", "Q", None),
        ("STT_TDATA", "Q", None),
        ("STP_STATUS", "Q", None),
    ],
)
async def test_queries_are_answered_under_their_own_name(
    wire: str, device: str, answer: tuple[str, int | None] | None
) -> None:
    async with serving(Clients()) as driver:
        publish(driver, 9)
        publish(driver, 4, device="OverlayLayer")
        for published in (LINE, TARGETS, PATHS, Transform(device="NeedleTip_a")):
            driver.publish_message(published)
        peer = await RawPeer.connect(driver.port)
        for kind in ("POINT", "POLYDATA", "TRANSFORM"):
            assert (await peer.receive_type(kind)).type == kind
        await peer.send(message(wire, device, b"", version=1))
        received = await peer.receive()
        assert received.device == device
        if answer is None:
            assert (received.type, received.content) == ("RTS_" + wire[4:], b"\1")
        else:
            assert received.type == answer[0]
            if answer[1] is not None:
                assert first_pixel(received) == answer[1]
                assert received.timestamp == TIMESTAMP + answer[1]
        peer.close()


async def test_a_peer_of_the_input_port_can_ask_for_the_streams() -> None:
    """Queries are answered on both ports (fine print 9); unasked nothing goes out there."""
    told = asyncio.Queue[ConnectionEvent]()
    async with serving(Clients()) as driver:
        source = FluoroInput(
            OpenIGTLinkSettings(input_port=0),
            on_frame=ignore,
            on_transform=ignore,
            on_plan=ignore,
            on_other=ignore,
            on_connection=told.put_nowait,
            on_refused=ignore,
            answer_query=driver.answer,
        )
        await source.start()
        peer = await RawPeer.connect(source.port)
        await told.get()
        publish(driver, 1)
        await peer.send(message("GET_CAPABIL", "Suite", b"", version=1))
        assert (await peer.receive()).type == "CAPABILITY"
        driver.publish_message(PATHS)
        await peer.send(message("STT_IMAGE", "Suite", b"", version=1))
        assert (await peer.receive()).type == "RTS_IMAGE"
        publish(driver, 2)
        picture = await peer.receive()
        assert (first_pixel(picture), picture.version) == (2, 1)  # it asked in version 1
        await peer.send(message("STP_IMAGE", "Suite", b"", version=1))
        assert (await peer.receive()).type == "RTS_IMAGE"
        publish(driver, 3)
        await peer.send(message("GET_STATUS", "Suite", b"", version=1))
        assert (await peer.receive()).type == "STATUS"
        await source.stop()
        publish(driver, 4)  # to nobody: the peer is gone
        peer.close()


async def test_slicers_greeting_is_swallowed_and_an_unknown_type_is_named() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        peer = await RawPeer.connect(driver.port)
        greeting = struct.pack(">Hq20s", 1, 0, b"") + b"\0"
        await peer.send(message("STATUS", "", greeting, metadata={"dummy": "dummy"}))
        await peer.send(message("COMMAND", "Slicer", b"123"))
        status = await peer.receive()
        assert status.status()[:2] == (12, "UnknownType")
        assert [refusal.code for refusal in clients.refused] == ["UnknownType"]
        peer.close()


async def test_queries_with_names_of_any_bytes_are_answered() -> None:
    async with serving(Clients()) as driver:
        publish(driver, 1)
        driver.publish_message(TARGETS)
        peer = await RawPeer.connect(driver.port)
        assert (await peer.receive()).type == "POINT"
        for type_name in (
            b"GET_IMAGE",
            b"GET_POINT",
            b"GET_STATUS",
            b"GET_CAPABIL",
            b"STT_IMAGE",
            b"GET_\xff" + b"x" * 7,
        ):
            await peer.send(
                struct.pack(">H12s20sQQQ", 1, type_name, b"\xff" * 20, 0, 0, 0),
            )
            assert (await peer.receive()).device == "?" * 20
        peer.close()
