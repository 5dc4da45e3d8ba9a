"""Voxels onto the grid, against a volume that is linear in space and so interpolates exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.geometry.volume_grid import arrange
from guidance.geometry.volume_resample import AIR_HU, fill
from tests.helpers.slices import stack


def linear_plane(place: float, *, beside_px: float = 0.0) -> np.ndarray:
    j, i = np.mgrid[0:24, 0:20]
    return np.rint(100 * place + 10 * j + 4 * (i + beside_px)).astype(np.int16)


@pytest.mark.parametrize("places", [[0, 1, 2, 3.5, 5, 6.5], [0, 1, 2, 3.3, 4, 5], [0, 1, 2, 3, 4, 5]])
def test_uneven_steps_are_interpolated_between_neighbours(places: list[float]) -> None:
    slices = stack(places)
    grid = arrange(slices).grid
    assert grid is not None
    out = np.zeros(grid.shape_kji, np.int16)
    planes = {one.key: linear_plane(place) for one, place in zip(slices, places, strict=True)}
    asked = []

    def pixels_of(key: tuple[str, int]) -> np.ndarray:
        asked.append(key)
        return planes[key]

    fill(grid, pixels_of, out)
    assert asked == [one.key for one in slices]
    step_mm = grid.affine_lps_from_ijk[2, 2]
    expected = np.array([linear_plane(k * step_mm / 2.0) for k in range(len(out))])
    assert np.abs(out.astype(int) - expected).max() <= 1  # two roundings


def test_a_slice_beside_the_line_comes_back_with_air_at_the_edge() -> None:
    slices = stack()
    x, y, z = slices[3].position_mm
    slices[3] = replace(slices[3], position_mm=(x + 1.4, y, z))
    grid = arrange(slices).grid
    assert grid is not None
    planes = {one.key: linear_plane(k, beside_px=2.0 if k == 3 else 0.0) for k, one in enumerate(slices)}
    out = np.zeros(grid.shape_kji, np.int16)
    fill(grid, planes.__getitem__, out)
    assert np.abs(out[3, :, 2:].astype(int) - linear_plane(3)[:, 2:]).max() <= 1
    assert np.all(out[3, :, :2] == AIR_HU)
