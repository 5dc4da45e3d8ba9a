"""Pictures of a path: instrument and zones at true size and place, on slices and on simulated radiographs."""

import math

import cv2
import numpy as np
import pytest

from drivers.commands.plan_pictures import write_path_pictures
from guidance.messages import AblationSetting, PlannedPath, TubeShape, Zone, ZoneKind, ZoneSite
from guidance.overlay.colors import rgb_of
from guidance.planning.ablation import ablation_zone
from guidance.planning.c_arms import DEFAULT_C_ARM, c_arm_library
from guidance.planning.distance import distance_field
from guidance.planning.instruments import instrument_library
from guidance.planning.surface import surface_of_shape
from guidance.planning.views import path_views
from guidance.planning.volume import PlanningVolume

MODEL = c_arm_library().find(DEFAULT_C_ARM)
GREEN, ORANGE = "#20f060", "#f09020"
SMALLEST_PX, LARGE_PX, MARGIN_PX, HEADING_PX = 100, 500, 8, 44


def body():
    """A ball of bone in a ball of water in air, 3 mm voxels, centre (5, -10, 20)."""
    k, j, i = np.indices((80, 80, 80))
    radius = np.linalg.norm(np.stack((i, j, k), axis=-1) - 39.5, axis=-1) * 3.0
    voxels = np.where(radius < 45.0, 700, np.where(radius < 105.0, 20, -1000)).astype(np.int16)
    affine = np.diag((3.0, 3.0, 3.0, 1.0))
    affine[:3, 3] = np.array((5.0, -10.0, 20.0)) - 39.5 * 3.0
    return PlanningVolume(voxels, affine, "1.2.3", "HFP")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "made"
    path = PlannedPath(
        id="P1", entry_lps_mm=(45.0, -10.0, 20.0), target_lps_mm=(-35.0, -10.0, 20.0), diameter_mm=8.0, color=GREEN,
        label="Ball, across",
    )  # fmt: skip
    shape = TubeShape(points_lps_mm=((5.0, -30.0, 5.0), (5.0, 10.0, 5.0)), radius_mm=5.0)
    zone = Zone(
        id="Z1", name="tube below", site=ZoneSite.FORAMEN, kind=ZoneKind.KEEP_OUT, shape=shape, color=ORANGE, level="S1"
    )
    field = distance_field(shape)
    views = path_views(path, [(zone, field)], patient_position="HFP", c_arm=MODEL)
    files = write_path_pictures(folder, body(), path, [(zone, field, surface_of_shape(shape))], views, c_arm=MODEL)
    return {file.name: cv2.imread(str(file), cv2.IMREAD_COLOR)[..., ::-1] for file in files}, views


def of_color(picture, color):
    """(N, 2) rows and columns of pixels that are mostly of that colour over grey."""
    values, wanted = picture.astype(float), np.array(rgb_of(color), float)
    hue = values - values.min(axis=2, keepdims=True)
    direction = (wanted - wanted.min()) / np.linalg.norm(wanted - wanted.min())
    strength = np.linalg.norm(hue, axis=2)
    alike = (hue @ direction) > 0.97 * strength
    return np.argwhere(alike & (strength > 60.0))


def test_every_kind_of_view_has_its_file(pictures):
    made, views = pictures
    assert list(made) == [
        "ball_across_slices.png",
        "ball_across_bulls_eye.png",
        "ball_across_progression_1.png",
        "ball_across_progression_2.png",
        "ball_across_en_face.png",
    ]
    assert {view.kind for view in views.views if view.reachable} == {"bulls_eye", "progression", "en_face"}


def test_the_instrument_is_drawn_at_its_true_size_along_and_across(pictures):
    sheet = pictures[0]["ball_across_slices.png"]
    top, left = MARGIN_PX + HEADING_PX + MARGIN_PX, MARGIN_PX
    coronal = sheet[top : top + LARGE_PX, left : left + LARGE_PX]
    pixel_mm = (80.0 + 110.0) / LARGE_PX
    middle = (LARGE_PX - 1) / 2
    outline = of_color(coronal, GREEN) - middle
    # the long sides: rows that are green nearly from end to end, but for the ticks' dark rims
    rows, counts = np.unique(outline[:, 0], return_counts=True)
    sides = rows[counts > 0.8 * 80.0 / pixel_mm]
    assert sides.max() - sides.min() == pytest.approx(8.0 / pixel_mm, abs=1.6)
    assert sides.mean() == pytest.approx(0.0, abs=1.0)
    along = outline[np.isin(outline[:, 0], sides), 1]
    assert np.ptp(along) == pytest.approx(80.0 / pixel_mm, abs=2.0)
    # the tube lies 15 mm towards the feet: its lower edge is 20 mm below the axis, 10 mm wide
    tube = of_color(coronal, ORANGE) - middle
    tube = tube[np.abs(tube).max(axis=1) < 100]  # the letters at the edges are yellow
    assert tube[:, 0].max() == pytest.approx(20.0 / pixel_mm, abs=1.5)
    assert tube[:, 1].max() - tube[:, 1].min() == pytest.approx(10.0 / pixel_mm, abs=2.0)


