"""Cement in 3D fitted to its thickness along the rays of several views: native, no GIL while it works."""

from __future__ import annotations

from collections.abc import Sequence

from guidance.kernels import cement_body_reference
from guidance.kernels.cement_body_reference import BodyFit, RayView
from guidance.messages import F32, F64, U8

__all__ = ["BodyFit", "RayView", "fit_body"]


def fit_body(
    prior: F32,
    counted: U8,
    first_lps_mm: F64,
    spacing_mm: float,
    views: Sequence[RayView],
    *,
    rounds: int = 4,
    sharpenings: int = 2,
) -> BodyFit:
    return cement_body_reference.fit_body(
        prior, counted, first_lps_mm, spacing_mm, views, rounds=rounds, sharpenings=sharpenings
    )
