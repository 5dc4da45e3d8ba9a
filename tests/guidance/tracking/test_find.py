"""Rods found in pictures whose truth is known exactly; and nothing said where nothing is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from guidance.messages import PathStage
from guidance.tracking.find import find_instruments, why_not_seen
from guidance.tracking.known_metal import known_metal_of
from simulators.instruments import Cylinder, voxelise
from tests.helpers.rods import ENTRY, TARGET, axis_of, path, picture, projected, rod_beside, view

MM_PER_PX = 0.3 * 750.0 / 1200.0


def found_in(pixels, gantry, *paths, **options):
    return find_instruments(pixels, gantry.pixel_from_patient(), paths, **options)


def off_mm(seen, gantry, rods):
    """The tip's miss along and across, mm at the isocentre."""
    tip = projected(gantry, rods[-1].end_lps_mm)
    heading = tip - projected(gantry, rods[-1].start_lps_mm)
    heading /= np.linalg.norm(heading)
    miss = (np.array(seen.tip_px) - tip) * MM_PER_PX
    return float(miss @ heading), float(miss @ (-heading[1], heading[0]))


@pytest.mark.parametrize("photons", [30.0, 300.0])
@pytest.mark.parametrize(
    ("diameter", "extra"),
    [
        (1.6, {}),
        (2.0, {"material": "titanium"}),
        (2.413, {"bore_mm": 1.803}),
        (2.8, {}),
        (5.0, {}),
        (7.3, {"bore_mm": 2.9, "material": "titanium"}),
    ],
)
def test_tip_and_centreline_to_a_fraction_of_a_pixel(diameter, extra, photons):
    gantry, planned = view(), path(diameter)
    rods = rod_beside(planned, depth_mm=45.0, aside_mm=(2.0, -2.5), turn_deg=3.0, **extra)
    (seen,) = found_in(picture(gantry, rods, photons=photons, seed=3), gantry, planned)
    along, across = off_mm(seen, gantry, rods)
    # An edge of bone lies across the tip; what it takes away beside a wide rod is not what it does beneath it.
    assert abs(along) < (0.4 if diameter < 6.0 else 0.8)
    assert abs(across) < (0.1 if diameter < 6.0 else 0.5)
    assert seen.bend_px * MM_PER_PX < 0.4
    assert seen.diameter_px * MM_PER_PX == pytest.approx(diameter, rel=0.2)
    assert seen.path_id == "P1"


@pytest.mark.parametrize("pose", [(180.0, 25.0), (150.0, 0.0), (-160.0, -30.0)])
@pytest.mark.parametrize(("diameter", "point"), [(1.6, 1.6), (2.8, 2.8), (2.8, 5.6), (5.0, 10.0)])
def test_a_pointed_one_ends_at_its_point(diameter, point, pose):
    gantry, planned = view(*pose), path(diameter)
    shaft = rod_beside(planned, depth_mm=45.0 - point, aside_mm=(1.0, 1.0))
    pieces, end, way = 12, np.array(shaft[-1].end_lps_mm), axis_of(shaft)
    cone = [
        Cylinder(
            start_lps_mm=tuple(end + way * point * number / pieces),
            end_lps_mm=tuple(end + way * point * (number + 1) / pieces),
            diameter_mm=diameter * (1.0 - (number + 0.5) / pieces),
        )
        for number in range(pieces)
    ]
    (seen,) = found_in(picture(gantry, [*shaft, *cone], photons=100.0, seed=1), gantry, planned)
    tip = projected(gantry, cone[-1].end_lps_mm)
    heading = tip - projected(gantry, shaft[-1].start_lps_mm)
    miss_mm = float((np.array(seen.tip_px) - tip) @ heading / np.linalg.norm(heading)) * MM_PER_PX
    assert abs(miss_mm) < 0.9  # half of such a point's contrast is gone 0.5 to 6 mm before its end


