"""Courses of cases: what was opened leaks and nothing else, scripts do what they say, truth holds at every time."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from simulators.cement.case import CementCase
from simulators.cement.course import grown, patient, place
from simulators.cement.patients import PATIENTS, patient_part
from simulators.cement.pelvis_places import PLACES

PLAIN = CementCase(seed=7, rate_ml_s=0.25, total_ml=2.5, duration_s=14.0)
GRID_MM = 0.9  # coarser than the cases' own, for time


@cache
def course_of(case):
    return grown(case, spacing_mm=GRID_MM)


def contacts(course):
    """Names of keep-out zones that cement got into."""
    return {
        zone.name
        for zone in course.zones
        if zone.kind == "keep_out" and np.isfinite(course.zone_truth[zone.id].contact_s)
    }


@pytest.mark.parametrize("where", [name for name in PLACES if "left" in name])
def test_closed_bone_keeps_its_cement(where):
    course = course_of(replace(PLAIN, place=where))
    assert contacts(course) == set()
    assert course.site_ml(14.0)["bone"] == pytest.approx(2.5, abs=1e-3)
    # All of it is where the CT shows marrow, closed in by cortex.
    k, j, i = np.nonzero(np.isfinite(course.arrival_s))
    lps = np.stack([i, j, k], axis=1) @ course.affine_lps_from_ijk[:3, :3].T + course.affine_lps_from_ijk[:3, 3]
    volume = patient_part(PLAIN.patient, lps.min(axis=0), lps.max(axis=0))
    at = np.rint((lps - volume.affine_lps_from_ijk[:3, 3]) / volume.affine_lps_from_ijk[0, 0]).astype(int)
    hu = volume.voxels_hu[at[:, 2], at[:, 1], at[:, 0]]
    assert np.percentile(hu, 1) > 90.0
    assert np.percentile(hu, 99) < 700.0


@pytest.mark.parametrize(
    ("where", "kind"),
    [(name, way.kind) for name in PLACES if "left" in name for way in PLACES[name](PATIENTS["usual"]).ways],
)
def test_every_way_out_is_taken_when_it_is_open(where, kind):
    course = course_of(replace(PLAIN, place=where, leaks=(kind,), total_ml=3.5, duration_s=16.0))
    (leak,) = course.leaks
    assert 1.0 < leak.onset_s < 15.0
    assert course.site_ml(16.0)[course.site_names[leak.label]] > 0.02
    if leak.zone_id:
        assert course.zone_distance_mm(leak.zone_id, 16.0) < 2.0


def test_distances_are_those_of_every_voxel_to_the_zones_shape():
    """Against plain loops over the shapes as they are posted."""
    course = course_of(replace(PLAIN, place="S1 body left", leaks=("foramen",), target_marked=True))
    k, j, i = np.nonzero(np.isfinite(course.arrival_s))
    lps = np.stack([i, j, k], axis=1) @ course.affine_lps_from_ijk[:3, :3].T + course.affine_lps_from_ijk[:3, 3]
    when = course.arrival_s[k, j, i]
    looked_at = 0
    for body, zone in zip(course.zone_bodies, course.zones, strict=True):
        shape = body["shape"]
        if shape["type"] == "sphere":
            apart = np.linalg.norm(lps - shape["center_lps_mm"], axis=1) - shape["radius_mm"]
        elif shape["type"] == "tube":
            ends = np.asarray(shape["points_lps_mm"])
            pieces = []
            for start, end in pairwise(ends):
                part = np.clip((lps - start) @ (end - start) / ((end - start) @ (end - start)), 0.0, 1.0)
                pieces.append(np.linalg.norm(lps - start - part[:, None] * (end - start), axis=1))
            apart = np.min(pieces, axis=0) - shape["radius_mm"]
        else:
            continue
        looked_at += 1
        for t_s in (1.5, 4.0, 14.0):
            assert course.zone_distance_mm(zone.id, t_s) == pytest.approx(apart[when <= t_s].min(), abs=1e-3)
        inside = when[apart <= 0.0]
        assert course.zone_truth[zone.id].contact_s == (pytest.approx(inside.min()) if inside.size else np.inf)
    assert looked_at >= 5
    assert course.zone_distance_mm("Z1", 0.5) == np.inf


def test_a_vein_is_thin_and_fast():
    """Cement is 2 cm down it in the time that the front in the bone takes for a mm or two."""
    course = course_of(replace(PLAIN, place="L5 body left", leaks=("vein",), duration_s=14.0))
    (leak,) = course.leaks
    there = (course.site_of == leak.label) & np.isfinite(course.arrival_s)
    assert there.sum() * course.voxel_ml < 0.4
    ijk = np.stack(np.nonzero(there)[::-1], axis=1)
    times = course.arrival_s[there]
    apart_mm = np.linalg.norm(ijk - ijk[np.argmin(times)], axis=1) * course.affine_lps_from_ijk[0, 0]
    took_s = times[np.argmax(apart_mm)] - times.min()
    assert apart_mm.max() > 20.0
    assert apart_mm.max() / took_s > 3.0

    def radius_mm(t_s):
        return np.cbrt(3.0 * course.site_ml(t_s)["bone"] * 1000.0 / (4.0 * np.pi))

    assert apart_mm.max() > 5.0 * (radius_mm(times.min() + took_s) - radius_mm(times.min()))


def test_withdrawal_opens_the_track_only_behind_the_tip():
    case = replace(PLAIN, withdraw_s=6.0)
    course, still = course_of(case), course_of(PLAIN)
    tip, axis = np.asarray(course.cannula.tip_lps_mm), course.cannula.axis
    assert course.cannula.tip_at(0.0) == pytest.approx(tip)
    assert course.cannula.tip_at(20.0) == pytest.approx(tip - 12.0 * axis)

    def in_track(each, t_s):
        k, j, i = np.nonzero(each.share_at(t_s) > 0.3)
        lps = np.stack([i, j, k], axis=1) @ each.affine_lps_from_ijk[:3, :3].T + each.affine_lps_from_ijk[:3, 3]
        depth = (lps - tip) @ axis
        off = np.linalg.norm(lps - tip - depth[:, None] * axis, axis=1)
        return int(((off < 1.2) & (depth < -1.0) & (depth > -11.0)).sum())

    assert in_track(still, 13.9) == 0
    assert in_track(course, 6.0) == 0
    assert in_track(course, 13.9) > 6


def test_before_a_withdrawal_it_is_the_same_cement():
    case = replace(PLAIN, withdraw_s=6.0)
    first, second = course_of(case), course_of(PLAIN)
    for t_s in (2.0, 4.0, 5.9):
        assert first.volume_ml(t_s) == pytest.approx(second.volume_ml(t_s), abs=2e-3)
        for zone in first.zones:
            apart = first.zone_distance_mm(zone.id, t_s) - second.zone_distance_mm(zone.id, t_s)
            assert abs(apart) < 1e-6


@pytest.mark.parametrize(
    "case",
    [
        replace(PLAIN, withdraw_s=6.0, pause_s=4.0, dead_ml=0.3, duration_s=18.0),
        replace(PLAIN, leaks=("skin",), withdraw_s=5.0),
        replace(PLAIN, balloon_s=4.0, duration_s=22.0),
        replace(PLAIN, metal=True, old_cement=True),
        replace(PLAIN, patient="destroyed left ala", leaks=("foramen", "vein")),
    ],
    ids=["withdrawn", "dripping", "balloon", "metal", "destroyed"],
)
def test_volume_holds_and_cement_only_comes(case):
    course = course_of(case)
    before = np.zeros(course.level.shape, np.float32)
    for t_s in np.linspace(0.0, case.duration_s, 16):
        now = course.share_at(float(t_s))
        assert course.volume_ml(t_s) == pytest.approx(course.injection.injected_ml(t_s), abs=1e-3)
        assert (now >= before - 1e-5).all()
        before = now


def test_dripping_cement_reaches_the_skin():
    course = course_of(replace(PLAIN, leaks=("skin",), withdraw_s=5.0, total_ml=3.0))
    (leak,) = course.leaks
    assert leak.kind == "skin"
    assert leak.onset_s > 5.0
    assert "needle track" in contacts(course)
    assert course.zone_distance_mm(leak.zone_id, 14.0) < 3.0


def test_metal_and_old_cement_keep_new_cement_out():
    course = course_of(replace(PLAIN, metal=True, old_cement=True))
    assert course.old_cement is not None
    assert course.old_cement.shape == course.level.shape
    assert course.old_cement.sum() * course.voxel_ml > 0.2
    assert not np.isfinite(course.level[course.old_cement > 0.0]).any()
    (screw,) = course.metal
    assert screw.material == "titanium"


def test_a_balloon_is_gone_before_cement_comes_and_leaves_a_cavity():
    case = replace(PLAIN, balloon_s=4.0, duration_s=22.0)
    course = course_of(case)
    assert course.balloon is not None
    assert course.balloon.radius_at(3.8) > 7.0
    assert course.balloon.radius_at(6.5) == 0.0
    first = course.arrival_s[np.isfinite(course.arrival_s)].min()
    assert first > 6.5
    # The first ml goes into the cavity.
    k, j, i = np.nonzero(course.arrival_s < first + 1.0 / case.rate_ml_s)
    lps = np.stack([i, j, k], axis=1) @ course.affine_lps_from_ijk[:3, :3].T + course.affine_lps_from_ijk[:3, 3]
    assert (np.linalg.norm(lps - course.balloon.center_lps_mm, axis=1) < 8.5).mean() > 0.9


def test_the_same_case_is_the_same_course_and_another_seed_is_not():
    once, again, other = (grown(each, spacing_mm=GRID_MM) for each in (PLAIN, PLAIN, replace(PLAIN, seed=8)))
    assert np.array_equal(once.arrival_s, again.arrival_s)
    assert once.arrival_s.shape != other.arrival_s.shape or not np.array_equal(once.arrival_s, other.arrival_s)


def test_zones_are_what_the_server_takes_and_carry_the_sites_words():
    for name in PLACES:
        made = place(replace(PLAIN, place=name, target_marked=True))
        sites = {body["site"] for body in made.zone_bodies}
        assert {"needle_track", "skin", "lesion"} <= sites
        assert sum(body["kind"] == "target" for body in made.zone_bodies) == 1
    without = place(replace(PLAIN, place="L5 body left", vein_marked=False))
    assert "vein" not in {body["site"] for body in without.zone_bodies}


def test_a_part_of_a_patient_is_the_whole_patients():
    name = "destroyed left ala"
    whole = patient(replace(PLAIN, patient=name))
    tip = place(replace(PLAIN, patient=name)).tip_lps_mm
    part = patient_part(name, np.subtract(tip, (20.3, 11.0, 7.7)), np.add(tip, (9.0, 14.2, 20.0)))
    first = (part.affine_lps_from_ijk[:3, 3] - whole.affine_lps_from_ijk[:3, 3]) / whole.affine_lps_from_ijk[0, 0]
    assert first == pytest.approx(np.rint(first), abs=1e-6)
    i, j, k = np.rint(first).astype(int)
    size = part.voxels_hu.shape
    same = whole.voxels_hu[k : k + size[0], j : j + size[1], i : i + size[2]]
    assert np.abs(part.voxels_hu.astype(int) - same).max() <= 1  # rounding of half an HU
    assert (part.voxels_hu < 60).any()  # the lesion is in it
