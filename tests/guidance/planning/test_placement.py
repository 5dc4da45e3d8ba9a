"""Which paths are refused on a volume: what misses it, and what runs out of the body."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.case import BadFieldsError
from guidance.messages import Vector3
from guidance.planning.placement import check_placement
from guidance.planning.volume import HuProbe, PlanningVolume


def _body(*, tilt: float = 0.0) -> PlanningVolume:
    """A ball of water, radius 30 mm around the origin, in air; 2 mm voxels, sheared by `tilt`."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[1, 2] = tilt
    affine[:3, 3] = -affine[:3, :3] @ np.array([29.5, 29.5, 29.5])
    k, j, i = np.indices((60, 60, 60))
    points = np.stack((i, j, k), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    inside = (points**2).sum(axis=-1) < 30.0**2
    return PlanningVolume(np.where(inside, 0, -1000).astype(np.int16), affine)


@pytest.mark.parametrize("tilt", [0.0, 0.7])
@pytest.mark.parametrize(
    ("entry", "target"),
    [
        pytest.param((0.0, 50.0, 0.0), (0.0, 0.0, 0.0), id="from outside in"),
        pytest.param((0.0, 29.0, 0.0), (0.0, 0.0, 0.0), id="from the skin in"),
        pytest.param((0.0, 20.0, 0.0), (0.0, -20.0, 0.0), id="inside"),
        pytest.param((0.0, 500.0, 0.0), (0.0, 0.0, 0.0), id="begins outside the volume"),
        pytest.param((0.0, 45.0, 0.0), (0.0, 40.0, 0.0), id="in air, both"),
        pytest.param((0.0, 0.0, -80.0), (0.0, 0.0, 80.0), id="through and through"),
    ],
)
def test_a_path_that_can_have_been_planned_is_let_through(entry: Vector3, target: Vector3, tilt: float) -> None:
    check_placement(entry, target, HuProbe(_body(tilt=tilt)))


@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_a_path_outside_the_volume_is_refused_by_its_fields(tilt: float) -> None:
    with pytest.raises(BadFieldsError) as caught:
        check_placement((1000.0, 0.0, 0.0), (1000.0, 0.0, 50.0), HuProbe(_body(tilt=tilt)))
    assert [fault.field for fault in caught.value.errors] == ["entry_lps_mm", "target_lps_mm"]
    assert "LPS" in caught.value.errors[0].message


@pytest.mark.parametrize("entry", [(0.0, 0.0, 0.0), (10.0, 10.0, 10.0)])
def test_swapped_ends_are_refused_with_the_mend(entry: Vector3) -> None:
    with pytest.raises(BadFieldsError) as caught:
        check_placement(entry, (0.0, 45.0, 0.0), HuProbe(_body()))
    assert caught.value.errors[0].field == "target_lps_mm"
    assert "swap" in caught.value.errors[0].message


def test_gas_inside_the_body_is_no_outside() -> None:
    volume = _body()
    voxels = volume.voxels_hu.copy()
    voxels[28:32, 28:32, 28:32] = -950
    check_placement((20.0, 0.0, 0.0), (0.0, 0.0, 0.0), HuProbe(PlanningVolume(voxels, volume.affine_lps_from_ijk)))
