"""What grows and moves in the patient, on a picture: cement, the cannula and what is in it, a balloon."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import ConfigError
from guidance.kernels.drr import EXCESS_OVER_ZERO, ProjectionVolume, cone_projection
from guidance.messages import F32, F64
from simulators.cement.base import CM_PER_MM, Layers, Region, region_of
from simulators.cement.grown import Balloon, GrownCement
from simulators.instruments import Cylinder
from simulators.xray import density_g_cm3

# Composition of what flows, by words that occur in the names of brands.
_MATERIALS: Final = {"baso4_10": "cement_baso4_10", "baso4_30": "cement_baso4_30", "zro2_45": "cement_zro2_45"}
_KEPT_CHORDS: Final = 8


def cement_material(brand: str) -> str:
    """The X-ray table's name of what a brand is made of; ConfigError if nobody knows."""
    for word, material in _MATERIALS.items():
        if word in brand:
            return material
    raise ConfigError(
        f"what the cement {brand!r} is made of is not known",
        code="unknown_brand",
        mend=f"a name with one of {', '.join(_MATERIALS)} in it",
    )


class CementShadows:
    """Puts what has grown by a time into a picture's rays.

    Args:
        grown: the course of the injection.
    """

    def __init__(self, grown: GrownCement) -> None:
        self._grown = grown
        self.material = cement_material(grown.brand)
        self._chords: dict[tuple[Cylinder, bytes], tuple[Region, F32] | None] = {}

    def add(self, layers: Layers, matrix: F64, t_s: float) -> F32:
        """Add all of it.

        Returns:
            (rows, columns) float32: cement in mm along each ray, without that in the cannula.
        """
        thickness = np.zeros(layers.size, np.float32)
        if (found := self._cement(matrix, layers.size, t_s)) is not None:
            region, cement_mm = found
            thickness[region] = cement_mm
            layers.add(region, self.material, cement_mm * self._per_mm(self.material), displaces=True)
        cannula = self._grown.cannula.cylinder_at(t_s)
        self._add_cylinder(layers, matrix, cannula, cannula.material)
        if (column := self._in_the_bore(cannula, t_s)) is not None:
            self._add_cylinder(layers, matrix, column, self.material)
        if self._grown.balloon is not None:
            self._add_balloon(layers, matrix, self._grown.balloon, t_s)
        return thickness

    def _cement(self, matrix: F64, size: tuple[int, int], t_s: float) -> tuple[Region, F32] | None:
        if t_s <= 0.0:
            return None
        share = self._grown.share_at(t_s)
        box = _box(share)
        if box is None:
            return None
        part = np.ascontiguousarray(share[box])
        affine = self._grown.affine_lps_from_ijk.copy()
        affine[:3, 3] += affine[:3, :3] @ [box[2].start, box[1].start, box[0].start]
        corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        corners[:, :3] = corners[:, :3] * (np.array(part.shape[::-1]) + 1.0) - 1.0
        region = region_of(corners @ affine[:3].T, matrix, size)
        if region is None:
            return None
        rows, columns = region
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        volume = ProjectionVolume(part, affine, air=0)
        origin = (float(columns.start), float(rows.start))
        return region, cone_projection(volume, matrix, shape, EXCESS_OVER_ZERO, origin_px=origin)[0]

    def _in_the_bore(self, cannula: Cylinder, t_s: float) -> Cylinder | None:
        """Cement that stands in the cannula, from the hub."""
        filled = self._grown.lumen_filled(t_s) if t_s > 0.0 else float(self._grown.injection.dead_ml <= 0.0)
        if cannula.bore_mm <= 0.0 or filled <= 0.0:
            return None
        x, y, z = (float(value) for value in cannula.start_lps_mm + filled * cannula.axis_mm())
        return replace(cannula, end_lps_mm=(x, y, z), diameter_mm=cannula.bore_mm, bore_mm=0.0, material=self.material)

    def _add_cylinder(self, layers: Layers, matrix: F64, cylinder: Cylinder, material: str) -> None:
        key = (cylinder, matrix.tobytes())
        if key not in self._chords:
            while len(self._chords) >= _KEPT_CHORDS:
                del self._chords[next(iter(self._chords))]
            self._chords[key] = chords(cylinder, matrix, layers.size)
        if (found := self._chords[key]) is not None:
            layers.add(found[0], material, found[1] * self._per_mm(material), displaces=True)

    def _add_balloon(self, layers: Layers, matrix: F64, balloon: Balloon, t_s: float) -> None:
        radius = balloon.radius_at(t_s)
        center = np.asarray(balloon.center_lps_mm)
        corners = center + radius * np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
        region = region_of(corners, matrix, layers.size) if radius > 0.0 else None
        if region is None:
            return
        rows, columns = region
        u, v = np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop))
        source, rays = _rays(matrix, u, v)
        nearest = np.cross(rays, center - source)
        room = np.maximum(radius**2 - np.einsum("...c,...c->...", nearest, nearest), 0.0)
        chord = (2.0 * np.sqrt(room)).astype(np.float32)
        layers.add(region, "contrast_medium", chord * self._per_mm("contrast_medium"), displaces=True)

    def _per_mm(self, material: str) -> np.float32:
        return np.float32(density_g_cm3(material) * CM_PER_MM)


