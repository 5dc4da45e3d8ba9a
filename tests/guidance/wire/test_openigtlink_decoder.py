"""The decoder: any chunking, faults that never desynchronise, pictures that stay where they were received."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidance.errors import WireError
from guidance.wire.openigtlink import (
    Decoder,
    Empty,
    Image,
    Message,
    Points,
    Query,
    Refusal,
    Reply,
    Text,
    Transform,
)
from tests.helpers.decoded import AFTER, PIXELS
from tests.helpers.decoded import decoded_events as _events
from tests.helpers.decoded import picture_message as _image
from tests.helpers.openigtlink_peer import header, image_content, message


def _plain(event: Message | Refusal) -> object:
    """Comparable: an image's pixels as bytes."""
    if isinstance(event, Image):
        return (
            event.device,
            event.timestamp_igtl,
            dict(event.metadata),
            event.matrix,
            event.pixels.dtype,
            event.pixels.shape,
            event.pixels.tobytes(),
            event.pixels_crc64,
        )
    return event


def _stream() -> bytes:
    big = np.random.default_rng(7).integers(0, 65535, (150, 300)).astype(np.uint16)  # larger than the header window
    wide = np.arange(6, dtype=np.float32).reshape(2, 3)
    pieces = [
        message("TRANSFORM", "DetectorToPatient", struct.pack(">12f", *range(12)), metadata={"a": "1", "bc": "\u00e4"}),
        message("IMAGE", "Fluoro", image_content(300, 150, big.tobytes(), scalar=5), metadata={"XRay.Live": "1"}),
        message("IMAGE", "FluoroA", image_content(3, 2, wide.tobytes(), scalar=10), version=1),
        message("TENSOR", "Unknown", b"x" * 70_000),
        header("STATUS", "Empty", b"", version=1),
        message("IMAGE", "Bad", image_content(4, 3, PIXELS), crc=1),
        message("IMAGE", "Fluoro", image_content(300, 150, big[::-1].tobytes(), scalar=5), metadata={"XRay.Live": "0"}),
        message("IMAGE", "Odd", image_content(4, 3, PIXELS), metadata={"odd": "len"}),
        message("STRING", "Newer", b"?" * 9, version=4),
        message("GET_STATUS", "", b"", version=2),
        AFTER,
    ]
    return b"".join(pieces)


STREAM = _stream()
WHOLE = [_plain(event) for event in _events(STREAM)]


def test_all_at_once() -> None:
    names = [type(event).__name__ for event in _events(STREAM)]
    assert names == (
        ["Transform", "Image", "Image", "Refusal", "Empty", "Refusal", "Image", "Image", "Refusal", "Query", "Text"]
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 40_000), max_size=60))
def test_chunking_does_not_change_the_messages(chunks: list[int]) -> None:
    assert [_plain(event) for event in _events(STREAM, chunks)] == WHOLE


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.integers(0, 200))
def test_small_chunks_around_every_border(size: int, offset: int) -> None:
    small = AFTER + message("IMAGE", "F", image_content(4, 3, PIXELS), metadata={"k": "v"}) + AFTER
    whole = [_plain(event) for event in _events(small)]
    assert [_plain(event) for event in _events(small, [offset] + [size] * (len(small) // size))] == whole


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=20))
def test_receiving_into_the_window_is_the_same_as_feeding(sizes: list[int]) -> None:
    """What a socket does: fill any part of the window that it is given."""
    decoder, at, events = Decoder(), 0, []
    size = itertools.cycle([*sizes, 5000])
    while at < len(STREAM):
        window = decoder.next_buffer()
        assert len(window) > 0
        count = min(next(size), len(window), len(STREAM) - at)
        window[:count] = STREAM[at : at + count]
        decoder.advance(count)
        at += count
        while (event := decoder.next_event()) is not None:
            events.append(_plain(event))
    assert events == WHOLE
    assert decoder.end() is None


@settings(deadline=None, max_examples=150)
@given(
    st.binary(max_size=300), st.sampled_from(["IMAGE", "POINT", "POLYDATA", "STATUS", "STRING", "TRAJ", "TRANSFORM"])
)
def test_any_body_is_a_message_or_a_named_refusal(body: bytes, type_name: str) -> None:
    """Whatever stands in a body: one event, and the stream goes on behind it."""
    for version in (1, 2):
        stream = header(type_name, "Fuzz", body, version=version) + body + AFTER
        *first, last = _events(stream)
        assert isinstance(last, Text)
        kept = [event for event in first if not (isinstance(event, Refusal) and event.kept)]
        assert len(kept) == 1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6), st.integers(1, 5000))
