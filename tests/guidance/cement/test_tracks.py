"""Cement that comes back along a path: in the shadow, in 3D, with a cannula in the way, and where the bone ends."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.space import OpenSpace, Tissue
from guidance.cement.tracks import bone_exit_mm, path_tracks, tip_back_mm, zones_on_paths
from guidance.messages import CementBody, PlannedPath, ZoneSite
from guidance.messages.zones import SphereShape
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.surface import surface_of_shape
from guidance.planning.working_grid import WorkingGrid
from tests.helpers.cement_views import cement_view, zone
from tests.helpers.drawn import view

SIZE = 512
MM = 0.375
MIDDLE = (SIZE - 1) / 2
PATH = PlannedPath(id="P1", entry_lps_mm=(80.0, 0, 0), target_lps_mm=(0.0, 0, 0), diameter_mm=3.0)
MATRIX = view(size=SIZE)


def strip(from_mm, to_mm, half_width_mm=3.0):
    """Cement along +x of the patient, which is +u in the AP view."""
    v, u = np.mgrid[:SIZE, :SIZE]
    u, v = (u - MIDDLE) * MM, (v - MIDDLE) * MM
    return ((u >= from_mm) & (u <= to_mm) & (np.abs(v) <= half_width_mm)).astype(np.uint8)


def tracks_of(mask, *, path=PATH, exit_mm=30.0, matrix=MATRIX, body=None, **fields):
    return path_tracks(cement_view(mask, pixel_from_patient=matrix, **fields), (path,), {path.id: exit_mm}, body)


def test_how_far_it_comes_back():
    (track,) = tracks_of(strip(-8.0, 22.0))
    assert track.back_mm == pytest.approx(22.0, abs=1.5)
    assert track.left_mm == pytest.approx(8.0, abs=1.5)
    (track,) = tracks_of(strip(-8.0, 38.0))
    assert track.left_mm == pytest.approx(-8.0, abs=1.5)


def test_cement_elsewhere_on_the_way_is_not_of_the_track():
    (track,) = tracks_of(strip(-8.0, 10.0) | strip(40.0, 60.0))
    assert track.back_mm == pytest.approx(10.0, abs=1.5)
    assert tracks_of(strip(40.0, 60.0)) == ()


def test_a_cannula_that_hides_it_does_not_end_it():
    blind = strip(-1.0, 80.0, 1.6)
    (track,) = tracks_of(strip(-8.0, 22.0) & ~blind, blind=blind)
    assert track.back_mm == pytest.approx(22.0, abs=2.0)


def test_a_cloud_over_the_path_is_no_column_along_it():
    (track,) = tracks_of(strip(-20.0, 26.0, 20.0))
    assert track.left_mm is None
    # A column that comes out of the cloud is.
    (track,) = tracks_of(strip(-20.0, 16.0, 20.0) | strip(10.0, 28.0))
    assert track.left_mm == pytest.approx(2.0, abs=1.5)


def test_a_path_that_is_planned_from_the_bone_on_has_its_track_outside():
    short = replace(PATH, entry_lps_mm=(30.0, 0, 0))
    (track,) = tracks_of(strip(-8.0, 45.0), path=short)
    assert track.left_mm == pytest.approx(-15.0, abs=1.5)


def test_where_the_bone_ends_may_not_be_known():
    (track,) = tracks_of(strip(-8.0, 22.0), exit_mm=None)
    assert track.left_mm is None


def test_what_cannot_be_told():
    mask = strip(-8.0, 22.0)
    assert tracks_of(mask, matrix=view(90, 0, size=SIZE)) == ()  # looks along the path
    assert tracks_of(mask, matrix=None) == ()
    assert tracks_of(mask, seen=False) == ()
    assert tracks_of(np.zeros_like(mask)) == ()
    assert tracks_of(mask, path=replace(PATH, entry_lps_mm=PATH.target_lps_mm)) == ()


def test_in_space_what_lies_before_the_path_is_not_on_it():
    mask = strip(-8.0, 38.0)
    grid = np.zeros((41, 41, 121), np.float32)
    affine = np.eye(4)
    affine[:3, 3] = (-20.0, -20.0, -20.0)
    grid[18:23, 18:23, 12:35] = 1.0  # along the path to 15 mm
    grid[18:23, 30:40, 12:59] = 1.0  # and farther, 12 mm before it
    (track,) = tracks_of(mask, body=CementBody(occupancy=grid, affine_lps_from_ijk=affine))
    assert track.back_mm == pytest.approx(15.0, abs=1.5)


def test_where_a_path_leaves_the_bone():
    tissue = np.full((20, 20, 100), Tissue.SOFT, np.uint8)
    tissue[:, :, :40] = Tissue.CANCELLOUS
    tissue[:, :, 15:18] = Tissue.SOFT  # a lesion
    tissue[:, :, 40:43] = Tissue.CORTICAL
    grid = WorkingGrid((-5.0, -10.0, -10.0), 1.0, (20, 20, 100))
    space = OpenSpace(tissue, np.zeros_like(tissue), grid)
    assert bone_exit_mm(PATH, space) == pytest.approx(38.0, abs=1.0)
    outside = replace(PATH, target_lps_mm=(60.0, 0, 0))
    assert bone_exit_mm(outside, space) is None
    assert bone_exit_mm(replace(PATH, entry_lps_mm=PATH.target_lps_mm), space) is None


def test_a_view_tells_how_much_is_on_the_path_where_it_shows_the_end():
    (track,) = tracks_of(strip(-8.0, 22.0))
    assert track.shown_mm == pytest.approx(22.0, abs=1.5)
    assert not track.cloud
    (track,) = tracks_of(strip(-20.0, 26.0, 20.0))
    assert track.cloud
    # Where the way on is hidden, cement may have gone on.
    (track,) = tracks_of(strip(-8.0, 22.0), blind=strip(22.0, 90.0, 6.0))
    assert track.shown_mm is None


@pytest.mark.parametrize("back_mm", [-4.0, 0.0, 18.0, 60.0])
@pytest.mark.parametrize("entry", [(80.0, 0.0, 0.0), (50.0, 40.0, -30.0)])
def test_where_the_end_of_a_cannula_is_on_its_path(back_mm, entry):
    path = replace(PATH, entry_lps_mm=entry)
    matrix = np.array(MATRIX).reshape(3, 4)
    seen = matrix @ np.append(back_mm * np.array(entry) / np.linalg.norm(entry), 1.0)
    # As far across its shadow as a cannula may lie off its plan, the place along it is the same.
    along = (matrix @ np.append(np.array(entry), 1.0))[:2] / (matrix @ np.append(np.array(entry), 1.0))[2]
    along -= matrix[:2, 3] / matrix[2, 3]
    aside = 6.0 * np.array((-along[1], along[0])) / np.hypot(*along)
    u, v = (seen[:2] / seen[2] + aside).tolist()
    assert tip_back_mm(path, matrix, (u, v)) == pytest.approx(back_mm, abs=1e-6)


def test_an_end_is_not_told_where_the_view_looks_along_the_path():
    matrix = np.array(MATRIX).reshape(3, 4)
    path = replace(PATH, entry_lps_mm=tuple((-80.0 * matrix[2, :3]).tolist()))
    assert tip_back_mm(path, matrix, (300.0, 300.0)) is None


@pytest.mark.parametrize(("site", "beside_mm", "start_mm"), [
    (ZoneSite.SKIN, 0.0, 145.0),
    (ZoneSite.SKIN, 9.0, 138.0),
    (ZoneSite.SKIN, 30.0, None),
    (ZoneSite.FORAMEN, 0.0, None),
])  # fmt: skip
def test_zones_that_a_path_goes_out_into(site, beside_mm, start_mm):
    """A ball of 5 mm, 150 mm out: on the path, as far beside it as a cannula may lie off its plan, and farther."""
    known = zone("Z4", site, x_mm=150.0)
    known = replace(known, shape=SphereShape(center_lps_mm=(150.0, beside_mm, 0.0), radius_mm=5.0))
    zones = ZonesOnPicture(surfaces=((known, surface_of_shape(known.shape)),))
    found = zones_on_paths(zones, (PATH,))
    if start_mm is None:
        assert found == {}
    else:
        assert found["Z4"][0] == "P1"
        assert found["Z4"][1] == pytest.approx(start_mm, abs=4.0)
