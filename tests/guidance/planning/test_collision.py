"""Room between a C-arm's housings and table or patient: closed forms, and polygons worked out by OpenCV."""

import cv2
import numpy as np
import pytest

from guidance.geometry.positioner import PATIENT_POSITIONS, lps_from_equipment, positioner_axes
from guidance.planning.c_arms import DEFAULT_C_ARM, c_arm_library
from guidance.planning.collision import BODIES, Couch, couch_of, separations_mm

MODEL = c_arm_library().find(DEFAULT_C_ARM)
MIDDLE = Couch((0.0, 0.0), (190.0, 120.0), True)


def room(couch, primary, secondary):
    return dict(zip(BODIES, separations_mm(MODEL, couch, positioner_axes(primary, secondary)[None])[0], strict=True))


def test_straight_above_and_from_the_side_in_closed_form():
    above = room(MIDDLE, 0.0, 0.0)
    assert above["detector", "patient"] == pytest.approx(MODEL.detector.front_mm - 120.0)
    assert above["X-ray tube", "table"] == pytest.approx(MODEL.source.front_mm - 120.0 - MODEL.table_mm[1])
    beside = room(MIDDLE, 90.0, 0.0)
    assert beside["detector", "patient"] == pytest.approx(MODEL.detector.front_mm - 190.0, abs=1e-6)
    assert beside["detector", "table"] == pytest.approx(MODEL.detector.front_mm - MODEL.table_mm[0] / 2)
    upside_down = room(MIDDLE, 180.0, 0.0)
    assert upside_down["detector", "table"] == pytest.approx(MODEL.detector.front_mm - 120.0 - MODEL.table_mm[1])


def test_along_the_patient_the_housings_are_inside_the_body():
    along = room(MIDDLE, 0.0, 90.0)
    assert max(along["detector", "patient"], along["X-ray tube", "patient"]) < 0.0


@pytest.mark.parametrize("seed", range(6))
def test_against_polygons(seed):
    random = np.random.default_rng(seed)
    for _ in range(12):
        couch = Couch(tuple(random.uniform(-150, 150, 2)), tuple(random.uniform((120, 80), (250, 180))), False)
        axes = positioner_axes(*random.uniform((-180, -90), (180, 90)))
        got = separations_mm(MODEL, couch, axes[None])[0]
        angles = np.arange(3600) * (2 * np.pi / 3600)
        patient = np.column_stack((np.cos(angles), np.sin(angles))) * couch.patient_half_mm + couch.patient_center_mm
        width, thickness = MODEL.table_mm
        corners = np.array(((-width / 2, 0), (width / 2, 0), (width / 2, thickness), (-width / 2, thickness)))
        table = corners + np.array((couch.patient_center_mm[0], couch.table_top_mm))
        bodies = {"table": table, "patient": patient}
        housings = {
            "detector": outline(MODEL.detector, -axes[1], axes),
            "X-ray tube": outline(MODEL.source, axes[1], axes),
        }
        for value, (moving, still) in zip(got, BODIES, strict=True):
            true = polygon_distance(housings[moving], bodies[still])
            if true == 0.0:
                assert value < 0.5
            else:
                # directions are sampled: never more than there is, and little less
                assert true - 0.5 <= value <= true + 0.01


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_skin_says_where_the_patient_lies_in_every_position(position):
    isocenter = np.array((10.0, 20.0, 30.0))
    body = np.array(((-150.0, -90.0, -300.0), (170.0, 130.0, 300.0)))
    couch = couch_of(body, isocenter, position)
    corners = np.array([[body[i, 0], body[j, 1], body[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    in_room = (corners - isocenter) @ lps_from_equipment(position)
    assert couch.table_top_mm == pytest.approx(in_room[:, 1].max())
    assert couch.patient_center_mm[0] - couch.patient_half_mm[0] == pytest.approx(in_room[:, 0].min())
    assert not couch.assumed
    assert couch_of(None, isocenter, position).assumed


def outline(housing, beam, axes):
    along_rows, along_columns, along_beam = (length / 2 for length in housing.size_mm)
    center = beam * (housing.front_mm + along_beam)
    corners = [
        center + a * along_rows * axes[0] + b * along_columns * axes[2] + c * along_beam * axes[1]
        for a in (-1, 1)
        for b in (-1, 1)
        for c in (-1, 1)
    ]
    return cv2.convexHull(np.array(corners)[:, :2].astype(np.float32))[:, 0].astype(np.float64)


def polygon_distance(one, other):
    """Distance of two convex polygons; 0 where OpenCV finds a common area."""
    area, _ = cv2.intersectConvexConvex(one.astype(np.float32), other.astype(np.float32))
    if area > 0.0:
        return 0.0
    return min(points_to_edges(one, other), points_to_edges(other, one))


def points_to_edges(points, polygon):
    start, step = polygon, np.roll(polygon, -1, axis=0) - polygon
    along = ((points[:, None] - start) * step).sum(axis=2) / np.maximum((step**2).sum(axis=1), 1e-12)
    foot = start + np.clip(along, 0.0, 1.0)[:, :, None] * step
    return float(np.linalg.norm(points[:, None] - foot, axis=2).min())
