"""Bone and skin proposed from CT values: marrow in, tunnels out, padding, metal and crumbs aside."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import GeometryError
from guidance.messages import F64
from guidance.planning.bone import bone_model, propose_bone, propose_skin
from guidance.planning.occupancy import Occupancy
from tests.helpers.bone_phantoms import box, cylinder, grid, mask_zone, places, volume

SHAPE, AFFINE = grid((-40.0, -40.0, -40.0), (40.0, 40.0, 40.0), 1.0)


def at(occupancy: Occupancy, point: tuple[float, float, float]) -> int:
    """Value of the voxel nearest to a place; 0 beyond the array."""
    inverse = np.linalg.inv(occupancy.affine_lps_from_ijk)
    i, j, k = np.rint(inverse[:3, :3] @ np.array(point) + inverse[:3, 3]).astype(int)
    inside = all(0 <= n < size for n, size in zip((k, j, i), occupancy.values.shape, strict=True))
    return int(occupancy.values[k, j, i]) if inside else 0


@pytest.fixture(scope="module")
def shell() -> np.ndarray:
    """An osteoporotic bone: a cortex of 3 mm around marrow of fat's HU, with a canal through and a leak of 2 mm."""
    p: F64 = places(SHAPE, AFFINE)
    outer, inner = box((-25.0,) * 3, (25.0,) * 3)(p), box((-22.0,) * 3, (22.0,) * 3)(p)
    hu = np.full(SHAPE, 50, np.int16)
    hu[outer <= 0.0] = 700
    hu[inner <= 0.0] = -60
    canal = cylinder((5.0, 0.0, 0.0), (0, 0, 1), 10.0, 99.0)(p)
    hu[(canal <= 0.0) & (outer <= 0.0)] = 700
    hu[cylinder((5.0, 0.0, 0.0), (0, 0, 1), 6.5, 99.0)(p) <= 0.0] = 20
    hu[cylinder((0.0, -23.0, 0.0), (0, 1, 0), 1.1, 6.0)(p) <= 0.0] = 40
    hu[0:6] = -3024  # padding
    return hu


def test_marrow_is_in_and_the_canal_out(shell: np.ndarray) -> None:
    bone = propose_bone(shell, AFFINE)
    assert at(bone, (-15.0, 0.0, 0.0)) == 255
    assert at(bone, (0.0, -15.0, 10.0)) == 255
    assert at(bone, (5.0, 0.0, 0.0)) == 0
    assert at(bone, (5.0, 3.0, 20.0)) == 0
    assert at(bone, (-30.0, 0.0, 0.0)) == 0
    solid = 50.0**3 - np.pi * 6.5**2 * 50.0
    assert (bone.values / 255.0).sum() * abs(np.linalg.det(bone.affine_lps_from_ijk)) == pytest.approx(solid, rel=0.05)


def test_crumbs_and_metal_alone_are_no_bone(shell: np.ndarray) -> None:
    hu = shell.copy()
    hu[70:73, 70:73, 70:73] = 800  # a phlebolith
    hu[60:75, 3:6, 3:78] = 3071  # a plate beside the bone
    bone = propose_bone(hu, AFFINE)
    assert at(bone, (31.0, 31.0, 31.0)) == 0
    assert at(bone, (0.0, -36.0, 27.0)) == 0
    assert at(bone, (-15.0, 0.0, 0.0)) == 255


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.5, 0.8])
def test_the_surface_lies_where_half_a_voxel_is_bone(offset: float) -> None:
    ball_mm = 15.0 + offset
    model = bone_model(*_ball(ball_mm), ())
    points = np.eye(3) * (ball_mm + 3.0)
    assert model.field.distance_mm(points) == pytest.approx([3.0] * 3, abs=0.15)
    assert "proposed" in model.source


def test_zones_win(shell: np.ndarray) -> None:
    zone = mask_zone("sacrum", box((-9.0,) * 3, (9.0,) * 3), SHAPE, AFFINE)
    model = bone_model(shell, AFFINE, [zone])
    assert model.field.distance_mm(np.array([[12.0, 0.0, 0.0]])) == pytest.approx([3.0], abs=0.3)
    assert "sacrum" in model.source


def test_two_labels_with_a_common_face_are_one_solid(shell: np.ndarray) -> None:
    halves = [
        mask_zone("sacrum", box((-9.0, -9.0, -9.0), (0.5, 9.0, 9.0)), SHAPE, AFFINE),
        mask_zone("vertebrae_S1", box((0.5, -9.0, -9.0), (9.0, 9.0, 9.0)), SHAPE, AFFINE, level="S1"),
    ]
    model = bone_model(shell, AFFINE, halves)
    assert model.field.distance_mm(np.zeros((1, 3)))[0] < -8.0


def test_skin_is_the_body_s_surface_with_its_holes_filled() -> None:
    p = places(SHAPE, AFFINE)
    hu = np.full(SHAPE, -1000, np.int16)
    hu[cylinder((0.0, 0.0, 0.0), (0, 0, 1), 25.0, 99.0)(p) <= 0.0] = 40
    hu[cylinder((8.0, 0.0, 0.0), (0, 0, 1), 6.0, 99.0)(p) <= 0.0] = -900  # gas that leaves the volume
    hu[:, 68:70, :] = 100  # a table beneath
    skin = propose_skin(hu, AFFINE)
    assert at(skin, (8.0, 0.0, 0.0)) == 255
    assert at(skin, (0.0, 29.0, 0.0)) == 0
    model = bone_model(*_ball(15.0), ())
    assert model.skin is not None
    with pytest.raises(GeometryError) as caught:
        propose_skin(np.full(SHAPE, -2000, np.int16), AFFINE)
    assert caught.value.code == "no_body"


def test_nothing_that_looks_like_bone_is_an_error() -> None:
    with pytest.raises(GeometryError) as caught:
        propose_bone(np.full(SHAPE, 50, np.int16), AFFINE)
    assert caught.value.code == "no_bone"


def _ball(radius_mm: float) -> tuple[np.ndarray, F64]:
    made = volume(lambda p: np.linalg.norm(p, axis=-1) - radius_mm, SHAPE, AFFINE)
    return made.voxels_hu, made.affine_lps_from_ijk