def _box(share: F32) -> tuple[slice, slice, slice] | None:
    slices = []
    for axis in range(3):
        where = np.flatnonzero(share.any(axis=tuple(n for n in range(3) if n != axis)))
        if where.size == 0:
            return None
        slices.append(slice(int(where[0]), int(where[-1]) + 1))
    return slices[0], slices[1], slices[2]


def chords(cylinder: Cylinder, matrix: F64, size: tuple[int, int]) -> tuple[Region, F32] | None:
    """Length of an instrument's material along the rays, worked out only near its axis.

    Args:
        matrix: (3, 4) pixel_from_patient.
        size: (rows, columns) of the picture.

    Returns:
        The region of the picture that the instrument is in, and (rows, columns) float32 mm of it; None: nowhere.
    """
    region = region_of(cylinder.corners_lps_mm(), matrix, size)
    if region is None:
        return None
    rows, columns = region
    ends = np.array([[*cylinder.start_lps_mm, 1.0], [*cylinder.end_lps_mm, 1.0]]) @ matrix.T
    (start, end), depth = ends[:, :2] / ends[:, 2:], float(ends[:, 2].min())
    reach_px = 0.5 * cylinder.diameter_mm * float(np.linalg.norm(matrix[0, :3])) / depth + 2.0
    v, u = np.nonzero(_near_line(start, end, region, reach_px))
    found = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    source, rays = _rays(matrix, u + columns.start, v + rows.start)
    found[v, u] = cylinder.chord_mm(source, rays)
    return region, found


def _near_line(start: F64, end: F64, region: Region, reach_px: float) -> npt.NDArray[np.bool_]:
    """Which pixels of a region are near a straight line between two pixels."""
    v = np.arange(region[0].start, region[0].stop, dtype=np.float32)[:, None] - np.float32(start[1])
    u = np.arange(region[1].start, region[1].stop, dtype=np.float32)[None, :] - np.float32(start[0])
    axis = (end - start).astype(np.float32)
    length = max(float(np.hypot(*axis)), 1e-6)
    across = np.abs(u * (axis[1] / length) - v * (axis[0] / length))
    along = u * (axis[0] / length) + v * (axis[1] / length)
    near: npt.NDArray[np.bool_] = (across <= reach_px) & (along >= -reach_px) & (along <= length + reach_px)
    return near


def _rays(matrix: F64, u: npt.NDArray[np.intp], v: npt.NDArray[np.intp]) -> tuple[F64, F64]:
    """(3,) source and (..., 3) unit directions of pixels."""
    patient_from_pixel = np.linalg.inv(matrix[:, :3])
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ patient_from_pixel.T
    return -patient_from_pixel @ matrix[:, 3], rays / np.sqrt(np.einsum("...c,...c->...", rays, rays))[..., None]
