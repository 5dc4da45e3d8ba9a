"""How near cement may be to what one view's shadow lies over."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.reach import Reach
from guidance.messages import PlannedPath, SphereShape
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.surface import surface_of_shape
from tests.helpers.cement_views import cement_view, disc, zone
from tests.helpers.drawn import view

SIZE = 512
MM = 0.375
MIDDLE = (SIZE - 1) / 2
PATH = PlannedPath(id="P1", entry_lps_mm=(0.0, 80.0, 0.0), target_lps_mm=(0.0, 0.0, 0.0), diameter_mm=3.0)
SHAPE = SphereShape(center_lps_mm=(0.0, 25.0, 0.0), radius_mm=10.0)
ZONES = ZonesOnPicture(((replace(zone("Z1"), shape=SHAPE), surface_of_shape(SHAPE)),))


def frame(radius_mm, *, u_px=MIDDLE, **fields):
    mask, front = disc(SIZE, (u_px, MIDDLE), radius_mm / MM)
    return cement_view(mask, front, **{"pixel_from_patient": view(size=SIZE), **fields})


def test_cement_goes_along_the_rays_about_as_far_as_across():
    reach = Reach(ZONES, (PATH,))
    # 15 mm from where cement comes out; the disc's 97th percentile is at 0.985 of its radius.
    for radius_mm in (4.0, 8.0):
        left_mm = reach.left_mm(frame(radius_mm))["Z1"]
        assert left_mm == pytest.approx(15.0 - 1.3 * 0.985 * radius_mm, abs=0.5)


def test_of_what_nothing_is_known():
    reach = Reach(ZONES, (PATH,))
    assert reach.left_mm(frame(8.0, u_px=MIDDLE + 20.0 / MM)) == {}  # cement of another path
    assert reach.left_mm(frame(8.0, pixel_from_patient=None)) == {}
    assert reach.left_mm(cement_view(np.zeros((SIZE, SIZE), np.uint8), pixel_from_patient=view(size=SIZE))) == {}
    assert Reach(ZONES, ()).left_mm(frame(8.0)) == {}


@pytest.mark.parametrize(("thick_mm", "reaches_mm"), [(10.0, 1.3 * 5.0), (21.0, 16.0)])
def test_what_is_thicker_than_wide_has_gone_along_the_rays(thick_mm, reaches_mm):
    """A ball of 5 mm, and a column of 21 mm of which all may lie on one side."""
    reach = Reach(ZONES, (PATH,))
    thickness = np.full((SIZE, SIZE), thick_mm, np.float32)
    left_mm = reach.left_mm(frame(5.0, thickness_mm=thickness))["Z1"]
    assert left_mm == pytest.approx(15.0 - reaches_mm, abs=0.5)


def test_thickness_that_is_not_told_anywhere_changes_nothing():
    reach = Reach(ZONES, (PATH,))
    nothing = np.full((SIZE, SIZE), np.nan, np.float32)
    assert reach.left_mm(frame(5.0, thickness_mm=nothing)) == reach.left_mm(frame(5.0))
