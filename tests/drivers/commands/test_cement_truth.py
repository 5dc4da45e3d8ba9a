"""What is held for true of a case's pictures, against shapes whose shadow is known on paper."""

import math

import numpy as np
import pytest

from drivers.commands.cement_truth import (
    Shadows,
    first_time_s,
    frames_between,
    leaked_kinds,
    open_field,
    outside_targets_ml,
    true_front_px,
)
from guidance.messages import SphereShape, Zone, ZoneKind, ZoneSite
from guidance.planning.surface import surface_of_shape
from simulators.cement.grown import NEVER_S, Leak
from simulators.gantry import Gantry


def ball(zone_id, x_mm):
    shape = SphereShape(center_lps_mm=(x_mm, 0.0, 0.0), radius_mm=5.0)
    zone = Zone(id=zone_id, name=zone_id, site=ZoneSite.FORAMEN, kind=ZoneKind.KEEP_OUT, shape=shape)
    return zone, surface_of_shape(shape)


def disc(size, middle, radius):
    v, u = np.mgrid[0 : size[0], 0 : size[1]]
    return np.hypot(u - middle[0], v - middle[1]) <= radius


def test_shadows_overlap_where_the_cone_says():
    gantry = Gantry(detector_rows=512, detector_columns=512, pitch_row_mm=0.4, pitch_column_mm=0.4)
    shadows = Shadows([ball("Z1", 0.0), ball("Z2", 30.0)], gantry.pixel_from_patient(), gantry.size)
    # 5 mm at the isocentre are 20 px (SID 1200, SOD 750); Z2's middle is 120 px to the right.
    assert shadows.overlapping(disc(gantry.size, (255.5, 255.5), 6)) == ["Z1"]
    assert shadows.overlapping(disc(gantry.size, (375.5, 255.5), 6)) == ["Z2"]
    assert shadows.overlapping(disc(gantry.size, (315.5, 255.5), 30)) == []
    assert sorted(shadows.overlapping(disc(gantry.size, (315.5, 255.5), 52))) == ["Z1", "Z2"]


def test_the_true_front_is_only_what_the_blades_show():
    v, u = np.mgrid[0:100, 0:120].astype(np.float32)
    thickness = np.maximum(0.0, 20.0 - np.hypot(u - 60.0, v - 50.0)).astype(np.float32)
    everything = true_front_px(thickness, 0.5, open_field((100, 120), None))
    assert np.hypot(everything[:, 0] - 60.0, everything[:, 1] - 50.0) == pytest.approx(19.5, abs=0.1)
    half = true_front_px(thickness, 0.5, open_field((100, 120), (0, 0, 59, 99)))
    assert half[:, 0].max() <= 57.0
    assert len(true_front_px(np.zeros((9, 9), np.float32), 0.5, open_field((9, 9), None))) == 0


def test_cement_beyond_the_planned_ball_is_outside_the_plan():
    shape = SphereShape(center_lps_mm=(0.0, 0.0, 0.0), radius_mm=5.0)
    target = Zone(id="Z1", name="lesion", site=ZoneSite.OTHER, kind=ZoneKind.TARGET, shape=shape)
    affine = np.diag((0.5, 0.5, 0.5, 1.0))
    affine[:3, 3] = -10.0
    k, j, i = np.mgrid[0:41, 0:41, 0:41] * 0.5 - 10.0
    share = (np.sqrt(k**2 + j**2 + i**2) <= 8.0).astype(np.float32)
    beyond_ml = 4.0 / 3.0 * math.pi * (8.0**3 - 5.0**3) / 1000.0
    assert outside_targets_ml(share, affine, [target]) == pytest.approx(beyond_ml, rel=0.02)
    assert outside_targets_ml(share, affine, [ball("Z2", 0.0)[0]]) == 0.0


def test_what_comes_to_the_skin_came_along_the_needle():
    skin = Leak(kind="skin", label=1, onset_s=4.0, tenth_ml_s=6.0)
    vein = Leak(kind="vein", label=2, onset_s=NEVER_S, tenth_ml_s=NEVER_S)
    assert leaked_kinds([skin, vein], 5.0) == {"skin", "needle_track"}
    assert leaked_kinds([skin, vein], 3.0) == frozenset()


def test_times_and_frames():
    assert first_time_s([0.0, 1.0, 2.0], [0.0, 0.1, 0.3], 0.1) == 1.0
    assert first_time_s([0.0], [0.0], 0.1) is None
    times = [0.0, 0.1, 0.2, 0.3]
    assert frames_between(0.1, 0.3, times) == 2.0
    assert frames_between(0.1, 0.05, times) == 0.0
    assert frames_between(0.05, 0.1, times) == 0.0
    assert frames_between(0.1, None, times) == math.inf
