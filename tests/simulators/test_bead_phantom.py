"""The phantom's pictures and the sagging gantry: closed forms, and the ideal gantry's own projection."""

import numpy as np
import pytest

from guidance.calibration.phantom import built_in_phantom
from simulators.bead_phantom import phantom_picture, placed, sphere_chords_mm
from simulators.flexing_gantry import FlexingGantry
from simulators.gantry import Gantry
from simulators.scene import Exposure

STIFF = FlexingGantry(sag_mm=0.0, wobble_mm=0.0, detector_shift_mm=(0.0, 0.0), detector_tilt_deg=(0.0, 0.0, 0.0))


def test_chords_of_a_sphere():
    source, centre = np.array((0.0, -700.0, 0.0)), np.array((0.0, 0.0, 0.0))
    for off_mm in (0.0, 1.0, 2.4, 2.6):
        angle = np.arcsin(off_mm / 700.0)  # a ray that passes the centre at this distance
        ray = np.array((np.sin(angle), np.cos(angle), 0.0)) * 3.7
        expected = 2.0 * np.sqrt(max(2.5**2 - off_mm**2, 0.0))
        np.testing.assert_allclose(sphere_chords_mm(centre, 2.5, source, ray), expected, atol=1e-9)


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (30, 20), (-70, 15), (110, -35)])
def test_without_sag_it_is_the_other_simulated_gantry(primary, secondary):
    ideal = Gantry(
        primary_deg=primary, secondary_deg=secondary, source_to_detector_mm=1195.0, source_to_isocenter_mm=750.0
    )
    points = np.random.default_rng(0).uniform(-80, 80, (20, 3))
    matrix = STIFF.pixel_from_equipment(primary, secondary)
    seen = points @ matrix[:, :3].T + matrix[:, 3]
    expected = ideal.project(points)
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], expected[:, :2], atol=1e-8)
    np.testing.assert_allclose(seen[:, 2], expected[:, 2], atol=1e-9)


def test_sag_is_smooth_and_the_wobble_is_not():
    gantry = FlexingGantry(sag_mm=1.0, wobble_mm=0.05)
    isocenter = np.array((0.0, 0.0, 0.0, 1.0))

    def seen(primary, approach=0, sag=gantry):
        u, v, w = sag.pixel_from_equipment(primary, 0.0, approach=approach) @ isocenter
        return np.array((u / w, v / w))

    steps = [
        np.linalg.norm(seen(p + 0.5, sag=FlexingGantry(wobble_mm=0.0)) - seen(p, sag=FlexingGantry(wobble_mm=0.0)))
        for p in range(-60, 60, 10)
    ]
    assert max(steps) < 0.5
    assert 0.0 < np.linalg.norm(seen(20.0, 0) - seen(20.0, 1)) < 1.0
    np.testing.assert_array_equal(seen(20.0), seen(20.0))
    # The detector is off centre, so the isocentre does not project to the middle.
    assert np.linalg.norm(seen(0.0) - (511.5, 511.5)) > 5.0


def test_a_bead_is_as_dark_as_its_chord():
    phantom = built_in_phantom()
    laid = placed(phantom, turn_deg=(0, 0, 0), shift_mm=(0, 0, 0), missing=tuple(range(1, 48)))
    quiet = Exposure(kvp=70.0, dose_photons=1e9, level=20000.0, blur_px=0.0, electronic_noise=0.0)
    matrix = STIFF.pixel_from_equipment(0.0, 0.0)
    with_bead = phantom_picture(laid, matrix, (1024, 1024), exposure=quiet).astype(float)
    without = phantom_picture(
        placed(phantom, turn_deg=(0, 0, 0), shift_mm=(0, 0, 0), missing=tuple(range(48))),
        matrix,
        (1024, 1024),
        exposure=quiet,
    ).astype(float)
    u, v, w = matrix @ (*laid.points_mm[0], 1.0)
    changed = np.abs(with_bead / without - 1.0) > 0.25  # about half of a pixel at the rim
    rows, columns = np.nonzero(changed)
    assert abs(columns.mean() - u / w) < 0.2
    assert abs(rows.mean() - v / w) < 0.2
    radius_px = 1.5 / w * 1195.0 / 0.3
    assert changed.sum() == pytest.approx(np.pi * radius_px**2, rel=0.06)


def test_false_and_missing_beads():
    phantom = built_in_phantom()
    plain = placed(phantom, seed=3)
    odd = placed(phantom, seed=3, missing=(5,), false_beads=(((0.0, 10.0, 0.0), 4.0),))
    matrix = STIFF.pixel_from_equipment(0.0, 0.0)
    one, other = (phantom_picture(laid, matrix, (1024, 1024), seed=1).astype(float) for laid in (plain, odd))

    def at(point):
        u, v, w = matrix @ plain.equipment_from_phantom @ (*point, 1.0)
        return round(v / w), round(u / w)

    assert other[at(plain.points_mm[5])] > 2.0 * one[at(plain.points_mm[5])]
    assert other[at((0.0, 10.0, 0.0))] < 0.5 * one[at((0.0, 10.0, 0.0))]
