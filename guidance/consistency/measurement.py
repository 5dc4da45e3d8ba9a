"""What one picture says of the geometry that is told for it: a value, no judgement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from guidance.messages import Vector3

GOOD: Final = 0.55
"""Similarity from which a motion is taken for found: right ones have 0.6 and more, wrong ones up to 0.4 (0017)."""
FAIR: Final = 0.4
"""Similarity from which it may be right, with much of the picture hidden."""


Arrangement = Literal["mirrored", "upside_down", "turned_90", "turned_180", "turned_270", "transposed", "transverse"]
"""How a picture's rows and columns may be laid out other than told; turns are clockwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One frame held against the volume's projection.

    Attributes:
        picture_shows: share of where the projection predicts structure in which the picture shows some, 0 to 1.
        projection_shows: share of the picture in which the projection predicts structure, 0 to 1.
        xray_like: what the picture shows is of the kind that bones in soft tissue show, so that disagreement means
            something.
        compared: share of the picture that both were compared in, 0 to 1.
        similarity: agreement after the best motion is taken out, -1 to 1; None where there is nothing to compare.
        similarity_told: agreement as told; None where not worked out.
        offset: small motion about `pivot_lps_mm`, x_seen = motion @ x_told (shift in mm, turn in deg); this and all
            that follow are None where no motion makes them agree even fairly.
        covariance: of the offset, 36 numbers, row-major.
        pivot_lps_mm: middle of the structure.
        residual_px, residual_mm: displacement of what counts (the drawn point farthest off, or the surroundings of the
            pivot), in the picture as sent, and across the ray at its depth.
        sigma_mm: standard deviation of `residual_mm`.
        shift_mm: displacement of the pivot along the picture's u and v at its depth, for following it over time.
        magnified: how much larger it is seen than told, and the standard deviation of that.
        arranged: another arrangement of rows and columns agrees better by far; None: none does.
        scaled: another magnification (seen over told) agrees better by far; None: none does.
    """

    picture_shows: float
    projection_shows: float
    xray_like: bool
    compared: float = 1.0
    similarity: float | None = None
    similarity_told: float | None = None
    offset: tuple[float, ...] | None = None
    covariance: tuple[float, ...] | None = None
    pivot_lps_mm: Vector3 = (0.0, 0.0, 0.0)
    residual_px: float | None = None
    residual_mm: float | None = None
    sigma_mm: float | None = None
    shift_mm: tuple[float, float] | None = None
    magnified: tuple[float, float] | None = None
    arranged: Arrangement | None = None
    scaled: float | None = None
