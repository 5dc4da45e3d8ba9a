"""Cement inside a cannula that nobody told of does not count; a vein, which is as thin, does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from guidance.cement.lumen import LumenFinder
from guidance.messages import F32, U8, CementView

SIDE = 256
TIP, HUB = (150, 140), (20, 30)


def reference() -> F32:
    """A patient without sharp bones, a cannula of 12 px in it."""
    v, u = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    attenuation = 2.0 + 0.3 * np.sin(u / 40.0) + 0.2 * np.cos(v / 30.0)
    steel = np.zeros((SIDE, SIDE), np.uint8)
    cv2.line(steel, TIP, HUB, 1, 12)
    return (attenuation + 0.8 * steel).astype(np.float32)


def view(*lines: tuple[tuple[int, int], tuple[int, int], int], motion: tuple[float, float] = (0.0, 0.0)) -> CementView:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for start, end, width in lines:
        cv2.line(mask, start, end, 1, width)
    moved = cv2.warpAffine(mask, np.array([[1.0, 0.0, motion[0]], [0.0, 1.0, motion[1]]]), (SIDE, SIDE))
    return CementView(
        device="Fluoro",
        sequence=1,
        frame_number=1,
        received_ns=0,
        time_s=1.0,
        seen=True,
        mask=moved,
        area_px=float(np.count_nonzero(moved)),
        motion=(*motion, 0.0),
    )


def finder() -> LumenFinder:
    valid: U8 = np.ones((SIDE, SIDE), np.uint8)
    return LumenFinder(reference(), valid, 1)


def looked(found: LumenFinder, seen: CementView) -> np.ndarray | None:
    for _ in range(8):
        found.look(seen)
    return found.capsules(None)


@pytest.mark.parametrize("motion", [(0.0, 0.0), (3.0, -2.0)])
def test_a_part_of_a_lumen_is_enough_to_know_all_of_it(motion: tuple[float, float]) -> None:
    capsules = looked(finder(), view(((45, 51), (105, 102), 5), motion=motion))
    assert capsules is not None
    (u0, v0, u1, v1, radius), *others = capsules.tolist()
    assert not others
    # Its near end is short of the tip by its own width; the other is drawn out of the picture.
    along = np.subtract(HUB, TIP) / np.linalg.norm(np.subtract(HUB, TIP))
    away = np.subtract((u0, v0), TIP)
    assert abs(away[0] * along[1] - away[1] * along[0]) < 3.0
    assert 0.0 < float(away @ along) < 45.0
    assert u1 < 0.0
    assert v1 < 0.0
    assert 4.0 <= radius <= 14.0


def test_a_vein_beside_steel_and_one_that_crosses_it_are_no_lumen() -> None:
    assert looked(finder(), view(((60, 140), (140, 220), 5))) is None
    assert looked(finder(), view(((40, 140), (160, 40), 5))) is None


def test_a_lump_around_the_tip_is_no_lumen() -> None:
    assert looked(finder(), view(((150, 140), (151, 141), 50))) is None


def test_cement_on_a_shaft_and_beside_it_is_a_track_and_counts() -> None:
    assert looked(finder(), view(((45, 51), (140, 131), 40))) is None


def test_nothing_new_and_no_steel_find_nothing() -> None:
    empty = LumenFinder(np.full((SIDE, SIDE), 2.0, np.float32), np.ones((SIDE, SIDE), np.uint8), 1)
    assert looked(empty, view(((45, 51), (105, 102), 5))) is None
    assert looked(finder(), view()) is None