def test_bone_is_where_it_is(pictures):
    sheet = pictures[0]["ball_across_slices.png"]
    top, left = MARGIN_PX + HEADING_PX + MARGIN_PX, MARGIN_PX
    coronal = sheet[top : top + LARGE_PX, left : left + LARGE_PX]
    pixel_mm = (80.0 + 110.0) / LARGE_PX
    column = coronal[:, 330].astype(int).max(axis=1)  # past the tube, between letters and ticks
    bright = np.flatnonzero(column > 150)
    half_mm = math.sqrt(45.0**2 - ((330 - (LARGE_PX - 1) / 2) * pixel_mm) ** 2)
    assert bright.max() - bright.min() == pytest.approx(2 * half_mm / pixel_mm, abs=4.0)


def test_on_the_radiographs_the_path_is_a_circle_then_a_bar(pictures):
    made, _ = pictures
    picture_px = 640
    eye = of_color(made["ball_across_bulls_eye.png"][:picture_px], GREEN)
    ring = eye[np.abs(eye - (picture_px - 1) / 2).max(axis=1) < 20]
    assert len(ring) > 30
    assert np.abs(ring.mean(axis=0) - (picture_px - 1) / 2).max() < 3.0
    bar = of_color(made["ball_across_progression_1.png"][:picture_px], GREEN)
    # at the isocentre, magnified 1200 / 750, on a detector of 220 mm
    px_per_mm = 1.6 / (220.0 / picture_px)
    sides = bar[np.abs(np.abs(bar[:, 0] - (picture_px - 1) / 2) - 4.0 * px_per_mm) < 1.5]
    assert np.ptp(sides[:, 1]) == pytest.approx(80.0 * px_per_mm, rel=0.02)
    assert np.ptp(sides[:, 0]) == pytest.approx(8.0 * px_per_mm, abs=2.5)


def test_a_zone_without_a_surface_and_a_path_without_a_reachable_view_are_said(tmp_path):
    path = PlannedPath(id="P1", entry_lps_mm=(5.0, -10.0, -20.0), target_lps_mm=(5.0, -10.0, 60.0), diameter_mm=3.2)
    shape = TubeShape(points_lps_mm=((20.0, -30.0, 5.0), (20.0, 10.0, 5.0)), radius_mm=5.0)
    zone = Zone(id="Z1", name="tube", site=ZoneSite.VEIN, kind=ZoneKind.KEEP_OUT, shape=shape)
    views = path_views(path, [], patient_position="", c_arm=MODEL)
    files = write_path_pictures(tmp_path, body(), path, [(zone, distance_field(shape), None)], views, c_arm=MODEL)
    assert [file.name for file in files] == ["p1_slices.png", "p1_bulls_eye.png", "p1_progression.png"]
    assert all(file.stat().st_size > 0 for file in files)


def test_what_a_probe_freezes_is_outlined_at_its_true_size(tmp_path):
    library = instrument_library()
    setting = AblationSetting(power_w=0.0, time_s=600.0)
    path = PlannedPath(
        id="P1", entry_lps_mm=(45.0, -10.0, 20.0), target_lps_mm=(-35.0, -10.0, 20.0), diameter_mm=2.4, color=GREEN,
        instrument="cryoprobe_2_4", ablation=setting,
    )  # fmt: skip
    views = path_views(path, [], patient_position="", c_arm=MODEL)
    files = write_path_pictures(tmp_path, body(), path, [], views, c_arm=MODEL, library=library, name="cryo")
    sheet = cv2.imread(str(files[0]), cv2.IMREAD_COLOR)[..., ::-1]
    zone = ablation_zone(library.find("cryoprobe_2_4").ablation, setting)
    top, pixel_mm, middle = 2 * MARGIN_PX + HEADING_PX, (80.0 + 110.0) / LARGE_PX, (LARGE_PX - 1) / 2
    coronal = sheet[top : top + LARGE_PX, MARGIN_PX : MARGIN_PX + LARGE_PX]
    # the probe's tip is at x = -35: towards the patient's right, left on the screen
    column = round(middle + (-35.0 + zone.center_from_tip_mm - 5.0) / pixel_mm)
    ends = of_color(coronal[:, column - 1 : column + 2], GREEN)[:, 0]
    assert np.ptp(ends) == pytest.approx(zone.width_mm / pixel_mm, abs=2.5)
