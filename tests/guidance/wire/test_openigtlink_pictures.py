"""Pictures in the decoder: they stay where they were received, in whatever byte order they came."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from guidance.errors import WireError
from guidance.wire.openigtlink import (
    BufferPool,
    Decoder,
    Image,
    fluoro_frame,
    pack,
)
from guidance.wire.openigtlink.decoder import HEADER_WINDOW_BYTES
from tests.helpers.decoded import decoded_events as _events
from tests.helpers.decoded import picture_message as _image
from tests.helpers.openigtlink_peer import image_content, message


@pytest.mark.parametrize("version", [1, 2])
def test_big_endian_pixels_are_swapped_where_they_lie(version: int) -> None:
    values = np.array([[1, 256, 65535], [2, 3, 4]], np.uint16)
    content = image_content(3, 2, values.astype(">u2").tobytes(), scalar=5, endian=1)
    (image,) = _events(message("IMAGE", "Fluoro", content, version=version))
    assert isinstance(image, Image)
    assert image.pixels.dtype == np.dtype(np.uint16)
    assert np.array_equal(image.pixels, values)


def test_the_byte_order_of_one_byte_pixels_is_ignored() -> None:
    (image,) = _events(_image(endian=77))
    assert isinstance(image, Image)


@pytest.mark.parametrize("extra", [0, 1, 3, 8])
def test_a_longer_extended_header_is_skipped(extra: int) -> None:
    values = np.arange(12, dtype=np.uint16)
    stream = message(
        "IMAGE",
        "Fluoro",
        image_content(4, 3, values.tobytes(), scalar=5),
        extended=struct.pack(">HHII", 12 + extra, 2, 0, 0) + b"\7" * extra,
    )
    (image,) = _events(stream)
    assert isinstance(image, Image)
    assert image.pixels.flags.aligned
    assert np.array_equal(image.pixels.ravel(), values)


def _receive(decoder: Decoder, stream: bytes) -> Image:
    """As a socket would, whole windows; gives the one image and checks where it lies."""
    at = 0
    while at < len(stream):
        window = decoder.next_buffer()
        count = min(len(window), len(stream) - at)
        window[:count] = stream[at : at + count]
        decoder.advance(count)
        at += count
    image = decoder.next_event()
    assert isinstance(image, Image)
    assert np.shares_memory(image.pixels, np.asarray(window))  # the end of the picture came in by the last window
    return image


@pytest.mark.parametrize("version", [1, 2])
def test_hundreds_of_frames_without_a_copy(version: int) -> None:
    """Each picture is a view of the buffer it was received into; a few buffers serve for all."""
    pool = BufferPool()
    decoder = Decoder(pool=pool)
    rng = np.random.default_rng(3)
    held: list[Image] = []
    blocks = set()
    for number in range(300):
        pixels = rng.integers(0, 65535, (200, 256)).astype(np.uint16)
        stream = pack(Image(device="Fluoro", pixels=pixels, timestamp_igtl=number), version)
        image = _receive(decoder, stream)
        assert image.pixels.base is not None
        assert image.pixels.ctypes.data % 64 == 0
        assert not image.pixels.flags.writeable
        assert np.array_equal(image.pixels, pixels)
        blocks.add(image.pixels.ctypes.data)
        held = [*held, image][-3:]  # the session holds a few frames
        for older in held:
            assert older.timestamp_igtl > number - 3
    assert pool.allocated <= 6
    assert len(blocks) <= 6


def test_the_pool_never_reuses_what_a_slice_still_shows() -> None:
    """A view of a view keeps the memory, though the picture that was handed out is gone."""
    pool = BufferPool()
    decoder = Decoder(pool=pool)
    first = np.full((200, 256), 1, np.uint16)
    image = _receive(decoder, pack(Image(device="Fluoro", pixels=first)))
    corner = image.pixels[10:20, 10:20]
    del image
    for value in range(2, 40):
        pixels = np.full((200, 256), value, np.uint16)
        assert _receive(decoder, pack(Image(device="Fluoro", pixels=pixels))).pixels[0, 0] == value
        assert (corner == 1).all()
    assert pool.allocated <= 4


def test_a_frame_behind_other_messages_is_moved_at_most_by_a_window() -> None:
    """TRANSFORM, TRANSFORM, IMAGE in one segment: the picture is aligned all the same."""
    transform = message("TRANSFORM", "DetectorToPatient", struct.pack(">12f", *range(12)), metadata={"odd": "xx"})
    pixels = np.arange(200 * 256, dtype=np.uint16).reshape(200, 256)
    stream = transform * 3 + pack(Image(device="Fluoro", pixels=pixels))
    assert len(stream) > HEADER_WINDOW_BYTES
    decoder = Decoder()
    for _ in range(20):
        *transforms, image = _events(stream, decoder=decoder)
        assert len(transforms) == 3
        assert isinstance(image, Image)
        assert image.pixels.ctypes.data % 64 == 0
        assert np.array_equal(image.pixels, pixels)


def test_frame_for_the_core() -> None:
    matrix = (0.3, 0.0, 0.0, 0.0, -0.2, 0.0, 0.0, 0.0, 1.0, 5.0, 6.0, 7.0)
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    image = Image(
        device="FluoroA",
        timestamp_igtl=99,
        pixels=pixels,
        matrix=matrix,
        metadata={"XRay.Live": "1"},
        pixels_crc64=5,
        header_version=1,
    )
    frame = fluoro_frame(image, received_ns=10, connection_id=3, sequence=8)
    assert frame.pixels is pixels
    assert frame.pixel_pitch_mm == (0.3, 0.2)
    assert (frame.device, frame.timestamp_igtl, frame.received_ns, frame.connection_id) == ("FluoroA", 99, 10, 3)
    assert (frame.sequence, frame.pixels_crc64, frame.header_version) == (8, 5, 1)


@pytest.mark.parametrize(
    ("device", "pixels", "components", "code"),
    [
        ("FluoroC", np.zeros((3, 4), np.uint8), 1, "UnknownDevice"),
        ("Fluoro", np.zeros((3, 4, 3), np.uint8), 3, "Components"),
        ("Fluoro", np.zeros((3, 4), np.int32), 1, "ScalarType"),
        ("Fluoro", np.zeros((3, 4), np.float64), 1, "ScalarType"),
        ("Fluoro", np.zeros((2, 3, 4), np.uint8), 1, "ImageSize"),
    ],
)
def test_what_is_no_fluoroscopy_picture(device: str, pixels: np.ndarray, components: int, code: str) -> None:
    with pytest.raises(WireError) as caught:
        fluoro_frame(
            Image(device=device, pixels=pixels, components=components), received_ns=0, connection_id=0, sequence=0
        )
    assert caught.value.code == code


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_an_unusable_matrix_gives_no_pitch(bad: float) -> None:
    image = Image(device="Fluoro", pixels=np.zeros((2, 2), np.uint8), matrix=(bad, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0))
    assert fluoro_frame(image, received_ns=0, connection_id=0, sequence=0).pixel_pitch_mm is None
