"""Planes to a grid: any order, gaps, rounding, tilt; the step that is told and the one that is true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.plane_stack import Plane, regular_places, stack_planes

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@given(
    st.floats(0.3, 6.0),
    st.lists(st.integers(0, 200), min_size=2, max_size=40, unique=True),
    st.floats(-400, 400),
    st.randoms(use_true_random=False),
)
def test_told_steps_find_every_place_though_planes_are_missing(
    step: float, indices: list[int], first: float, random: object
) -> None:
    # Every second slice alone is the case that is told apart; here two neighbours are there.
    indices = sorted({*indices, min(indices) + 1})
    random.shuffle(indices)
    along = np.array([round(first + index * step, 4) for index in indices])
    places = regular_places(along, declared_mm=-round(step, 3))
    np.testing.assert_array_equal(places.index, np.array(indices) - min(indices))
    assert places.step_mm == pytest.approx(step, abs=2e-4)


@given(st.floats(0.3, 6.0), st.integers(3, 30), st.sampled_from([2, 3, 4]))
def test_a_told_step_that_would_leave_all_between_empty_is_not_believed(step: float, count: int, parts: int) -> None:
    along = np.arange(count) * step
    for told in ({"declared_mm": step / parts}, {"volume_mm": step / parts}):
        places = regular_places(along, **told)
        assert places.index.tolist() == list(range(count))
        assert places.step_mm == pytest.approx(step)


@given(st.integers(0, 3), st.floats(-30, 30), st.permutations(range(5)))
def test_the_grid_goes_through_every_plane(axis: int, tilt_deg: float, order: list[int]) -> None:
    turn = np.linalg.qr(np.random.default_rng(axis).normal(size=(3, 3)))[0]
    turn = turn * np.sign(np.linalg.det(turn))
    step = turn @ np.array((0.0, 2.5 * np.tan(np.deg2rad(tilt_deg)), 2.5))
    origin = np.array((7.0, -8.0, 90.0))
    orientation = (*turn[:, 0], *turn[:, 1])
    planes = [
        Plane(position_mm=tuple(origin + k * step), orientation=orientation, spacing_mm=(0.8, 0.7)) for k in order
    ]
    stack = stack_planes(planes)
    assert stack.count == 5
    for plane, place in zip(planes, stack.places, strict=True):
        got = stack.affine_lps_from_ijk @ (0.0, 0.0, place, 1.0)
        np.testing.assert_allclose(got[:3], plane.position_mm, atol=1e-9)
    np.testing.assert_allclose(stack.affine_lps_from_ijk[:3, 0], 0.7 * turn[:, 0], atol=1e-12)
    np.testing.assert_allclose(stack.affine_lps_from_ijk[:3, 1], 0.8 * turn[:, 1], atol=1e-12)
    assert np.linalg.det(stack.affine_lps_from_ijk[:3, :3]) > 0


@pytest.mark.parametrize(
    ("along", "code"),
    [
        ((0.0, 1.0, 2.4), "irregular_planes"),
        ((0.0, 1.0, np.nan), "irregular_planes"),
        ((0.0, 0.02, 1000.0), "irregular_planes"),
        ((5.0, 5.0, 5.004), "single_slice"),
    ],
)
def test_what_stands_on_no_grid_is_refused(along: tuple[float, ...], code: str) -> None:
    with pytest.raises(GeometryError) as caught:
        regular_places(np.array(along))
    assert caught.value.code == code
    assert caught.value.mend


def test_no_spacing_is_no_grid() -> None:
    planes = [Plane(position_mm=(0.0, 0.0, z), orientation=AXIAL, spacing_mm=(0.0, 1.0)) for z in (0.0, 1.0)]
    with pytest.raises(GeometryError):
        stack_planes(planes)
