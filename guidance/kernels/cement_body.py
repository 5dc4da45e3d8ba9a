"""Cement in 3D fitted to its thickness along the rays of several views: native, no GIL while it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from guidance.kernels import _core, cement_body_reference
from guidance.kernels.cement_body_reference import BodyFit, RayView
from guidance.messages import F32, F64, U8

__all__ = ["BodyFit", "BodyFitter", "RayView"]


class BodyFitter:
    """Fits bodies, one at a time; keeps its working memory from call to call.

    Args:
        backend: "reference" is the specification, "native" the C++ that must agree to 1e-3 of a voxel's share.
    """

    def __init__(self, *, backend: Literal["native", "reference"] = "native") -> None:
        self._native = _core.CementBody() if backend == "native" else None

    def fit(
        self,
        prior: F32,
        counted: U8,
        first_lps_mm: F64,
        spacing_mm: float,
        views: Sequence[RayView],
        *,
        rounds: int = 3,
        sharpenings: int = 2,
    ) -> BodyFit:
        """Find the shares of voxels whose sums along the rays are the thickness seen.

        Each round goes through the views in order (the surest last) and multiplies every voxel by what its rays
        lack, from the prior on: of all bodies that agree with the views the one most like the prior. Between rounds
        shares are smoothed (1 2 1 along each axis) and made steeper: cement fills its place or is not there.

        Args:
            prior: `[k, j, i]` float32, how likely cement is; 0: never.
            counted: `[k, j, i]` uint8: 0 where cement is not part of the volumes (a cannula's lumen).
            first_lps_mm: (3,) float64 of the first voxel's centre.
            spacing_mm: edge of a voxel, along LPS.
            views: one or more.
            rounds: before the first sharpening; two after each.

        Raises:
            TypeError: wrong dtype, shape or memory order.
            ValueError: arrays of different shapes, a matrix that is singular or not finite.

        Source: multiplicative algebraic reconstruction (Gordon, Bender & Herman, J. Theor. Biol. 29, 1970); its limit
            has the greatest entropy against the prior (Lent, 1977); the steps to shares of 0 or 1 after discrete
            tomography (Batenburg & Sijbers, IEEE Trans. Image Process. 20, 2011).
        """
        if self._native is None:
            return cement_body_reference.fit_body(
                prior, counted, first_lps_mm, spacing_mm, views, rounds=rounds, sharpenings=sharpenings
            )
        share, possible = np.empty(prior.shape, np.float32), np.empty(prior.shape, np.uint8)
        volumes = np.empty(len(views), np.float64)
        told = [
            (
                np.ascontiguousarray(view.bin_from_patient, np.float64),
                view.thickness_mm,
                view.valid,
                view.reach,
                view.beyond,
                view.lower,
            )
            for view in views
        ]
        self._native.fit(prior, counted, first_lps_mm, spacing_mm, told, rounds, sharpenings, share, possible, volumes)
        return BodyFit(share, possible, volumes)
