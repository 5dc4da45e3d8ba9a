"""Recommended Display CIELab Value -> `#rrggbb`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

# The standard's profile connection space is under D50, but dcmtk, highdicom and 3D Slicer write and read D65, the white
# of sRGB: a colour comes back as its maker showed it (3D Slicer's 128, 174, 128 from dcmqi's test objects).
_WHITE_D65: Final = np.array([0.950456, 1.0, 1.088754])
_RGB_FROM_XYZ: Final = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)
_KNEE: Final = 6.0 / 29.0


def hex_of_cielab(values: Sequence[int]) -> str:
    """`#rrggbb` of three unsigned 16-bit values; what sRGB cannot show is clipped.

    Source: DICOM PS3.3 C.10.7.1.1 (L* 0 to 100, a* and b* -128 to 127, each over 0 to 65535).
    """
    lightness = values[0] * 100.0 / 65535.0
    a, b = (value * 255.0 / 65535.0 - 128.0 for value in values[1:3])
    middle = (lightness + 16.0) / 116.0
    bent = np.array([middle + a / 500.0, middle, middle - b / 200.0])
    straight = np.where(bent > _KNEE, bent**3, 3 * _KNEE**2 * (bent - 4.0 / 29.0))
    linear = np.clip(_RGB_FROM_XYZ @ (straight * _WHITE_D65), 0.0, 1.0)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(value) * 255.0) for value in shown)
    return f"#{red:02x}{green:02x}{blue:02x}"
