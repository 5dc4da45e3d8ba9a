"""Radiographs out of files: stored values as they are, and refused where they cannot be."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from guidance.errors import WireError
from guidance.geometry.intensity import PixelIntensity
from guidance.wire.picture_files import read_picture

RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 65536, (12, 17)).astype(np.uint16)


def encoded(kind: str, pixels: np.ndarray) -> bytes:
    ok, data = cv2.imencode(f".{kind}", pixels)
    assert ok
    return data.tobytes()


def npy(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def xa(stored: np.ndarray, **attributes: object) -> bytes:
    """An XA object; `attributes` by keyword, None removes one."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.3.4"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.NumberOfFrames = stored.shape[0] if stored.ndim == 3 else None
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelIntensityRelationship = "LIN"
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encoded("png", GREY), GREY, id="png-16"),
        pytest.param(encoded("png", GREY.astype(np.uint8)), GREY.astype(np.uint8), id="png-8"),
        pytest.param(encoded("png", np.dstack([GREY] * 3)), GREY, id="png-rgb-grey"),
        pytest.param(encoded("tiff", GREY), GREY, id="tiff-16"),
        pytest.param(encoded("tiff", GREY.astype(np.float32) / 7), GREY.astype(np.float32) / 7, id="tiff-float"),
        pytest.param(npy(GREY), GREY, id="npy"),
        pytest.param(npy(GREY.astype(">u2")), GREY, id="npy-big-endian"),
        pytest.param(npy(np.asfortranarray(GREY)), GREY, id="npy-fortran"),
        pytest.param(npy(GREY[None, ..., None]), GREY, id="npy-with-ones"),
        pytest.param(npy(GREY.astype(np.float64) / 3), (GREY / 3.0).astype(np.float32), id="npy-double"),
        pytest.param(npy(GREY.astype(np.int16)), GREY.astype(np.int16), id="npy-signed"),
    ],
)
def test_values_are_as_stored(data, expected):
    picture = read_picture(data, origin="picture")
    assert picture.pixels.dtype == expected.dtype
    assert picture.pixels.dtype.isnative
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.valid is None
    assert picture.intensity is None


