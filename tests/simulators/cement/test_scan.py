"""CT with cement in it: as much cement as there is, where it is, as bright as its composition makes it."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.cement.case import CementCase
from simulators.cement.course import grown
from simulators.cement.patients import PATIENTS, WHOLE_MIDDLE_MM, WHOLE_SIZE_MM, patient_part
from simulators.cement.pelvis_places import PLACES
from simulators.cement.scan import cement_hu, fluoroscopy_slices, scanned, share_on

CASE = CementCase(seed=7, rate_ml_s=0.25, total_ml=2.5, duration_s=14.0)


@pytest.fixture(scope="module")
def course():
    return grown(CASE, spacing_mm=0.9)


@pytest.fixture(scope="module")
def volume(course):
    tip = np.asarray(course.cannula.tip_lps_mm)
    return patient_part(CASE.patient, tip - (60.0, 60.0, 40.0), np.add(tip, (60.0, 60.0, 40.0)))


@pytest.mark.parametrize("spacing_mm", [0.5, 1.0, 2.3])
def test_another_grid_holds_the_same_volume_in_the_same_place(course, spacing_mm):
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # its rows run along another axis
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing_mm
    size = int(70.0 / spacing_mm)
    affine[:3, 3] = np.asarray(course.cannula.tip_lps_mm) - affine[:3, :3] @ (np.ones(3) * size / 2.0)
    share = share_on(course, 14.0, affine, (size, size, size))
    assert share.sum(dtype=float) * spacing_mm**3 / 1000.0 == pytest.approx(2.5, rel=2e-3)

    def middle(shares, own_affine):
        k, j, i = np.nonzero(shares > 0.0)
        places = np.stack([i, j, k], axis=1) @ own_affine[:3, :3].T + own_affine[:3, 3]
        return np.average(places, axis=0, weights=shares[k, j, i])

    assert middle(share, affine) == pytest.approx(middle(course.share_at(14.0), course.affine_lps_from_ijk), abs=0.05)


def test_a_scan_shows_new_cement_and_nothing_else(course, volume):
    scan = scanned(volume, course, 14.0)
    changed = scan.voxels_hu != volume.voxels_hu
    bright = changed & (scan.voxels_hu > 1700)
    assert bright.sum() * 0.001 == pytest.approx(2.5 / 0.85, rel=0.25)  # voxels, each 85 % cement
    assert (scan.voxels_hu >= volume.voxels_hu).all()
    assert np.median(scan.voxels_hu[changed]) > 1500
    assert np.array_equal(scanned(volume, course, 0.5).voxels_hu, volume.voxels_hu)


def test_more_barium_is_brighter():
    # 10 % barium sulphate in PMMA: about 1000 HU at 120 kV (barium at 65 keV: 9.9 cm2/g by NIST XCOM, 59 % of the
    # sulphate, 10 % of 1.27 g/cm3: 0.75 1/cm above 0.24 of the rest, against 0.20 of water): near 3700.
    assert 2500.0 < cement_hu("baso4_10") < 5000.0
    assert cement_hu("baso4_10") < cement_hu("baso4_30")


def test_slices_are_thick_noisy_and_in_place(course, volume):
    tip = course.cannula.tip_lps_mm
    slices = fluoroscopy_slices(volume, course, 10.0, center_lps_mm=tip, seed=3)
    assert slices.voxels_hu.shape == (3, 300, 300)
    assert np.linalg.norm(slices.affine_lps_from_ijk[:3, 2]) == pytest.approx(4.0)
    middle = slices.affine_lps_from_ijk @ np.array([149.5, 149.5, 1.0, 1.0])
    assert middle[:3] == pytest.approx(tip, abs=0.5)
    again = fluoroscopy_slices(volume, course, 10.0, center_lps_mm=tip, seed=3)
    assert np.array_equal(slices.voxels_hu, again.voxels_hu)
    before = fluoroscopy_slices(volume, course, 0.0, center_lps_mm=tip, seed=3)
    bright = slices.voxels_hu.astype(int) - before.voxels_hu > 800
    k, j, i = np.nonzero(bright)
    lps = np.stack([i, j, k], axis=1) @ slices.affine_lps_from_ijk[:3, :3].T + slices.affine_lps_from_ijk[:3, 3]
    assert np.linalg.norm(lps.mean(axis=0) - tip) < 6.0
    air = before.voxels_hu[before.voxels_hu < -900]
    assert 8.0 < np.std(air) < 40.0


@pytest.mark.parametrize("name", PATIENTS)
def test_the_whole_patient_reaches_far_enough_for_every_view(name):
    """A field of 154 mm at the detector, 96 mm at the tip, cone and all: within the CT along the body."""
    z = PATIENTS[name].origin_lps_mm[2]
    middle = z + WHOLE_MIDDLE_MM[2]
    for make in PLACES.values():
        tip = make(PATIENTS[name]).tip_lps_mm
        assert middle - WHOLE_SIZE_MM[2] / 2.0 < tip[2] - 65.0
        assert middle + WHOLE_SIZE_MM[2] / 2.0 > tip[2] + 65.0
