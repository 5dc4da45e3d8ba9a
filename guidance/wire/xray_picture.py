"""One frame of a DICOM radiograph -> its stored values, what they mean, and which of them are picture."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from guidance.errors import GeometryError, WireError
from guidance.geometry.intensity import INTENSITY_KEYS, PixelIntensity, read_intensity
from guidance.messages import Pixels
from guidance.wire.dicom_instance import parse
from guidance.wire.dicom_pixels import raw_frames
from guidance.wire.dicom_values import all_numbers, integer, items, number, text, texts

Mask = npt.NDArray[np.bool_]

_LARGEST_BYTES: Final = 1 << 32
_WHITE_AT_LEAST: Final = "MONOCHROME1"


def read_xray_picture(data: bytes, *, origin: str, frame: int) -> tuple[Pixels, Mask | None, PixelIntensity]:
    """Read a picture of an XA, RF, DX, CR or Secondary Capture object.

    Bits above the stored ones (old overlay planes) never pass; overlay planes, which may be burned over anatomy only on
    a screen, are not drawn. Values are those that Pixel Intensity Relationship speaks of: the stored ones, after a
    Rescale where there is one; the VOI and display tables that follow are the screen's.

    Args:
        data: the file.
        origin: its name.
        frame: from 1.

    Returns:
        Values (rows, columns); False behind shutter and collimator and at padding, None without; what values mean.

    Raises:
        WireError: `unreadable_picture`.

    Source: PS3.3 C.8.7.1.1.2 (XA intensity), C.8.11.3.1.2 (sign), C.7.6.11 (display shutter), C.8.7.3 (collimator),
        C.7.5.1.1.2 (padding).
    """
    try:
        dataset = parse(data)
    except WireError as error:
        raise _refused(f"{origin}: {error}") from None
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or integer(dataset, "SamplesPerPixel") != 1:
        raise _refused(f"{origin} is {photometric or 'of no kind'}", "a grey picture, MONOCHROME1 or MONOCHROME2")
    count = integer(dataset, "NumberOfFrames") or 1
    if frame > count:
        raise _refused(f"{origin} has {count} pictures, not {frame}", 'the view\'s "frame" counts from 1')
    stored = _stored(dataset, origin, frame)
    valid = _inside_shutter(dataset, stored.shape)
    padding = _padding(dataset, stored)
    if padding is not None:
        valid = ~padding if valid is None else valid & ~padding
    return _rescaled(dataset, stored), valid, _intensity(dataset, origin, photometric)


def _stored(dataset: Dataset, origin: str, frame: int) -> npt.NDArray[np.int32]:
    allocated, bits = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    high = integer(dataset, "HighBit")
    if allocated not in (8, 16) or bits is None or not 1 <= bits <= allocated:
        raise _refused(f"{origin} has {allocated} bits allocated, {bits} stored", "8 or 16 bits allocated")
    if rows * columns * frame * allocated // 8 > _LARGEST_BYTES:
        raise _refused(f"{origin} claims {rows} x {columns} pixels, {frame} times")
    try:
        raw = next(islice(raw_frames(dataset, origin), frame - 1, None), None)
    except WireError as error:
        raise _refused(str(error)) from None
    if raw is None or raw.shape != (rows, columns):
        raise _refused(f"{origin} does not hold picture {frame}")
    values = raw.astype(raw.dtype.newbyteorder("="), copy=False).view(f"u{raw.dtype.itemsize}").astype(np.int32)
    values = (values >> max(0, (bits - 1 if high is None else high) - bits + 1)) & ((1 << bits) - 1)
    if integer(dataset, "PixelRepresentation") == 1:
        sign = 1 << (bits - 1)
        values = (values ^ sign) - sign
    return values


def _rescaled(dataset: Dataset, stored: npt.NDArray[np.int32]) -> Pixels:
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    if slope and intercept is not None and (slope, intercept) != (1.0, 0.0):
        return (stored * slope + intercept).astype(np.float32)
    low, high = int(stored.min()), int(stored.max())
    for kind in (np.uint8, np.int16, np.uint16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return stored.astype(kind)
    return stored.astype(np.float32)


def _intensity(dataset: Dataset, origin: str, photometric: str) -> PixelIntensity:
    """What the object says; where it says nothing, its values are those of a screen."""
    groups = (dataset, *items(dataset, "SharedFunctionalGroupsSequence"))
    properties = next(
        (found[0] for group in groups if (found := items(group, "FramePixelDataPropertiesSequence"))), dataset
    )
    word = text(properties, "PixelIntensityRelationship") or text(dataset, "PixelIntensityRelationship") or "DISP"
    sign = integer(properties, "PixelIntensityRelationshipSign") or integer(dataset, "PixelIntensityRelationshipSign")
    if sign is None:
        # LIN is proportional to the X-ray intensity by its definition; what is made for a screen follows the screen.
        sign = -1 if photometric == _WHITE_AT_LEAST and word != "LIN" else 1
    try:
        return read_intensity({INTENSITY_KEYS[0]: word, INTENSITY_KEYS[1]: str(sign)})
    except GeometryError as error:
        raise _refused(f"{origin}: {error}") from None


def _padding(dataset: Dataset, stored: npt.NDArray[np.int32]) -> Mask | None:
    value, limit = integer(dataset, "PixelPaddingValue"), integer(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = (value, value if limit is None else limit)
    found: Mask = (stored >= min(ends)) & (stored <= max(ends))
    return found if found.any() else None


def _inside_shutter(dataset: Dataset, shape: tuple[int, ...]) -> Mask | None:
    """Inside every shape of the display shutter and of the collimator; edges count from 1, themselves inside."""
    valid = np.ones(shape, np.uint8)
    for word in ("Shutter", "Collimator"):
        for kind in texts(dataset, f"{word}Shape"):
            inside = _shape(dataset, word, kind, shape)
            if inside is not None and inside.any():
                valid &= inside
    return None if valid.all() else valid.astype(np.bool_)


def _shape(dataset: Dataset, word: str, kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    rows, columns = shape
    v, u = np.arange(1, rows + 1)[:, None], np.arange(1, columns + 1)[None, :]
    if kind == "RECTANGULAR":
        edges = [
            number(dataset, f"{word}{side}Edge")
            for side in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
        ]
        left, right, top, bottom = edges
        if left is None or right is None or top is None or bottom is None:
            return None
        return ((u >= left) & (u <= right) & (v >= top) & (v <= bottom)).astype(np.uint8)
    if kind == "CIRCULAR":
        centre = all_numbers(dataset, f"CenterOfCircular{word}")
        radius = number(dataset, f"RadiusOfCircular{word}")
        if centre is None or len(centre) != 2 or radius is None:
            return None
        return ((v - centre[0]) ** 2 + (u - centre[1]) ** 2 <= radius**2).astype(np.uint8)
    if kind == "POLYGONAL":
        corners = all_numbers(dataset, f"VerticesOfThePolygonal{word}")
        if corners is None or len(corners) < 6 or len(corners) % 2:
            return None
        points = np.rint(np.array(corners).reshape(-1, 2)[:, ::-1] - 1.0).astype(np.int32)
        mask: npt.NDArray[Any] = cv2.fillPoly(np.zeros(shape, np.uint8), [points], 1)
        return mask.astype(np.uint8)
    return None


def _refused(message: str, mend: str = "") -> WireError:
    return WireError(message, code="unreadable_picture", mend=mend)