def test_a_stream_damaged_anywhere_never_raises(damage: list[tuple[int, int]], chunk: int) -> None:
    """Damage in a header may lose the rest of the stream, as the header tells the length; nothing else may happen."""
    small = AFTER + message("IMAGE", "F", image_content(4, 3, PIXELS), metadata={"k": "v"}) + AFTER * 3
    stream = bytearray(small)
    for at, value in damage:
        stream[at % len(stream)] = value
    events = _events(bytes(stream), [chunk] * (len(stream) // chunk), Decoder(maximum_body_bytes=100_000))
    assert len(events) <= len(stream) // 58 + 2


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        pytest.param(_image(sub_offset=(1, 0, 0)), "SubVolume", id="sub-volume-offset"),
        pytest.param(_image(sub_size=(2, 3, 1)), "SubVolume", id="sub-volume-size"),
        pytest.param(_image(scalar=13), "ScalarType", id="complex-scalar"),
        pytest.param(_image(scalar=0), "ScalarType", id="scalar-0"),
        pytest.param(_image(components=0), "Components", id="no-components"),
        pytest.param(_image(columns=5), "ImageSize", id="too-few-pixels"),
        pytest.param(_image(columns=3), "ImageSize", id="too-many-pixels"),
        pytest.param(_image(columns=0, pixels=b""), "ImageSize", id="no-columns"),
        pytest.param(_image(columns=2, scalar=5, endian=0), "ByteOrder", id="byte-order-0"),
        pytest.param(_image(columns=2, scalar=5, endian=3), "ByteOrder", id="byte-order-3"),
        pytest.param(_image(image_version=3), "ImageVersion", id="image-format-3"),
        pytest.param(message("IMAGE", "F", b"\0" * 71), "BodyLength", id="image-header-cut"),
        pytest.param(message("IMAGE", "F", image_content(4, 3, PIXELS), crc=0), "Crc", id="crc-0"),
        pytest.param(message("TRANSFORM", "F", b"\0" * 44), "BodyLength", id="short-transform"),
        pytest.param(message("TRANSFORM", "F", b"\0" * 52), "BodyLength", id="long-transform"),
        pytest.param(message("POSITION", "F", b"\0" * 16), "BodyLength", id="position"),
        pytest.param(message("POINT", "F", b"\0" * 137), "BodyLength", id="point-and-a-byte"),
        pytest.param(message("TRAJ", "F", b"\0" * 149), "BodyLength", id="traj"),
        pytest.param(message("STATUS", "F", b"\0" * 29), "BodyLength", id="status"),
        pytest.param(message("STRING", "F", b"\0\3\0"), "BodyLength", id="string-header"),
        pytest.param(message("STRING", "F", struct.pack(">HH", 3, 9) + b"short"), "BodyLength", id="string-length"),
        pytest.param(message("STRING", "F", struct.pack(">HH", 4, 1) + b"a"), "Charset", id="string-latin-1"),
        pytest.param(message("STRING", "F", struct.pack(">HH", 106, 1) + b"\xff"), "Charset", id="string-not-utf-8"),
        pytest.param(message("CAPABILITY", "F", b"IMAGE"), "BodyLength", id="capability"),
        pytest.param(message("POLYDATA", "F", b"\0" * 39), "BodyLength", id="polydata-header"),
        pytest.param(
            message("POLYDATA", "F", struct.pack(">10I", 2**31, *[0] * 9)), "BodyLength", id="polydata-points"
        ),
        pytest.param(
            message("POLYDATA", "F", struct.pack(">10I", 0, 0, 0, 1, 8, 0, 0, 0, 0, 0) + struct.pack(">2I", 9, 0)),
            "PolyDataCells",
            id="polydata-cell-runs-over",
        ),
        pytest.param(
            message("POLYDATA", "F", struct.pack(">10I", 0, 0, 0, 1, 8, 0, 0, 0, 0, 0) + struct.pack(">2I", 1, 0)),
            "PolyDataCells",
            id="polydata-point-that-is-not-there",
        ),
        pytest.param(message("STRING", "F", b"", extended=b"", tail=b"\0" * 5), "ExtendedHeader", id="5-byte-body"),
        pytest.param(
            message("STRING", "F", b"", extended=struct.pack(">HHII", 11, 2, 0, 0)), "ExtendedHeader", id="11-bytes"
        ),
        pytest.param(
            message("STRING", "F", b"", extended=struct.pack(">HHII", 12, 2, 2**32 - 1, 0)),
            "ExtendedHeader",
            id="metadata-larger-than-body",
        ),
        pytest.param(
            message("STRING", "F", b"", extended=struct.pack(">HHII", 12, 2, 0, 0), tail=b"\0\1"),
            "Metadata",
            id="metadata-count-without-entries",
        ),
        pytest.param(
            message(
                "STRING",
                "F",
                b"",
                extended=struct.pack(">HHII", 12, 10, 3, 0),
                tail=struct.pack(">HHHI", 1, 2, 3, 2) + b"abc",
            ),
            "Metadata",
            id="metadata-value-runs-over",
        ),
        pytest.param(
            message("STRING", "F", b"", extended=struct.pack(">HHII", 12, 1, 0, 0), tail=b"\0"),
            "Metadata",
            id="metadata-half-a-count",
        ),
        pytest.param(message("NDARRAY", "F", b"abc"), "UnknownType", id="unknown-type"),
        pytest.param(message("GET_", "F", b""), "UnknownType", id="query-of-nothing"),
        pytest.param(message("TRANSFORM", "F", b"abc", version=4), "Version", id="version-4"),
        pytest.param(message("TRANSFORM", "F", b"abc", version=0), "Version", id="version-0"),
        pytest.param(message("STRING", "F", b"x" * 2_000_000, crc=0), "BodyLength", id="2-mb-of-text"),
    ],
)
def test_a_malformed_message_is_refused_by_name_and_the_next_one_is_read(bad: bytes, code: str) -> None:
    for chunk in (len(bad) + len(AFTER), 1 if len(bad) < 1000 else 10_000):
        refused, after = _events(bad + AFTER, [chunk] * ((len(bad) + len(AFTER)) // chunk))
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.kept, refused.fatal) == (code, False, False)
        assert refused.device in ("Fluoro", "F")
        assert refused.type
        assert isinstance(after, Text)


def test_every_single_bit_of_a_body_is_watched_by_the_crc() -> None:
    good = message("IMAGE", "Fluoro", image_content(4, 3, PIXELS), metadata={"XRay.Live": "1"})
    for bit in range(58 * 8, len(good) * 8, 13):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << (bit % 8)
        refused, after = _events(bytes(bad) + AFTER)
        assert isinstance(refused, Refusal)
        assert refused.code == "Crc"
        assert isinstance(after, Text)


def test_a_body_above_the_cap_ends_the_stream() -> None:
    decoder = Decoder(maximum_body_bytes=1000)
    events = _events(header("IMAGE", "Fluoro", b"", size=1001) + AFTER, decoder=decoder)
    assert [(event.code, event.fatal) for event in events if isinstance(event, Refusal)] == [("BodySize", True)]
    assert len(events) == 1
    with pytest.raises(WireError) as caught:
        decoder.next_buffer()
    assert caught.value.code == "BodySize"
    assert decoder.end() is None


def test_a_body_of_64_mib_announced_and_never_sent_takes_no_time_and_no_more_than_its_buffer() -> None:
    decoder = Decoder()
    decoder.feed(header("IMAGE", "Fluoro", b"", size=64 << 20))
    assert decoder.next_event() is None
    assert decoder.inside_message


@pytest.mark.parametrize("cut", [1, 57, 58, 59, 100, 150])
def test_hang_up_inside_a_message_is_named(cut: int) -> None:
    decoder = Decoder()
    decoder.feed(AFTER + _image()[:cut])
    assert isinstance(decoder.next_event(), Text)
    refused = decoder.end()
    assert refused is not None
    assert refused.code == "Truncated"
    assert refused.device == ("Fluoro" if cut >= 58 else "")


def test_no_hang_up_between_messages() -> None:
    decoder = Decoder()
    decoder.feed(AFTER)
    assert decoder.end() is None


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("type_name", ["STATUS", "STRING", "TRANSFORM", "IMAGE", "POLYDATA"])
def test_empty_bodies_are_legal_to_read(type_name: str, version: int) -> None:
    empty = header(type_name, "E", b"", version=version)
    if version > 1:
        empty += message(type_name, "E", b"", version=version)
    for event in _events(empty + AFTER)[:-1]:
        assert isinstance(event, Empty)
        assert event.type == type_name


@pytest.mark.parametrize("type_name", ["POINT", "TRAJ", "CAPABILITY"])
def test_an_empty_list_is_an_empty_list(type_name: str) -> None:
    (event,) = _events(header(type_name, "E", b""))
    assert not isinstance(event, Refusal | Empty)


def test_version_3_is_read_like_2() -> None:
    (event,) = _events(message("TRANSFORM", "T", struct.pack(">12f", *range(12)), version=3, metadata={"k": "v"}))
    assert isinstance(event, Transform)
    assert event.metadata == {"k": "v"}
    assert event.header_version == 3


@pytest.mark.parametrize(
    ("wire", "subject"),
    [
        ("GET_TRANS", "TRANSFORM"),
        ("GET_TRANSFOR", "TRANSFORM"),
        ("GET_CAPABIL", "CAPABILITY"),
        ("STT_TDATA", "TDATA"),
        ("STP_IMAGE", "IMAGE"),
        ("GET_COLORT", "COLORT"),
    ],
)
def test_queries_of_any_type_are_read(wire: str, subject: str) -> None:
    (event,) = _events(message(wire, "Q", b"", version=1))
    assert isinstance(event, Query)
    assert (event.subject, event.wire_type) == (subject, wire)


def test_replies_are_read() -> None:
    (event,) = _events(message("RTS_TRANS", "Q", b"\1"))
    assert event == Reply(device="Q", subject="TRANSFORM", status=1)


@pytest.mark.parametrize(
    ("index", "texts", "kept", "problem"),
    [
        pytest.param([(1, 4, 1), (1, 3, 1)], b"axby", {"b": "y"}, ("MetadataCharset", "'a'"), id="charset-4"),
        pytest.param([(1, 106, 1), (1, 3, 1)], b"a\xffby", {"b": "y"}, ("MetadataCharset", "'a'"), id="not-utf-8"),
        pytest.param([(1, 3, 1), (1, 3, 1)], b"axay", {"a": "y"}, ("MetadataTwice", "'a'"), id="twice"),
        pytest.param([(2, 3, 1), (1, 3, 1)], "äxby".encode(), {"b": "y"}, ("MetadataKey", "'"), id="key"),
        pytest.param([(1, 3, 2), (1, 3, 1)], "aäby".encode(), {"a": "ä", "b": "y"}, None, id="utf-8-said-to-be-ascii"),
    ],
)
def test_bad_metadata_are_named_and_the_message_kept(
    index: list[tuple[int, int, int]], texts: bytes, kept: dict[str, str], problem: tuple[str, str] | None
) -> None:
    packed_index = struct.pack(">H", len(index)) + b"".join(struct.pack(">HHI", *entry) for entry in index)
    stream = message(
        "IMAGE",
        "Fluoro",
        image_content(4, 3, PIXELS),
        extended=struct.pack(">HHII", 12, len(packed_index), len(texts), 0),
        tail=packed_index + texts,
    )
    *problems, image = _events(stream)
    assert isinstance(image, Image)
    assert image.metadata == kept
    if problem is None:
        assert problems == []
    else:
        (refusal,) = problems
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.kept) == (problem[0], True)
        assert problem[1] in refusal.detail


def test_names_that_are_not_ascii_do_not_stop_the_stream() -> None:
    odd = struct.pack(">H12s20sQQQ", 1, b"STATUS", b"\xff\xfeDevice\0garbage", 0, 0, 0)
    event, after = _events(odd + AFTER)
    assert isinstance(event, Empty)
    assert event.device == "??Device"
    assert isinstance(after, Text)


def test_points_with_text_in_utf_8() -> None:
    content = struct.pack(">64s32s4B4f20s", "Höhe entry".encode(), b"S1\xff", 1, 2, 3, 4, 1.0, 2.0, 3.0, 4.0, b"o")
    (event,) = _events(message("POINT", "Plan", content))
    assert isinstance(event, Points)
    assert event.points[0].name == "Höhe entry"
    assert event.points[0].group == "S1\\xff"
    assert event.points[0].diameter_mm == 4.0
