"""Which rays a cut volume holds."""

from __future__ import annotations

import numpy as np

from guidance.cement.held_rays import held_rays
from guidance.messages import F32, F64


def _affine(shape: tuple[int, int, int], spacing_mm: float = 2.0) -> F64:
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = -spacing_mm * (np.array(shape[::-1]) - 1.0) / 2.0
    return affine


def _body(front_to_back: slice) -> F32:
    """Body all along z and x, so cut there; air in front and behind where the slice leaves any."""
    hu = np.full((40, 60, 50), -1000.0, np.float32)
    hu[:, front_to_back] = 40.0
    return hu


def _view(distance_mm: float) -> F64:
    """Along +y, 1 mm per pixel at the middle of a picture of 160."""
    camera = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, distance_mm]])
    lens = np.array([[distance_mm, 0, 79.5], [0, distance_mm, 79.5], [0, 0, 1.0]])
    return np.asarray(lens @ camera, np.float64)


def test_rays_from_air_to_air_are_held_whole() -> None:
    hu = _body(slice(10, 50))
    held = held_rays(hu, _affine(hu.shape), _view(600.0), size=(80, 80), first_px=0.5, step_px=2.0)
    assert held.whole
    assert held.used[40, 40]
    # The volume is 80 mm high (z) and 100 wide, 120 deep: rays near its upper face leave through it, within the body.
    upper_px = 40.0 * 600.0 / (600.0 - 60.0)  # where the nearer edge of the face is seen, from the middle
    lower_px = 40.0 * 600.0 / (600.0 + 60.0)
    rows = np.flatnonzero(held.used[:, 40])
    assert lower_px - 4.0 < 79.5 - (0.5 + 2.0 * rows[0]) < upper_px
    # Rays that leave through that face only where there is air again are held.
    assert 79.5 - (0.5 + 2.0 * rows[0]) > lower_px


def test_of_a_body_cut_in_depth_only_rays_through_the_same_slab_count() -> None:
    hu = _body(slice(0, 60))
    held = held_rays(hu, _affine(hu.shape), _view(600.0), size=(80, 80), first_px=0.5, step_px=2.0)
    assert not held.whole
    rows = np.flatnonzero(held.used[:, 40])
    lower_px = 40.0 * 600.0 / (600.0 + 60.0)
    assert abs(79.5 - (0.5 + 2.0 * rows[0]) - lower_px) < 4.0


def test_beside_or_behind_the_source_nothing_is_held() -> None:
    hu = _body(slice(10, 50))
    beside = _view(600.0)
    beside[0, 3] += 1e6
    for view in (beside, _view(-600.0)):
        assert not held_rays(hu, _affine(hu.shape), view, size=(20, 20), first_px=3.5, step_px=8.0).used.any()
