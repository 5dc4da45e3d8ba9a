"""Zones lie where the patient lies: told shifts, measured motion, another registration; all put together."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.site_watch import SiteWatch
from guidance.cement.values import CementScene
from guidance.messages import CementBody, PlannedPath, ZoneKind
from guidance.overlay.zones import ZonesOnPicture
from tests.helpers.cement_views import cement_view, disc, zone
from tests.helpers.drawn import view
from tests.helpers.surfaces import ball

SIZE = 512
MATRIX = view(size=SIZE)
MIDDLE = (SIZE - 1) / 2
PX_PER_MM = 1200.0 / 750.0 / 0.6
ZONES = ZonesOnPicture(((zone("Z1"), ball((0, 0, 0), 10.0, 40)),))
SCENE = CementScene(zones=ZONES)


def shifted(matrix, du_px, dv_px=0.0):
    """Geometry that tells that everything lies elsewhere in the picture."""
    moved = np.array(matrix).reshape(3, 4)
    return tuple((np.array([[1, 0, du_px], [0, 1, dv_px], [0, 0, 1.0]]) @ moved).ravel().tolist())


def frame_at(u_px, *, matrix=MATRIX, **fields):
    mask, front = disc(SIZE, (u_px, MIDDLE), 20.0)
    return cement_view(mask, front, pixel_from_patient=matrix, **fields)


def distance_px(watch, frame, scene=SCENE):
    return watch.seen(1, frame, scene, CementBody()).sites[0].distance_px


def test_a_patient_who_moves_takes_the_zones_along():
    watch = SiteWatch()
    before = distance_px(watch, frame_at(MIDDLE + 90.0))
    # Everything moves by 6 px, cement too: nothing has come nearer.
    after = distance_px(watch, frame_at(MIDDLE + 96.0, motion=(6.0, 0.0, 0.0)))
    assert after == pytest.approx(before, abs=0.2)


def test_a_table_that_pans_is_not_counted_twice():
    watch = SiteWatch()
    before = distance_px(watch, frame_at(MIDDLE + 90.0))
    after = distance_px(watch, frame_at(MIDDLE + 120.0, matrix=shifted(MATRIX, 30.0), motion=(30.0, 0.0, 0.0)))
    assert after == pytest.approx(before, abs=0.2)


def test_another_registration_counts_at_once():
    watch = SiteWatch()
    before = distance_px(watch, frame_at(MIDDLE + 90.0))
    # The patient has not moved; the zone was never where it was thought to be.
    after = distance_px(watch, frame_at(MIDDLE + 90.0, matrix=shifted(MATRIX, 30.0)))
    assert after == pytest.approx(before - 30.0, abs=0.3)


def test_another_pose_has_its_own_reference():
    watch = SiteWatch()
    distance_px(watch, frame_at(MIDDLE + 90.0, motion=(5.0, 0.0, 0.0)))
    lateral = view(90, 0, size=SIZE)
    fresh = distance_px(SiteWatch(), frame_at(MIDDLE + 90.0, matrix=lateral))
    assert distance_px(watch, frame_at(MIDDLE + 90.0, matrix=lateral)) == pytest.approx(fresh, abs=0.1)


def test_a_turn_turns_the_zones_about_the_middle():
    off_middle = CementScene(zones=ZonesOnPicture(((zone("Z1"), ball((0, 0, 30.0), 10.0, 40)),)))
    watch = SiteWatch()
    before = distance_px(watch, frame_at(MIDDLE + 90.0), off_middle)
    turn = np.deg2rad(2.0)
    # The zone lies 80 px above the middle: content turned by +2 deg takes it to the right.
    mask, front = disc(SIZE, (MIDDLE + 90.0 * np.cos(turn), MIDDLE + 90.0 * np.sin(turn)), 20.0)
    turned = cement_view(mask, front, pixel_from_patient=MATRIX, motion=(0.0, 0.0, 2.0))
    assert distance_px(watch, turned, off_middle) == pytest.approx(before, abs=0.6)


def test_zones_that_change_are_taken_over():
    watch = SiteWatch()
    near = distance_px(watch, frame_at(MIDDLE + 90.0))
    other = CementScene(zones=ZonesOnPicture(((zone("Z7"), ball((-20.0, 0, 0), 10.0, 40)),)))
    site = watch.seen(1, frame_at(MIDDLE + 90.0), other, CementBody()).sites[0]
    assert (site.zone_id, site.distance_px) == ("Z7", pytest.approx(near + 20.0 * PX_PER_MM, abs=0.5))


def test_everything_of_a_frame_comes_together():
    target = replace(zone("T", kind=ZoneKind.TARGET))
    scene = CementScene(
        zones=ZonesOnPicture(((target, ball((30.0, 0, 0), 8.0, 40)), *ZONES.surfaces)),
        paths=(PlannedPath(id="P1", entry_lps_mm=(90, 0, 0), target_lps_mm=(34, 0, 0), diameter_mm=3.0),),
    )
    body = CementBody(views=("Fluoro",))
    frame = frame_at(MIDDLE + 34.0 * PX_PER_MM)
    seen = SiteWatch().seen(4, frame, scene, body)
    assert (seen.run, seen.view, seen.body) == (4, frame, body)
    assert [site.zone_id for site in seen.sites] == ["T", "Z1"]
    assert seen.outside_px is not None
    assert [(track.path_id, track.left_mm) for track in seen.tracks] == [("P1", None)]
    assert seen.tracks[0].back_mm == pytest.approx(20.0 / PX_PER_MM, abs=1.5)


def test_a_frame_without_word_of_cement_has_nothing_around_it():
    unseen = cement_view(seen=False, code="black", reason="the picture is black", mask=None, blind=None, front_px=())
    seen = SiteWatch().seen(1, unseen, SCENE, CementBody())
    assert (seen.sites, seen.extensions, seen.tracks, seen.outside_px) == ((), (), (), None)


@pytest.mark.parametrize("matrix", [(0.0,) * 12, (float("nan"),) * 12])
def test_a_matrix_that_is_none_is_no_geometry(matrix):
    (site,) = SiteWatch().seen(1, frame_at(200.0, matrix=matrix), SCENE, CementBody()).sites
    assert site.distance_px is None
    assert "geometry" in site.reason


def test_a_registration_that_is_told_counts_also_where_it_is_a_small_one():
    watch = SiteWatch()
    before = distance_px(watch, frame_at(MIDDLE + 90.0))
    watch.begun_anew()
    after = distance_px(watch, frame_at(MIDDLE + 90.0, matrix=shifted(MATRIX, 6.0)))
    assert after == pytest.approx(before - 6.0, abs=0.3)
