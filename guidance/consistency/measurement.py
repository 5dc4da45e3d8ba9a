"""What one picture says of the geometry that is told for it: a value, no judgement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from guidance.messages import Vector3

Arrangement = Literal["mirrored", "upside_down", "turned_90", "turned_180", "turned_270", "transposed", "transverse"]
"""How a picture's rows and columns may be laid out other than told; turns are clockwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One frame held against the volume's projection.

    Attributes:
        picture_shows: share of the picture, where the projection predicts structure, that shows some, 0 to 1.
        projection_shows: share of the picture in which the projection predicts structure, 0 to 1.
        xray_like: the picture's structure is of the kind that the projection predicts, in scale and in distribution,
            so that disagreement means something.
        similarity: agreement after the offset is taken out, -1 to 1; None where there is nothing to compare.
        similarity_told: agreement at the told pose.
        offset: small motion about `pivot_lps_mm`, x_seen = motion @ x_told (shift in mm, turn in deg); None where
            nothing was found.
        covariance: of the offset, 36 numbers; out-of-plane shift is wide.
        pivot_lps_mm: middle of the structure.
        residual_px, residual_mm: root mean square displacement of the points that count, in the picture as sent, and
            at their depth; None where nothing was found.
        sigma_mm: standard deviation of `residual_mm`.
        shift_mm: displacement of the pivot along the picture's u and v at its depth, for following it over time.
        arranged: another arrangement of rows and columns that agrees better by far; None: as told.
        scaled: another magnification (seen / told) that agrees better by far; None: as told.
        volume: identity of the volume that it was held against.
    """

    picture_shows: float
    projection_shows: float
    xray_like: bool
    similarity: float | None = None
    similarity_told: float | None = None
    offset: tuple[float, ...] | None = None
    covariance: tuple[float, ...] | None = None
    pivot_lps_mm: Vector3 = (0.0, 0.0, 0.0)
    residual_px: float | None = None
    residual_mm: float | None = None
    sigma_mm: float | None = None
    shift_mm: tuple[float, float] | None = None
    arranged: Arrangement | None = None
    scaled: float | None = None
    volume: int = 0
