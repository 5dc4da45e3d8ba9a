"""Pictures of metal rods in front of simple backgrounds, made without any volume: what is seen is known exactly."""

from itertools import pairwise

import numpy as np

from guidance.messages import PlannedPath
from simulators.gantry import Gantry
from simulators.instruments import Cylinder, add_chords

MM_1 = {"stainless_steel": 0.55, "titanium": 0.22}  # effective attenuation behind a pelvis, 1/mm
ENTRY, TARGET = (60.0, 20.0, 5.0), (-10.0, -15.0, 0.0)


def view(primary=180.0, secondary=25.0, **changes):
    return Gantry(primary_deg=primary, secondary_deg=secondary, isocenter_lps_mm=(20.0, 0.0, 0.0), **changes)


def path(diameter_mm=2.8, **changes):
    fields = {"id": "P1", "entry_lps_mm": ENTRY, "target_lps_mm": TARGET, "diameter_mm": diameter_mm, "label": "S1"}
    return PlannedPath(**(fields | changes))


def rod_beside(
    planned, *, depth_mm, aside_mm=(0.0, 0.0), turn_deg=0.0, length_mm=180.0, bend_mm=0.0, diameter_mm=None, **fields
):
    """Cylinders along a path, shifted and turned against it; the last one's end is the tip."""
    entry, target = np.array(planned.entry_lps_mm), np.array(planned.target_lps_mm)
    way = (target - entry) / np.linalg.norm(target - entry)
    first = np.cross(way, (0.0, 0.0, 1.0))
    first /= np.linalg.norm(first)
    second = np.cross(way, first)
    tip = entry + depth_mm * way + aside_mm[0] * first + aside_mm[1] * second
    axis = way + np.tan(np.radians(turn_deg)) * second
    axis /= np.linalg.norm(axis)
    pieces = 1 if bend_mm == 0.0 else 16
    back = np.linspace(length_mm, 0.0, pieces + 1)[:, None]
    points = tip - back * axis + 4.0 * bend_mm / length_mm**2 * back * back * first
    return [
        Cylinder(
            start_lps_mm=tuple(start), end_lps_mm=tuple(end), diameter_mm=diameter_mm or planned.diameter_mm, **fields
        )
        for start, end in pairwise(points)
    ]


def picture(gantry, cylinders, *, photons=200.0, seed=0, bone=True, level=6000.0):
    """Poisson picture, uint16: a body that is thicker to one side, edges and a band of bone, rods."""
    rows, columns = gantry.size
    v, u = np.mgrid[:rows, :columns] * (1024.0 / columns)
    depth = 0.4 * np.sin(u / 260.0) + 0.3 * np.cos(v / 310.0)
    if bone:
        depth = depth + 0.5 * (u + 0.4 * v > 700.0) + 0.35 * (np.abs(v - 0.3 * u - 300.0) < 60.0)
        depth = depth + 0.4 * np.exp(-(((u - 0.8 * v - 300.0) / 14.0) ** 2))  # a cortex seen edge-on
    matrix = gantry.pixel_from_patient()
    for cylinder in cylinders:
        chord = np.zeros((rows, columns), np.float32)
        add_chords(cylinder, matrix, chord)
        depth = depth + MM_1[cylinder.material] * chord
    rng = np.random.default_rng(seed)
    return np.clip(rng.poisson(photons * np.exp(-depth)) * (level / photons), 0, 65535).astype(np.uint16)


def projected(gantry, point):
    x = gantry.pixel_from_patient() @ np.append(point, 1.0)
    return x[:2] / x[2]


def axis_of(cylinders):
    step = cylinders[-1].axis_mm()
    return step / np.linalg.norm(step)
