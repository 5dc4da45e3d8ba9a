"""What waits for a client, what goes out under which name, who owns a name: the rules without any socket."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance import kernels
from guidance.errors import WireError
from guidance.wire.openigtlink import (
    Decoder,
    Image,
    Point,
    Points,
    PolyData,
    Refusal,
    Status,
    Text,
    Trajectories,
    Transform,
    lps_from_ras,
    pack,
    pack_image_parts,
    ras_from_lps,
    timestamp_from_unix_ns,
    unix_ns_from_timestamp,
)
from guidance.wire.openigtlink.backoff import FIRST_S, LONGEST_S, reconnect_delay_s
from guidance.wire.openigtlink.header import Header, pack_header
from guidance.wire.openigtlink.outbox import Outbox, OutgoingPicture
from guidance.wire.openigtlink.outputs import (
    MAXIMUM_TEXT_BYTES,
    alert_text,
    answering_devices,
    overlay_device,
    overlay_layer_device,
    without_empty_body,
)
from guidance.wire.openigtlink.ownership import DeviceOwners
from guidance.wire.openigtlink.published import PublishedMessage, PublishedPicture
from guidance.wire.openigtlink.refusals import refusal_status

OVERLAY = ("IMAGE", "Overlay")
LAYER = ("IMAGE", "OverlayLayer")


def _picture(number: int) -> OutgoingPicture:
    return OutgoingPicture((memoryview(bytes([number])),))


def _taken(outbox: Outbox, now_ns: int = 0) -> list[bytes]:
    taken = []
    while (picture := outbox.take(now_ns)) is not None:
        taken.append(b"".join(picture.parts))
    return taken


def test_newest_picture_wins_and_keeps_its_place() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.offer_picture(OVERLAY, _picture(number), 0)
        outbox.offer_picture(LAYER, _picture(10 + number), 0)
    assert outbox.waiting_pictures == 2
    assert _taken(outbox) == [b"\2", b"\x0c"]
    assert outbox.dropped == {OVERLAY: 2, LAYER: 2}


def test_a_busy_key_does_not_starve_another() -> None:
    outbox = Outbox()
    outbox.offer_picture(LAYER, _picture(9), 0)
    for number in range(5):
        outbox.offer_picture(OVERLAY, _picture(number), 0)
    assert _taken(outbox)[0] == b"\x09"


def test_events_go_first_and_in_order_and_are_never_dropped() -> None:
    outbox = Outbox(maximum_events=3)
    outbox.offer_picture(OVERLAY, _picture(1), 0)
    assert [outbox.offer_event(event) for event in (b"a", b"b", b"c", b"d")] == [True, True, True, False]
    assert _taken(outbox) == [b"abc", b"\1"]
    assert outbox.offer_event(b"e")


def test_the_event_queue_is_bounded_in_bytes() -> None:
    outbox = Outbox(maximum_event_bytes=10)
    assert outbox.offer_event(b"x" * 10)
    assert not outbox.offer_event(b"y")


def test_rate_limit_holds_the_newest_until_its_time() -> None:
    outbox = Outbox(minimum_interval_ns=100)
    outbox.offer_picture(OVERLAY, _picture(1), 0)
    assert _taken(outbox, 0) == [b"\1"]
    outbox.offer_picture(OVERLAY, _picture(2), 30)
    outbox.offer_picture(OVERLAY, _picture(3), 60)
    assert _taken(outbox, 60) == []
    assert outbox.due_ns() == 100
    assert _taken(outbox, 100) == [b"\3"]
    assert outbox.due_ns() is None
    assert (outbox.rate_limited, outbox.dropped) == ({OVERLAY: 1}, {})


def test_a_blocked_client_loses_frames_by_itself_even_with_a_rate_limit() -> None:
    outbox = Outbox(minimum_interval_ns=100)
    outbox.offer_picture(OVERLAY, _picture(1), 0)
    assert _taken(outbox, 0) == [b"\1"]
    for number in range(2, 40):  # nothing is taken any more
        outbox.offer_picture(OVERLAY, _picture(number), number * 33)
    assert outbox.rate_limited[OVERLAY] + outbox.dropped[OVERLAY] == 37
    assert outbox.dropped[OVERLAY] >= 30


def test_a_stopped_type_waits_no_more() -> None:
    outbox = Outbox()
    outbox.offer_picture(OVERLAY, _picture(1), 0)
    outbox.offer_picture(("TRANSFORM", "NeedleTip_a"), _picture(2), 0)
    outbox.discard_pictures("IMAGE")
    assert _taken(outbox) == [b"\2"]


def test_names_of_outputs() -> None:
    assert [overlay_device(name) for name in ("Fluoro", "FluoroA", "FluoroB")] == ["Overlay", "OverlayA", "OverlayB"]
    assert [overlay_layer_device(name) for name in ("Fluoro", "FluoroB")] == ["OverlayLayer", "OverlayLayerB"]


@pytest.mark.parametrize(
    ("subject", "asked", "answer"),
    [
        ("IMAGE", "OverlayLayer", ("OverlayLayer",)),
        ("IMAGE", "Slicer", ("OverlayA",)),
        ("IMAGE", "", ("OverlayA",)),
        ("IMAGE", "Overlay", ()),
        ("IMAGE", "CementThickness", ()),
        ("TRANSFORM", "", ()),
        ("STRING", "", ()),
    ],
)
def test_no_query_is_answered_with_another_output(subject: str, asked: str, answer: tuple[str, ...]) -> None:
    assert answering_devices(subject, asked, ["OverlayA", "OverlayLayer"]) == answer


def test_alerts_are_ascii_and_fit_the_string() -> None:
    assert alert_text([]) == "[]"
    assert alert_text([{"text": "Brücke"}]) == '[{"text":"Br\\u00fccke"}]'
    many = [{"id": str(number), "text": "ü" * 100} for number in range(1000)]
    text = alert_text(many)
    assert MAXIMUM_TEXT_BYTES - 1000 < len(text) <= MAXIMUM_TEXT_BYTES
    whole = json.loads(text)
    assert whole == many[: len(whole)]
    assert pack(Text(device="Alert", text=text))


def test_a_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(WireError) as caught:
        pack(Text(text="x" * 65_536))
    assert caught.value.code == "Text"


def test_no_empty_body_in_version_1() -> None:
    for empty in (Points(device="Targets"), Trajectories(device="Paths")):
        assert len(PublishedMessage(message=empty).packed(1)) > 58
        assert len(PublishedMessage(message=empty).packed(2)) == 58 + 14
    full = Points(points=(Point(position_ras_mm=(1.0, 2.0, 3.0)),))
    assert without_empty_body(full) is full


def test_owner_of_a_name() -> None:
    owners = DeviceOwners(silence_ns=100)
    assert owners.claim("Fluoro", 1, 0)
    assert not owners.claim("Fluoro", 2, 50)
    assert owners.claim("Fluoro", 1, 90)
    assert not owners.claim("Fluoro", 2, 190)  # silent for 100, not longer
    assert owners.claim("Fluoro", 2, 191)
    assert not owners.claim("Fluoro", 1, 192)
    assert owners.owned_by(2) == ("Fluoro",)
    owners.forget(2)
    assert owners.claim("Fluoro", 1, 193)


def test_reconnect_delays_double_to_a_limit_and_are_spread() -> None:
    assert [reconnect_delay_s(failures, 0.0) for failures in (1, 2, 3)] == [FIRST_S / 2, FIRST_S, 2 * FIRST_S]
    assert reconnect_delay_s(10**9, 0.999) <= LONGEST_S
    assert reconnect_delay_s(50, 0.0) == LONGEST_S / 2


def test_refusals_are_counted_by_name() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    refusal = Refusal(code="SubVolume", device="Fluoro", type="IMAGE", detail="why")
    refusal_status(counts, refusal)
    status = refusal_status(counts, refusal)
    assert status == Status(device="Fluoro", code=12, subcode=2, error_name="SubVolume", text="IMAGE: why")


@given(st.integers(0, 2**31 * 10**9))
def test_timestamps_there_and_back(unix_ns: int) -> None:
    assert unix_ns_from_timestamp(timestamp_from_unix_ns(unix_ns)) == unix_ns


@pytest.mark.parametrize(
    ("unix_ns", "timestamp"), [(0, 0), (10**9, 1 << 32), (1_500_000_000, 3 << 31), (1_999_999_999, 0x1FFFFFFFC)]
)
def test_timestamp_spot_values(unix_ns: int, timestamp: int) -> None:
    """32.32 fixed point: the upper 32 bits are seconds, the lower the fraction in 1/2**32."""
    assert timestamp_from_unix_ns(unix_ns) == timestamp


def test_ras_and_lps() -> None:
    """Right, anterior, superior against left, posterior, superior: a point 1 mm to the right is at L -1."""
    assert lps_from_ras((1.0, 2.0, 3.0)) == (-1.0, -2.0, 3.0)
    assert ras_from_lps((-1.0, -2.0, 3.0)) == (1.0, 2.0, 3.0)
    assert str(lps_from_ras((0.0, 0.0, 0.0))) == "(0.0, 0.0, 0.0)"


@pytest.mark.parametrize(
    ("shape", "dtype", "code"),
    [
        ((3, 4), np.complex64, "ScalarType"),
        ((3, 4), np.dtype(">u2"), "ScalarType"),
        ((0, 4), np.uint8, "ImageSize"),
        ((65536, 4), np.uint8, "ImageSize"),
        ((3, 4, 256), np.uint8, "Components"),
        ((3,), np.uint8, "ImageSize"),
    ],
)
def test_pictures_that_cannot_be_said_are_refused(shape: tuple[int, ...], dtype: np.dtype, code: str) -> None:
    with pytest.raises(WireError) as caught:
        pack_image_parts("Overlay", 0, shape, dtype, pixels_crc64=0)
    assert caught.value.code == code


@pytest.mark.parametrize(("device", "version", "code"), [("x" * 21, 2, "Name"), ("ü", 2, "Name"), ("x", 3, "Version")])
def test_headers_that_are_never_sent(device: str, version: int, code: str) -> None:
    header = Header(version=version, type="IMAGE", device=device, timestamp_igtl=0, body_size=0, crc64=0)
    with pytest.raises(WireError) as caught:
        pack_header(header)
    assert caught.value.code == code


@pytest.mark.parametrize("key", ["", "ü"])
def test_metadata_keys_are_ascii(key: str) -> None:
    with pytest.raises(WireError) as caught:
        pack(Transform(metadata={key: "x"}))
    assert caught.value.code == "Metadata"


def test_polydata_cells_must_be_there() -> None:
    points = np.zeros((2, 3), np.float32)
    for lines in (((0, 2),), ((-1, 0),), ((),)):
        with pytest.raises(WireError) as caught:
            pack(PolyData(points_ras_mm=points, lines=lines))
        assert caught.value.code == "PolyDataCells"


@pytest.mark.parametrize("version", [1, 2])
def test_a_published_picture_is_the_same_bytes_as_a_packed_one(version: int) -> None:
    """The CRC is combined from the pixels' own; nothing touches the pixels again."""
    pixels = np.random.default_rng(5).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    published = PublishedPicture(
        device="Overlay",
        timestamp_igtl=77,
        pixels=pixels,
        pixels_crc64=kernels.crc64(pixels.reshape(-1)),
        pixel_pitch_mm=(0.3, 0.2),
        metadata={"a": "b"},
    )
    outgoing = published.outgoing(version)
    matrix = (0.3, 0.0, 0.0, 0.0, -0.2, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0)
    image = Image(device="Overlay", timestamp_igtl=77, pixels=pixels, components=3, matrix=matrix, metadata={"a": "b"})
    assert b"".join(outgoing.parts) == pack(image, version)
    assert published.outgoing(version) is outgoing  # packed once for all clients
    decoder = Decoder()
    decoder.feed(b"".join(published.renamed("Q").outgoing(version).parts))
    read = decoder.next_event()
    assert isinstance(read, Image)
    assert read.device == "Q"
    assert np.array_equal(read.pixels, pixels)


def test_names_longer_than_their_field_are_cut_between_characters() -> None:
    point = Point(name="ä" * 40, position_ras_mm=(0.0, 0.0, 0.0))
    decoder = Decoder()
    decoder.feed(pack(Points(points=(point,))))
    read = decoder.next_event()
    assert isinstance(read, Points)
    assert read.points[0].name == "ä" * 32