def test_what_is_not_finite_is_no_picture():
    pixels = GREY.astype(np.float32)
    pixels[3, 4], pixels[5, 6] = np.nan, np.inf
    picture = read_picture(npy(pixels), origin="picture")
    assert picture.valid is not None
    assert np.argwhere(~picture.valid).tolist() == [[3, 4], [5, 6]]
    with pytest.raises(WireError, match="shows nothing"):
        read_picture(npy(np.full((4, 4), np.nan)), origin="picture")


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with one SHORT tag of the first page changed."""
    at = struct.unpack_from("<I", data, 4)[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            return data[: entry + 8] + struct.pack("<H", value) + data[entry + 10 :]
    raise AssertionError(f"no tag {tag}")


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60000 x 60000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 16, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in (header, b"IDAT" + zlib.compress(b""), b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


COLOURED = np.dstack([GREY.astype(np.uint8), GREY.astype(np.uint8) // 2, GREY.astype(np.uint8)])
PAGES = cv2.imencodemulti(".tiff", [GREY, GREY])[1].tobytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "is no PNG", id="empty"),
        pytest.param(encoded("jpg", GREY.astype(np.uint8)), "is no PNG", id="jpeg"),
        pytest.param(encoded("png", GREY)[:-20], "cut short", id="png-cut"),
        pytest.param(encoded("png", GREY)[:60] + b"\0" + encoded("png", GREY)[61:], "cut short", id="png-damaged"),
        pytest.param(encoded("png", COLOURED), "is coloured", id="png-coloured"),
        pytest.param(bomb(), "claims 60000 x 60000", id="png-bomb"),
        pytest.param(encoded("tiff", GREY)[:-60], "cut short", id="tiff-cut"),
        pytest.param(encoded("tiff", COLOURED), "is coloured", id="tiff-coloured"),
        pytest.param(PAGES, "several pages", id="tiff-pages"),
        pytest.param(with_tag(encoded("tiff", GREY), 262, 0), "white at zero", id="tiff-white-at-zero"),
        pytest.param(npy(GREY)[:-1], "holds 12 x 17", id="npy-cut"),
        pytest.param(npy(GREY.astype(complex)), "holds complex128", id="npy-complex"),
        pytest.param(npy(np.zeros((3, 4, 5))), "holds 3 x 4 x 5", id="npy-volume"),
        pytest.param(npy(np.array([{}, {}])), "holds object", id="npy-pickle"),
        pytest.param(npy(GREY).replace(b"(12, 17)", b"(1e9, 9)"), "is no array", id="npy-header"),
    ],
)
def test_what_is_no_grey_picture_is_refused(data, words):
    with pytest.raises(WireError, match=words) as raised:
        read_picture(data, origin="picture")
    assert raised.value.code == "unreadable_picture"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["png", "tiff", "npy", "dcm"]), st.data())
def test_damage_is_refused_or_read_and_nothing_else(kind, data):
    """Some byte changed or the end lost: a WireError, or a picture; never another exception."""
    whole = {"npy": npy, "dcm": xa}.get(kind, lambda pixels: encoded(kind, pixels))(GREY & 0xFFF)
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:at]
    else:
        broken = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    try:
        picture = read_picture(broken, origin="picture")
    except WireError:
        return
    assert picture.pixels.ndim == 2


def test_bits_above_the_stored_ones_never_pass():
    old_overlay = (GREY & 0x0FFF) | 0x1000
    picture = read_picture(xa(old_overlay), origin="picture")
    np.testing.assert_array_equal(picture.pixels, GREY & 0x0FFF)


def test_signed_values_and_rescale():
    stored = (GREY & 0x0FFF).astype(np.uint16)
    signed = read_picture(xa(stored, PixelRepresentation=1), origin="picture").pixels
    np.testing.assert_array_equal(signed, (stored.astype(np.int32) ^ 0x800) - 0x800)
    rescaled = read_picture(xa(stored, RescaleSlope=0.5, RescaleIntercept=-3.0), origin="picture").pixels
    np.testing.assert_allclose(rescaled, stored * 0.5 - 3.0)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ("LIN", 1)),
        ({"PixelIntensityRelationship": "LOG"}, ("LOG", 1)),
        ({"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1}, ("LOG", -1)),
        ({"PixelIntensityRelationship": "DISP", "PhotometricInterpretation": "MONOCHROME1"}, ("DISP", -1)),
        # LIN says by its definition that more X-ray is higher, however it is shown.
        ({"PhotometricInterpretation": "MONOCHROME1"}, ("LIN", 1)),
        ({"PixelIntensityRelationship": None}, ("DISP", 1)),
    ],
)
def test_what_values_mean(attributes, expected):
    picture = read_picture(xa(GREY & 0xFFF, **attributes), origin="picture")
    assert picture.intensity == PixelIntensity(relationship=expected[0], sign=expected[1])


def test_frames_count_from_one():
    stored = np.stack([GREY & 0xFFF, (GREY >> 4) & 0xFFF])
    np.testing.assert_array_equal(read_picture(xa(stored), origin="picture", frame=2).pixels, stored[1])
    with pytest.raises(WireError, match="has 2 pictures, not 3"):
        read_picture(xa(stored), origin="picture", frame=3)
    with pytest.raises(WireError, match="has one picture"):
        read_picture(encoded("png", GREY), origin="picture", frame=2)


def test_shutter_collimator_and_padding_are_no_picture():
    stored = (GREY & 0x0FFF).astype(np.uint16)
    stored[6, 9] = 4095
    data = xa(
        stored,
        ShutterShape=["RECTANGULAR", "CIRCULAR"],
        ShutterLeftVerticalEdge=3,
        ShutterRightVerticalEdge=15,
        ShutterUpperHorizontalEdge=2,
        ShutterLowerHorizontalEdge=11,
        CenterOfCircularShutter=[7, 9],
        RadiusOfCircularShutter=6,
        PixelPaddingValue=4095,
    )
    valid = read_picture(data, origin="picture").valid
    v, u = np.mgrid[1:13, 1:18]
    expected = (u >= 3) & (u <= 15) & (v >= 2) & (v <= 11) & ((v - 7) ** 2 + (u - 9) ** 2 <= 36) & (stored != 4095)
    np.testing.assert_array_equal(valid, expected)


def test_colour_is_refused():
    with pytest.raises(WireError, match="PALETTE COLOR"):
        read_picture(xa(GREY & 0xFFF, PhotometricInterpretation="PALETTE COLOR"), origin="picture")
