"""The output driver over real sockets: every client has a sender of its own; a slow one loses only its own frames."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import weakref
from typing import Any

import numpy as np
import pytest

from drivers.openigtlink_events import ConnectionState
from drivers.openigtlink_output import OverlayOutput
from drivers.openigtlink_sockets import tune
from guidance.config import OpenIGTLinkSettings
from guidance.wire.openigtlink import (
    Points,
    Text,
    Transform,
)
from tests.helpers.openigtlink_peer import DEADLINE_S, RawPeer, message
from tests.helpers.overlay_clients import (
    TIMESTAMP,
    Clients,
    Lease,
    first_pixel,
    publish,
    serving,
)


async def test_a_picture_goes_to_all_clients_with_the_frames_timestamp() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        peers = [await RawPeer.connect(driver.port) for _ in range(3)]
        await clients.connected(3)
        sent_ns = publish(driver, 7, pixel_pitch_mm=(0.3, 0.2))
        assert isinstance(sent_ns, int)
        for peer in peers:
            picture = await peer.receive()
            assert (picture.type, picture.device, picture.version) == ("IMAGE", "Overlay", 2)
            assert picture.timestamp == TIMESTAMP + 7
            assert picture.metadata == {"XRay.FrameNumber": "7"}
            # V, components, uint8, little endian, RAS, columns rows slices
            assert struct.unpack_from(">HBBBB3H", picture.content) == (1, 3, 3, 2, 1, 9, 8, 1)
            matrix = struct.unpack_from(">12f", picture.content, 12)
            assert matrix == pytest.approx((0.3, 0, 0, 0, -0.2, 0, 0, 0, -1, 0, 0, 0))
            assert picture.content[72:] == bytes([7]) * (8 * 9 * 3)
            peer.close()
        await clients.closed(3)
        assert driver.clients() == []


async def test_nothing_waits_for_a_picture_that_nobody_takes() -> None:
    async with serving(Clients()) as driver:
        assert publish(driver) is None


async def test_a_slow_reader_loses_only_its_own_frames() -> None:
    """One client reads all, one nothing: 40 pictures of 1.5 MiB; the slow one gets whole, newest pictures later."""
    clients = Clients()
    async with serving(clients) as driver:
        fast = await RawPeer.connect(driver.port)
        slow = await RawPeer.connect(driver.port, receive_buffer=65536)
        await clients.connected(2)
        frames = 40
        for number in range(frames):
            publish(driver, number, size=700)
            picture = await fast.receive(check_crc=False)
            assert first_pixel(picture) == number
        by_address = {client["address"]: client for client in driver.clients()}
        fast_seen, slow_seen = (by_address["{}:{}".format(*peer.socket.getsockname())] for peer in (fast, slow))
        assert fast_seen["dropped"] == {}
        assert fast_seen["sent_pictures"] == frames
        dropped = slow_seen["dropped"]["IMAGE Overlay"]
        assert 0 < dropped < frames
        assert driver.dropped_pictures == dropped
        seen = []
        while len(seen) < frames - dropped:
            seen.append(first_pixel(await slow.receive(check_crc=len(seen) % 8 == 0)))
        assert seen == sorted(seen)
        assert seen[-1] == frames - 1  # the newest wins
        for peer in (fast, slow):
            peer.close()
        await clients.closed(2)
        assert driver.dropped_pictures == dropped  # not forgotten with the client


async def test_a_client_that_takes_nothing_is_closed_and_counted() -> None:
    clients = Clients()
    async with serving(clients, client_stall_s=0.1) as driver:
        slow = await RawPeer.connect(driver.port, receive_buffer=65536)
        idle = await RawPeer.connect(driver.port)
        await clients.connected(2)
        while not any(client["blocked_s"] for client in driver.clients()):
            publish(driver, size=1000)
            while True:  # the idle one reads all that there is
                try:
                    assert idle.socket.recv(1 << 24)
                except BlockingIOError:
                    break
            await asyncio.sleep(0)
        closing = asyncio.create_task(idle.closed_by_other_side())
        await clients.closed(1)
        assert driver.closed == {"has taken nothing": 1}
        assert len(driver.clients()) == 1
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        slow.close()
        idle.close()


async def test_buffers_are_let_go_when_every_client_has_them() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        fast, slow = await RawPeer.connect(driver.port), await RawPeer.connect(driver.port, receive_buffer=65536)
        await clients.connected(2)
        leases = []
        for number in range(12):
            lease = Lease()
            leases.append(weakref.ref(lease))
            publish(driver, number, size=900, lease=lease)
            del lease
            await fast.receive(check_crc=False)
        alive = [number for number, lease in enumerate(leases) if lease() is not None]
        # At most: what the slow one is in the middle of, and the newest, which waits and may be asked for.
        assert alive[-1] == 11
        assert len(alive) <= 2
        slow.close()
        await clients.closed(1)
        publish(driver, 12, size=900)
        await fast.receive(check_crc=False)
        assert all(lease() is None for lease in leases)
        fast.close()


async def test_pixels_are_not_copied_on_the_way_to_the_kernel() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        pixels = np.zeros((900, 900, 4), np.uint8)
        picture = driver.publish_image("OverlayLayer", timestamp_igtl=1, pixels=pixels, pixels_crc64=0)
        assert picture is not None
        (held,) = driver._streams._pictures.values()
        parts = held.outgoing(2).parts
        assert np.shares_memory(np.frombuffer(parts[1], np.uint8), pixels)
        assert sum(len(part) for part in parts) - pixels.nbytes < 200
        peer.close()


async def test_version_1_by_address_has_no_metadata() -> None:
    clients = Clients()
    async with serving(clients, version_1_clients=("127.0.0.1",)) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        publish(driver, 3)
        picture = await peer.receive()
        assert (picture.version, picture.metadata, picture.timestamp) == (1, {}, TIMESTAMP + 3)
        assert picture.content[72:] == bytes([3]) * (8 * 9 * 3)
        driver.publish_message(Points(device="Targets"))
        hidden = await peer.receive()
        assert (hidden.type, len(hidden.content)) == ("POINT", 136)  # an empty body would desynchronise
        assert hidden.content[99] == 0  # alpha 0 hides it
        peer.close()


def test_sockets_are_tuned() -> None:
    with socket.socket() as connection:
        tune(connection, 10.0)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_KEEPIDLE"):  # the peer is asked after 10 s, given up after 3 more questions
            keep = [
                connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, option))
                for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            ]
            assert keep == [10, 3, 3]


async def test_a_bug_in_a_task_is_told_to_the_loop() -> None:
    """The server ends on what nobody caught; a heartbeat that died in silence would look like a dead server."""
    bugs: list[dict[str, Any]] = []
    told = asyncio.Event()

    def handler(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        bugs.append(context)
        told.set()

    asyncio.get_running_loop().set_exception_handler(handler)
    driver = OverlayOutput(
        OpenIGTLinkSettings(output_port=0),
        heartbeat=lambda: (1, "not text"[99]),
        on_client=lambda _: None,
        on_refused=lambda *_: None,
    )
    await driver.start()
    await asyncio.wait_for(told.wait(), DEADLINE_S)
    await driver.stop()
    assert isinstance(bugs[0]["exception"], IndexError)


async def test_heartbeat() -> None:
    states = iter([(1, "{}"), (13, '{"a":1}'), *[(2, "end")] * 10_000])
    clients = Clients()
    async with serving(clients, heartbeat_s=0.02, heartbeat=lambda: next(states), wall_ns=lambda: 10**9) as driver:
        peer = await RawPeer.connect(driver.port)
        first, second = await peer.receive(), await peer.receive()
        assert (first.type, first.device, first.timestamp) == ("STATUS", "Guidance", 1 << 32)
        assert first.status()[0] in (1, 13, 2)
        assert second.status()[0] in (13, 2)
        peer.close()


async def test_alerts_are_sent_on_change_and_repeated_while_any_is_latched() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        driver.set_alerts([{"id": "1", "text": "Zement \u00fc"}])
        driver.set_alerts([{"id": "1", "text": "Zement \u00fc"}])
        driver.set_alerts([{"id": "2"}])
        texts = [(await peer.receive()).text() for _ in range(3)]  # the third is a repeat
        assert texts[0] == '[{"id":"1","text":"Zement \\u00fc"}]'
        assert [json.loads(text) for text in texts[1:]] == [[{"id": "2"}]] * 2
        driver.set_alerts([])
        assert (await peer.receive()).text() == "[]"
        peer.close()


async def test_an_overflowing_event_queue_closes_that_client_and_is_counted() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        slow = await RawPeer.connect(driver.port, receive_buffer=65536)
        fast = await RawPeer.connect(driver.port)
        await clients.connected(2)
        text = "x" * 60_000
        sent = 0
        while not any(event.state is ConnectionState.CLOSED for event in clients.events):
            driver.publish_message(Text(device="Log", text=text))
            sent += 1
            assert sent < 5000
            assert (await fast.receive(check_crc=False)).device == "Log"
        assert driver.closed == {"event queue overflow": 1}
        assert len(driver.clients()) == 1
        slow.close()
        fast.close()


async def test_rate_limit_per_client_keeps_the_newest() -> None:
    clock = [0]
    clients = Clients()
    async with serving(clients, output_rate_hz=10.0, now_ns=lambda: clock[0]) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        for number in range(9):  # 30 per second
            clock[0] = number * 33_333_334
            publish(driver, number)
        assert [first_pixel(await peer.receive()) for _ in range(3)] == [0, 3, 6]
        (client,) = driver.clients()
        assert client["dropped"] == {}
        assert client["rate_limited"] == {"IMAGE Overlay": 5}
        peer.close()


async def test_a_rate_limited_picture_is_sent_when_its_time_has_come() -> None:
    """Nothing newer follows: the last picture of a burst must not be lost."""
    clients = Clients()
    async with serving(clients, output_rate_hz=50.0) as driver:
        peer = await RawPeer.connect(driver.port)
        await clients.connected(1)
        publish(driver, 1)
        publish(driver, 2)
        publish(driver, 3)
        assert [first_pixel(await peer.receive()) for _ in range(2)] == [1, 3]
        peer.close()


async def test_transforms_are_newest_wins_and_events_are_not() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        slow = await RawPeer.connect(driver.port, receive_buffer=65536)
        await clients.connected(1)
        while not any(client["blocked_s"] for client in driver.clients()):
            publish(driver, size=1000)
            await asyncio.sleep(0)
        for number in range(50):
            driver.publish_message(Transform(device="NeedleTip_a", timestamp_igtl=number))
            driver.publish_message(Text(device="Log", text=str(number)))
        (client,) = driver.clients()
        assert client["dropped"]["TRANSFORM NeedleTip_a"] == 49
        logs, tips = [], []
        while len(logs) < 50 or not tips:
            received = await slow.receive(check_crc=False)
            if received.type == "STRING":
                logs.append(received.text())
            elif received.type == "TRANSFORM":
                tips.append(received.timestamp)
        assert logs == [str(number) for number in range(50)]
        assert tips == [49]
        slow.close()


async def test_no_more_clients_than_allowed() -> None:
    clients = Clients()
    async with serving(clients, maximum_connections=2) as driver:
        peers = [await RawPeer.connect(driver.port) for _ in range(3)]
        await clients.until(lambda: clients.events[-1].state is ConnectionState.REFUSED if clients.events else False)
        assert await peers[2].closed_by_other_side()
        assert len(driver.clients()) == 2
        for peer in peers:
            peer.close()


async def test_a_client_that_vanishes_while_it_is_sent_to() -> None:
    clients = Clients()
    async with serving(clients) as driver:
        gone, stays = await RawPeer.connect(driver.port, receive_buffer=65536), await RawPeer.connect(driver.port)
        await clients.connected(2)
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset at close
        publish(driver, 1, size=1000)
        publish(driver, 2, size=1000)
        gone.close()
        publish(driver, 3, size=1000)
        await clients.closed(1)
        publish(driver, 4, size=1000)
        seen = [first_pixel(await stays.receive(check_crc=False))]
        while seen[-1] != 4:
            seen.append(first_pixel(await stays.receive(check_crc=False)))
        assert seen == sorted(seen)
        stays.close()


async def test_withdrawn_outputs_answer_no_query() -> None:
    async with serving(Clients()) as driver:
        driver.publish_message(Transform(device="NeedleTip_a"))
        publish(driver)
        driver.withdraw("TRANSFORM", "NeedleTip_a")
        driver.withdraw("IMAGE", "Overlay")
        peer = await RawPeer.connect(driver.port)
        for wire, device in (("GET_TRANS", "NeedleTip_a"), ("GET_IMAGE", "Overlay")):
            await peer.send(message(wire, device, b""))
            assert (await peer.receive()).content == b"\1"
        peer.close()
