"""Pictures of growing cement: physics against closed forms, truth against geometry, the same again by its seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.errors import ConfigError
from guidance.kernels.drr import ProjectionVolume
from simulators.cement.base import BasePictures
from simulators.cement.detector import Detector
from simulators.cement.field import Hand
from simulators.cement.imaging import CementImaging, CementTechnique, ImagedView
from simulators.cement.injection import CannulaScript
from simulators.cement.motion import PatientMotion
from simulators.cement.scatter import ScatterModel
from simulators.cement.shadow import cement_material, chords
from simulators.gantry import Gantry
from simulators.instruments import Cylinder, add_chords
from simulators.xray import beam, density_g_cm3, mass_attenuation_cm2_g
from tests.helpers.grown_ball import ball_ml, grown_ball, water_block

SIZE = 160
# 0.75 mm per pixel at the isocentre.
AP = Gantry(primary_deg=0.0, detector_rows=SIZE, detector_columns=SIZE, pitch_row_mm=1.2, pitch_column_mm=1.2)
LATERAL = replace(AP, primary_deg=90.0)
MM_PER_PX = 1.2 * 750.0 / 1200.0
QUIET = Detector(photons_per_mm2=1e7, electronic_noise=0.0, lag=0.0, control=0.0)
NO_SCATTER = ScatterModel(ratio_at_200_mm=0.0)
FAR = CannulaScript(hub_lps_mm=(0.0, 900.0, 0.0), tip_lps_mm=(0.0, 850.0, 0.0))


@pytest.fixture(scope="module")
def water():
    block = water_block()
    return ProjectionVolume(block.voxels_hu, block.affine_lps_from_ijk)


def imaging(water, grown=None, *, views=None, motion=None, instruments=(), **technique):
    told = CementTechnique(**({"detector": QUIET, "scatter": NO_SCATTER} | technique))
    return CementImaging(
        water,
        grown or grown_ball(cannula=FAR),
        told,
        views or [ImagedView(gantry=AP), ImagedView(gantry=LATERAL, device="FluoroB")],
        motion=motion or PatientMotion(),
        instruments=instruments,
    )


def logarithm(picture):
    return np.log(np.maximum(picture.pixels.astype(np.float64), 0.5))


def place_px(picture, point_lps_mm):
    u, v, w = np.reshape(picture.pixel_from_patient, (3, 4)) @ np.append(point_lps_mm, 1.0)
    return np.array([u / w, v / w])


def centroid_px(weights):
    v, u = np.indices(weights.shape)
    return np.array([(weights * u).sum(), (weights * v).sum()]) / weights.sum()


def expected_contrast(brand_material, cement_mm, water_mm, kvp=80.0):
    """Energy by energy: what a layer of cement in the place of marrow takes away behind so much tissue."""
    tube = beam(kvp, 3.0, 0.1)
    density = density_g_cm3(brand_material)

    def signal(mm):
        return sum(
            weight
            * np.exp(
                -mass_attenuation_cm2_g("soft_tissue", energy) * (water_mm - mm) / 10.0
                - mass_attenuation_cm2_g(brand_material, energy) * density * mm / 10.0
            )
            for energy, weight in zip(tube.energies_kev, tube.weights, strict=True)
        )

    return float(np.log(signal(0.0) / signal(cement_mm)))


@pytest.mark.parametrize("brand", ["baso4_10", "baso4_30", "zro2_45"])
def test_a_ball_takes_away_what_its_chord_does(water, brand):
    grown = grown_ball(brand=brand, cannula=FAR)
    pictures = imaging(water, grown)
    before, after = (pictures.picture(0, t_s, n) for n, t_s in enumerate((-0.1, 20.0)))
    radius = (2.0 / ball_ml(1.0)) ** (1.0 / 3.0)
    middle = SIZE // 2
    chord = after.thickness_mm[middle, middle]
    assert chord == pytest.approx(2.0 * radius, rel=0.02)
    contrast = logarithm(before) - logarithm(after)
    # The middle of the cube is 200 mm of water, 205 along a ray at the ball's edge.
    expected = expected_contrast(cement_material(brand), chord, 200.0)
    assert contrast[middle, middle] == pytest.approx(expected, rel=0.02)
    assert abs(contrast[after.thickness_mm == 0.0]).max() < 0.5 * contrast[middle, middle]


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("capacity", [1.0, 0.6])
def test_the_truth_is_the_volume_in_every_view(water, view, capacity):
    pictures = imaging(water, grown_ball((6.0, -9.0, 4.0), capacity=capacity, total_ml=1.5, cannula=FAR))
    for n, t_s in enumerate((4.0, 12.0, 20.0)):
        picture = pictures.picture(view, t_s, n)
        assert picture.volume_ml == pytest.approx(1.5 * t_s / 20.0, rel=0.01)
        matrix = np.reshape(picture.pixel_from_patient, (3, 4))
        depth = matrix[2] @ (6.0, -9.0, 4.0, 1.0)
        pixel_mm2 = (1.2 * depth / 1200.0) ** 2
        seen_ml = picture.thickness_mm.sum(dtype=float) * pixel_mm2 / 1000.0
        assert seen_ml == pytest.approx(picture.volume_ml, rel=0.02)
        np.testing.assert_allclose(centroid_px(picture.thickness_mm), place_px(picture, (6.0, -9.0, 4.0)), atol=0.1)


def test_before_the_start_there_is_nothing_and_every_reference_frame_shows_the_same(water):
    pictures = imaging(water)
    first, second = (pictures.picture(0, t_s, n) for n, t_s in enumerate((-0.5, 0.0)))
    assert not first.thickness_mm.any()
    assert (first.volume_ml, second.volume_ml) == (0.0, 0.0)
    assert abs(logarithm(first) - logarithm(second)).max() < 0.1


def test_the_truth_moves_with_the_patient_and_what_is_told_does_not(water):
    rod = Cylinder(start_lps_mm=(-25.0, 0.0, 12.0), end_lps_mm=(-25.0, 0.0, 22.0), diameter_mm=8.0)
    motion = PatientMotion(breath=(0.0, 1.4, 3.1, 0.6, 0.3, 0.0))
    pictures = imaging(water, motion=motion, instruments=(rod,))
    still = imaging(water, instruments=(rod,))
    for n, t_s in enumerate((1.3, 1.7, 2.0)):
        picture, other = pictures.picture(0, t_s, n), still.picture(0, t_s, n)
        assert picture.metadata["XRay.IsocenterLpsMm"] == other.metadata["XRay.IsocenterLpsMm"]
        seen = centroid_px(picture.thickness_mm)
        np.testing.assert_allclose(seen, place_px(picture, (0.0, 0.0, 0.0)), atol=0.1)
        assert np.linalg.norm(seen - centroid_px(other.thickness_mm)) > 1.0
        # The rod's shadow is where the true matrix puts the rod, against the same without the rod.
        bare = imaging(water, motion=motion).picture(0, t_s, n)
        shadow = np.maximum(logarithm(bare) - logarithm(picture), 0.0)
        shadow[shadow < 0.3] = 0.0
        np.testing.assert_allclose(centroid_px(shadow), place_px(picture, (-25.0, 0.0, 17.0)), atol=0.15)


def test_between_projected_places_the_picture_is_as_if_projected_there(water):
    tube = beam(80.0, 3.0, 0.1)
    base = BasePictures(water, (), np.zeros(3))
    moved = replace(AP, patient_moved=(0.14, -0.1, 0.13, 0.03, -0.03, 0.03))
    unmoved = base.layers(AP, AP.pixel_from_patient()).transmission(tube)
    near = base.layers(moved, moved.pixel_from_patient()).transmission(tube)
    exact = tube.transmission(BasePictures(water, (), np.zeros(3))._project(moved).densities)
    inner = (slice(30, -30),) * 2
    error, unmended = np.log(near[inner] / exact[inner]), np.log(unmoved[inner] / exact[inner])
    assert error.std() < 0.4 * unmended.std()
    assert error.std() < 8e-3


@pytest.mark.parametrize("tip", [(10.0, -20.0, 5.0), (0.0, -60.0, 0.0), (-30.0, 10.0, -40.0), (80.0, 0.0, 90.0)])
def test_a_cannula_is_the_same_as_worked_out_on_every_pixel(tip):
    cylinder = Cylinder(start_lps_mm=(12.0, 70.0, 30.0), end_lps_mm=tip, diameter_mm=4.0, bore_mm=2.5)
    matrix = replace(AP, primary_deg=25.0).pixel_from_patient()
    expected = np.zeros((SIZE, SIZE), np.float32)
    add_chords(cylinder, matrix, expected)
    seen = np.zeros((SIZE, SIZE), np.float32)
    found = chords(cylinder, matrix, (SIZE, SIZE))
    assert found is not None
    seen[found[0]] = found[1]
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    assert expected.max() > 2.0


def test_a_pan_of_the_table_is_told_and_true(water):
    pictures = imaging(water, views=[ImagedView(gantry=AP, table=((-99.0, (0.0, 0.0, 0.0)), (5.0, (6.0, 0.0, -4.0))))])
    before, after = pictures.picture(0, 4.9, 0), pictures.picture(0, 5.0, 1)
    assert (before.metadata["XRay.TableMm"], after.metadata["XRay.TableMm"]) == ("0 0 0", "6 0 -4")
    shift = centroid_px(after.thickness_mm) - centroid_px(before.thickness_mm)
    np.testing.assert_allclose(np.abs(shift), (6.0 / MM_PER_PX, 4.0 / MM_PER_PX), atol=0.1)


def test_exposure_control_holds_the_level_and_a_step_of_the_voltage_is_told(water):
    detector = replace(QUIET, control=0.3)
    pictures = imaging(water, detector=detector, kvp_steps=((1.0, 90.0),))
    taken = [pictures.picture(0, 0.1 * n, n) for n in range(30)]
    levels = [float(np.median(each.pixels[SIZE // 4 : 3 * SIZE // 4, SIZE // 4 : 3 * SIZE // 4])) for each in taken]
    assert levels[0] == pytest.approx(9000.0, rel=0.02)
    assert levels[10] == pytest.approx(9000.0 * 1.04, rel=0.02)
    assert levels[-1] == pytest.approx(9000.0, rel=0.01)
    assert [each.metadata["XRay.KVp"] for each in (taken[9], taken[10])] == ["80", "90"]
    assert taken[10].exposure < taken[9].exposure
    doses = [float(each.metadata["XRay.AirKermaMgy"]) for each in taken]
    assert doses == sorted(doses)


def test_a_fixed_exposure_darkens_nothing_but_the_cement(water):
    pictures = imaging(water)
    first, last = pictures.picture(0, -1.0, 0), pictures.picture(0, 20.0, 1)
    away = last.thickness_mm == 0.0
    away[: SIZE // 4] = away[-SIZE // 4 :] = False
    assert np.median(logarithm(first)[away] - logarithm(last)[away]) == pytest.approx(0.0, abs=1e-3)
    assert first.exposure == last.exposure


def test_what_is_drawn_back_leaves_its_place_and_what_stands_in_the_lumen_does_not_count(water):
    cannula = CannulaScript(
        hub_lps_mm=(30.0, 0.0, 60.0),
        tip_lps_mm=(30.0, 0.0, 0.0),
        diameter_mm=6.0,
        lumen_mm=5.0,
        times_s=(0.0, 10.0, 12.0),
        back_mm=(0.0, 0.0, 40.0),
    )
    pictures = imaging(water, grown_ball(total_ml=0.4, dead_ml=1.2, cannula=cannula))
    empty, half, full, drawn = (pictures.picture(0, t_s, n) for n, t_s in enumerate((-1.0, 7.5, 15.0 - 1e-6, 16.0)))
    del full
    u, low = place_px(empty, (30.0, 0.0, 5.0)).round().astype(int)
    high = place_px(empty, (30.0, 0.0, 55.0)).round().astype(int)[1]
    assert logarithm(half)[high, u] < logarithm(empty)[high, u] - 0.5
    assert logarithm(half)[low, u] == pytest.approx(logarithm(empty)[low, u], abs=0.02)
    assert logarithm(drawn)[low, u] > logarithm(empty)[low, u] + 0.2
    assert not half.thickness_mm.any()
    assert half.volume_ml == 0.0


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_cement_is_where_it_is_on_cropped_turned_and_flipped_pictures(water, turn, flip):
    gantry = replace(AP, crop_px=(10, 30, 120, 100), fov_rotation_deg=turn, fov_flip=flip)
    place = (12.0, 3.0, -9.0)
    pictures = imaging(water, grown_ball(place, cannula=FAR), views=[ImagedView(gantry=gantry)])
    before, picture = pictures.picture(0, -1.0, 0), pictures.picture(0, 20.0, 1)
    assert picture.pixels.shape == ((120, 100) if turn in (90, 270) else (100, 120))
    expected = gantry.project(np.array([place]))[0, :2]
    np.testing.assert_allclose(centroid_px(picture.thickness_mm), expected, atol=0.1)
    shadow = logarithm(before) - logarithm(picture)
    np.testing.assert_allclose(centroid_px(np.where(shadow > 0.1, shadow, 0.0)), expected, atol=0.2)


def test_a_device_counts_its_frames_on_from_place_to_place(water):
    views = [ImagedView(gantry=AP), ImagedView(gantry=LATERAL), ImagedView(gantry=LATERAL, device="FluoroB")]
    pictures = imaging(water, views=views)
    taken = [pictures.picture(view, 0.1 * n, n) for n, view in enumerate((0, 1, 2, 0, 1))]
    assert [each.metadata["XRay.FrameNumber"] for each in taken] == ["1", "2", "1", "3", "4"]


def test_an_injection_that_was_held_up_grows_no_further(water):
    pictures = imaging(water)
    picture = pictures.picture(0, 15.0, 0, growth_s=5.0)
    assert (picture.t_s, picture.volume_ml) == (15.0, pytest.approx(0.5, rel=0.01))
    np.testing.assert_array_equal(picture.thickness_mm, imaging(water).picture(0, 5.0, 0).thickness_mm)


def test_a_hand_is_in_the_beam_and_not_in_the_truth(water):
    hand = Hand(times_s=(1.0, 2.0), places_px=((120.0, 10.0), (60.0, 10.0)))
    pictures = imaging(water, views=[ImagedView(gantry=AP, hand=hand)])
    away, there, gone = (pictures.picture(0, t_s, n) for n, t_s in enumerate((0.9, 1.5, 2.1)))
    darker = logarithm(away) - logarithm(there)
    assert 0.1 < np.median(darker[darker > 0.05]) < 1.0
    assert 0.03 < (darker > 0.05).mean() < 0.5
    without = gone.thickness_mm == 0.0
    assert abs(logarithm(away) - logarithm(gone))[without].max() < 0.12
    assert (there.thickness_mm > 0.0).sum() < 150


def test_behind_blades_there_is_scatter_only_and_the_field_is_told_or_not(water):
    box = (30, 20, 120, 140)
    view = ImagedView(gantry=AP, blades=((0.0, None), (1.0, box)))
    pictures = imaging(water, views=[view, replace(view, blades_told=False)], scatter=ScatterModel())
    wide, narrow = pictures.picture(0, 0.5, 0), pictures.picture(0, 1.5, 1)
    assert wide.metadata["XRay.CollimatorPx"] == f"0 0 {SIZE - 1} {SIZE - 1}"
    assert narrow.metadata["XRay.CollimatorPx"] == "30 20 120 140"
    assert pictures.picture(1, 1.5, 0).metadata["XRay.CollimatorPx"] == f"0 0 {SIZE - 1} {SIZE - 1}"
    behind = narrow.scatter_share[80, 10]
    assert behind > 0.8
    assert narrow.pixels[80, 10] < 0.6 * wide.pixels[80, 10]
    assert narrow.scatter_share[80, 75] < wide.scatter_share[80, 75]


def test_a_round_shutter_hides_the_corners(water):
    picture = imaging(water, views=[ImagedView(gantry=AP, shutter=1.0)]).picture(0, 0.0, 0)
    assert (picture.pixels[0, 0], picture.pixels[-1, -1]) == (0, 0)
    assert picture.pixels[SIZE // 2, 1] > 0


def test_the_same_frames_again_are_the_same_pixels_and_others_have_noise_of_their_own(water):
    noisy = {"detector": Detector(seed=7), "scatter": ScatterModel()}
    first, again = imaging(water, **noisy), imaging(water, **noisy)
    for view in (0, 1):
        for n, t_s in enumerate((-0.1, 0.0, 0.1)):
            np.testing.assert_array_equal(first.picture(view, t_s, n).pixels, again.picture(view, t_s, n).pixels)
    other = imaging(water, detector=Detector(seed=8), scatter=ScatterModel())
    a, b, c = (each.picture(0, -0.1, n) for each, n in ((again, 5), (again, 6), (other, 5)))
    flat = (slice(100, 150), slice(100, 150))
    for one, two in ((a, b), (a, c)):
        difference = logarithm(one)[flat] - logarithm(two)[flat]
        assert difference.std() > 0.01


def test_an_unknown_brand_is_refused_by_name(water):
    with pytest.raises(ConfigError, match="glue") as caught:
        imaging(water, grown_ball(brand="glue"))
    assert caught.value.code == "unknown_brand"
