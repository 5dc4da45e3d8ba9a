"""Cannulas along planned paths by the reference's steel: where the cannula is, and nothing where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from guidance.cement.picture_scale import scale_of
from guidance.cement.reference import ReferencePicture
from guidance.cement.steel_shafts import steel_along
from guidance.cement.values import CementFrame
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import F32, F64, PlannedPath

SIDE, STEP = 512, 2
FOCAL_PX, DEPTH_MM = 4000.0, 800.0  # 5 px per mm at the isocentre
WIDTH_PX = 15.0  # of 3 mm
# Along +y away from the source; x along columns, z up the rows.
MATRIX = np.array(
    [[FOCAL_PX, 255.5, 0.0, 255.5 * DEPTH_MM], [0.0, 255.5, -FOCAL_PX, 255.5 * DEPTH_MM], [0, 1, 0, DEPTH_MM]]
)


def px(point: tuple[float, float, float]) -> F64:
    u, v, w = MATRIX @ np.array([*point, 1.0])
    return np.array([u / w, v / w])


def path(entry: tuple[float, float, float], target: tuple[float, float, float]) -> PlannedPath:
    return PlannedPath(id="P1", entry_lps_mm=entry, target_lps_mm=target, diameter_mm=3.0)


def reference(*rods: tuple[F64, F64, float, float]) -> ReferencePicture:
    """Rods: two ends, width and contrast; between them soft tissue with noise and a band of bone."""
    random = np.random.default_rng(3)
    picture = random.normal(3.0, 0.02, (SIDE, SIDE)).astype(np.float32)
    picture[300:340] += 0.3
    for start, end, width, contrast in rods:
        drawn = np.zeros((SIDE, SIDE), np.uint8)
        corners = [tuple(round(16.0 * float(value)) for value in place) for place in (start, end)]
        cv2.line(drawn, corners[0], corners[1], 1, round(width), shift=4)
        picture += contrast * cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), 1.5)
    grid: F32 = picture.reshape(SIDE // STEP, STEP, SIDE // STEP, STEP).mean(axis=(1, 3), dtype=np.float32)
    frame = CementFrame(
        device="Fluoro",
        sequence=1,
        frame_number=1,
        received_ns=0,
        time_ns=0,
        pixels=np.full((SIDE, SIDE), 1000, np.uint16),
        intensity=PixelIntensity(),
    )
    return ReferencePicture(
        device="Fluoro",
        scale=scale_of([frame], STEP),
        picture=(SIDE, SIDE),
        kind="<u2",
        attenuation=grid,
        valid=np.ones_like(grid, np.uint8),
        variance=np.full_like(grid, 0.0004),
        frames=12,
        kvp=80.0,
        pixel_from_patient=None,
        until_ns=0,
        linear=True,
    )


ENTRY, TARGET = (-12.0, 0.0, 8.0), (4.0, 0.0, -2.0)


def beside(start: F64, end: F64, off_px: float, turn_deg: float) -> tuple[F64, F64]:
    """A line from its end, shifted and turned there."""
    back = start - end
    turn = np.deg2rad(turn_deg)
    turned = np.array(
        (np.cos(turn) * back[0] - np.sin(turn) * back[1], np.sin(turn) * back[0] + np.cos(turn) * back[1])
    )
    across = np.array((-back[1], back[0])) / np.linalg.norm(back)
    return end + across * off_px + turned, end + across * off_px


@pytest.mark.parametrize(("off_px", "turn_deg"), [(0.0, 0.0), (14.0, 3.0), (-20.0, -5.0)])
def test_a_cannula_is_found_where_it_is_and_not_where_it_was_planned(off_px: float, turn_deg: float) -> None:
    outer = px((-80.0, 0.0, 50.5))
    start, end = beside(outer, px(TARGET), off_px, turn_deg)
    (one,) = steel_along(reference((start, end, WIDTH_PX, 0.6)), [path(ENTRY, TARGET)], MATRIX)
    along = (end - start) / np.linalg.norm(end - start)
    assert one.tip_px is not None
    off = np.array(one.tip_px) - end
    assert abs(float(off @ np.array((-along[1], along[0])))) < 3.0
    assert -6.0 < float(off @ along) < 12.0  # its round end counts
    found = one.centreline_px[1] - one.centreline_px[0]
    assert float(found @ along) / np.linalg.norm(found) > np.cos(np.deg2rad(1.0))
    assert one.diameter_px == pytest.approx(WIDTH_PX, rel=0.02)


def test_one_along_the_line_of_sight_in_the_bone_is_found_by_what_is_outside_of_it() -> None:
    entry, target = (-2.0, -25.0, 1.0), (0.0, 0.0, 0.0)
    outer = px((-9.0, -112.5, 4.5))
    (one,) = steel_along(reference((outer, px(target), WIDTH_PX, 0.6)), [path(entry, target)], MATRIX)
    assert one.tip_px is not None
    assert np.linalg.norm(np.array(one.tip_px) - px(target)) < 12.0


def test_bone_far_or_broad_steel_and_end_on_paths_are_no_cannula() -> None:
    outer, target = px((-80.0, 0.0, 50.5)), px(TARGET)
    one = path(ENTRY, TARGET)
    assert steel_along(reference(), [one], MATRIX) == ()
    assert steel_along(reference((*beside(outer, target, 70.0, 0.0), WIDTH_PX, 0.6)), [one], MATRIX) == ()
    assert steel_along(reference((outer, target, 3.0 * WIDTH_PX, 0.6)), [one], MATRIX) == ()
    assert steel_along(reference((outer, target, WIDTH_PX, 0.1)), [one], MATRIX) == ()
    straight = path((0.0, -25.0, 0.0), (0.0, 0.0, 0.0))
    assert steel_along(reference((outer, target, WIDTH_PX, 0.6)), [straight], MATRIX) == ()
    behind = path((0.0, -900.0, 0.0), (0.0, 0.0, 0.0))
    assert steel_along(reference(), [behind], MATRIX) == ()


def test_a_path_that_comes_from_beside_the_source_is_looked_for_in_the_picture_alone() -> None:
    # Its outer end is 10 mm before the source, and projected to hundreds of thousands of pixels from the picture.
    outer, target = np.array((-300.0, -790.0, 0.0)), np.array(TARGET)
    toward = (outer - target) / np.linalg.norm(outer - target)
    entry = outer - 120.0 * toward
    near = PlannedPath(id="P1", entry_lps_mm=tuple(entry), target_lps_mm=TARGET, diameter_mm=3.0)
    assert steel_along(reference(), [near], MATRIX) == ()
    # As far from the picture's side, and so near to the source that 3 mm are wider than the picture.
    beside_it = path((-300.0, -700.0, 0.0), (-300.0, -790.0, 0.0))
    across = path((-4.0, -797.0, 0.0), (4.0, -797.0, 0.0))
    assert steel_along(reference(), [beside_it, across], MATRIX) == ()
