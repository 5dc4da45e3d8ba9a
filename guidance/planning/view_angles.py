"""Directions as DICOM positioner angles, rounded and normalised, and in the words of the suite."""

from __future__ import annotations

from typing import Final

from guidance.geometry.positioner import angles_of_direction
from guidance.messages import F64

_DIGITS: Final = 3  # 0.001 deg moves a point 200 mm from the isocentre by 0.01 px
_POLE_DEG: Final = 89.9995  # what rounds to 90: the ray along the body has no primary angle


def positioner_angles(toward_detector: F64) -> tuple[float, float]:
    """(primary, secondary) of a (3,) direction from isocentre to detector.

    Returns:
        primary in (-180, 180], secondary in [-90, 90], rounded to 0.001 deg; primary 0 along the body's axis,
        where it has none.
    """
    primary, secondary = angles_of_direction(toward_detector)
    if abs(secondary) >= _POLE_DEG:
        return 0.0, 90.0 if secondary > 0.0 else -90.0
    rounded = round(primary, _DIGITS)
    # + 0.0 turns a negative zero into zero
    return (180.0 if rounded == -180.0 else rounded + 0.0), round(secondary, _DIGITS) + 0.0


def angle_words(primary_deg: float, secondary_deg: float) -> str:
    """`LAO 20 CRAN 5`, as the suite's display writes positioner angles."""
    side = "RAO" if round(primary_deg) < 0 else "LAO"
    tilt = "CAUD" if round(secondary_deg) < 0 else "CRAN"
    return f"{side} {abs(round(primary_deg))} {tilt} {abs(round(secondary_deg))}"
