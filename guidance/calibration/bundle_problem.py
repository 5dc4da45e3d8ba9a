"""The adjustment's residuals, normal equations and steps: views eliminated by their own blocks (Schur complement)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.calibration.phantom import Indices
from guidance.calibration.view_camera import NUMBERS, ViewCamera, huber_weights, shadows_of, slopes_of
from guidance.messages import F64

_ROUNDS: Final = 30
_STILL: Final = 1e-7  # relative fall of the cost
_FOCAL: Final = 8
# A wild first step must not turn a camera round: rad, mm, px and logarithm of the focal length.
_LARGEST_STEP: Final = np.array((0.2, 0.2, 0.2, 100.0, 100.0, 100.0, 300.0, 300.0, 0.2))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledView:
    """What the adjustment takes of one view.

    Attributes:
        camera: where to begin.
        beads: (M,) indices of the beads seen.
        places_px: (M, 2) of their shadows.
        sigma_px: (M,) each, up to a common factor.
        focal_group: views of one number share a focal length where that is asked for.
    """

    camera: ViewCamera
    beads: Indices
    places_px: F64
    sigma_px: F64
    focal_group: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    cameras: tuple[ViewCamera, ...]
    points_mm: F64


class Problem:
    """Residuals and normal equations; unknowns: each view's own numbers, then what is common (beads, focal lengths)."""

    def __init__(
        self,
        views: Sequence[LabelledView],
        points_mm: F64,
        radii_mm: F64,
        tolerance_mm: float,
        share_focal: bool,
    ) -> None:
        self.views = views
        self.told_mm = points_mm
        self.radii_mm = radii_mm
        self.tolerance_mm = tolerance_mm
        self.own = [n for n in range(NUMBERS) if not (share_focal and n == _FOCAL)]
        groups = sorted({view.focal_group for view in views}) if share_focal else []
        self.focal_column = {group: 3 * len(points_mm) + n for n, group in enumerate(groups)}
        self.common = 3 * len(points_mm) + len(groups)

    def residuals(self, state: State) -> list[F64]:
        return [
            view.places_px - shadows_of(camera, state.points_mm[view.beads], self.radii_mm[view.beads])
            for view, camera in zip(self.views, state.cameras, strict=True)
        ]

    def sigma_unit(self, state: State) -> float:
        """Spread of the residuals over their sigmas, by the median of squares (two numbers each: chi-squared of 2)."""
        squares = np.concatenate(
            [
                np.einsum("ni,ni->n", residual, residual) / view.sigma_px**2
                for residual, view in zip(self.residuals(state), self.views, strict=True)
            ]
        )
        measured = 2.0 * len(squares)
        # Beads moved by the pictures take as much freedom as the pictures, not the tolerance, hold them.
        unknowns = len(self.own) * len(self.views) + self.common * _moved_share(state, self.told_mm, self.tolerance_mm)
        freedom = max(measured - unknowns, 0.1 * measured)
        return max(float(np.sqrt(np.median(squares) / (2.0 * np.log(2.0)) * measured / freedom)), 0.05)

    def cost(self, state: State, unit: float) -> float:
        total = float(((state.points_mm - self.told_mm) ** 2).sum()) / self.tolerance_mm**2
        for view, residual in zip(self.views, self.residuals(state), strict=True):
            size = np.linalg.norm(residual, axis=1) / (unit * view.sigma_px)
            if not np.isfinite(size).all():
                return np.inf
            weight = huber_weights(residual, unit * view.sigma_px)
            # Huber's loss is size^2 within, and 2 k size - k^2 = size^2 w (2 - w) outside, w = k / size.
            total += float((size * size * weight * (2.0 - weight)).sum())
        return total

    def blocks(self, state: State, unit: float) -> tuple[list[F64], list[F64], F64, list[F64], F64]:
        """Normal equations: per view own-own and own-common, common-common; per view and common right sides."""
        own_own, own_common, own_right = [], [], []
        common_common = np.zeros((self.common, self.common))
        points = 3 * len(self.told_mm)
        diagonal = np.arange(points)
        common_common[diagonal, diagonal] = 1.0 / self.tolerance_mm**2
        common_right = np.zeros(self.common)
        common_right[:points] = ((self.told_mm - state.points_mm) / self.tolerance_mm**2).ravel()
        for view, camera in zip(self.views, state.cameras, strict=True):
            seen = state.points_mm[view.beads]
            residual = view.places_px - shadows_of(camera, seen, self.radii_mm[view.beads])
            by_camera, by_point = slopes_of(camera, seen)
            sigma = unit * view.sigma_px
            weight = huber_weights(residual, sigma) / sigma**2
            root = np.sqrt(weight)[:, None, None]
            mine, point = by_camera[:, :, self.own] * root, by_point * root
            right = residual * root[:, :, 0]
            own_own.append(np.einsum("nij,nik->jk", mine, mine))
            own_right.append(np.einsum("nij,ni->j", mine, right))
            index = 3 * view.beads[:, None] + np.arange(3)
            cross = np.zeros((len(self.own), self.common))
            cross[:, index] = np.einsum("nij,nik->jnk", mine, point)
            common_common[index[:, :, None], index[:, None, :]] += np.einsum("nij,nik->njk", point, point)
            common_right[index] += np.einsum("nij,ni->nj", point, right)
            if self.focal_column:
                column, focal = self.focal_column[view.focal_group], by_camera[:, :, _FOCAL] * root[:, :, 0]
                cross[:, column] = np.einsum("nij,ni->j", mine, focal)
                beside = np.einsum("nij,ni->nj", point, focal)
                common_common[index, column] += beside
                common_common[column, index] += beside
                common_common[column, column] += float(np.vdot(focal, focal))
                common_right[column] += float(np.vdot(focal, right))
            own_common.append(cross)
        return own_own, own_common, common_common, own_right, common_right

    def descended(self, state: State, unit: float) -> tuple[State, int]:
        cost, damping = self.cost(state, unit), 1e-5
        for done in range(1, _ROUNDS + 1):
            own_own, own_common, common_common, own_right, common_right = self.blocks(state, unit)
            while damping < 1e8:
                trial = self._stepped(
                    state,
                    [block + damping * np.diag(np.diag(block)) for block in own_own],
                    own_common,
                    common_common + damping * np.diag(np.diag(common_common)),
                    own_right,
                    common_right,
                )
                trial_cost = self.cost(trial, unit)
                if trial_cost <= cost:
                    break
                damping *= 10.0
            else:
                return state, done
            fall = cost - trial_cost
            state, cost, damping = trial, trial_cost, damping * 0.1
            if fall <= _STILL * cost:
                return state, done
        return state, _ROUNDS

    def _stepped(
        self,
        state: State,
        own_own: list[F64],
        own_common: list[F64],
        common_common: F64,
        own_right: list[F64],
        common_right: F64,
    ) -> State:
        schur, right = common_common.copy(), common_right.copy()
        solved = []
        for block, cross, mine in zip(own_own, own_common, own_right, strict=True):
            both = _solve(block, np.column_stack((cross, mine)))
            solved.append(both)
            schur -= cross.T @ both[:, :-1]
            right -= cross.T @ both[:, -1]
        common = _solve(schur, right[:, None])[:, 0]
        cameras = []
        for view, camera, both in zip(self.views, state.cameras, solved, strict=True):
            step = np.zeros(NUMBERS)
            step[self.own] = both[:, -1] - both[:, :-1] @ common
            if self.focal_column:
                step[_FOCAL] = common[self.focal_column[view.focal_group]]
            cameras.append(camera.moved(np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)))
        points = 3 * len(self.told_mm)
        return State(tuple(cameras), state.points_mm + common[:points].reshape(-1, 3))

    def covariances(self, state: State, unit: float) -> tuple[F64, ...]:
        """Each view's marginal covariance: its own block's inverse, and what the common unknowns' doubt adds."""
        own_own, own_common, common_common, _, _ = self.blocks(state, unit)
        schur = common_common.copy()
        gains = []
        for block, cross in zip(own_own, own_common, strict=True):
            gain = _solve(block, cross)
            gains.append(gain)
            schur -= cross.T @ gain
        common = np.linalg.inv(schur)
        covariances = []
        for view, block, gain in zip(self.views, own_own, gains, strict=True):
            own = _solve(block, np.eye(len(block))) + gain @ common @ gain.T
            if self.focal_column:
                column = self.focal_column[view.focal_group]
                spread = np.zeros((NUMBERS, len(self.own) + 1))
                spread[self.own, : len(self.own)] = np.eye(len(self.own))
                spread[_FOCAL, -1] = 1.0
                beside = -gain @ common[:, column]
                own = np.block([[own, beside[:, None]], [beside[None, :], common[column, column]]])
                own = spread @ own @ spread.T
            covariances.append((own + own.T) / 2.0)
        return tuple(covariances)


def _solve(matrix: F64, right: F64) -> F64:
    """Solved with rows and columns scaled: rad, mm and px side by side would cost digits."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    solved: F64 = np.linalg.solve(matrix * scale[:, None] * scale, right * scale[:, None]) * scale[:, None]
    return solved


def _moved_share(state: State, told_mm: F64, tolerance_mm: float) -> float:
    """How much of the beads' freedom was used: 0 where they stay, 1 where they moved by their tolerance."""
    moved = float(np.sqrt(np.mean((state.points_mm - told_mm) ** 2))) / tolerance_mm
    return min(moved * moved, 1.0)
