"""Stored values to HU: padding, bits, rescale, transfer syntaxes."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from guidance.errors import WireError
from guidance.wire.dicom_instance import Calibration, parse, read_instance
from guidance.wire.dicom_pixels import StoredValues, decode_slices, edge_tissue, to_hu
from tests.helpers.dicom_objects import ct_slice, file_bytes, multi_frame, phantom, set_pixels

PLANE = phantom(1, 48, 40)[0]
HU = Calibration(slope=1.0, intercept=0.0)
HU_1024 = Calibration(slope=1.0, intercept=-1024.0)
LITTLE_ENDIAN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
LOSSLESS = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def signed(*values: int) -> np.ndarray:
    return np.array([values], np.int16)


def unsigned(*values: int) -> np.ndarray:
    return np.array([values], np.uint16)


def decoded(dataset: Dataset) -> np.ndarray:
    dataset = parse(file_bytes(dataset))
    return next(decode_slices(dataset, read_instance(dataset, name="1")))[1]


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]
)
@pytest.mark.parametrize("is_signed", [False, True])
def test_lossless_syntaxes_give_the_same_voxels(syntax: str, is_signed: bool) -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    if is_signed:
        set_pixels(dataset, PLANE)
        dataset.RescaleIntercept = 0
    if syntax in LOSSLESS:
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(decoded(dataset), PLANE)


def test_near_lossless_jpeg_ls_stays_within_its_error() -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    dataset.compress(JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
    worst = np.abs(decoded(dataset).astype(int) - PLANE).max()
    assert 0 < worst <= 3


def test_big_endian() -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    np.testing.assert_array_equal(decoded(dataset), PLANE)


def test_frames_of_a_multi_frame_object_in_their_own_order() -> None:
    volume = phantom(4)
    dataset = parse(file_bytes(multi_frame(volume, frame_order=[3, 1, 0, 2])))
    found = dict(decode_slices(dataset, read_instance(dataset, name="1")))
    by_height = sorted(found, key=lambda one: one.position_mm[2])
    np.testing.assert_array_equal([found[one] for one in by_height], volume)


@pytest.mark.parametrize(
    ("bits_stored", "padding", "values", "scale", "expected"),
    [
        pytest.param(16, (-2000, -2000), signed(-2000, -1000, 40), HU, [-1000, -1000, 40], id="tagged-minus-2000"),
        pytest.param(16, None, signed(-2000, -1200, 40), HU, [-1000, -1200, 40], id="untagged-minus-2000-noise-stays"),
        pytest.param(16, None, signed(-1500, -1499), HU, [-1000, -1499], id="untagged-minus-1500"),
        pytest.param(16, None, signed(-2000, 1064), HU_1024, [-1000, 40], id="minus-3024-after-rescale"),
        pytest.param(16, None, unsigned(63536, 1064), HU_1024, [-1000, 40], id="63536-in-an-unsigned-image"),
        pytest.param(12, None, unsigned(63536, 1064), HU_1024, [-1000, 40], id="63536-above-12-bits"),
        pytest.param(16, (0, 0), unsigned(0, 24, 1064), HU_1024, [-1000, -1000, 40], id="zero"),
        pytest.param(16, (-10, 5), signed(-11, -10, 5, 6), HU, [-11, -1000, -1000, 6], id="range"),
        pytest.param(12, None, unsigned(1064 | 0x1000, 1064 | 0x8000), HU_1024, [40, 40], id="overlay-in-spare-bits"),
        pytest.param(12, None, signed(0x0FFF, 0x07FF), HU, [-1, 2047], id="12-bit-signed-without-sign-copies"),
        pytest.param(16, None, unsigned(0, 3, 4), Calibration(slope=0.25, intercept=-1.0), [-1, 0, 0], id="fractions"),
        pytest.param(16, None, signed(-1000, 30000), HU, [-1000, 30000], id="extended-scale-metal"),
    ],
)
def test_values(
    bits_stored: int,
    padding: tuple[int, int] | None,
    values: np.ndarray,
    scale: Calibration,
    expected: list[int],
) -> None:
    stored = StoredValues(bits_stored=bits_stored, is_signed=values.dtype.kind == "i", padding=padding)
    hu, _ = to_hu(values, stored, scale)
    assert hu.dtype == np.int16
    assert hu.tolist() == [expected]


def test_8_bit_values() -> None:
    stored = StoredValues(bits_stored=8, is_signed=False)
    hu, _ = to_hu(np.array([[0, 255]], np.uint8), stored, Calibration(slope=8.0, intercept=-1000.0))
    assert hu.tolist() == [[-1000, 1040]]


def test_padding_written_with_the_other_sign_rule() -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    plane = PLANE.copy()
    plane[0, :3] = -2000
    set_pixels(dataset, plane)
    dataset.RescaleIntercept = 0
    dataset.add_new(0x00280120, "US", 63536)
    assert decoded(dataset)[0, :4].tolist() == [-1000, -1000, -1000, -1000]


def test_overlay_planes_and_private_data_do_not_reach_the_voxels() -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    dataset.add_new(0x60000010, "US", PLANE.shape[0])
    dataset.add_new(0x60000011, "US", PLANE.shape[1])
    dataset.add_new(0x60003000, "OW", b"\xff" * (PLANE.size // 8))
    dataset.add_new(0x00090010, "LO", "MAKER")
    np.testing.assert_array_equal(decoded(dataset), PLANE)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda d: setattr(d, "PixelData", d.PixelData[:-100]), id="short"),
        pytest.param(lambda d: delattr(d, "PixelData"), id="absent"),
        pytest.param(lambda d: setattr(d, "SamplesPerPixel", 3), id="coloured"),
        pytest.param(lambda d: setattr(d, "BitsAllocated", 32), id="32-bit"),
        pytest.param(lambda d: setattr(d, "BitsStored", 17), id="more-bits-than-room"),
        pytest.param(lambda d: setattr(d, "PixelRepresentation", 7), id="unknown-representation"),
    ],
)
def test_unreadable_pixels(spoil) -> None:  # type: ignore[no-untyped-def]  # table of lambdas
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    spoil(dataset)
    with pytest.raises(WireError) as caught:
        decoded(dataset)
    assert caught.value.code == "unreadable_pixels"


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_broken_code_streams(syntax: str) -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.PixelData = encapsulate([b"\x00\x01garbage that is no code stream.."])
    with pytest.raises(WireError) as caught:
        decoded(dataset)
    assert caught.value.code == "unreadable_pixels"


LOSSLESS_JPEG = bytes.fromhex(
    "ffd8 ffc3 000b 10 0030 0028 01 011100 ffc4 0014 00 01000000000000000000000000000000 00 ffda 0008 01 0100 010000"
)


@pytest.mark.parametrize(
    ("code_stream", "words"),
    [
        pytest.param(LOSSLESS_JPEG.replace(b"\x00\x30\x00\x28", b"\x00\x31\x00\x28"), "disagree", id="rows"),
        pytest.param(LOSSLESS_JPEG.replace(b"\x0b\x10", b"\x0b\x08"), "disagree", id="precision"),
        pytest.param(LOSSLESS_JPEG.replace(b"\xff\xc3", b"\xff\xc0"), "disagree", id="another-process"),
        pytest.param(LOSSLESS_JPEG.replace(b"\xff\xc4", b"\x00\xc4"), "disagree", id="broken-marker"),
        pytest.param(LOSSLESS_JPEG[:20], "disagree", id="cut"),
        pytest.param(b"no jpeg at all", "disagree", id="no-jpeg"),
    ],
)
def test_lossless_jpeg_is_looked_at_before_it_is_decoded(code_stream: bytes, words: str) -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0))
    dataset.PixelData = encapsulate([code_stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    with pytest.raises(WireError, match=words) as caught:
        decoded(dataset)
    assert caught.value.code == "unreadable_pixels"


def test_edge() -> None:
    whole = np.full((40, 40), -1000, np.int16)
    assert edge_tissue(whole, None) == 0.0
    whole[:, :20] = 50
    assert edge_tissue(whole, None) == pytest.approx(0.5, abs=0.03)
    j, i = np.mgrid[-20:20, -20:20]
    outside = j * j + i * i > 18**2
    circle = np.full((40, 40), 50, np.int16)
    circle[outside] = -1000
    assert edge_tissue(circle, outside) == 1.0
    circle[j * j + i * i > 14**2] = -1000
    assert edge_tissue(circle, outside) == 0.0
