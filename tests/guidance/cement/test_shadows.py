"""Zones' shadows: distances against closed forms and a filled drawing, what lies under cement, poses that move."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from guidance.cement.outline import distances, grid_in, inside, outline_of, plan_of
from guidance.cement.shadows import NO_CEMENT, NO_GEOMETRY, ZoneShadows
from guidance.messages import ZoneKind
from guidance.overlay.zones import ZonesOnPicture
from tests.helpers.cement_views import cement_view, disc, front_of, zone
from tests.helpers.drawn import view
from tests.helpers.surfaces import ball, box, ring

SIZE = 512
MATRIX = view(size=SIZE)
PX_PER_MM = 1200.0 / 750.0 / 0.6
MIDDLE = (SIZE - 1) / 2


def shadow_radius_px(radius_mm):
    """Of a ball at the isocentre: its tangent cone from 750 mm away."""
    return PX_PER_MM * radius_mm / np.sqrt(1.0 - (radius_mm / 750.0) ** 2)


def shadows_of(*surfaces, kinds=()):
    zones = [
        replace(zone(f"Z{number + 1}"), kind=kinds[number] if kinds else ZoneKind.KEEP_OUT)
        for number in range(len(surfaces))
    ]
    return ZoneShadows(ZonesOnPicture(tuple(zip(zones, surfaces, strict=True))))


def as_matrix(flat):
    return np.array(flat).reshape(3, 4)


def filled(surface, matrix, size, finer=4):
    """The shadow by drawing every triangle, `finer` times as large."""
    seen = surface.vertices_lps_mm.astype(float) @ matrix[:, :3].T + matrix[:, 3]
    places = ((seen[:, :2] / seen[:, 2:] + 0.5) * finer - 0.5) * 16
    picture = np.zeros((size * finer, size * finer), np.uint8)
    for triangle in surface.triangles:
        cv2.fillConvexPoly(picture, np.round(places[triangle]).astype(np.int32), 1, shift=4)
    return picture


def test_distances_to_a_balls_shadow():
    matrix = as_matrix(MATRIX)
    surface = ball((0, 0, 0), 20.0, 60)
    outline = outline_of(plan_of(surface), surface.vertices_lps_mm, matrix)
    found = distances(outline, 2, 257, 257)
    v, u = np.mgrid[:257, :257] * 2.0
    truth = np.hypot(u - MIDDLE, v - MIDDLE) - shadow_radius_px(20.0)
    assert np.abs(found - truth).max() < 2.2
    near = np.abs(truth) < 20.0
    assert np.abs(found - truth)[near].max() < 0.3
    assert np.abs(found - truth)[near].mean() < 0.03


@pytest.mark.parametrize("angles", [(0, 0), (35, 20), (90, 0), (-120, -15)])
def test_the_inside_is_that_of_a_filled_drawing(angles):
    matrix = as_matrix(view(*angles, size=SIZE))
    for surface in (ring((10, 5, -12), 18.0, 5.0), box((-8, -20, -30), (12, 25, 4))):
        outline = outline_of(plan_of(surface), surface.vertices_lps_mm, matrix)
        found = inside(outline, 0.0, 0.0, 1.0, SIZE, SIZE)
        drawn = filled(surface, matrix, SIZE, 4).reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3))
        clear = (drawn == 0) | (drawn == 1)
        assert (found == (drawn == 1))[clear].mean() > 0.9995
        assert found.sum() == pytest.approx(drawn.sum(), rel=0.015)  # OpenCV fills border pixels


def test_a_grid_in_the_shadow_stands_for_its_area():
    surface = ball((0, 0, 0), 15.0, 40)
    outline = outline_of(plan_of(surface), surface.vertices_lps_mm, as_matrix(MATRIX))
    points, weight = grid_in(outline, 600)
    assert len(points) * weight == pytest.approx(np.pi * shadow_radius_px(15.0) ** 2, rel=0.03)


@pytest.mark.parametrize("gap_px", [40.0, 9.3, 2.0, 0.4, -1.7, -12.0])
def test_the_gap_between_a_disc_of_cement_and_a_balls_shadow(gap_px):
    reach = shadow_radius_px(10.0)
    centre = (MIDDLE + reach + gap_px + 25.0, MIDDLE)
    mask, front = disc(SIZE, centre, 25.0)
    shadows = shadows_of(ball((0, 0, 0), 10.0, 60))
    (site,) = shadows.sites(cement_view(mask, front, pixel_from_patient=MATRIX))
    assert site.distance_px == pytest.approx(gap_px, abs=0.25)
    assert abs(site.nearest_px[1] - MIDDLE) < (3.0 if gap_px > 0 else 12.0)
    assert site.overlap_px > 0.0 if gap_px < -5.0 else site.overlap_px < 40.0
    assert site.hidden == 0.0
    assert site.sigma_px == pytest.approx(np.hypot(0.7 / 0.375, 0.5), rel=0.05)


def test_cement_all_around_a_zone_lies_over_it():
    """The front is far from the outline, and yet the shadow is under cement."""
    mask, front = disc(SIZE, (MIDDLE, MIDDLE), 90.0)
    (site,) = shadows_of(ball((0, 0, 0), 6.0, 40)).sites(cement_view(mask, front, pixel_from_patient=MATRIX))
    assert site.distance_px == pytest.approx(-shadow_radius_px(6.0), abs=1.0)
    assert site.overlap_px == pytest.approx(np.pi * shadow_radius_px(6.0) ** 2, rel=0.05)


def test_a_hole_in_the_shadow_is_not_the_zone():
    mask, front = disc(SIZE, (MIDDLE, MIDDLE), 5.0)
    # A torus about z, seen along z, leaves its middle free.
    matrix = view(0, 90, size=SIZE)
    (site,) = shadows_of(ring((0, 0, 0), 20.0, 4.0)).sites(cement_view(mask, front, pixel_from_patient=matrix))
    inner = PX_PER_MM * 16.0
    assert site.distance_px == pytest.approx(inner - 5.0, abs=1.0)
    assert site.overlap_px == 0.0


def test_a_zone_off_the_picture_has_a_distance_and_is_hidden():
    mask, front = disc(SIZE, (30.0, MIDDLE), 20.0)
    far = ball((-150.0, 0, 0), 10.0, 40)
    matrix = view(180, 0, size=SIZE)
    seen = as_matrix(matrix) @ np.array((-150.0, 0, 0, 1.0))
    assert not 0 <= seen[0] / seen[2] < SIZE
    (site,) = shadows_of(far).sites(cement_view(mask, front, pixel_from_patient=matrix))
    assert site.hidden == 1.0
    assert site.distance_px > 50.0


def test_what_is_blind_hides_a_zone():
    mask, front = disc(SIZE, (120.0, MIDDLE), 20.0)
    blind = np.zeros((SIZE, SIZE), np.uint8)
    blind[:, round(MIDDLE) :] = 1
    shadows = shadows_of(ball((0, 0, 0), 10.0, 40))
    (site,) = shadows.sites(cement_view(mask, front, blind=blind, pixel_from_patient=MATRIX))
    assert site.hidden == pytest.approx(0.5, abs=0.05)


def test_what_is_not_known_is_said():
    mask, front = disc(SIZE, (100.0, 100.0), 20.0)
    shadows = shadows_of(ball((0, 0, 0), 10.0, 40))
    assert shadows.sites(cement_view(seen=False, code="black", reason="black")) == ()
    (site,) = shadows.sites(cement_view(mask, front))
    assert (site.distance_px, site.reason) == (None, NO_GEOMETRY)
    (site,) = shadows.sites(cement_view(pixel_from_patient=MATRIX))
    assert (site.distance_px, site.reason) == (None, NO_CEMENT)
    (site,) = shadows_of(ball((0, -750.0, 0), 10.0, 40)).sites(cement_view(mask, front, pixel_from_patient=MATRIX))
    assert site.distance_px is None or site.distance_px > 0.0
    behind = shadows_of(ball((0, 750.0, 0), 10.0, 40)).sites(cement_view(mask, front, pixel_from_patient=MATRIX))
    assert behind[0].distance_px is None
    assert "source" in behind[0].reason


def test_no_zones_no_sites():
    mask, front = disc(SIZE, (100.0, 100.0), 20.0)
    shadows = ZoneShadows(ZonesOnPicture())
    assert shadows.sites(cement_view(mask, front, pixel_from_patient=MATRIX)) == ()
    assert shadows.outside_px(cement_view(mask, front, pixel_from_patient=MATRIX)) is None


@pytest.mark.parametrize("change_deg", [0.02, 0.1, 0.5, 3.0])
def test_a_pose_that_moves_a_little_is_as_good_as_new(change_deg):
    surfaces = (ball((20, 10, 5), 8.0, 40), box((-40, -30, -10), (-20, 30, 10)), ring((0, 20, 30), 12.0, 3.0))
    moving = shadows_of(*surfaces)
    mask, front = disc(SIZE, (250.0, 300.0), 17.0)
    moving.sites(cement_view(mask, front, pixel_from_patient=MATRIX))
    matrix = view(change_deg, 0.5 * change_deg, size=SIZE)
    moved = moving.sites(cement_view(mask, front, pixel_from_patient=matrix))
    anew = shadows_of(*surfaces).sites(cement_view(mask, front, pixel_from_patient=matrix))
    for one, other in zip(moved, anew, strict=True):
        assert one.distance_px == pytest.approx(other.distance_px, abs=0.6)
        assert one.sigma_px >= other.sigma_px


def test_cement_outside_the_target():
    target = ball((0, 0, 0), 15.0, 60)
    shadows = shadows_of(target, ball((30, 0, 0), 4.0, 40), kinds=(ZoneKind.TARGET, ZoneKind.KEEP_OUT))
    mask, front = disc(SIZE, (MIDDLE, MIDDLE), 20.0)
    assert shadows.outside_px(cement_view(mask, front, pixel_from_patient=MATRIX)) == 0.0
    mask, front = disc(SIZE, (MIDDLE + 120.0, MIDDLE), 20.0)
    outside = shadows.outside_px(cement_view(mask, front, pixel_from_patient=MATRIX))
    assert outside == pytest.approx(mask.sum(), rel=0.05)


@pytest.mark.parametrize("turn", ["upside down", "on the side", "far from the origin", "mirrored coordinates"])
def test_how_the_patient_lies_does_not_matter(turn):
    """Zone and geometry moved together: the picture is the same."""
    motion = np.eye(4)
    if turn == "upside down":
        motion[:3, :3] = np.diag([-1.0, 1.0, -1.0])
    elif turn == "on the side":
        motion[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    elif turn == "far from the origin":
        motion[:3, 3] = (310.0, -1400.0, 2000.0)
    else:
        motion[:3, :3] = np.diag([-1.0, 1.0, 1.0])
    surface = ring((10, 5, -12), 18.0, 5.0)
    points = surface.vertices_lps_mm.astype(float) @ motion[:3, :3].T + motion[:3, 3]
    moved = replace(surface, vertices_lps_mm=points.astype(np.float32))
    mask, front = disc(SIZE, (330.0, 300.0), 12.0)
    matrix = tuple((as_matrix(MATRIX) @ np.linalg.inv(motion)).ravel().tolist())
    (one,) = shadows_of(surface).sites(cement_view(mask, front, pixel_from_patient=MATRIX))
    (other,) = shadows_of(moved).sites(cement_view(mask, front, pixel_from_patient=matrix))
    assert other.distance_px == pytest.approx(one.distance_px, abs=0.1)
    assert other.overlap_px == pytest.approx(one.overlap_px, abs=20.0)


def test_any_size_and_shape_of_picture():
    for rows, columns in ((64, 64), (1024, 768), (300, 700)):
        matrix = as_matrix(view(size=columns)).copy()
        mask = np.zeros((rows, columns), np.uint8)
        mask[rows // 3 : rows // 2, columns // 2 : columns // 2 + 9] = 1
        shadows = shadows_of(ball((0, 0, 0), 10.0, 40))
        (site,) = shadows.sites(cement_view(mask, front_of(mask), pixel_from_patient=tuple(matrix.ravel().tolist())))
        size = max(rows, columns)
        truth, whole = filled(ball((0, 0, 0), 10.0, 40), matrix, size, 1), np.zeros((size, size), np.uint8)
        whole[:rows, :columns] = mask
        mask, away = whole, cv2.distanceTransform(1 - truth, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if not (truth & mask).any():
            assert site.distance_px == pytest.approx(away[mask > 0].min(), abs=2.0)
        else:
            assert site.distance_px < 0.5


def test_speed_is_that_of_the_nearest_point():
    mask, front = disc(SIZE, (MIDDLE + 80.0, MIDDLE), 20.0)
    speed = np.full((SIZE, SIZE), np.nan, np.float32)
    speed[:, : round(MIDDLE + 70)] = 4.0
    speed[:, round(MIDDLE + 70) :] = 9.0
    shadows = shadows_of(ball((0, 0, 0), 10.0, 60))
    (site,) = shadows.sites(cement_view(mask, front, speed_px_s=speed, pixel_from_patient=MATRIX))
    assert site.speed_px_s == 4.0
    (site,) = shadows.sites(
        cement_view(mask, front, speed_px_s=np.full((SIZE, SIZE), np.nan, np.float32), pixel_from_patient=MATRIX)
    )
    assert site.speed_px_s is None
