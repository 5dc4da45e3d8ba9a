"""What numbers a picture is sent in: linear, logarithmic, for the eye; 16 or 12 bits, with an overlay plane above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.errors import ConfigError

U16 = npt.NDArray[np.uint16]

Relationship = Literal["LIN", "LOG", "DISP"]
_OVERLAY_BITS: Final = 0x9000  # bits 12 and 15
_LOG_SPAN: Final = float(np.log(65536.0))
# The display curve: a window of three octaves below and one above the level, an S between.
_DISPLAY_MIDDLE, _DISPLAY_WIDTH = 0.55, 0.42


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelForm:
    """How the detector's values are told.

    Attributes:
        relationship: DICOM (0028,1040).
        sign: (0028,1041): 1: more X-ray gives higher values; -1: lower.
        bits: 16 or 12 of the 16 that are sent.
        overlay: a crosshair and a frame in bits above the 12th; needs `bits` 12.

    Raises:
        ConfigError: an overlay without room, or another number of bits.
    """

    relationship: Relationship = "LIN"
    sign: Literal[1, -1] = 1
    bits: Literal[12, 16] = 16
    overlay: bool = False

    def __post_init__(self) -> None:
        if self.bits not in (12, 16) or (self.overlay and self.bits != 12):
            raise ConfigError(f"{self.bits} bits with an overlay: {self.overlay}", code="bad_pixels", mend="12 bits")

    def told(self, values: U16) -> U16:
        """The picture as it is sent, of the detector's values (16 bits); a new array unless nothing changes."""
        pixels = values
        if self.relationship != "LIN" or self.sign < 0:
            pixels = self._table()[values]
        if self.bits == 12:
            pixels = pixels >> np.uint16(4)
        if self.overlay:
            pixels = np.where(_drawn(pixels.shape), pixels | np.uint16(_OVERLAY_BITS), pixels)
        return pixels

    def metadata(self) -> dict[str, str]:
        """What the stream says of it; of the overlay nothing, as in life."""
        return {
            "XRay.PixelIntensityRelationship": self.relationship,
            "XRay.PixelIntensityRelationshipSign": str(self.sign),
        }

    def _table(self) -> U16:
        """65536 values, one for each of the detector's."""
        share = np.arange(65536, dtype=np.float64) / 65535.0
        if self.relationship != "LIN":
            share = np.log1p(np.arange(65536, dtype=np.float64)) / _LOG_SPAN
        if self.relationship == "DISP":
            share = 0.5 + 0.5 * np.tanh((share - _DISPLAY_MIDDLE - 0.25) / (0.5 * _DISPLAY_WIDTH))
        if self.sign < 0:
            share = 1.0 - share
        table: U16 = np.rint(share * 65535.0).astype(np.uint16)
        return table


def _drawn(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    rows, columns = shape
    drawn = np.zeros((rows, columns), np.bool_)
    drawn[rows // 2, columns // 4 : 3 * columns // 4] = True
    drawn[rows // 4 : 3 * rows // 4, columns // 2] = True
    drawn[[rows // 16, -rows // 16], columns // 16 : -columns // 16] = True
    return drawn
