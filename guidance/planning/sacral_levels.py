"""Which part of the midsagittal plane is S1, which S2: from zones where they say so, else from the sacrum's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.messages import F64
from guidance.planning.pelvic_ring import PelvicRing
from guidance.planning.working_grid import F32, WorkingGrid

Mask = npt.NDArray[np.bool_]

# Heights of the first two sacral bodies in the midline, discs included (orders of magnitude: Gray's Anatomy).
S1_MM: Final = (0.0, 30.0)
S2_MM: Final = (30.0, 54.0)
_S2_OF_S1: Final = 0.85
_PLANE_STEP_MM: Final = 1.0
_PLANE_HALF_MM: Final = 90.0
_THICK_MM: Final = 3.0  # of the midsagittal slab
_TANGENT_MM: Final = 55.0  # of the sacral column that S1 and S2 make up
_COLUMN_MM: Final = (45.0, 150.0)  # a column of bodies that can be a sacrum's
_COLUMN_AREA_MM2: Final = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class LevelGate:
    """Where a line of a level crosses the midsagittal plane.

    Attributes:
        gate_mm: signed distance within the plane, negative where allowed; far off the plane large.
        low, high: (2,) range of u (to the back) and v (to the head) from the ring's centre.
        words: what the level rests on.
        from_zone: the zones say which level it is.
    """

    gate_mm: F32
    low: F64
    high: F64
    words: str
    from_zone: bool


class _Plane:
    """The midsagittal plane as a picture: rows v (to the head), columns u (to the back), from the ring's centre."""

    def __init__(self, ring: PelvicRing) -> None:
        self.ring = ring
        self.axis = np.arange(-_PLANE_HALF_MM, _PLANE_HALF_MM + 0.5, _PLANE_STEP_MM)

    def picture(self, share: F32) -> F32:
        """The share of a part in the slab's thinnest place."""
        u, v = np.meshgrid(self.axis, self.axis)
        flat = self.ring.center_lps_mm + u[..., None] * self.ring.back + v[..., None] * self.ring.head
        layers = []
        for t in (-_THICK_MM, 0.0, _THICK_MM):
            ijk = (flat + t * self.ring.left - np.asarray(self.ring.grid.origin_lps_mm)) / self.ring.grid.spacing_mm
            layers.append(ndimage.map_coordinates(share, ijk[..., ::-1].transpose(2, 0, 1), order=1, cval=0.0))
        return np.asarray(np.min(layers, axis=0))


def level_gate(ring: PelvicRing, grid: WorkingGrid, level: str, at_lps_mm: F64 | None = None) -> LevelGate | str:
    """Where lines of `S1` or `S2` cross the midsagittal plane.

    Args:
        grid: that the gate is wanted on.
        at_lps_mm: for bone without names: a place on the plane that is known to be in the sacrum's bodies.

    Returns:
        The gate, or in words why it cannot be told.
    """
    plane = _Plane(ring)
    named = {name: plane.picture(share) >= 0.5 for name, share in ring.levels.items()}
    bodies = _body(plane.picture(ring.sacrum) >= 0.5, plane, at_lps_mm)
    if bodies is None:
        return "the sacrum's bodies are not found in the midsagittal plane"
    allowed: Mask | str | None
    if level in named and named[level].any():
        allowed = _body(named[level], plane, None)
        words = f"level {level} from its zone"
    elif level == "S2" and "S1" in named and named["S1"].any():
        allowed = _below(bodies, named["S1"] & bodies, plane)
        words = "level S2 judged as what lies below the zone of S1"
    else:
        allowed = _from_top(bodies, plane, S1_MM if level == "S1" else S2_MM)
        words = f"level {level} judged from the sacrum's shape"
        if isinstance(allowed, str):
            return allowed
    if allowed is None or not allowed.any():
        return f"nothing of level {level} is found in the midsagittal plane"
    return _gate(allowed, plane, grid, words, level in named or "S1" in named)


