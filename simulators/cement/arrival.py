"""When a front arrives: the eikonal equation on a regular grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from guidance.messages import F32

Cells = npt.NDArray[np.int64]
_SETTLED = 1e-4  # of one cell's crossing: changes below it are not passed on


def arrival(
    speed: F32, spacing_mm: float, starts: npt.NDArray[np.bool_], known: F32 | None = None, limit: float = np.inf
) -> F32:
    """Least time to every cell from the starts.

    Args:
        speed: `[k, j, i]` mm per unit of time; 0: nothing passes.
        spacing_mm: edge of a cell.
        starts: where the time is `known`.
        known: times at the starts; None: 0 there.
        limit: times above it are not looked for.

    Returns:
        `[k, j, i]` float32, inf where nothing arrives.

    Source: Jeong & Whitaker, A fast iterative method for eikonal equations, SIAM J. Sci. Comput. 30(5), 2008; first
    order (Godunov).
    """
    shape = tuple(n + 2 for n in speed.shape)
    inner = (slice(1, -1),) * 3
    slow = np.full(shape, np.inf, np.float32)
    with np.errstate(divide="ignore"):
        slow[inner] = np.where(speed > 0.0, np.float32(spacing_mm) / np.maximum(speed, 1e-12), np.inf)
    times = np.full(shape, np.inf, np.float32)
    times[inner][starts] = 0.0 if known is None else known[starts]
    fixed = np.zeros(shape, np.bool_)
    fixed[inner] = starts
    flat, cost, held = times.ravel(), slow.ravel(), fixed.ravel()
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    listed = np.zeros(flat.size, np.bool_)
    stamp = np.zeros(flat.size, np.int64)

    def open_neighbours(cells: Cells) -> Cells:
        around = np.concatenate([cells + sign * step for step in steps for sign in (-1, 1)])
        around = around[np.isfinite(cost[around]) & ~held[around] & ~listed[around]]
        # Each once: of several the last to write its number is kept, which is quicker than sorting.
        numbers = np.arange(around.size)
        stamp[around] = numbers
        once: Cells = around[stamp[around] == numbers]
        return once

    active = open_neighbours(np.flatnonzero(held & np.isfinite(flat)))
    while active.size:
        listed[active] = True
        old = flat[active]
        new = _godunov(flat, cost, active, steps)
        flat[active] = np.minimum(old, new)
        with np.errstate(invalid="ignore"):
            settled = ~(old - new > _SETTLED * cost[active])
        done = active[settled]
        listed[done] = False
        candidates = open_neighbours(done[flat[done] <= limit])
        if candidates.size:
            better = _godunov(flat, cost, candidates, steps)
            with np.errstate(invalid="ignore"):
                sooner = flat[candidates] - better > _SETTLED * cost[candidates]
            candidates = candidates[sooner]
            flat[candidates] = better[sooner]
        active = np.concatenate([active[~settled], candidates])
    answer = times[inner].copy()
    answer[answer > limit] = np.inf
    return answer


def _godunov(flat: F32, cost: F32, cells: Cells, steps: Cells) -> F32:
    """The upwind solution of |grad t| = cost / spacing at each cell."""
    sides = np.stack([np.minimum(flat[cells - step], flat[cells + step]) for step in steps])
    sides.sort(axis=0)
    a, b, c = sides
    f = cost[cells]
    with np.errstate(invalid="ignore"):
        time = a + f
        two = np.maximum(2.0 * f * f - (a - b) ** 2, 0.0)
        time = np.where(time > b, 0.5 * (a + b + np.sqrt(two)), time)
        mean = a + b + c
        three = np.maximum(mean * mean - 3.0 * (a * a + b * b + c * c - f * f), 0.0)
        time = np.where(time > c, (mean + np.sqrt(three)) / 3.0, time)
    result: F32 = time.astype(np.float32)
    return result