def test_a_bent_one_is_a_curve():
    gantry, planned = view(), path(2.0)
    rods = rod_beside(planned, depth_mm=50.0, bend_mm=5.0)
    (seen,) = found_in(picture(gantry, rods), gantry, planned)
    assert seen.bent
    assert seen.bend_px > 3.0
    middles = np.array([projected(gantry, rod.start_lps_mm) for rod in rods] + [projected(gantry, rods[-1].end_lps_mm)])
    fine = np.stack([np.interp(np.linspace(0, 16, 1601), np.arange(17), middles[:, axis]) for axis in (0, 1)], axis=1)
    away = np.linalg.norm(seen.centreline_px[:, None] - fine[None], axis=2).min(axis=1) * MM_PER_PX
    assert away.max() < 0.3


@pytest.mark.parametrize("photons", [30.0, 300.0])
@pytest.mark.parametrize("diameter", [1.6, 2.8, 7.3])
def test_nothing_there_nothing_said(diameter, photons):
    for gantry in (view(), view(150.0, 0.0), view(-160.0, -30.0)):
        pixels = picture(gantry, [], photons=photons, seed=5)
        assert found_in(pixels, gantry, path(diameter)) == ()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((512, 512), np.uint8),
        np.full((512, 512), 65535, np.uint16),
        np.full((512, 512), np.nan, np.float32),
        np.random.default_rng(0).integers(0, 4096, (512, 512)).astype(np.uint16),
        np.tile(np.arange(512, dtype=np.int16), (512, 1)),
        np.full((1, 1), 7, np.uint8),
        np.full((2, 3), 7, np.uint8),
    ],
    ids=["black", "saturated", "nan", "noise", "ramp", "one pixel", "six pixels"],
)
@pytest.mark.parametrize("intensity", ["LIN", "LOG", "DISP"])
def test_what_shows_nothing_says_nothing(pixels, intensity):
    gantry = view(detector_rows=512, detector_columns=512, pitch_row_mm=0.6, pitch_column_mm=0.6)
    assert found_in(pixels, gantry, path(), intensity=intensity) == ()


def test_the_other_signs_and_scales():
    gantry, planned = view(), path()
    rods = rod_beside(planned, depth_mm=40.0, aside_mm=(1.0, 1.0))
    pixels = picture(gantry, rods)
    (plain,) = found_in(pixels, gantry, planned)
    logged = np.log(np.maximum(pixels, 1.0)).astype(np.float32)
    for other, options in (
        ((65535 - pixels).astype(np.uint16), {"sign": -1}),
        (np.float32(pixels.max()) - pixels.astype(np.float32), {"sign": -1}),
        (logged, {"intensity": "LOG"}),
        (-logged, {"intensity": "LOG", "sign": -1}),
        ((pixels >> 6).clip(0, 255).astype(np.uint8), {"intensity": "DISP"}),
        (255 - (pixels >> 6).clip(0, 255).astype(np.uint8), {"intensity": "DISP", "sign": -1}),
    ):
        (seen,) = found_in(other, gantry, planned, **options)
        assert np.linalg.norm(np.subtract(seen.tip_px, plain.tip_px)) * MM_PER_PX < 0.4


@pytest.mark.parametrize("changes", [{"fov_flip": True}, {"fov_rotation_deg": 90}, {"detector_rotation_deg": 37.0}])
def test_a_turned_or_flipped_picture(changes):
    gantry, planned = view(**changes), path()
    rods = rod_beside(planned, depth_mm=40.0, aside_mm=(1.0, 1.0))
    (seen,) = found_in(picture(gantry, rods), gantry, planned)
    assert math.hypot(*off_mm(seen, gantry, rods)) < 0.3


def test_the_tip_is_unknown_where_the_picture_ends():
    gantry, planned = view(), path()
    rods = rod_beside(planned, depth_mm=60.0)
    pixels = picture(gantry, rods)
    tip = projected(gantry, rods[-1].end_lps_mm)
    heading = tip - projected(gantry, rods[-1].start_lps_mm)
    edge = float(tip[0] - 60.0 * np.sign(heading[0]))
    left, right = (edge, 1023.0) if heading[0] < 0 else (0.0, edge)
    (seen,) = found_in(pixels, gantry, planned, collimator_px=(left, 0.0, right, 1023.0))
    assert seen.tip_px is None
    assert seen.tip_sigma_px is None
    assert "outside the picture" in seen.tip_unknown


