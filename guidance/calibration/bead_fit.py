"""One bead's shadow fitted to pixels: centre, radius, depth, and how well the centre is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64

F32 = npt.NDArray[np.float32]

_REACH: Final = 1.25  # of the window, in radii: what holds the beads is near them
_ROUNDS: Final = 14
_STILL_PX: Final = 2e-4
_OPACITY: Final = (0.05, 15.0)
_KEEP_CLEAR: Final = 1.15  # radii around another shadow that are left out
_FEWEST_PIXELS: Final = 30
_OF_GROUND: Final = [0, 1, 2, 8, 9, 10]
_OF_BEAD: Final = [3, 4, 5, 6, 7]
_EDGE_PX: Final = 0.4  # softness of the edge: a pixel's width and the screen's blur


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowFit:
    """A bead's shadow: centre and radius in px, darkest depth, rms residual, standard deviation of u and v in px."""

    u: float
    v: float
    radius_px: float
    contrast: float
    residual: float
    sigma_px: float


def fit_shadow(
    shadow: F32,
    u: float,
    v: float,
    radius_px: float,
    others: Sequence[tuple[float, float, float]] = (),
    *,
    share: bool = True,
) -> ShadowFit | None:
    """Fit a ball's shadow on sloping, bent ground, by Levenberg-Marquardt.

    Depth at rho from the centre is A (1 - exp(-k c(rho / R))), c the chord of a unit ball with its edge softened by a
    pixel: from the chord itself (k small) to a flat disc (k large), as attenuation and the detector's range make it.

    Args:
        shadow: (rows, columns) float32.
        u, v, radius_px: where to begin.
        others: u, v, radius of shadows whose pixels are left out.
        share: the picture is a share taken away, so a bead takes its share of what the ground leaves; else both add.

    Returns:
        None where no shadow of that kind is there.
    """
    reach = math.ceil(_REACH * radius_px + 2.0)
    rows, columns = shadow.shape
    left, top = max(round(u) - reach, 0), max(round(v) - reach, 0)
    right, bottom = min(round(u) + reach + 1, columns), min(round(v) + reach + 1, rows)
    if right - left < 5 or bottom - top < 5:
        return None
    grid_v, grid_u = np.mgrid[top:bottom, left:right].astype(np.float64)
    take = (grid_u - u) ** 2 + (grid_v - v) ** 2 <= (reach + 0.5) ** 2
    for other_u, other_v, other_radius in others:
        take &= (grid_u - other_u) ** 2 + (grid_v - other_v) ** 2 > (_KEEP_CLEAR * other_radius + 2.0) ** 2
    if int(take.sum()) < _FEWEST_PIXELS:
        return None
    x, y, values = grid_u[take] - u, grid_v[take] - v, shadow[top:bottom, left:right][take].astype(np.float64)
    away = np.hypot(x, y)
    rim = values[away > 1.15 * radius_px]
    ground = float(np.median(rim)) if len(rim) else 0.0
    core = values[away < 0.5 * radius_px]
    depth = (float(np.median(core)) if len(core) else float(values.max())) - ground
    state = np.array((ground, 0.0, 0.0, max(depth, 1e-3), 0.0, 0.0, radius_px, 1.5, 0.0, 0.0, 0.0))
    return _descended(state, x, y, values, (u, v, radius_px), share)


def _descended(
    state: F64, x: F64, y: F64, values: F64, start: tuple[float, float, float], share: bool
) -> ShadowFit | None:
    u, v, start_radius_px = start
    model, slopes = _model(state, x, y, share)
    residual = values - model
    cost, damping = float(residual @ residual), 1e-3
    for _ in range(_ROUNDS):
        normal, gradient = slopes.T @ slopes, slopes.T @ residual
        step = np.linalg.solve(normal + np.diag(damping * np.diag(normal) + 1e-12), gradient)
        trial = state + step
        trial[7] = min(max(trial[7], _OPACITY[0]), _OPACITY[1])
        if not 0.3 * start_radius_px < trial[6] < 3.0 * start_radius_px or math.hypot(*trial[4:6]) > start_radius_px:
            return None
        trial_model, trial_slopes = _model(trial, x, y, share)
        trial_residual = values - trial_model
        trial_cost = float(trial_residual @ trial_residual)
        if trial_cost < cost:
            moved = math.hypot(step[4], step[5])
            state, slopes, residual, cost, damping = trial, trial_slopes, trial_residual, trial_cost, damping * 0.2
            if moved < _STILL_PX:
                break
        else:
            damping *= 8.0
            if damping > 1e6:
                break
    variance = cost / max(len(values) - len(state), 1)
    normal = slopes.T @ slopes
    covariance = np.linalg.pinv(normal) * variance
    depth = float(state[3] * -np.expm1(-state[7]))
    return ShadowFit(
        u=u + float(state[4]),
        v=v + float(state[5]),
        radius_px=float(state[6]),
        contrast=depth,
        residual=math.sqrt(variance),
        sigma_px=max(math.sqrt(max(float(covariance[4, 4] + covariance[5, 5]) / 2.0, 0.0)), 1e-3),
    )


def _model(state: F64, x: F64, y: F64, share: bool) -> tuple[F64, F64]:
    """Depth at each pixel and its derivatives, (n,) and (n, 11)."""
    ground, slope_u, slope_v, depth, centre_u, centre_v, radius, opacity, bend_u, bend_v, twist = state.tolist()
    dx, dy = x - centre_u, y - centre_v
    room = 1.0 - (dx * dx + dy * dy) / (radius * radius)
    soft = _EDGE_PX / radius
    scaled = np.clip(room / soft, -60.0, 60.0)
    softened = soft * np.logaddexp(0.0, scaled)
    rising = 1.0 / (1.0 + np.exp(-scaled))
    chord = np.sqrt(softened)
    through = np.exp(-opacity * chord)
    taken = 1.0 - through
    along_room = depth * through * opacity * rising / (2.0 * np.maximum(chord, 1e-9))
    slopes = np.empty((len(x), 11))
    slopes[:, 0], slopes[:, 1], slopes[:, 2], slopes[:, 3] = 1.0, x, y, taken
    slopes[:, 4] = along_room * 2.0 * dx / radius**2
    slopes[:, 5] = along_room * 2.0 * dy / radius**2
    slopes[:, 6] = along_room * 2.0 * (1.0 - room) / radius
    slopes[:, 7] = depth * chord * through
    slopes[:, 8], slopes[:, 9], slopes[:, 10] = x * x, y * y, x * y
    there = ground + slope_u * x + slope_v * y + bend_u * slopes[:, 8] + bend_v * slopes[:, 9] + twist * x * y
    if not share:
        return there + depth * taken, slopes
    slopes[:, _OF_GROUND] *= (1.0 - depth * taken)[:, None]
    slopes[:, _OF_BEAD] *= (1.0 - there)[:, None]
    return there + (1.0 - there) * depth * taken, slopes
