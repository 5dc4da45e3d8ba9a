"""Whether zones fit the volume that they are meant for; cutting them to what is filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.case import BadFieldsError
from guidance.messages import Severity, ZoneKind, ZoneSite
from guidance.planning.occupancy import Occupancy
from guidance.wire.read_zones import ReadZone, ReadZones, check_against_volume, cropped

VOLUME = np.diag([0.5, 0.5, 2.0, 1.0])  # 40 x 40 x 10 voxels: 20 mm x 20 mm x 20 mm
SHAPE = (10, 40, 40)


def zone(name: str, corner_mm: tuple[float, float, float], *, frame: str = "1.2", spacing: float = 1.0) -> ReadZone:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = np.array(corner_mm) - spacing
    values = np.pad(np.full((4, 4, 4), 255, np.uint8), 1)
    return ReadZone(
        name=name,
        site=ZoneSite.OTHER,
        side=None,
        kind=ZoneKind.KEEP_OUT,
        level="",
        color="",
        occupancy=Occupancy(values, affine),
        origin="nifti",
        origin_uid="",
        frame_of_reference_uid=frame,
    )


def read(*zones: ReadZone) -> ReadZones:
    return ReadZones(zones=zones)


def test_another_grid_in_the_field_is_no_fault() -> None:
    ours = read(zone("inside", (3, 3, 3)), zone("coarse", (2, 2, 2), spacing=3.0), zone("sheared edge", (18.2, 3, 3)))
    assert check_against_volume(ours, SHAPE, VOLUME, "1.2").zones == ours.zones


def test_a_shifted_zone_is_an_error_by_name_and_the_others_stay() -> None:
    checked = check_against_volume(
        read(zone("inside", (3, 3, 3)), zone("away", (300, 3, 3)), zone("half", (3, 19.0, 3))), SHAPE, VOLUME, "1.2"
    )
    assert [one.name for one in checked.zones] == ["inside", "half"]
    away, half = checked.findings
    assert (away.code, away.severity) == ("zone_outside_volume", Severity.ERROR)
    assert "away" in away.message
    assert half.severity is Severity.WARNING
    assert "25 % of half" in half.message


def test_zones_of_another_frame_are_refused_with_field_and_mend() -> None:
    with pytest.raises(BadFieldsError, match="register") as caught:
        check_against_volume(read(zone("x", (3, 3, 3), frame="1.9")), SHAPE, VOLUME, "1.2")
    assert [error.field for error in caught.value.errors] == ["frame_of_reference_uid"]
    assert "1.9" in str(caught.value)
    assert "1.2" in str(caught.value)
    with pytest.raises(BadFieldsError, match="none"):
        check_against_volume(read(zone("x", (3, 3, 3), frame="")), SHAPE, VOLUME, "1.2")
    mixed = check_against_volume(read(zone("x", (3, 3, 3), frame="1.9"), zone("y", (3, 3, 3))), SHAPE, VOLUME, "1.2")
    assert [one.name for one in mixed.zones] == ["y"]
    assert [(one.code, one.severity) for one in mixed.findings] == [("frame_of_reference", Severity.ERROR)]


def test_a_file_of_which_nothing_lies_in_the_field_is_refused() -> None:
    with pytest.raises(BadFieldsError, match="made on this volume"):
        check_against_volume(read(zone("x", (300, 3, 3))), SHAPE, VOLUME, "1.2")


def test_nothing_is_nothing() -> None:
    assert check_against_volume(read(), SHAPE, VOLUME, "1.2").zones == ()


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(1, 255)), max_size=6),
)
def test_cutting_moves_nothing(shape: tuple[int, int, int], filled: list[tuple[int, int, int, int]]) -> None:
    values = np.zeros(shape, np.uint8)
    for k, j, i, value in filled:
        values[k % shape[0], j % shape[1], i % shape[2]] = value
    affine = np.array([[1.0, 0.2, 0.0, 5.0], [0.0, 2.0, 0.3, 6.0], [0.0, 0.0, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]])
    cut = cropped(values, affine)
    if not values.any():
        assert cut is None
        return
    assert cut is not None

    def places(of: np.ndarray, matrix: np.ndarray) -> set[tuple[float, ...]]:
        voxels = np.argwhere(of)
        where = voxels[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]
        return {(*np.round(row, 6), float(of[tuple(at)])) for row, at in zip(where, voxels, strict=True)}

    assert places(cut.values, cut.affine_lps_from_ijk) == places(values, affine)
    inner = cut.values[1:-1, 1:-1, 1:-1]
    assert inner.astype(int).sum() == cut.values.astype(int).sum()
    for axis in range(3):
        assert inner.take(0, axis).any()
        assert inner.take(-1, axis).any()
