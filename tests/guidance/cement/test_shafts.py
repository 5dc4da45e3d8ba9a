"""Instruments over cement: one that stands hides nothing, one that moves does, and a lumen's cement does not count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.shafts import Shafts, beside_px, lumen_px
from guidance.messages import F64, CementView
from guidance.tracking.values import SeenInstrument

LINE = np.array([(100.0, 200.0), (300.0, 200.0)])
STILL = (0.0, 0.0, 0.0)
NOTHING = np.zeros((512, 512), np.uint8)


def seen(line: F64 = LINE, tip: tuple[float, float] | None = (300.0, 200.0), path_id: str = "P1") -> SeenInstrument:
    return SeenInstrument(
        path_id=path_id,
        centreline_px=line,
        tip_px=tip,
        tip_sigma_px=0.5,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=10.0,
        contrast=0.5,
        score=0.9,
        bend_px=0.0,
    )


def view(area_px: float) -> CementView:
    return CementView(
        device="Fluoro",
        sequence=1,
        frame_number=1,
        received_ns=0,
        time_s=0.0,
        seen=True,
        mask=np.zeros((512, 512), np.uint8),
        area_px=area_px,
    )


def test_one_that_stands_hides_nothing_also_when_the_patient_breathes() -> None:
    shafts = Shafts()
    assert shafts.moved([seen()], 0, STILL, 512) == []
    assert shafts.moved([seen(LINE + 0.4, (300.9, 200.3))], 0, STILL, 512) == []
    breathed = np.array((3.0, -6.0))
    assert shafts.moved([seen(LINE + breathed, (303.0, 194.0))], 0, (3.0, -6.0, 0.0), 512) == []


@pytest.mark.parametrize(
    ("line", "tip"),
    [
        (LINE + np.array((0.0, 6.0)), (300.0, 206.0)),  # beside
        (LINE, (280.0, 200.0)),  # withdrawn
        (LINE + np.array([(0.0, -8.0), (0.0, 8.0)]), (300.0, 208.0)),  # turned
    ],
)
def test_one_that_moved_hides_where_it_is_and_where_it_was(line: F64, tip: tuple[float, float] | None) -> None:
    shafts = Shafts()
    before, now = seen(), seen(line, tip)
    shafts.moved([before], 0, STILL, 512)
    assert shafts.moved([now], 0, STILL, 512, NOTHING) == [now, before]


def test_a_shaft_that_seems_to_end_at_a_crossing_edge_for_a_moment_ends_where_it_did() -> None:
    shafts, short = Shafts(), seen(np.array([(100.0, 200.0), (180.0, 200.0)]), None)
    shafts.moved([seen()], 0, STILL, 512)
    whole = shafts.lumens([], 0, view(0.0))
    for time_ns in (100_000_000, 400_000_000):
        assert shafts.moved([short], time_ns, STILL, 512, NOTHING) == []
        np.testing.assert_array_equal(shafts.lumens([short], time_ns, view(0.0)), whole)
    assert len(shafts.moved([short], 700_000_000, STILL, 512, NOTHING)) == 2  # half a second without its end


@pytest.mark.parametrize("tip", [(260.0, 200.0), None])
def test_a_tip_that_cement_lies_over_is_not_one_that_was_withdrawn(tip: tuple[float, float] | None) -> None:
    shafts, now = Shafts(), seen(LINE, tip)
    shafts.moved([seen()], 0, STILL, 512)
    mask = NOTHING.copy()
    mask[190:211, 250:320] = 1
    for time_ns in (0, 500_000_000, 1_000_000_000):
        assert shafts.moved([now], time_ns, STILL, 512, mask) == []
    assert len(shafts.moved([now], 1_500_000_000, STILL, 512, NOTHING)) == 2


def test_in_the_first_look_at_a_view_with_much_cement_a_shaft_that_ends_early_is_no_other_one() -> None:
    shafts = Shafts()
    shafts.stood([seen()])
    short = seen(np.array([(100.0, 200.0), (240.0, 200.0)]), (240.0, 200.0))
    assert shafts.moved([short], 0, STILL, 512, None) == []
    beside = NOTHING.copy()
    beside[180:221, 310:340] = 1  # what its capsule does not hide
    assert shafts.moved([short], 1, STILL, 512, beside) == []


def test_missing_one_that_the_search_never_sees_does_not_mean_that_it_has_left() -> None:
    shafts = Shafts()
    shafts.stood([], [seen()])
    for n in range(8):
        assert shafts.moved([], n * 500_000_000, STILL, 512, NOTHING) == []
    assert shafts.lumens([], 4_000_000_000, view(0.0)) is not None


def test_a_shaft_that_the_search_ends_where_something_dense_crosses_it_has_a_lumen_as_deep_as_its_steel() -> None:
    short, whole = seen(np.array([(100.0, 200.0), (180.0, 200.0)]), None), Shafts()
    whole.stood([seen()])
    wanted = whole.lumens([], 0, view(0.0))
    assert wanted is not None
    shafts = Shafts()
    shafts.stood([short], [seen(LINE + 1.0, (301.0, 201.0))])
    for now in ([short], [], [seen()]):
        assert shafts.moved(now, 0, STILL, 512, NOTHING) == []
        there = shafts.lumens(now, 0, view(0.0))
        assert there is not None
        np.testing.assert_allclose(there[-1, 2:4], wanted[-1, 2:4], atol=1.5)
    shafts.reference_moved((40.0, -25.0, 0.0))
    assert shafts.moved([], 0, STILL, 512, NOTHING) == []
    moved = shafts.lumens([], 0, view(0.0))
    assert moved is not None
    np.testing.assert_allclose(moved[-1, 2:4], wanted[-1, 2:4] + (40.0, -25.0), atol=1.5)


def test_steel_on_another_line_or_hardly_deeper_does_not_change_a_shaft() -> None:
    for line, tip in ((LINE + np.array((0.0, 9.0)), (380.0, 209.0)), (LINE, (306.0, 200.0))):
        shafts = Shafts()
        shafts.stood([seen()], [seen(line, tip)])
        assert shafts.moved([], 0, STILL, 512, NOTHING) == []
        capsules = shafts.lumens([], 0, view(0.0))
        assert capsules is not None
        assert capsules[-1, 2] == pytest.approx(288.0)


def test_after_another_reference_is_taken_the_same_shafts_stand_in_it() -> None:
    shafts, panned = Shafts(), np.array((40.0, -25.0))
    shafts.stood([seen()])
    there = seen(LINE + panned, (340.0, 175.0))
    assert shafts.moved([there], 0, (40.0, -25.0, 0.0), 512, NOTHING) == []
    shafts.reference_moved((40.0, -25.0, 0.0))
    assert shafts.moved([there], 1, STILL, 512, NOTHING) == []


def test_a_lumen_reaches_as_far_as_the_shaft_did_before_cement_hid_its_end() -> None:
    shafts, mask = Shafts(), NOTHING.copy()
    shafts.stood([seen()])
    mask[150:251, 270:371] = 1  # a lump around the tip at 300
    for now in ([seen(LINE + np.array([(0.0, 0.0), (-60.0, 0.0)]), (240.0, 200.0))], []):
        assert shafts.moved(now, 0, (4.0, 0.0, 0.0), 512, mask) == []
        capsules = shafts.lumens(now, 0, replace(view(10000.0), mask=mask))
        assert capsules is not None
        assert capsules[-1, 2] + capsules[-1, 4] == pytest.approx(270.0, abs=2.5)  # where the lump begins


def test_where_one_has_left_nothing_is_told() -> None:
    shafts = Shafts()
    first = seen()
    shafts.moved([first], 0, STILL, 512)
    assert shafts.moved([], 500_000_000, STILL, 512) == []  # missed for a moment
    assert shafts.moved([], 1_500_000_000, STILL, 512) == [first]
    assert shafts.lumens([], 1_500_000_000, view(0.0)) is not None  # it may as well be cement that hides it
    assert shafts.moved([seen()], 1_600_000_000, STILL, 512) == []  # it was there all the time


def test_one_that_came_later_hides_what_is_under_it() -> None:
    shafts = Shafts()
    shafts.moved([], 0, STILL, 512)
    new = seen()
    assert shafts.moved([new], 0, STILL, 512) == [new]


def test_a_lumen_goes_back_out_of_the_picture_and_leaves_the_tip_free() -> None:
    capsules = lumen_px(seen(), 1000.0, free_px=50.0)
    assert capsules[0, :4].tolist() == pytest.approx([-900.0, 200.0, 100.0, 200.0])
    assert capsules[1, :4].tolist() == pytest.approx([100.0, 200.0, 250.0, 200.0])
    assert (capsules[:, 4] == 6.0).all()


def test_a_bent_lumen_follows_its_centreline_and_may_lose_its_last_pieces() -> None:
    line = np.array([(100.0, 100.0), (200.0, 100.0), (210.0, 100.0), (220.0, 100.0)])
    capsules = lumen_px(seen(line, None), 500.0, free_px=60.0)
    assert capsules[-1, 2:4].tolist() == pytest.approx([160.0, 100.0])


def test_the_more_cement_there_is_around_it_the_more_of_the_shaft_is_free() -> None:
    shafts, mask = Shafts(), NOTHING.copy()
    little = shafts.lumens([seen()], 0, view(10.0))
    mask[150:251, 250:351] = 1
    much = shafts.lumens([seen()], 1, replace(view(10000.0), mask=mask))
    assert little is not None
    assert much is not None
    assert little[-1, 2] == pytest.approx(288.0)
    assert much[-1, 2] + much[-1, 4] == pytest.approx(250.0, abs=2.5)


def test_what_a_lumen_holds_frees_nothing_however_much_it_is() -> None:
    mask = NOTHING.copy()
    mask[195:206] = 1
    capsules = Shafts().lumens([seen()], 0, replace(view(5000.0), mask=mask))
    assert capsules is not None
    assert capsules[-1, 2] == pytest.approx(288.0)


def test_a_front_aslant_over_a_shaft_frees_it_to_the_middle() -> None:
    mask = NOTHING.copy()
    mask[180:200, 200:310] = mask[200:221, 240:310] = 1
    assert beside_px(seen(), mask) == pytest.approx(80.0 + 6.0, abs=2.5)


def test_where_cement_flows_back_around_a_shaft_the_shaft_is_free() -> None:
    shafts, around = Shafts(), view(2000.0)
    mask = np.zeros((512, 512), np.uint8)
    mask[185:216, 180:310] = 1  # from the tip 120 px back, wider than the shaft
    capsules = shafts.lumens([seen()], 0, replace(around, mask=mask))
    assert capsules is not None
    assert capsules[-1, 2] + capsules[-1, 4] == pytest.approx(180.0, abs=3.0)
    mask[195:206, 20:180] = 1  # the lumen itself, filled: nothing beside it there
    again = shafts.lumens([seen()], 1, replace(around, mask=mask))
    assert again is not None
    assert again[-1, 2] + again[-1, 4] == pytest.approx(180.0, abs=3.0)


def test_cement_beside_a_shaft_far_from_its_tip_frees_nothing() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[180:220, 110:150] = 1
    assert beside_px(seen(), mask) == 0.0


def test_half_a_second_after_it_was_seen_last_a_lumen_hides_nothing() -> None:
    shafts = Shafts()
    assert shafts.lumens([seen()], 0, None) is not None
    assert shafts.lumens([], 400_000_000, None) is not None
    assert shafts.lumens([], 600_000_000, None) is None
