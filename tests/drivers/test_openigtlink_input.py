"""The input driver over real sockets: every fault keeps the connection or closes it with a name."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest

from drivers.openigtlink_events import ConnectionState
from drivers.openigtlink_input import FluoroInput
from drivers.openigtlink_sockets import Listener
from guidance.config import OpenIGTLinkSettings
from guidance.errors import ConfigError
from tests.helpers.heard import Heard
from tests.helpers.openigtlink_peer import DEADLINE_S, RawPeer, header, image_content, message

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4)
TWIST = struct.pack(">12f", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)


def picture(device: str = "Fluoro", *, timestamp: int = 5, number: int = 1, **changes: Any) -> bytes:
    content = image_content(4, 3, (PIXELS + number).astype(np.uint16).tobytes(), **{"scalar": 5, **changes})
    return message("IMAGE", device, content, timestamp=timestamp, metadata={"XRay.FrameNumber": str(number)})


@asynccontextmanager
async def serving(heard: Heard, **changes: Any) -> AsyncIterator[FluoroInput]:
    arguments = {key: changes.pop(key) for key in ("answer_query", "now_ns", "sleep", "jitter") if key in changes}
    settings = msgspec.structs.replace(OpenIGTLinkSettings(input_port=0), **changes)
    driver = FluoroInput(
        settings,
        on_frame=heard.hear(heard.frames),
        on_transform=heard.hear(heard.transforms),
        on_plan=heard.hear(heard.plans),
        on_other=heard.hear(heard.others),
        on_connection=heard.hear(heard.connections),
        on_refused=heard.hear(heard.refused),
        **arguments,
    )
    before, bugs = asyncio.all_tasks(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context))
    await driver.start()
    try:
        yield driver
    finally:
        await driver.stop()
        assert asyncio.all_tasks() <= before
        assert bugs == []


async def test_frames_come_with_their_metadata_and_a_running_number() -> None:
    heard = Heard()
    async with serving(heard, now_ns=lambda: 77) as driver:
        peer = await RawPeer.connect(driver.port)
        await peer.send(picture(number=1) + picture("FluoroA", number=9) + picture(number=2, timestamp=6))
        await heard.until(lambda: len(heard.frames) == 3)
        first, biplane, second = heard.frames
        assert np.array_equal(first.pixels, PIXELS + 1)
        assert first.metadata == {"XRay.FrameNumber": "1"}
        assert (first.timestamp_igtl, first.received_ns, first.pixel_pitch_mm) == (5, 77, (0.5, 0.25))
        assert [first.sequence, biplane.sequence, second.sequence] == [1, 1, 2]
        assert first.connection_id == second.connection_id == 1
        assert first.pixels_crc64 != second.pixels_crc64
        assert driver.connections()[0]["devices"] == ["Fluoro", "FluoroA"]
        peer.close()
        await heard.until(lambda: ConnectionState.CLOSED in heard.states())


async def test_other_messages_find_their_callback() -> None:
    heard = Heard()
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        point = struct.pack(">64s32s4B4f20s", b"S1 entry", b"S1", 255, 0, 0, 255, 1, 2, 3, 4, b"")
        await peer.send(message("TRANSFORM", "DetectorToPatient", TWIST, timestamp=3))
        await peer.send(message("POINT", "Plan", point) + message("TRAJ", "Plan", b"", version=1))
        await peer.send(message("STATUS", "", struct.pack(">Hq20s", 1, 0, b"OK") + b"\0", metadata={"dummy": "dummy"}))
        await heard.until(lambda: len(heard.others) == 1)
        (transform,) = heard.transforms
        assert transform.name == "DetectorToPatient"
        assert transform.timestamp_igtl == 3
        # The wire has the columns one after the other, the translation last.
        assert transform.matrix.tolist() == [[1, 4, 7, 10], [2, 5, 8, 11], [3, 6, 9, 12], [0, 0, 0, 1]]
        assert [type(plan).__name__ for plan in heard.plans] == ["Points", "Trajectories"]
        assert heard.refused == []
        peer.close()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        pytest.param(picture(sub_offset=(0, 1, 0)), "SubVolume", id="sub-volume"),
        pytest.param(picture(scalar=6), "ImageSize", id="size-mismatch"),
        pytest.param(message("IMAGE", "Fluoro", image_content(1, 1, b"1234", scalar=6)), "ScalarType", id="int32"),
        pytest.param(message("IMAGE", "Fluoro", image_content(1, 1, b"123", components=3)), "Components", id="rgb"),
        pytest.param(message("IMAGE", "Fluoro", image_content(1, 1, b"12", slices=2)), "ImageSize", id="two-slices"),
        pytest.param(message("IMAGE", "Fluoro", image_content(1, 1, b"1"), crc=1), "Crc", id="crc"),
        pytest.param(message("VIDEO", "Fluoro", b"123"), "UnknownType", id="unknown-type"),
        pytest.param(message("IMAGE", "Fluoro", b"123", version=4), "Version", id="version-4"),
    ],
)
async def test_a_refusal_is_named_counted_and_sent_back(bad: bytes, code: str) -> None:
    heard = Heard()
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        for again in (1, 2):
            await peer.send(bad)
            status = await peer.receive()
            assert (status.type, status.device) == ("STATUS", "Fluoro")
            assert status.status()[:2] == (12, code)
            assert driver.refused[code, "Fluoro"] == again
        await peer.send(picture())
        await heard.until(lambda: len(heard.frames) == 1)
        assert [refusal.code for refusal in heard.refused] == [code, code]
        peer.close()


async def test_a_version_1_peer_is_answered_in_version_1() -> None:
    async with serving(Heard()) as driver:
        peer = await RawPeer.connect(driver.port)
        await peer.send(message("IMAGE", "Fluoro", image_content(1, 1, b"12"), version=1))
        assert (await peer.receive()).version == 1
        peer.close()


async def test_bad_metadata_are_said_once_and_the_frames_kept() -> None:
    heard = Heard()
    tail = struct.pack(">HHHIHHI", 2, 1, 3, 1, 1, 3, 1) + b"axay"
    twice = message(
        "IMAGE", "Fluoro", image_content(1, 1, b"1"), extended=struct.pack(">HHII", 12, 18, 4, 0), tail=tail
    )
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        await peer.send(twice * 3 + message("GET_COLORT", "Q", b""))
        assert (await peer.receive()).status()[:2] == (12, "MetadataTwice")
        assert (await peer.receive()).type == "RTS_COLORT"
        assert [frame.metadata for frame in heard.frames] == [{"a": "y"}] * 3
        assert driver.refused["MetadataTwice", "Fluoro"] == 3
        peer.close()


async def test_an_oversized_body_closes_the_connection_and_says_why() -> None:
    heard = Heard()
    async with serving(heard, maximum_body_mib=1) as driver:
        peer = await RawPeer.connect(driver.port)
        await peer.send(header("IMAGE", "Fluoro", b"", size=(1 << 20) + 1) + bytes(300_000))
        assert (await peer.receive()).status()[:2] == (12, "BodySize")
        assert await peer.closed_by_other_side()
        peer.close()
        await heard.until(lambda: ConnectionState.CLOSED in heard.states())
        assert "BodySize" in heard.connections[-1].detail
        assert [refusal.fatal for refusal in heard.refused] == [True]


@pytest.mark.parametrize("cut", [20, 58, 100])
async def test_hang_up_inside_a_message_is_counted(cut: int) -> None:
    heard = Heard()
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        await peer.send(picture() + picture()[:cut])
        await heard.until(lambda: len(heard.frames) == 1)
        peer.close()
        await heard.until(lambda: ConnectionState.CLOSED in heard.states())
        assert [refusal.code for refusal in heard.refused] == ["Truncated"]
        other = await RawPeer.connect(driver.port)
        await other.send(picture())
        await heard.until(lambda: len(heard.frames) == 2)
        other.close()


async def test_a_reset_inside_a_message_ends_that_connection_only() -> None:
    heard = Heard()
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.send(picture() + picture()[:100])
        await heard.until(lambda: len(heard.frames) == 1)
        peer.close()
        await heard.until(lambda: ConnectionState.CLOSED in heard.states())
        assert [refusal.code for refusal in heard.refused] == ["Truncated"]


async def test_a_header_in_pieces_and_a_slow_body() -> None:
    heard = Heard()
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        for byte in picture():
            await peer.send(bytes([byte]))
        await heard.until(lambda: len(heard.frames) == 1)
        assert np.array_equal(heard.frames[0].pixels, PIXELS + 1)
        peer.close()


async def test_the_first_sender_of_a_name_owns_it_until_it_closes() -> None:
    heard = Heard()
    async with serving(heard) as driver:
        first, second = await RawPeer.connect(driver.port), await RawPeer.connect(driver.port)
        await first.send(picture(number=1))
        await heard.until(lambda: len(heard.frames) == 1)
        await second.send(picture(number=2) * 3 + message("TRANSFORM", "DetectorToPatient", TWIST))
        assert (await second.receive()).status()[:2] == (12, "DeviceOwned")
        await heard.until(lambda: len(heard.transforms) == 1)  # another name, so that is the second one's
        assert len(heard.frames) == 1
        assert driver.refused["DeviceOwned", "Fluoro"] == 3
        first.close()
        await heard.until(lambda: ConnectionState.CLOSED in heard.states())
        await second.send(picture(number=3))
        await heard.until(lambda: len(heard.frames) == 2)
        assert heard.frames[1].connection_id == 2
        assert heard.frames[1].sequence == 2
        second.close()


async def test_names_without_end_are_neither_owned_nor_counted_without_end() -> None:
    heard = Heard()
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        names = 2000
        await peer.send(b"".join(message("TRANSFORM", f"Tool{number}", TWIST, version=1) for number in range(names)))
        await heard.until(lambda: len(heard.transforms) + len(heard.refused) == names)
        assert len(driver.connections()[0]["transforms"]) == 256
        assert len(driver.refused) <= 1001  # one more for the rest
        assert sum(driver.refused.values()) == names - 256
        await peer.send(picture())  # pictures have names of their own
        await heard.until(lambda: len(heard.frames) == 1)
        peer.close()


async def test_a_silent_owner_loses_its_name() -> None:
    clock = [0]
    heard = Heard()
    async with serving(heard, now_ns=lambda: clock[0], owner_silence_s=5.0) as driver:
        first, second = await RawPeer.connect(driver.port), await RawPeer.connect(driver.port)
        await first.send(picture())
        await heard.until(lambda: len(heard.frames) == 1)
        clock[0] = 5_000_000_000
        await second.send(picture())
        await heard.until(lambda: len(heard.refused) == 1)
        clock[0] = 5_000_000_001
        await second.send(picture())
        await heard.until(lambda: len(heard.frames) == 2)
        assert heard.frames[1].connection_id == 2
        first.close()
        second.close()


async def test_silence_is_told_and_taken_back() -> None:
    heard = Heard()
    async with serving(heard, input_silence_s=0.05) as driver:
        peer = await RawPeer.connect(driver.port)
        await heard.until(lambda: ConnectionState.SILENT in heard.states())
        assert driver.connections()[0]["silent"] is True
        while ConnectionState.HEARD not in heard.states():
            await peer.send(picture())
            await asyncio.sleep(0)
        peer.close()


async def test_a_peer_that_stops_inside_a_message_is_closed() -> None:
    heard = Heard()
    async with serving(heard, input_silence_s=0.05, client_stall_s=0.1) as driver:
        peer = await RawPeer.connect(driver.port)
        await peer.send(picture()[:-1])
        assert (await peer.receive()).status()[1] == "Stalled"
        assert await peer.closed_by_other_side()
        await heard.until(lambda: ConnectionState.CLOSED in heard.states())
        peer.close()


async def test_queries_without_an_answer_get_rts_with_status_1() -> None:
    async with serving(Heard()) as driver:
        peer = await RawPeer.connect(driver.port)
        for wire, reply in (("GET_IMAGE", "RTS_IMAGE"), ("GET_TRANSFOR", "RTS_TRANSFOR"), ("STT_TDATA", "RTS_TDATA")):
            await peer.send(message(wire, "Asker", b"", version=1))
            answer = await peer.receive()
            assert (answer.type, answer.device, answer.content) == (reply, "Asker", b"\1")
        peer.close()


async def test_a_source_that_never_reads_keeps_its_connection() -> None:
    """It is told of every refusal and takes none: answers are counted and left out, pictures go on."""
    heard, later_ns = Heard(), [0]
    async with serving(
        heard, client_stall_s=30.0, input_silence_s=0.05, now_ns=lambda: time.monotonic_ns() + later_ns[0]
    ) as driver:
        peer = await RawPeer.connect(driver.port, receive_buffer=4096)
        refused = message("NDARRAY", "Fluoro", b"", version=1) * 500
        while not any(connection["unsent_answers"] for connection in driver.connections()):
            await peer.send(refused)
        await peer.send(picture())
        await heard.until(lambda: len(heard.frames) == 1)
        # A minute later it still has taken nothing.
        later_ns[0] = 60_000_000_000
        await heard.until(lambda: ConnectionState.SILENT in heard.states())
        await peer.send(picture())
        await heard.until(lambda: len(heard.frames) == 2)
        assert ConnectionState.CLOSED not in heard.states()
        peer.close()


@pytest.mark.parametrize("version", [1, 2])
async def test_names_of_any_bytes_are_answered(version: int) -> None:
    body = b"" if version == 1 else struct.pack(">HHIIH", 12, 2, 0, 0, 0)
    async with serving(Heard()) as driver:
        peer = await RawPeer.connect(driver.port)
        for type_name, answer in (
            (b"GET_\xff\xfe\n\r\x01\x02\x03\x04", "RTS_????????"),
            (b"STATUS\xff\xff\xff\xff\xff\xff", "STATUS"),
            (b"GET_", "STATUS"),
            (b"", "STATUS"),
        ):
            head = bytearray(header("", "", body, version=version))
            head[2:14] = type_name.ljust(12, b"\0")
            head[14:34] = b"\xff\x80\n" * 6 + b"ab"
            await peer.send(bytes(head) + body)
            received = await peer.receive()
            assert (received.type, received.device) == (answer, "?" * 18 + "ab")
        peer.close()


async def test_many_connections_and_no_more_than_allowed() -> None:
    heard = Heard()
    async with serving(heard, maximum_connections=20) as driver:
        peers = [await RawPeer.connect(driver.port) for _ in range(20)]
        for number, peer in enumerate(peers):
            await peer.send(message("TRANSFORM", f"Tool{number}", TWIST))
        await heard.until(lambda: len(heard.transforms) == 20)
        assert len({transform.connection_id for transform in heard.transforms}) == 20
        extra = await RawPeer.connect(driver.port)
        assert await extra.closed_by_other_side()
        await heard.until(lambda: ConnectionState.REFUSED in heard.states())
        for peer in [*peers, extra]:
            peer.close()
        await heard.until(lambda: heard.states().count(ConnectionState.CLOSED) == 20)
        again = await RawPeer.connect(driver.port)
        await again.send(picture())
        await heard.until(lambda: len(heard.frames) == 1)
        again.close()


async def test_pictures_are_views_of_the_receive_buffer_and_read_only() -> None:
    heard = Heard()
    big = np.arange(512 * 512, dtype=np.uint16).reshape(512, 512)
    stream = message("IMAGE", "Fluoro", image_content(512, 512, big.tobytes(), scalar=5))
    async with serving(heard) as driver:
        peer = await RawPeer.connect(driver.port)
        addresses = set()
        for number in range(60):
            await peer.send(stream)
            await heard.until(lambda n=number: len(heard.frames) == n + 1)
            pixels = heard.frames[-1].pixels
            assert pixels.base is not None
            assert pixels.ctypes.data % 64 == 0
            assert not pixels.flags.writeable
            assert np.array_equal(pixels, big)
            addresses.add(pixels.ctypes.data)
            heard.frames[:-2] = [None] * (number - 1) if number > 1 else heard.frames[:-2]  # let the old ones go
        assert len(addresses) <= 5
        peer.close()


async def _listening(port: int, arrived: asyncio.Queue[socket.socket]) -> Listener:
    listener = Listener("127.0.0.1", port, keep_alive_s=10.0, on_socket=lambda taken, _: arrived.put_nowait(taken))
    await listener.open("test")
    return listener


async def test_dials_again_after_the_server_was_away() -> None:
    """A suite's server goes and comes back on the same port; the delays grow and are jittered."""
    heard, delays, arrived = Heard(), [], asyncio.Queue()

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        await asyncio.sleep(0.001)

    suite = await _listening(0, arrived)
    port = suite.port
    async with serving(heard, connect=(f"127.0.0.1:{port}",), sleep=sleep, jitter=lambda: 1.0) as driver:
        server_side = RawPeer(await asyncio.wait_for(arrived.get(), DEADLINE_S))
        await server_side.send(picture(number=1))
        await heard.until(lambda: len(heard.frames) == 1)
        assert driver.connections()[0]["dialled"] is True
        suite.close()
        server_side.close()
        await heard.until(lambda: heard.states().count(ConnectionState.UNREACHABLE) >= 6)
        suite = await _listening(port, arrived)
        server_side = RawPeer(await asyncio.wait_for(arrived.get(), DEADLINE_S))
        await server_side.send(picture(number=2))
        await heard.until(lambda: len(heard.frames) == 2)
        assert heard.frames[1].sequence == 2
        assert delays[:6] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0])
        server_side.close()
    suite.close()


async def test_dials_a_server_that_is_not_there_yet_and_stops_cleanly() -> None:
    heard = Heard()
    async with serving(heard, connect=("127.0.0.1:1",)):
        await heard.until(lambda: ConnectionState.UNREACHABLE in heard.states())
        assert heard.connections[0].dialled


async def test_port_taken_is_a_configuration_error_with_its_mend() -> None:
    async with serving(Heard()) as driver:
        with pytest.raises(ConfigError, match=r"openigtlink\.input_port") as caught:
            async with serving(Heard(), input_port=driver.port):
                pass
        assert caught.value.code == "port_taken"


async def test_a_host_that_is_not_ours_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError) as caught:
        async with serving(Heard(), host="192.0.2.1"):
            pass
    assert caught.value.code == "bad_setting"


async def test_stop_closes_every_connection() -> None:
    heard = Heard()
    async with serving(heard) as driver:
        peers = [await RawPeer.connect(driver.port) for _ in range(3)]
        for peer in peers:
            await peer.send(message("STRING", "hello", struct.pack(">HH", 3, 2) + b"hi"))
        await heard.until(lambda: len(heard.others) == 3)
    for peer in peers:
        assert await peer.closed_by_other_side()
        peer.close()
