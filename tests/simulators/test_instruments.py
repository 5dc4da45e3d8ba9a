"""Chords through pins, in closed form, by sampling, and against the same pin as voxels."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import ConfigError
from guidance.kernels.drr import MaterialCurves, ProjectionVolume, cone_projection
from simulators.gantry import Gantry
from simulators.instruments import Cylinder, add_chords, voxelise

PIN = Cylinder(start_lps_mm=(-40.0, 5.0, -3.0), end_lps_mm=(35.0, -8.0, 12.0), diameter_mm=6.0)
SOURCE = np.array([0.0, 750.0, 0.0])


def test_across_the_axis_a_chord_is_the_diameter_and_along_it_the_length():
    pin = Cylinder(start_lps_mm=(0, -30, 0), end_lps_mm=(0, 40, 0), diameter_mm=4.0)
    assert pin.chord_mm(SOURCE, np.array([0.0, -1.0, 0.0])) == pytest.approx(70.0)
    assert pin.chord_mm(np.array([500.0, 0, 0]), np.array([-2.0, 0, 0])) == pytest.approx(4.0)
    assert pin.chord_mm(np.array([500.0, 0, 1.0]), np.array([-1.0, 0, 0])) == pytest.approx(2.0 * np.sqrt(3.0))
    assert pin.chord_mm(np.array([500.0, 0, 2.01]), np.array([-1.0, 0, 0])) == 0.0
    assert pin.chord_mm(np.array([500.0, 40.5, 0]), np.array([-1.0, 0, 0])) == 0.0


def test_a_cannula_is_hollow():
    tube = Cylinder(start_lps_mm=(0, -30, 0), end_lps_mm=(0, 40, 0), diameter_mm=4.0, bore_mm=2.0)
    assert tube.chord_mm(np.array([500.0, 0, 0]), np.array([-1.0, 0, 0])) == pytest.approx(2.0)
    assert tube.chord_mm(SOURCE, np.array([0.0, -1.0, 0.0])) == pytest.approx(0.0)


def test_a_chord_is_what_dense_sampling_finds():
    rng = np.random.default_rng(0)
    aims = np.array([-2.5, -1.5, 4.5]) + rng.uniform(-1, 1, (60, 3)) * (42.0, 12.0, 12.0)
    directions = aims - SOURCE
    found = PIN.chord_mm(SOURCE, directions)
    along = np.arange(600.0, 900.0, 0.01)
    axis = PIN.axis_mm()
    for chord, direction in zip(found, directions, strict=True):
        points = SOURCE + along[:, None] * direction / np.linalg.norm(direction) - PIN.start_lps_mm
        part = points @ axis / (axis @ axis)
        radius = np.linalg.norm(points - part[:, None] * axis, axis=1)
        assert chord == pytest.approx(((part >= 0) & (part <= 1) & (radius <= 3.0)).sum() * 0.01, abs=0.03)
    assert (found > 0).sum() > 10


def test_drawn_and_voxelised_pin_cast_the_same_shadow():
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-60.0, -30.0, -30.0)
    voxels = np.full((61, 61, 121), -1000, np.int16)
    voxelise(PIN, voxels, affine, value_hu=9000)
    gantry = Gantry(primary_deg=20, secondary_deg=-15, detector_rows=512, detector_columns=512, pitch_row_mm=0.5)
    curves = MaterialCurves(np.array([-1000.0, 9000.0]), np.array([[0.0, 1.0]]))
    volume = ProjectionVolume(voxels, affine, air=-1000)
    shadow = cone_projection(volume, gantry.pixel_from_patient(), gantry.size, curves)[0]
    drawn = np.zeros(gantry.size, np.float32)
    add_chords(PIN, gantry.pixel_from_patient(), drawn)
    assert drawn.sum() == pytest.approx(shadow.sum(), rel=0.01)
    assert np.abs(drawn - shadow).mean() < 0.01 * drawn.max()
    v, u = np.indices(drawn.shape)
    for grid in (u, v):
        assert (grid * drawn).sum() / drawn.sum() == pytest.approx((grid * shadow).sum() / shadow.sum(), abs=0.05)


def test_what_is_outside_the_picture_is_left_out():
    thickness = np.zeros((64, 64), np.float32)
    add_chords(PIN, Gantry(detector_rows=64, detector_columns=64).pixel_from_patient(), thickness)
    away = Cylinder(start_lps_mm=(400, 0, 0), end_lps_mm=(420, 0, 0), diameter_mm=2.0)
    before = thickness.copy()
    add_chords(away, Gantry(detector_rows=64, detector_columns=64).pixel_from_patient(), thickness)
    assert np.array_equal(before, thickness)
    assert before.max() > 0.0


@pytest.mark.parametrize("bad", [{"diameter_mm": 0.0}, {"bore_mm": 6.0}, {"end_lps_mm": (-40.0, 5.0, -3.0)}])
def test_impossible_instruments_are_refused(bad):
    values = {"start_lps_mm": (-40.0, 5.0, -3.0), "end_lps_mm": (35.0, -8.0, 12.0), "diameter_mm": 6.0}
    with pytest.raises(ConfigError, match="bore"):
        Cylinder(**(values | bad))