def _body(mask: Mask, plane: _Plane, at_lps_mm: F64 | None) -> Mask | None:
    """The column of bodies: the part with the place, else the largest one."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    chosen = int(sizes.argmax())
    if at_lps_mm is not None:
        off = at_lps_mm - plane.ring.center_lps_mm
        column, row = (round(float(off @ axis) + _PLANE_HALF_MM) for axis in (plane.ring.back, plane.ring.head))
        if 0 <= row < len(labels) and 0 <= column < len(labels) and labels[row, column]:
            chosen = int(labels[row, column])
    return np.asarray(labels == chosen)


def _from_top(bodies: Mask, plane: _Plane, range_mm: tuple[float, float]) -> Mask | str:
    """A piece of the column by its distance from the upper end plate along the column."""
    places = _places(bodies, plane)
    if len(places) < _COLUMN_AREA_MM2:
        return "what is solid in the midsagittal plane is too small for a sacrum"
    axis = _long_axis(places)
    along = places @ axis
    length = float(np.ptp(along))
    if not _COLUMN_MM[0] <= length <= _COLUMN_MM[1]:
        return f"a column of bone of {length:.0f} mm in the midsagittal plane is no sacrum's alone"
    axis = _long_axis(places[along >= along.max() - _TANGENT_MM])
    along = places @ axis
    down = np.percentile(along, 99.0) - along
    out = np.zeros_like(bodies)
    out[bodies] = (down >= range_mm[0] - 3.0) & (down <= range_mm[1])
    return out


def _below(bodies: Mask, first: Mask, plane: _Plane) -> Mask | None:
    """What of the column follows the first body, for the height of a second one."""
    if not first.any():
        return None
    upper, all_places = _places(first, plane), _places(bodies, plane)
    rest = _places(bodies & ~first, plane)
    center = upper.mean(axis=0)
    near = rest[(np.linalg.norm(rest - center, axis=1) < 50.0) & (rest[:, 1] < center[1])]
    if len(near) == 0:
        return None
    down = near.mean(axis=0) - center
    down /= np.linalg.norm(down)
    heights = upper @ down
    low, high = np.percentile(heights, [3.0, 97.0])
    along = all_places @ down
    out = np.zeros_like(bodies)
    out[bodies] = (along > high) & (along <= high + _S2_OF_S1 * (high - low))
    return np.asarray(out & ~first)


def _places(mask: Mask, plane: _Plane) -> F64:
    """(N, 2) u, v of a picture's pixels, in the order of `mask[mask]`."""
    rows, columns = np.nonzero(mask)
    return np.stack([plane.axis[columns], plane.axis[rows]], axis=-1)


def _long_axis(places: F64) -> F64:
    """Unit vector along the longest extent, to the head."""
    _, vectors = np.linalg.eigh(np.cov(places.T))
    axis = vectors[:, -1]
    return np.asarray(axis if axis[1] > 0.0 else -axis)


def _gate(allowed: Mask, plane: _Plane, grid: WorkingGrid, words: str, from_zone: bool) -> LevelGate:
    distance = ndimage.distance_transform_edt(~allowed) - ndimage.distance_transform_edt(allowed)
    distance += np.where(allowed, 0.5, -0.5)
    gate = np.full(grid.shape_kji, 1e3, np.float32)
    off = [
        grid.origin_lps_mm[n] - plane.ring.center_lps_mm[n] + grid.spacing_mm * np.arange(grid.shape_kji[2 - n])
        for n in range(3)
    ]
    x, y, z = (along * plane.ring.left[n] for n, along in enumerate(off))
    k, j, i = np.nonzero(np.abs(z[:, None, None] + y[:, None] + x) <= 2.0 * grid.spacing_mm)
    near = np.stack([off[0][i], off[1][j], off[2][k]], axis=-1)
    rows, columns = near @ plane.ring.head + _PLANE_HALF_MM, near @ plane.ring.back + _PLANE_HALF_MM
    places_px = np.stack([rows, columns]) / _PLANE_STEP_MM
    gate[k, j, i] = ndimage.map_coordinates(distance, places_px, order=1, cval=1e3)
    places = _places(allowed, plane)
    return LevelGate(gate, places.min(axis=0) - 0.5, places.max(axis=0) + 0.5, words, from_zone)
