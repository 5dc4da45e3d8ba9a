"""How well a frame's geometry is known: nine small numbers with their covariance, or the word that it is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guidance.messages import F64, Vector3

NUMBERS: Final = 9
"""Shift x, y, z in mm; turns about x, y, z in deg; principal point u, v in px; focal length, relative."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseUncertainty:
    """What may be wrong with one frame's `pixel_from_patient`, to first order.

    Attributes:
        covariance: (9, 9) of what the truth is beside what is told: a small motion of the volume's points before the
            matrix (shift x, y, z in mm, turns about x, y, z in deg about the pivot, patient LPS), then of the picture:
            principal point u, v in px, focal length relative to itself. Positive semidefinite, read-only.
        pivot_lps_mm: where the turns turn about.
    """

    covariance: F64
    pivot_lps_mm: Vector3


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyUnknown:
    """Nothing can be said of how far off a frame may be; which is not the same as nothing.

    Attributes:
        reason: words for the operator.
    """

    reason: str


FrameUncertainty = PoseUncertainty | UncertaintyUnknown
