"""Outlines of shadows against a filled drawing of all triangles, closed forms and OpenCV's projection."""

import cv2
import numpy as np
import pytest

from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose
from guidance.kernels import _core
from guidance.kernels.silhouette import Column, OutlineState, silhouette_plan, silhouette_strokes, silhouettes
from tests.helpers.surfaces import ball, box, ring, shape_of, together, turned

SIZE = 1024
FINE = 8  # pixels of the drawing to one of the picture
GREEN = (0, 255, 0)


def view(primary=0.0, secondary=0.0, rotation=0.0, flip=False, pitch=0.3):
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=1200.0,
            source_to_isocenter_mm=750.0,
            detector_rotation_deg=rotation,
        ),
        detector=Detector(rows=SIZE, columns=SIZE, pitch_row_mm=pitch, pitch_column_mm=pitch, fov_flip=flip),
    ).pixel_from_patient


def outlined(shape, matrix, picture=(SIZE, SIZE), width=1.5):
    strokes, summary = silhouettes(silhouette_plan([shape], [GREEN]), matrix, line_width_px=width, picture=picture)
    return strokes.astype(np.float64), summary[0]


def projected(points, matrix):
    """OpenCV's own projection, from a decomposition of the matrix."""
    intrinsics, rotation, place = cv2.decomposeProjectionMatrix(matrix)[:3]
    if np.linalg.det(rotation) < 0:
        raise AssertionError("OpenCV gives proper rotations")
    source = place[:3] / place[3]
    moved = cv2.projectPoints(
        np.asarray(points, np.float64).reshape(-1, 1, 3), cv2.Rodrigues(rotation)[0], -rotation @ source,
        intrinsics / intrinsics[2, 2], None,
    )[0]  # fmt: skip
    return moved.reshape(-1, 2)


def drawing_of(shape, matrix):
    """The shadow, filled triangle by triangle at `FINE` times the picture's resolution, and where it begins (u, v)."""
    corners = projected(shape.vertices_lps_mm, matrix)
    origin = np.floor(corners.min(axis=0)) - 3
    size = np.ceil(corners.max(axis=0)) + 3 - origin
    canvas = np.zeros((int(size[1]) * FINE, int(size[0]) * FINE), np.uint8)
    fine = np.round(((corners - origin) * FINE - 0.5) * 16).astype(np.int32)
    for triangle in shape.triangles:
        cv2.fillConvexPoly(canvas, fine[triangle], 255, cv2.LINE_8, 4)
    return canvas, origin


def lines_drawing(strokes, canvas, origin):
    lines = np.zeros_like(canvas)
    for u0, v0, u1, v1 in (strokes[:, :4] - np.tile(origin, 2)) * FINE - 0.5:
        ends = [(round(u * 16), round(v * 16)) for u, v in ((u0, v0), (u1, v1))]
        cv2.line(lines, ends[0], ends[1], 255, 1, cv2.LINE_8, 4)
    return lines


