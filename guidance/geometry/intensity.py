"""What a picture's values mean and which of them are picture: intensity relationship, its sign, the blades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.geometry.metadata import XRayMetadata
from guidance.messages import Pixels

Intensity = Literal["LIN", "LOG", "DISP"]
Sign = Literal[1, -1]
INTENSITY_KEYS: Final = ("XRay.PixelIntensityRelationship", "XRay.PixelIntensityRelationshipSign")

_RELATIONSHIPS: Final[dict[str, Intensity]] = {"LIN": "LIN", "LOG": "LOG", "DISP": "DISP"}
_BITS: Final = (8, 10, 12, 14, 16)  # of detectors
_SIGNS: Final[dict[str, Sign]] = {"1": 1, "+1": 1, "-1": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelIntensity:
    """How values relate to what the detector got; DICOM (0028,1040) and (0028,1041).

    Attributes:
        relationship: `LIN` proportional, `LOG` to its logarithm, `DISP` processed for display.
        sign: 1: more X-ray gives higher values; -1: lower ones.
    """

    relationship: Intensity = "LIN"
    sign: Sign = 1


def read_intensity(metadata: Mapping[str, str], default: PixelIntensity = PixelIntensity()) -> PixelIntensity:
    """The two keys of contract 5.3; an empty one is a missing one.

    Raises:
        GeometryError: `bad_intensity_relationship` or `bad_intensity_sign`.
    """
    word = metadata.get(INTENSITY_KEYS[0], "").strip()
    sign = metadata.get(INTENSITY_KEYS[1], "").strip()
    if word and word not in _RELATIONSHIPS:
        raise GeometryError(
            f"{INTENSITY_KEYS[0]} is {word[:60]!r}", code="bad_intensity_relationship", mend="LIN, LOG or DISP"
        )
    if sign and sign not in _SIGNS:
        raise GeometryError(f"{INTENSITY_KEYS[1]} is {sign[:60]!r}", code="bad_intensity_sign", mend="1 or -1")
    return PixelIntensity(
        relationship=_RELATIONSHIPS[word] if word else default.relationship,
        sign=_SIGNS[sign] if sign else default.sign,
    )


def highest_number(kind: npt.DTypeLike, most: float) -> float:
    """The highest number that a picture of a whole-number type can hold, of those bits that detectors have.

    Args:
        kind: of the pixels.
        most: the highest in the picture.
    """
    limit = float(np.iinfo(np.dtype(kind)).max)
    return min([limit, *(2.0**bits - 1.0 for bits in _BITS if 2.0**bits - 1.0 >= most)])


def proportional(pixels: Pixels, intensity: PixelIntensity) -> tuple[Pixels, Sign]:
    """`LIN` numbers that fall with the X-rays (sign -1) as such that are proportional to them; others as they are.

    Returns:
        (rows, columns) of the same type where that is of whole numbers, and the sign that it has now.
    """
    if intensity.relationship != "LIN" or intensity.sign > 0 or pixels.size == 0:
        return pixels, intensity.sign
    if pixels.dtype.kind == "f":
        finite = pixels[np.isfinite(pixels)]
        return (finite.max() if finite.size else pixels.dtype.type(0)) - pixels, 1
    top = highest_number(pixels.dtype, float(pixels.max()))
    return np.subtract(pixels.dtype.type(top), pixels, dtype=pixels.dtype), 1


def collimated(xray: XRayMetadata, rows: int, columns: int) -> npt.NDArray[np.bool_] | None:
    """Where the blades leave picture.

    Args:
        xray: `collimator_px` left, top, right, bottom; the pixels there still are picture. Beside a turn or flip it is
            not said whether the blades are told before or after: then only what both readings leave counts.
        rows, columns: of the picture as sent.

    Returns:
        (rows, columns) bool; None where nothing is cut off. What would leave no picture is no word on blades.
    """
    if xray.collimator_px is None:
        return None
    left, top, right, bottom = xray.collimator_px
    v, u = np.arange(rows)[:, None], np.arange(columns)[None, :]
    valid = (u >= left) & (u <= right) & (v >= top) & (v <= bottom)
    turn = xray.fov_rotation_deg or 0
    if turn or xray.fov_flip:
        before = (columns, rows) if turn % 180 else (rows, columns)
        v, u = np.arange(before[0])[:, None], np.arange(before[1])[None, :]
        other = np.rot90((u >= left) & (u <= right) & (v >= top) & (v <= bottom), -(turn // 90))
        valid &= np.fliplr(other) if xray.fov_flip else other
    return None if valid.all() or not valid.any() else valid
