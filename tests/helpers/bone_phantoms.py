"""Volumes of bone whose corridors are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from guidance.messages import F64, MaskShape, Zone, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.bone import ZoneField
from guidance.planning.distance import distance_field
from guidance.planning.occupancy import Occupancy
from guidance.planning.volume import PlanningVolume

Solid = Callable[[F64], F64]  # (..., 3) LPS mm -> mm to its surface, negative inside, exact near it
BONE_HU, TISSUE_HU = 900.0, 50.0


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Solid:
    return lambda p: np.maximum(np.asarray(low) - p, p - np.asarray(high)).max(axis=-1)


def cylinder(center: F64 | tuple[float, ...], axis: tuple[float, float, float], radius: float, half: float) -> Solid:
    unit = np.asarray(axis) / np.linalg.norm(axis)

    def distance(p: F64) -> F64:
        off = p - np.asarray(center)
        along = off @ unit
        across = np.linalg.norm(off - along[..., None] * unit, axis=-1)
        return np.asarray(np.maximum(across - radius, np.abs(along) - half))

    return distance


def union(*solids: Solid) -> Solid:
    return lambda p: np.minimum.reduce([solid(p) for solid in solids])


def without(solid: Solid, *holes: Solid) -> Solid:
    return lambda p: np.maximum.reduce([solid(p), *(-hole(p) for hole in holes)])


def places(shape_kji: tuple[int, int, int], affine: F64) -> F64:
    """(k, j, i, 3) LPS of voxel centres."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape_kji), indexing="ij")
    return np.asarray(np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3])


def grid(low: tuple[float, float, float], high: tuple[float, float, float], step: float) -> tuple[tuple[int, ...], F64]:
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = low
    return tuple(int(np.ceil((b - a) / step)) + 1 for a, b in zip(low, high, strict=True))[::-1], affine


def share(solid: Solid, shape_kji: tuple[int, ...], affine: F64) -> F64:
    """How much of each voxel is filled, to first order."""
    at = places(shape_kji, affine)
    return np.asarray(np.clip(0.5 - solid(at) / np.linalg.norm(affine[:3, :3], axis=0).mean(), 0.0, 1.0))


def volume(solid: Solid, shape_kji: tuple[int, ...], affine: F64) -> PlanningVolume:
    hu = TISSUE_HU + share(solid, shape_kji, affine) * (BONE_HU - TISSUE_HU)
    return PlanningVolume(np.rint(hu).astype(np.int16), affine)


def mask_zone(
    name: str,
    solid: Solid,
    shape_kji: tuple[int, ...],
    affine: F64,
    *,
    site: ZoneSite = ZoneSite.BONE,
    level: str = "",
    side: ZoneSide | None = None,
) -> ZoneField:
    values = np.rint(share(solid, shape_kji, affine) * 255.0).astype(np.uint8)
    shape = MaskShape(
        mask_id=name, shape_kji=values.shape, affine_lps_from_ijk=tuple(affine.ravel().tolist()), volume_ml=1.0
    )
    kind = ZoneKind.TARGET if site is ZoneSite.BONE else ZoneKind.KEEP_OUT
    zone = Zone(id=name, name=name, site=site, kind=kind, shape=shape, level=level, side=side)
    occupancy = Occupancy(values, affine)
    return zone, distance_field(shape, occupancy), occupancy


@dataclass(frozen=True)
class Ring:
    """A pelvic ring of boxes: S1 has a corridor of `s1_radius_mm`, S2 of 6.5 mm, from x = -70 to 70.

    Attributes:
        gap_mm: of both joints.
        ala_top_mm: height of the sacrum beside its first body; that body's own is 15.
        turned_deg: of all of it about the z axis, as of a patient who lies askew.
    """

    gap_mm: float = 2.0
    ala_top_mm: float = 15.0
    turned_deg: float = 0.0
    step_mm: float = 1.5

    @property
    def s1_radius_mm(self) -> float:
        return min(12.0, (self.ala_top_mm + 9.0) / 2.0)  # from the foramina's upper edge at -9 to the ala's top

    @property
    def sacrum(self) -> Solid:
        holes = [cylinder((0.0, 12.0, 0.0), (0, 0, 1), 6.0, 200.0)]
        for x in (-18.0, 18.0):
            holes.append(cylinder((x, 0.0, -15.0), (0, 1, 0), 6.0, 200.0))
            holes.append(cylinder((x, 0.0, -39.0), (0, 1, 0), 5.0, 200.0))
        for x in (-60.0, 60.0):
            holes.append(box((x - 38.0, -99.0, self.ala_top_mm), (x + 38.0, 99.0, 99.0)))
        return self._turned(without(box((-45.0, -20.0, -55.0), (45.0, 20.0, 15.0)), *holes))

    def hip(self, sign: float) -> Solid:
        near, far = 45.0 + self.gap_mm, 70.0
        low, high = (near, far) if sign > 0 else (-far, -near)
        return self._turned(box((low, -25.0, -60.0), (high, 25.0, 40.0)))

    @property
    def shape_and_affine(self) -> tuple[tuple[int, ...], F64]:
        return grid((-84.0, -48.0, -66.0), (84.0, 48.0, 46.0), self.step_mm)

    def volume(self) -> PlanningVolume:
        return volume(union(self.sacrum, self.hip(1.0), self.hip(-1.0)), *self.shape_and_affine)

    def zones(self, *, with_s1: bool = True) -> list[ZoneField]:
        at = self.shape_and_affine
        first = self._turned(box((-25.0, -99.0, -15.0), (25.0, 99.0, 99.0)))
        hips = [
            mask_zone("hip_left", self.hip(1.0), *at, side=ZoneSide.LEFT),
            mask_zone("hip_right", self.hip(-1.0), *at, side=ZoneSide.RIGHT),
        ]
        if not with_s1:
            return [mask_zone("sacrum", self.sacrum, *at), *hips]

        def s1(p: F64) -> F64:
            return np.asarray(np.maximum(self.sacrum(p), first(p)))

        return [
            mask_zone("sacrum", without(self.sacrum, first), *at),
            mask_zone("vertebrae_S1", s1, *at, level="S1"),
            *hips,
        ]

    def _turned(self, solid: Solid) -> Solid:
        angle = np.radians(self.turned_deg)
        c, s = np.cos(angle), np.sin(angle)
        here_from_there = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        return lambda p: solid(p @ here_from_there)