def worst_apart_px(shape, matrix):
    """Largest distance between the drawn outline and the border of the filled shadow, both ways."""
    strokes, summary = outlined(shape, matrix)
    assert summary[Column.STATE] == OutlineState.DRAWN
    canvas, origin = drawing_of(shape, matrix)
    border = cv2.morphologyEx(canvas, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    lines = lines_drawing(strokes, canvas, origin) > 0
    from_border, from_lines = (
        cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for marked in (border, lines)
    )
    return from_border[lines].max() / FINE, from_lines[border].max() / FINE


# The drawing's own grain is a quarter of a pixel: it fills what a triangle touches, and its border is two wide.
GRAIN_PX = 0.4


def shapes(rng):
    yield "ball", ball(rng.uniform(-40, 40, 3), 12.0)
    yield "ring", turned(ring((0, 0, 0), 22.0, 6.0), rng)
    yield "box", turned(box((-20, -8, -30), (15, 12, 5)), rng)
    yield "apart", together(ball((-25, 0, 0), 8.0, 12), ball((25, 5, 5), 10.0, 12))
    yield (
        "overlapping",
        turned(together(ring((0, 0, 0), 20, 4.0), ball((10, 0, 18), 12.0), box((-9,) * 3, (9,) * 3)), rng),
    )
    star = ball((0, 0, 0), 1.0, 20)
    bumps = 18.0 + 5.0 * np.sin(4 * star.vertices_lps_mm[:, :1] * 3) * np.cos(9 * star.vertices_lps_mm[:, 1:2])
    yield "not convex", turned(shape_of(star.vertices_lps_mm * bumps, star.triangles), rng)
    rough = ring((0, 0, 0), 22.0, 8.0, 90, 30)
    noise = rng.normal(0.0, 0.15, rough.vertices_lps_mm.shape)
    yield "rough", turned(shape_of(rough.vertices_lps_mm + noise, rough.triangles), rng)


@pytest.mark.parametrize("seed", range(4))
def test_outlines_are_the_filled_shadows_borders(seed):
    rng = np.random.default_rng(seed)
    for name, shape in shapes(rng):
        matrix = view(rng.uniform(-180, 180), rng.uniform(-60, 60), rng.uniform(-90, 90))
        beyond, missed = worst_apart_px(shape, matrix)
        assert beyond < GRAIN_PX, f"{name}: a line {beyond:.2f} px off the shadow's border"
        assert missed < GRAIN_PX, f"{name}: a border {missed:.2f} px from any line"


@pytest.mark.parametrize("seed", range(2))
def test_a_very_rough_surface_is_outlined_but_for_openings_less_than_a_pixel_high(seed):
    rng = np.random.default_rng(seed)
    smooth = ring((0, 0, 0), 26.0, 10.0, 150, 50)
    noise = rng.normal(0.0, 0.25, smooth.vertices_lps_mm.shape)
    shape, matrix = turned(shape_of(smooth.vertices_lps_mm + noise, smooth.triangles), rng), view(20, 30)
    canvas, origin = drawing_of(shape, matrix)
    border = cv2.morphologyEx(canvas, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    closed = cv2.morphologyEx(canvas, cv2.MORPH_CLOSE, np.ones((2 * FINE, 2 * FINE), np.uint8))
    outer = (cv2.morphologyEx(closed, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0) & border
    lines = lines_drawing(outlined(shape, matrix)[0], canvas, origin) > 0
    from_border, from_lines = (
        cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for marked in (border, lines)
    )
    assert outer.sum() > 5000
    assert from_border[lines].max() / FINE < GRAIN_PX
    assert from_lines[outer].max() / FINE < GRAIN_PX


def test_the_check_can_fail():
    shape, matrix = ring((0, 0, 0), 22.0, 6.0), view(20, 60)
    strokes, _ = outlined(shape, matrix)
    canvas, origin = drawing_of(shape, matrix)
    border = cv2.morphologyEx(canvas, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    hole_left_out = lines_drawing(strokes[: len(strokes) // 3], canvas, origin) == 0
    assert cv2.distanceTransform(hole_left_out.astype(np.uint8), cv2.DIST_L2, 5)[border].max() / FINE > 10.0


def test_a_hole_is_outlined_and_a_fold_is_not():
    def closed_curves(strokes):
        starts = np.flatnonzero(np.r_[True, (strokes[1:, :2] != strokes[:-1, 2:4]).any(axis=1)])
        ends = np.r_[starts[1:], len(strokes)] - 1
        np.testing.assert_array_equal(strokes[starts, :2], strokes[ends, 2:4])
        return len(starts)

    donut = ring((0, 0, 0), 25.0, 8.0)
    through, _ = outlined(donut, view(0, 80))
    assert closed_curves(through) == 2
    aside, _ = outlined(donut, view(0, 12))  # its far side shows through no hole: only folds inside
    assert closed_curves(aside) == 1


@pytest.mark.parametrize("angles", [(0, 0), (35, -20), (180, 5), (90, 60)])
@pytest.mark.parametrize("center", [(0, 0, 0), (60, -30, 40), (-50, 20, -45)])
def test_a_balls_outline_is_the_ellipse_of_its_tangent_cone(angles, center):
    matrix, radius = view(*angles), 14.0
    # Dual quadric of the sphere and its image: lines l with l^T C* l = 0 touch the outline (Hartley & Zisserman 8.3).
    dual = np.diag([radius**2, radius**2, radius**2, 0.0]) - np.outer(np.r_[center, 1.0], np.r_[center, 1.0])
    conic = np.linalg.inv(matrix @ dual @ matrix.T)
    strokes, summary = outlined(ball(center, radius, 180), matrix)
    points = np.column_stack((strokes[:, :2], np.ones(len(strokes))))
    value = ((points @ conic) * points).sum(axis=1)
    slope = 2.0 * np.linalg.norm((points @ conic)[:, :2], axis=1)
    assert np.abs(value / slope).max() < 0.03  # the tessellation's own: 14 mm / 180 rings, 0.01 px
    area = cv2.contourArea(cv2.convexHull(strokes[:, :2].astype(np.float32)))
    scale = np.linalg.det(conic[:2, :2])
    ellipse = np.pi * abs(np.linalg.det(conic)) / abs(scale) ** 1.5
    assert area == pytest.approx(ellipse, rel=2e-3)
    w = matrix[2] @ (*center, 1.0)
    assert summary[Column.DEPTH] == pytest.approx(w)


def test_a_boxs_outline_runs_through_its_corners():
    shape, matrix = box((-30, -20, -10), (10, 25, 40)), view(25, 15, 10)
    strokes, summary = outlined(shape, matrix)
    hull = cv2.convexHull(projected(shape.vertices_lps_mm, matrix).astype(np.float32)).reshape(-1, 2)
    assert len(strokes) == len(hull) == 6
    apart = np.linalg.norm(strokes[:, None, :2] - hull[None], axis=2)
    assert apart.min(axis=1).max() < 1e-3
    np.testing.assert_allclose(
        summary[Column.LEFT : Column.BOTTOM + 1], [*hull.min(axis=0), *hull.max(axis=0)], atol=1e-3
    )


@pytest.mark.parametrize("primary", [0.0, 90.0, 180.0])
def test_faces_seen_exactly_edge_on(primary):
    # The source lies in the plane of three of the box's faces, and down the edge where two of them meet.
    for low, high in [((0, -20, 0), (30, 20, 25)), ((0, 0, 0), (25, 25, 25)), ((-20, -30, 0), (20, 10, 15))]:
        beyond, missed = worst_apart_px(box(low, high), view(primary))
        assert max(beyond, missed) < GRAIN_PX


@pytest.mark.parametrize("change", ["flipped", "mixed", "unwelded", "shuffled", "mirrored picture"])
def test_how_the_triangles_are_listed_does_not_matter(change):
    rng = np.random.default_rng(3)
    shape, matrix = turned(ring((0, 0, 0), 22.0, 6.0), rng), view(30, 20)
    triangles, vertices = shape.triangles, shape.vertices_lps_mm
    if change == "flipped":
        shape = shape_of(vertices, triangles[:, ::-1])
    elif change == "mixed":
        shape = shape_of(vertices, np.where(rng.random((len(triangles), 1)) < 0.5, triangles, triangles[:, ::-1]))
    elif change == "unwelded":
        shape = shape_of(vertices[triangles].reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3))
    elif change == "shuffled":
        shape = shape_of(vertices, rng.permutation(triangles))
    else:
        matrix = np.diag([-1.0, 1.0, 1.0]) @ matrix + np.outer([SIZE - 1.0, 0.0, 0.0], matrix[2])
        strokes, _ = outlined(shape, matrix)
        strokes[:, [0, 2]] = SIZE - 1.0 - strokes[:, [0, 2]]
        canvas, origin = drawing_of(shape, view(30, 20))
        border = cv2.morphologyEx(canvas, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        apart = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert apart[lines_drawing(strokes, canvas, origin) > 0].max() / FINE < GRAIN_PX
        return
    beyond, missed = worst_apart_px(shape, matrix)
    assert max(beyond, missed) < GRAIN_PX


def test_an_open_sheet_has_the_shadow_of_what_is_there():
    shell = ball((0, 0, 0), 20.0)
    half = shape_of(
        shell.vertices_lps_mm, shell.triangles[shell.vertices_lps_mm[shell.triangles][..., 0].min(axis=1) >= 0]
    )
    beyond, missed = worst_apart_px(half, view(40, 30))
    assert max(beyond, missed) < GRAIN_PX


def test_part_of_a_zone_off_the_picture():
    shape, matrix = ring((90, 0, 80), 40.0, 10.0), view(0, 70)
    whole, _ = outlined(shape, matrix, picture=(100_000, 100_000))
    strokes, summary = outlined(shape, matrix)
    assert summary[Column.STATE] == OutlineState.DRAWN
    assert 0 < len(strokes) < len(whole)
    rim = 6.0
    assert strokes[:, [0, 2]].max() < SIZE + rim
    assert strokes[:, [1, 3]].min() > -rim
    kept = whole[((whole[:, :4] > 0) & (whole[:, :4] < SIZE)).all(axis=1)]
    starts = {tuple(start) for start in np.round(strokes[:, :2], 1)}
    assert len(kept) > 10
    near = [np.abs(strokes[:, :2] - start).sum(axis=1).min() for start in kept[:, :2]]
    assert np.median(near) < 0.5  # where simplification begins differs; the line itself is held below
    assert starts
    # What is on the picture is the same to the pixel.
    drawn = [np.zeros((SIZE, SIZE), np.uint8) for _ in range(2)]
    for canvas, lines in zip(drawn, (whole, strokes), strict=True):
        for u0, v0, u1, v1 in np.round(lines[:, :4] * 16).astype(int):
            cv2.line(canvas, (u0, v0), (u1, v1), 255, 1, cv2.LINE_8, 4)
    apart = cv2.distanceTransform(255 - drawn[1], cv2.DIST_L2, 5)[drawn[0] > 0]
    assert apart.max() <= 1.5


@pytest.mark.parametrize("center", [(400, 0, 0), (0, 0, -400), (-300, 0, 300)])
def test_a_zone_off_the_picture_has_no_lines(center):
    strokes, summary = outlined(ball(center, 20.0), view())
    assert not len(strokes)
    assert summary[Column.STATE] == OutlineState.NOTHING


def test_a_zone_larger_than_the_picture_has_no_lines_on_it():
    strokes, summary = outlined(ball((0, 0, 0), 240.0), view())
    assert not len(strokes)
    assert summary[Column.STATE] == OutlineState.NOTHING


# At 0/0 the source is 750 mm behind the patient, at y = +750.
@pytest.mark.parametrize("y", [700.0, 745.0, 750.0, 800.0, 2000.0])
def test_what_reaches_behind_the_source_is_withheld_and_said(y):
    strokes, summary = outlined(together(ball((0, y, 0), 45.0), ball((0, 0, 0), 10.0)), view())
    assert not len(strokes)
    assert summary[Column.STATE] == OutlineState.TOO_NEAR


def test_near_the_source_and_yet_before_it():
    shape = ball((0, 640, 0), 6.0)
    strokes, _ = outlined(shape, view())
    assert max(worst_apart_px(shape, view())) < GRAIN_PX
    assert np.ptp(strokes[:, 0]) > 400


@pytest.mark.parametrize("radius_mm", [1e-4, 1e-2, 0.1])
def test_a_tiny_zone_is_a_dot(radius_mm):
    strokes, summary = outlined(ball((3, 4, 5), radius_mm, 8), view())
    assert summary[Column.STATE] == OutlineState.DRAWN
    middle = projected([(3, 4, 5)], view())[0]
    assert np.abs(strokes[:, :4] - np.tile(middle, 2)).max() < radius_mm * 6 + 0.11


def test_far_zones_come_before_near_ones_and_keep_their_colours():
    # The detector is in front of the patient (smaller y): what lies there is nearer to who looks at the picture.
    near, far = ball((0, -60, 0), 10.0), ball((5, 70, 0), 10.0)
    plan = silhouette_plan([near, far], [(1, 2, 3), (4, 5, 6)])
    strokes, summary = silhouettes(plan, view(), line_width_px=2.5, picture=(SIZE, SIZE))
    assert summary[1, Column.FIRST_STROKE] == 0
    assert summary[0, Column.FIRST_STROKE] == summary[1, Column.STROKES]
    assert summary[0, Column.DEPTH] > summary[1, Column.DEPTH]
    split = int(summary[1, Column.STROKES])
    assert (strokes[:split, 5:] == (4, 5, 6)).all()
    assert (strokes[split:, 5:] == (1, 2, 3)).all()
    assert (strokes[:, 4] == 1.25).all()
    assert len(strokes) == summary[:, Column.STROKES].sum()


def test_nothing_to_draw():
    assert silhouette_strokes(silhouette_plan([], []), view(), line_width_px=1.0, picture=(9, 9)).shape == (0, 8)
    empty = shape_of(np.zeros((0, 3)), np.zeros((0, 3)))
    strokes, summary = outlined(empty, view())
    assert strokes.shape == (0, 8)
    assert summary[Column.STATE] == OutlineState.NOTHING
    flat = shape_of([(0, 0, 0), (1, 1, 1), (2, 2, 2)], [(0, 1, 2), (0, 0, 1)])
    assert not len(outlined(flat, view())[0])


def test_arrays_that_do_not_fit_are_refused():
    good = ball((0, 0, 0), 5.0, 6)
    with pytest.raises(ValueError, match="of the vertices"):
        silhouette_plan([shape_of(good.vertices_lps_mm, good.triangles + 1)], [GREEN])
    with pytest.raises(ValueError, match="of the vertices"):
        silhouette_plan([shape_of(good.vertices_lps_mm, good.triangles - 1)], [GREEN])
    with pytest.raises(ValueError, match="finite"):
        silhouette_plan([shape_of(np.where(good.vertices_lps_mm > 4.9, np.nan, 0.0), good.triangles)], [GREEN])
    with pytest.raises(TypeError):
        _core.ShadowMesh(good.vertices_lps_mm.astype(np.float64), good.triangles)
    plan = silhouette_plan([good], [GREEN])
    with pytest.raises(ValueError, match="singular"):
        silhouettes(plan, np.zeros((3, 4)), line_width_px=1.0, picture=(9, 9))
    with pytest.raises(ValueError, match="finite"):
        silhouettes(plan, np.full((3, 4), np.nan), line_width_px=1.0, picture=(9, 9))
    with pytest.raises(ValueError, match="line_width_px"):
        silhouettes(plan, view(), line_width_px=np.nan, picture=(9, 9))
    with pytest.raises(ValueError, match="one row per mesh"):
        silhouettes(silhouette_plan([good], [GREEN, GREEN]), view(), line_width_px=1.0, picture=(9, 9))
