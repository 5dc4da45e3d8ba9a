"""What a picture shows without cement, made once per place; what is added, only where it is."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from guidance.kernels.drr import EXCESS_OVER_ZERO, ProjectionVolume, cone_projection
from guidance.messages import F32, F64
from simulators.gantry import Gantry
from simulators.instruments import Cylinder, add_chords
from simulators.scene import MATERIALS, TISSUE_CURVES
from simulators.xray import Beam, density_g_cm3, mass_attenuation_cm2_g

CM_PER_MM: Final = 0.1
Region = tuple[slice, slice]
"""Rows and columns of a picture."""

_KEPT_BYTES: Final = 128 << 20
# A patient who has moved by less than that since a place was projected is shifted and turned on its picture; what lies
# 100 mm off the middle is then less than 0.1 mm off its place.
_NEAR_MM: Final = 0.15
_NEAR_DEG: Final = 0.04
_COARSE: Final = 8  # px of the thickness that scatter goes by


@dataclass(slots=True, eq=False)
class Place:
    """The patient seen from one place; arrays are never altered.

    Attributes:
        matrix: (3, 4) pixel_from_patient.
        densities: material -> (rows, columns) float32 g/cm2.
        water_mm: water-equivalent thickness, coarse.
        primary: by kV, logarithm of the share of the open beam.
    """

    matrix: F64
    densities: dict[str, F32]
    water_mm: F32
    primary: dict[float, F32]

    @property
    def nbytes(self) -> int:
        """Of the pictures."""
        return sum(layer.nbytes for layer in (*self.densities.values(), *self.primary.values()))


class Layers:
    """All that one picture's rays go through.

    Args:
        place: the patient without cement, from nearby.
        place_from_picture: (2, 3) px: how this picture's pixels lie on the place's; None: the same.
    """

    def __init__(self, place: Place, place_from_picture: F64 | None) -> None:
        self._place, self._warp = place, place_from_picture
        self._added: list[tuple[Region, str, F32, bool]] = []
        self.size: tuple[int, int] = next(iter(place.densities.values())).shape

    @property
    def water_mm(self) -> F32:
        """Water-equivalent thickness of the patient, coarse."""
        return self._place.water_mm

    def add(self, region: Region, material: str, g_cm2: F32, *, displaces: bool) -> None:
        """Put something into the beam.

        Args:
            region: where on the picture.
            material: of the X-ray table.
            g_cm2: (rows, columns) of the region.
            displaces: it lies in the patient, where soft tissue was.
        """
        self._added.append((region, material, g_cm2, displaces))

    def transmission(self, tube: Beam) -> F32:
        """(rows, columns) float32 share of the open beam's signal that comes through unscattered; a new array."""
        place = self._place
        if tube.kvp not in place.primary:
            place.primary[tube.kvp] = np.log(tube.transmission(place.densities))
        logarithm = place.primary[tube.kvp]
        # Interpolated as logarithms: it overshoots at the edges of metal, and there is less than nothing nowhere.
        primary = np.exp(logarithm if self._warp is None else self._warped(logarithm, _whole(self.size)))
        if self._added:
            region = _around([region for region, *_ in self._added])
            primary[region] = _transmission(tube, self._densities(region))
        return primary

    def _densities(self, region: Region) -> dict[str, F32]:
        found = {
            name: layer[region].copy() if self._warp is None else self._warped(layer, region)
            for name, layer in self._place.densities.items()
        }
        soft = found["soft_tissue"]
        for where, material, g_cm2, displaces in self._added:
            part = _within(where, region)
            if material not in found:
                found[material] = np.zeros_like(soft)
            found[material][part] += g_cm2
            if displaces:
                room = np.maximum(soft[part], np.float32(0.0))
                soft[part] -= np.minimum(g_cm2 * np.float32(1.0 / density_g_cm3(material)), room)
        return found

    def _warped(self, layer: F32, region: Region) -> F32:
        assert self._warp is not None
        rows, columns = region
        moved = self._warp.copy()
        moved[:, 2] += moved[:, :2] @ (columns.start, rows.start)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(layer, moved, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


class BasePictures:
    """The patient with all that stands still in them, by place; the longest unused are forgotten.

    Args:
        patient: CT values.
        instruments: steel and the like in them.
        middle_lps_mm: (3,): where it matters most that the picture is in place.
        old_cement: share of old cement; None: none.
    """

    def __init__(
        self,
        patient: ProjectionVolume,
        instruments: tuple[Cylinder, ...],
        middle_lps_mm: F64,
        old_cement: ProjectionVolume | None = None,
    ) -> None:
        self._patient, self._instruments, self._old_cement = patient, instruments, old_cement
        self._middle = middle_lps_mm
        self._kept: OrderedDict[Gantry, Place] = OrderedDict()

    def layers(self, gantry: Gantry, matrix: F64) -> Layers:
        """What is seen from a place: projected for it, or for one next to it and put in place.

        Args:
            matrix: the gantry's own pixel_from_patient.
        """
        near = self._nearest(gantry)
        if near is None:
            near = gantry
            self._kept[near] = self._project(near)
            while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(near)
        place = self._kept[near]
        if near.patient_moved == gantry.patient_moved:
            return Layers(place, None)
        return Layers(place, _plane_map(place.matrix, matrix, self._middle))

    def _nearest(self, gantry: Gantry) -> Gantry | None:
        """The kept place that the patient has moved least from; None: too far from all."""
        if gantry in self._kept:
            return gantry
        found, least = None, 1.0
        for kept in self._kept:
            moved = np.abs(np.subtract(kept.patient_moved, gantry.patient_moved))
            apart = max(float(moved[:3].max()) / _NEAR_MM, float(moved[3:].max()) / _NEAR_DEG)
            if apart <= least and replace(kept, patient_moved=gantry.patient_moved) == gantry:
                found, least = kept, apart
        return found

    def _project(self, gantry: Gantry) -> Place:
        matrix, size = gantry.pixel_from_patient(), gantry.size
        paths = cone_projection(self._patient, matrix, size, TISSUE_CURVES)
        densities = {name: paths[n] * np.float32(CM_PER_MM) for n, name in enumerate(MATERIALS)}
        solids: dict[str, F32] = {}
        for instrument in self._instruments:
            add_chords(instrument, matrix, solids.setdefault(instrument.material, np.zeros(size, np.float32)))
        if self._old_cement is not None:
            solids["bone_cement"] = cone_projection(self._old_cement, matrix, size, EXCESS_OVER_ZERO)[0]
        for material, mm in solids.items():
            densities["soft_tissue"] -= np.minimum(mm * np.float32(CM_PER_MM), densities["soft_tissue"])
            layer = densities.setdefault(material, np.zeros(size, np.float32))
            layer += mm * np.float32(density_g_cm3(material) * CM_PER_MM)
        water_mm = sum(densities.values(), np.zeros(size, np.float32)) * np.float32(1.0 / CM_PER_MM)
        coarse = cv2.resize(water_mm, None, fx=1.0 / _COARSE, fy=1.0 / _COARSE, interpolation=cv2.INTER_AREA)
        return Place(matrix, densities, np.asarray(coarse, np.float32), {})


def region_of(corners_lps_mm: F64, matrix: F64, size: tuple[int, int], margin_px: int = 2) -> Region | None:
    """Where points and all between them are on a picture; None: nowhere.

    Args:
        corners_lps_mm: (N, 3).
        matrix: (3, 4) pixel_from_patient.
        size: (rows, columns).
    """
    uvw = corners_lps_mm @ matrix[:, :3].T + matrix[:, 3]
    if np.any(uvw[:, 2] <= 0.0):
        return None
    uv = uvw[:, :2] / uvw[:, 2:]
    left, top = np.maximum(np.floor(uv.min(axis=0)).astype(int) - margin_px, 0)
    right, bottom = np.minimum(np.ceil(uv.max(axis=0)).astype(int) + margin_px + 1, (size[1], size[0]))
    if right <= left or bottom <= top:
        return None
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _transmission(tube: Beam, g_cm2: dict[str, F32]) -> F32:
    """`Beam.transmission` with fewer passes: layers that are empty are left out."""
    present = {name: layer for name, layer in g_cm2.items() if layer.any()}
    total = np.zeros(next(iter(g_cm2.values())).shape, np.float32)
    exponent, part = np.empty_like(total), np.empty_like(total)
    for energy, weight in zip(tube.energies_kev, tube.weights, strict=True):
        exponent.fill(np.log(weight))
        for name, layer in present.items():
            np.multiply(layer, np.float32(-mass_attenuation_cm2_g(name, float(energy))), out=part)
            exponent += part
        np.exp(exponent, out=exponent)
        total += exponent
    return total


def _plane_map(place: F64, picture: F64, middle_lps_mm: F64) -> F64:
    """(2, 3): pixel of the place from that of the picture, exact for a plane across the ray through the middle."""
    toward = np.linalg.inv(picture[:, :3]) @ np.append(_pixel(picture, middle_lps_mm[None])[0], 1.0)
    across = np.linalg.svd(toward[None])[2][1:] * 40.0
    points = middle_lps_mm + np.vstack([across, -across])
    here = np.column_stack([_pixel(picture, points), np.ones(4)])
    return np.asarray(np.linalg.lstsq(here, _pixel(place, points), rcond=None)[0].T, np.float64)


def _pixel(matrix: F64, points_lps_mm: F64) -> F64:
    uvw = points_lps_mm @ matrix[:, :3].T + matrix[:, 3]
    return np.asarray(uvw[:, :2] / uvw[:, 2:], np.float64)


def _whole(size: tuple[int, int]) -> Region:
    return slice(0, size[0]), slice(0, size[1])


def _around(regions: list[Region]) -> Region:
    rows = [each[0] for each in regions]
    columns = [each[1] for each in regions]
    return (
        slice(min(row.start for row in rows), max(row.stop for row in rows)),
        slice(min(column.start for column in columns), max(column.stop for column in columns)),
    )


def _within(part: Region, region: Region) -> Region:
    return (
        slice(part[0].start - region[0].start, part[0].stop - region[0].start),
        slice(part[1].start - region[1].start, part[1].stop - region[1].start),
    )
