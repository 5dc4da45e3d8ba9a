"""Slices to grid: order, affine and findings, from geometry alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from guidance.errors import GeometryError
from guidance.geometry.volume_grid import arrange
from guidance.geometry.volume_slices import SliceDescription
from guidance.messages import Severity
from tests.helpers.slices import stack


def codes(slices: list[SliceDescription]) -> list[str]:
    return [finding.code for finding in arrange(slices).findings]


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_order_of_arrival_and_instance_numbers_change_nothing(order: list[int], numbers: list[int]) -> None:
    slices = [replace(one, instance_number=numbers[index]) for index, one in enumerate(stack())]
    grid = arrange([slices[index] for index in order]).grid
    assert grid is not None
    assert grid.order == tuple((f"1.{index}", 0) for index in range(6))
    np.testing.assert_allclose(
        grid.affine_lps_from_ijk, [[0.7, 0, 0, -30], [0, 0.8, 0, -40], [0, 0, 2, 100], [0, 0, 0, 1]], atol=1e-12
    )


@given(
    st.floats(-180, 180), st.floats(-180, 180), st.floats(-180, 180), st.floats(0.2, 10), st.booleans(), st.booleans()
)
def test_every_voxel_centre_is_where_the_slice_says(
    x_deg: float, y_deg: float, z_deg: float, step_mm: float, falling: bool, feet_first: bool
) -> None:
    turn = Rotation.from_euler("xyz", (x_deg, y_deg, z_deg), degrees=True).as_matrix()
    row, column = turn[:, 0] * (-1 if feet_first else 1), turn[:, 1]
    step = turn[:, 2] * step_mm * (-1 if falling else 1)
    slices = stack(step=tuple(step), directions=(tuple(row), tuple(column)))
    grid = arrange(slices).grid
    assert grid is not None
    assert np.linalg.det(grid.affine_lps_from_ijk[:3, :3]) > 0  # never mirrored, whichever way the slices run
    by_key = {one.key: one for one in slices}
    for k, key in enumerate(grid.order):
        one = by_key[key]
        # PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, at column 3 and row 5
        expected = (
            np.array(one.position_mm) + 3 * 0.7 * np.array(one.row_direction) + 5 * 0.8 * np.array(one.column_direction)
        )
        np.testing.assert_allclose((grid.affine_lps_from_ijk @ (3, 5, k, 1))[:3], expected, atol=1e-9)


def test_a_tilted_gantry_keeps_its_shear_and_is_named() -> None:
    # Philips head phantom of dcm_qa_ct: 18.5 degrees, table along z
    tilted = ((1.0, 0.0, 0.0), (0.0, 0.9483237, -0.3173047))
    arrangement = arrange(stack(step=(0.0, 0.0, 2.5), directions=tilted))
    assert [finding.code for finding in arrangement.findings] == ["gantry_tilt"]
    assert "18.5 degrees" in arrangement.findings[0].message
    assert arrangement.grid is not None
    np.testing.assert_allclose(arrangement.grid.affine_lps_from_ijk[:3, 2], (0, 0, 2.5), atol=1e-12)
    assert not arrangement.grid.is_resampled


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        pytest.param(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)), ["not_axial"], id="coronal"),
        pytest.param(((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)), ["not_axial"], id="sagittal"),
        pytest.param(((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), [], id="axial-seen-from-the-head"),
    ],
)
def test_planes_that_are_not_axial_are_named(
    directions: tuple[tuple[float, float, float], tuple[float, float, float]], expected: list[str]
) -> None:
    normal = np.cross(*directions)
    assert codes(stack(step=tuple(2.0 * normal), directions=directions)) == expected


@pytest.mark.parametrize(
    ("places", "numbers", "expected"),
    [
        pytest.param([0, 1, 2, 4, 5, 6], None, ["missing_slices"], id="one-lost"),
        pytest.param([0, 1, 2, 4, 5, 6], [1, 2, 3, 5, 6, 7], ["missing_slices"], id="one-lost-numbers-skip"),
        pytest.param([0, 1, 2, 6, 7, 8], None, ["missing_slices"], id="three-lost-in-a-row"),
        pytest.param([0, 3], None, [], id="two-slices-are-a-volume"),
        pytest.param([0, 1, 3], None, ["missing_slices"], id="three-slices-one-lost"),
        pytest.param(
            [0, 1, 2, 3, 5, 7, 9], [1, 2, 3, 4, 6, 8, 10], ["missing_slices"], id="every-other-lost-at-the-end"
        ),
        pytest.param([0, 1, 2, 3, 5, 7, 9], None, ["nonuniform_spacing"], id="two-step-widths-numbers-run-on"),
        pytest.param([0, 1, 2, 3, 5, 7, 9, 11], [None] * 8, ["nonuniform_spacing"], id="two-step-widths-no-numbers"),
        pytest.param([0, 1, 2, 3.3, 4, 5], None, ["nonuniform_spacing"], id="one-off-its-place"),
        pytest.param([0, 1, 2, 3.5, 5, 6.5], None, ["nonuniform_spacing"], id="one-and-a-half-steps"),
        pytest.param([0, 1, 2, 3, 40, 41], None, ["missing_slices"], id="a-gap-too-wide-to-fill"),
        pytest.param([0, 1.004, 2.003, 2.996, 4.001, 5], None, [], id="rounded-positions"),
        pytest.param(
            [1.02 * k if k < 30 else 30.6 + 0.98 * (k - 30) for k in range(60)],
            None,
            ["nonuniform_spacing"],
            id="small-differences-that-add-up",
        ),
        pytest.param([0], None, ["single_slice"], id="one-slice"),
    ],
)
def test_steps(places: list[float], numbers: list[int | None] | None, expected: list[str]) -> None:
    assert codes(stack(places, numbers=numbers)) == expected


@given(st.integers(8, 40), st.data())
def test_any_one_lost_slice_inside_is_missed(count: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(1, count - 2))
    assert "missing_slices" in codes([one for index, one in enumerate(stack(range(count))) if index != lost])


def test_a_resampled_grid_has_the_finest_step_and_both_ends() -> None:
    grid = arrange(stack([0, 1, 2, 3.5, 5, 6.5])).grid
    assert grid is not None
    assert grid.is_resampled
    assert grid.shape_kji[0] == 8
    step = grid.affine_lps_from_ijk[:3, 2]
    np.testing.assert_allclose(step * 7, (0, 0, 13), atol=1e-9)
    np.testing.assert_allclose(grid.source_k, np.array([0, 1, 2, 3.5, 5, 6.5]) * 2 / step[2], atol=1e-9)


def test_slices_beside_their_line_are_moved_back() -> None:
    slices = stack()
    x, y, z = slices[3].position_mm
    slices[3] = replace(slices[3], position_mm=(x + 1.4, y, z))
    grid = arrange(slices).grid
    assert codes(slices) == ["nonuniform_spacing"]
    assert grid is not None
    np.testing.assert_allclose(grid.offsets_ij[3], (2, 0), atol=1e-9)


def test_doubles() -> None:
    slices = stack()
    same = replace(slices[2], instance_uid="1.99")
    other = replace(same, digest="other pixels")
    beside = replace(same, position_mm=(0.0, *same.position_mm[1:]))
    assert codes([*slices, same]) == ["duplicate_slices"]
    assert arrange([*slices, same]).findings[0].severity is Severity.WARNING
    assert codes([*slices, other]) == ["conflicting_slices"]
    assert codes([*slices, beside]) == ["conflicting_slices"]
    assert arrange([*slices, other]).grid is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"frame_of_reference_uid": "1.8"}, "mixed_frame_of_reference", id="another-frame"),
        pytest.param({"frame_of_reference_uid": ""}, "mixed_frame_of_reference", id="no-frame"),
        pytest.param({"patient_position": "FFS"}, "mixed_orientation", id="another-patient-position"),
        pytest.param({"column_direction": (0.0, 0.0, -1.0)}, "mixed_orientation", id="another-plane"),
        pytest.param({"column_direction": (0.0, 0.9999, -0.0141)}, "mixed_orientation", id="0.8-degrees"),
    ],
)
def test_mixed_series_are_refused(change: dict[str, object], code: str) -> None:
    slices = stack()
    slices[4] = replace(slices[4], **change)
    arrangement = arrange(slices)
    assert [finding.code for finding in arrangement.findings] == [code]
    assert arrangement.grid is None


def test_errors_come_before_warnings() -> None:
    slices = stack([0, 1, 2, 4, 5, 6])
    findings = arrange([*slices, replace(slices[0], instance_uid="1.99")]).findings
    assert [finding.code for finding in findings] == ["missing_slices", "duplicate_slices"]


def test_a_patient_beyond_the_field_is_named() -> None:
    assert codes([replace(one, edge_tissue=0.2) for one in stack()]) == ["truncated_field_of_view"]
    assert codes([replace(one, edge_tissue=0.2 if index < 1 else 0.0) for index, one in enumerate(stack())]) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"position_mm": (float("nan"), 0.0, 0.0)}, id="position-not-finite"),
        pytest.param({"spacing_mm": (0.0, 0.7)}, id="spacing-zero"),
        pytest.param({"spacing_mm": (0.8, -0.7)}, id="spacing-negative"),
        pytest.param({"rows": 0}, id="no-rows"),
        pytest.param({"row_direction": (0.0, 1.0, 0.0)}, id="directions-parallel"),
        pytest.param({"row_direction": (2.0, 0.0, 0.0)}, id="direction-not-a-unit-vector"),
    ],
)
def test_an_impossible_plane_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(GeometryError) as caught:
        replace(stack()[0], **change)
    assert caught.value.code == "bad_geometry"
