"""The volume's metal as a mask on the picture."""

import numpy as np

from guidance.messages import PathStage
from guidance.tracking.known_metal import NO_METAL, known_metal_of, metal_mask
from tests.helpers.rods import path, projected, view


def volume(value):
    voxels = np.zeros((40, 40, 40), np.int16)
    voxels[20, 18:22, 10:30] = value
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-20.0, -40.0, -40.0)
    return voxels, affine


def test_metal_is_covered_and_what_is_beside_it_is_not():
    metal = known_metal_of(*volume(3000))
    gantry = view()
    mask = metal_mask(metal, (), gantry.pixel_from_patient(), gantry.size)
    on = np.array([projected(gantry, (x, 0.0, 0.0)) for x in np.linspace(0.0, 38.0, 20)])
    off = np.array([projected(gantry, (x, 0.0, 15.0)) for x in np.linspace(0.0, 38.0, 20)])
    assert mask.covers(on).all()
    assert not mask.covers(off).any()


def test_bone_is_no_metal():
    assert known_metal_of(*volume(1900)) is NO_METAL
    assert metal_mask(NO_METAL, (path(),), view().pixel_from_patient(), (1024, 1024)) is None


def test_a_screw_that_is_in_is_metal():
    gantry, screw = view(), path(7.3, stage=PathStage.CEMENTED)
    mask = metal_mask(NO_METAL, (screw,), gantry.pixel_from_patient(), gantry.size)
    middle = 0.5 * (np.array(screw.entry_lps_mm) + np.array(screw.target_lps_mm))
    assert mask.covers(projected(gantry, middle)[None]).all()


def test_metal_all_over_stays_small():
    metal = known_metal_of(np.full((80, 80, 80), 3000, np.int16), np.diag([1.0, 1.0, 1.0, 1.0]))
    assert len(metal.points_lps_mm) <= 20_000


def test_metal_behind_the_source_or_off_the_picture_is_nothing():
    metal = known_metal_of(*volume(3000))
    gantry = view()
    matrix = gantry.pixel_from_patient()
    away = matrix.copy()
    away[:, 3] += matrix[:, :3] @ (0.0, 0.0, 2000.0)
    assert metal_mask(metal, (), away, gantry.size) is None
