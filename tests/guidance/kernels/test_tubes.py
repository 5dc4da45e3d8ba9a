"""Tubes as strokes and their labels' spots against the twins: any camera, bull's-eye, at the source, tiny and huge."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.geometry.camera import ConeBeamCamera, source_of
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose
from guidance.geometry.tube import project_tubes, tubes
from guidance.kernels import _core
from guidance.kernels.tubes import SUMMARY_NUMBERS, TUBE_NUMBERS, TubePlan, label_spots, tube_strokes
from guidance.overlay.labels import label_spots as label_spots_twin
from guidance.overlay.labels import tube_disks
from guidance.overlay.path_lines import entry_radii_px, path_lines
from guidance.overlay.pieces import strokes_of

LINE_WIDTH_PX = 2.3
COLORS = [(0, 255, 0), (255, 64, 255), (1, 2, 3), (250, 128, 0), (9, 8, 7), (90, 80, 70)]


def view(primary=0.0, secondary=0.0, rotation=0.0, flip=False, pitch=0.3):
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=1200.0,
            source_to_isocenter_mm=750.0,
            detector_rotation_deg=rotation,
        ),
        detector=Detector(rows=1024, columns=1024, pitch_row_mm=pitch, pitch_column_mm=pitch, fov_flip=flip),
    ).pixel_from_patient


def plan_of(made):
    return TubePlan(
        tubes=made.numbers,
        tick_depth_mm=made.tick_depth_mm,
        tick_ends=np.array(made.tick_ends, np.int64),
        colors=np.array(COLORS[: len(made.length_mm)], np.uint8).reshape(-1, 3),
    )


def twin(made, matrix, scale):
    """Strokes and summary as geometry.tube and overlay.path_lines specify them."""
    lines, summary = [], np.zeros((len(made.length_mm), SUMMARY_NUMBERS))
    projections = project_tubes(made, matrix)
    for index, tube in enumerate(projections):
        if not tube.drawn:
            continue
        own = path_lines(tube, COLORS[index], "", line_width_px=LINE_WIDTH_PX, scale=scale)
        radius, reach = entry_radii_px(tube, scale)
        summary[index] = (
            1.0,
            *tube.centerline_px.reshape(-1),
            tube.entry_px is not None,
            tube.target_px is not None,
            radius,
            reach,
            tube_disks([(tube, reach)])[0, 2],
            tube.down_the_barrel,
            len(strokes_of(own)),
        )
        lines += own
    return strokes_of(lines), summary, projections


# Where paths lie, in mm around what: the patient, the source, or along the ray through the patient (bull's-eye).
PLACES = ("patient", "source", "barrel", "mixed")


def scattered(seed, place, size_mm):
    """A camera and up to six tubes; continuous numbers, so that no decision stands on its edge."""
    random = np.random.default_rng(seed)
    matrix = view(
        random.uniform(-180, 180),
        random.uniform(-89, 89),
        random.uniform(-180, 180),
        bool(random.integers(2)),
        0.3 * 2.0 ** random.uniform(-2, 0.8),
    )
    source = source_of(matrix)
    entries, targets = [], []
    for _ in range(int(random.integers(1, 7))):
        kind = str(random.choice(PLACES[:3])) if place == "mixed" else place
        entry = random.normal(0.0, 60.0, 3)
        target = entry + random.normal(0.0, size_mm, 3)
        if kind == "source":
            entry, target = source + random.normal(0.0, 30.0, 3), source + random.normal(0.0, 2.0 * size_mm, 3)
        elif kind == "barrel":
            target = entry + (source - entry) * random.uniform(-0.2, 0.4) + random.normal(0.0, 2.0, 3)
        entries.append(tuple(entry))
        targets.append(tuple(target))
    diameters = (size_mm * 0.1 * random.uniform(0.1, 3.0, len(entries))).tolist()
    return matrix, tubes(entries, targets, diameters, tick_mm=random.uniform(2.0, 30.0)), random.uniform(0.7, 3.0)


@given(
    seed=st.integers(0, 2**32), place=st.sampled_from(PLACES), size_mm=st.sampled_from([0.01, 1.0, 30.0, 100.0, 600.0])
)
def test_strokes_are_the_twins(seed, place, size_mm):
    matrix, made, scale = scattered(seed, place, size_mm)
    expected, summary, _ = twin(made, matrix, scale)
    strokes, native = tube_strokes(plan_of(made), matrix, line_width_px=LINE_WIDTH_PX, scale=scale)
    assert strokes.shape == expected.shape
    # 1e-3 px on and around the picture; what is far off it has float32's grain, a fifteenth of a px at a million.
    np.testing.assert_allclose(strokes, expected, atol=1e-3, rtol=2e-7)
    np.testing.assert_allclose(native, summary, atol=1e-3, rtol=1e-7)


@given(seed=st.integers(0, 2**32), place=st.sampled_from(PLACES), size_mm=st.sampled_from([1.0, 30.0, 100.0, 600.0]))
def test_labels_stand_where_the_twin_puts_them(seed, place, size_mm):
    matrix, made, scale = scattered(seed, place, size_mm)
    random = np.random.default_rng(seed)
    _, summary, projections = twin(made, matrix, scale)
    sizes = random.integers(0, 200, (len(summary), 2), np.int32)
    boxes = random.integers(0, 1024, (int(random.integers(0, 6)), 4), np.int32)
    boxes[:, 2:] += boxes[:, :2]
    picture, gap_px = (int(random.integers(1, 1200)), int(random.integers(1, 1200))), float(random.uniform(0.0, 20.0))
    spots = label_spots(summary, sizes, boxes, picture, gap_px)
    expected = label_spots_twin(
        list(zip(projections, summary[:, 8].tolist(), strict=True)), sizes.tolist(), boxes.tolist(), picture, gap_px
    )
    assert [(left, top) if placed else None for left, top, placed in spots.tolist()] == expected


def test_a_tube_without_ticks_and_a_plan_without_tubes():
    matrix = view(20.0)
    short = tubes([(0.0, 0.0, 0.0)], [(8.0, 0.0, 0.0)], [3.0])
    strokes, _ = tube_strokes(plan_of(short), matrix, line_width_px=LINE_WIDTH_PX, scale=1.0)
    np.testing.assert_allclose(strokes, twin(short, matrix, 1.0)[0], atol=1e-3)
    strokes, summary = tube_strokes(plan_of(tubes([], [], [])), matrix, line_width_px=2.0, scale=1.0)
    assert strokes.shape == (0, 8)
    assert summary.shape == (0, SUMMARY_NUMBERS)
    spots = label_spots(summary, np.zeros((0, 2), np.int32), np.zeros((0, 4), np.int32), (9, 9), 1.0)
    assert spots.shape == (0, 3)


def test_behind_the_source_nothing_is_drawn_and_nothing_labelled():
    behind = tubes([(0.0, 800.0, 0.0)], [(10.0, 900.0, 5.0)], [6.0])
    strokes, summary = tube_strokes(plan_of(behind), view(), line_width_px=LINE_WIDTH_PX, scale=1.0)
    assert not len(strokes)
    assert not summary.any()
    spots = label_spots(summary, np.array([[20, 60]], np.int32), np.zeros((0, 4), np.int32), (1024, 1024), 5.0)
    assert spots.tolist() == [[0, 0, 0]]


ONE = tubes([(0.0, 0.0, 0.0)], [(80.0, 10.0, 30.0)], [6.0])


@pytest.mark.parametrize("wrong", ["zero", "flat", "nan", "inf"])
def test_a_matrix_without_a_source_is_refused(wrong):
    matrix = view()
    matrix[0] = {"zero": 0.0, "flat": matrix[1], "nan": np.nan, "inf": np.inf}[wrong]
    with pytest.raises(ValueError, match="pixel_from_patient"):
        tube_strokes(plan_of(ONE), matrix, line_width_px=2.0, scale=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"tick_ends": np.array([0], np.int64)},
        {"tick_ends": np.array([0, 999], np.int64)},
        {"tick_ends": np.array([1, 8], np.int64)},
        {"tick_ends": np.array([0, -1], np.int64)},
        {"colors": np.zeros((2, 3), np.uint8)},
        {"tubes": np.zeros((2, TUBE_NUMBERS))},
    ],
    ids=["short", "past-the-end", "not-from-0", "falling", "colours", "tubes"],
)
def test_plans_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError, match="must"):
        tube_strokes(dataclasses.replace(plan_of(ONE), **change), view(), line_width_px=2.0, scale=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"tubes": np.zeros((1, 13))},
        {"tubes": np.zeros((1, TUBE_NUMBERS), np.float32)},
        {"tick_ends": np.array([0, 8], np.int32)},
        {"colors": np.zeros((1, 4), np.uint8)},
    ],
    ids=["columns", "float32", "int32", "rgba"],
)
def test_another_array_is_a_type_error(change):
    with pytest.raises(TypeError):
        tube_strokes(dataclasses.replace(plan_of(ONE), **change), view(), line_width_px=2.0, scale=1.0)


def test_too_little_room_for_strokes_is_refused():
    plan = plan_of(ONE)
    arguments = (plan.tubes, plan.tick_depth_mm, plan.tick_ends, plan.colors, view(), 2.0, 1.0)
    with pytest.raises(ValueError, match="room"):
        _core.tube_strokes(*arguments, np.empty((_core.TUBE_STROKES, 8), np.float32), np.empty((1, SUMMARY_NUMBERS)))


@pytest.mark.parametrize(
    ("sizes", "gap_px"), [(np.zeros((2, 2), np.int32), 1.0), (np.zeros((1, 2), np.int32), np.nan)], ids=["rows", "gap"]
)
def test_labels_that_do_not_fit_are_refused(sizes, gap_px):
    with pytest.raises(ValueError, match="must"):
        label_spots(np.zeros((1, SUMMARY_NUMBERS)), sizes, np.zeros((0, 4), np.int32), (9, 9), gap_px)