def test_a_shutter_that_is_not_told_is_no_tip_of_bone():
    gantry, planned = view(), path()
    pixels = picture(gantry, [])
    pixels[:, 500:] = 0  # a black edge across the path
    assert found_in(pixels, gantry, planned) == ()


def test_crossing_metal_does_not_turn_it_away():
    gantry, planned = view(), path()
    rods = rod_beside(planned, depth_mm=50.0, aside_mm=(1.0, 0.0))
    other = Cylinder(start_lps_mm=(30.0, -30.0, -60.0), end_lps_mm=(20.0, 20.0, 60.0), diameter_mm=3.5)
    (seen,) = found_in(picture(gantry, [*rods, other]), gantry, planned)
    assert math.hypot(*off_mm(seen, gantry, rods)) < 0.4


def test_a_line_that_begins_within_the_body_is_not_on_its_way_in():
    gantry, planned = view(), path()
    rods = rod_beside(planned, depth_mm=65.0, length_mm=40.0)
    pixels = picture(gantry, rods)
    assert found_in(pixels, gantry, planned) == ()
    assert len(found_in(pixels, gantry, replace(planned, stage=PathStage.PLACED))) == 1


def test_far_off_its_path_it_is_not_its_instrument():
    gantry, planned = view(), path()
    rods = rod_beside(planned, depth_mm=45.0, aside_mm=(0.0, 30.0))
    assert found_in(picture(gantry, rods), gantry, planned) == ()


def test_one_instrument_belongs_to_one_path():
    gantry, planned = view(), path()
    beside = path(id="P2", entry_lps_mm=(60.0, 20.0, 10.0), target_lps_mm=(-10.0, -15.0, 5.0))
    rods = rod_beside(planned, depth_mm=45.0, aside_mm=(0.2, 0.2))
    pixels = picture(gantry, rods)
    for paths in ((planned, beside), (beside, planned)):
        assert [seen.path_id for seen in found_in(pixels, gantry, *paths)] == ["P1"]


def test_known_metal_is_told_apart():
    gantry, planned = view(), path(5.0)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-60.0, -60.0, -60.0)
    voxels = np.zeros((121, 121, 161), np.int16)
    (old,) = rod_beside(planned, depth_mm=68.0, length_mm=90.0)
    voxelise(old, voxels, affine)
    metal = known_metal_of(voxels, affine)
    pixels = picture(gantry, [old])
    placed = replace(planned, stage=PathStage.PLACED)  # where a rod may begin anywhere
    assert len(found_in(pixels, gantry, placed)) == 1
    assert found_in(pixels, gantry, placed, known_metal=metal) == ()
    assert found_in(pixels, gantry, replace(planned, stage=PathStage.SCREW_IN)) == ()


def test_why_nothing_was_seen():
    gantry = view()
    matrix = gantry.pixel_from_patient()
    assert why_not_seen(path(), matrix, gantry.size) == "no instrument seen near it"
    assert why_not_seen(path(stage=PathStage.CEMENTED), matrix, gantry.size) == "its screw is in"
    source = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    end_on = np.subtract(TARGET, source) / np.linalg.norm(np.subtract(TARGET, source))
    down = path(entry_lps_mm=tuple(np.array(TARGET) - 60.0 * end_on))
    assert why_not_seen(down, matrix, gantry.size) == "the view runs along the path"
    far = path(entry_lps_mm=tuple(np.add(ENTRY, (0, 0, 600))), target_lps_mm=tuple(np.add(TARGET, (0, 0, 600))))
    assert why_not_seen(far, matrix, gantry.size) == "the path is outside the picture"


@pytest.mark.parametrize("pose", [(180.0, 25.0), (120.0, 15.0), (150.0, 0.0)])
def test_an_instrument_thicker_than_planned_has_no_tip_that_could_be_told(pose):
    gantry, planned = view(*pose), path(3.2)
    rods = rod_beside(replace(planned, diameter_mm=4.0), depth_mm=45.0, aside_mm=(1.0, 1.0))
    for seen in found_in(picture(gantry, rods, photons=300.0, seed=2), gantry, planned):
        assert (seen.tip_px, seen.tip_unknown) == (None, "it is thicker than planned")
