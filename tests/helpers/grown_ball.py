"""Cement that grows as a ball in closed form, and a block of water to grow it in."""

from __future__ import annotations

import numpy as np

from guidance.messages import F64, Vector3
from simulators.cement.grown import GrownCement
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.volumes import HuVolume

SPACING_MM = 0.5
HALF = 30  # voxels


def ball_ml(radius_mm: float) -> float:
    return float(4.0 / 3.0 * np.pi * radius_mm**3 / 1000.0)


def grown_ball(
    center_lps_mm: Vector3 = (0.0, 0.0, 0.0),
    *,
    capacity: float = 1.0,
    total_ml: float = 2.0,
    duration_s: float = 20.0,
    dead_ml: float = 0.0,
    brand: str = "baso4_30",
    cannula: CannulaScript | None = None,
) -> GrownCement:
    """A ball whose volume rises evenly from 0 to `total_ml` at `duration_s`; its cannula comes from behind."""
    count = 2 * HALF + 1
    affine: F64 = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = np.asarray(center_lps_mm) - HALF * SPACING_MM
    k, j, i = np.meshgrid(*(np.arange(count) - HALF,) * 3, indexing="ij")
    radius = (np.sqrt(k**2 + j**2 + i**2) * SPACING_MM).astype(np.float32)
    injection = InjectionCurve(times_s=(0.0, duration_s), volumes_ml=(0.0, total_ml + dead_ml), dead_ml=dead_ml)
    radii = np.linspace(0.0, HALF * SPACING_MM, 4001)
    volumes_ml = 4.0 / 3.0 * np.pi * radii**3 / 1000.0 * capacity
    radii[0] = -SPACING_MM  # nothing at all, before the first drop
    arrival = injection.times_of(4.0 / 3.0 * np.pi * radius.astype(float) ** 3 / 1000.0 * capacity)
    x, y, z = center_lps_mm
    return GrownCement(
        affine_lps_from_ijk=affine,
        arrival_s=arrival.astype(np.float32),
        level=radius,
        crossing=np.full(radius.shape, SPACING_MM, np.float32),
        capacity=np.full(radius.shape, capacity, np.float32),
        site_of=np.zeros(radius.shape, np.uint8),
        site_names=("bone",),
        levels=radii,
        levels_ml=volumes_ml,
        injection=injection,
        cannula=cannula or CannulaScript(hub_lps_mm=(x, y + 95.0, z), tip_lps_mm=(x, y, z)),
        zone_bodies=(),
        zones=(),
        paths=(),
        zone_truth={},
        leaks=(),
        duration_s=duration_s,
        brand=brand,
    )


def water_block(half_mm: float = 100.0) -> HuVolume:
    """A cube of water about the origin, and a bar of bone beside its middle."""
    step = 4.0
    count = round(2.0 * half_mm / step)
    voxels = np.zeros((count, count, count), np.int16)
    middle = count // 2
    voxels[middle - 3 : middle + 3, :, middle - 12 : middle - 8] = 1100
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -half_mm + step / 2.0
    return HuVolume(voxels, affine, "block of water")
