"""A volume for registration: padding is nothing, voxel centres stay where they are, nonsense is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import GeometryError
from guidance.registration.volume import registration_volume

AFFINE = np.array([[0.8, 0.05, 0.0, -30.0], [0.0, 0.9, 0.1, 12.0], [0.0, 0.0, 1.1, 400.0], [0.0, 0.0, 0.0, 1.0]])


def scanned(dtype=np.int16):
    hu = np.full((60, 70, 80), -1000, dtype)
    hu[10:50, 10:60, 10:70] = 30
    hu[20:30, 22:40, 31:60] = 900
    return hu


@pytest.mark.parametrize(
    ("padding", "dtype"),
    [(-2000, np.int16), (-3024, np.int16), (63536, np.int32), (np.nan, np.float32), (-1.0e9, np.float64)],
)
def test_padding_casts_no_shadow(padding, dtype):
    hu = scanned(dtype)
    plain = registration_volume(hu, AFFINE)
    hu[:, :4], hu[:, -4:] = padding, padding
    padded = registration_volume(hu, AFFINE)
    for a, b in zip(plain.levels, padded.levels, strict=True):
        assert a.shape_kji == b.shape_kji
        assert np.array_equal(a.voxels, b.voxels)
    assert padded.threshold_hu == 150.0


def test_bone_that_padding_cuts_fades_out():
    hu = scanned()
    hu[:, :30] = -2000  # through the middle of the bone
    fine = registration_volume(hu, AFFINE).levels[-1].voxels
    along = fine[24, :, 45]
    first = int(np.flatnonzero(along)[0])
    assert along[first] < 250
    assert np.all(np.diff(along[first : first + 6]) >= 0)


def test_levels_keep_places():
    volume = registration_volume(scanned(), AFFINE)
    expected = AFFINE[:3, :3] @ (45.0, 30.5, 24.5) + AFFINE[:3, 3]
    for level in volume.levels:
        weights = level.voxels.astype(float)
        kji = [float(np.average(np.indices(weights.shape)[n], weights=weights)) for n in range(3)]
        place = level.affine_lps_from_ijk[:3, :3] @ kji[::-1] + level.affine_lps_from_ijk[:3, 3]
        assert np.allclose(place, expected, atol=0.25)
    assert np.allclose(volume.center_lps_mm, expected, atol=0.25)


def test_soft_tissue_counts_where_there_is_no_bone():
    hu = scanned()
    hu[hu > 100] = 60
    assert registration_volume(hu, AFFINE).threshold_hu == -300.0


@pytest.mark.parametrize(
    ("voxels", "affine", "code"),
    [
        (np.zeros((4, 4), np.int16), AFFINE, "bad_volume"),
        (np.zeros((0, 4, 4), np.int16), AFFINE, "bad_volume"),
        (np.full((40, 40, 40), 900, np.int16), np.diag((0.01, 0.01, 0.01, 1.0)), "bad_volume"),
        (np.zeros((8, 8, 8), np.int16), np.full((4, 4), np.nan), "bad_volume"),
        (np.zeros((8, 8, 8), np.int16), np.diag((1.0, 0.0, 1.0, 1.0)), "bad_volume"),
        (np.full((8, 8, 8), -1000, np.int16), AFFINE, "empty_volume"),
        (np.full((8, 8, 8), np.nan, np.float32), AFFINE, "empty_volume"),
    ],
)
def test_no_volume_is_refused_by_name(voxels, affine, code):
    with pytest.raises(GeometryError) as caught:
        registration_volume(voxels, affine)
    assert caught.value.code == code
