"""The seen instrument's marks: no plan's colour, at the instrument, tip only where it is known."""

from dataclasses import replace

import numpy as np

from guidance.overlay.colors import ALARM, CALM, NOTICE
from guidance.overlay.needle_lines import SEEN, needle_lines, needle_words
from guidance.tracking.track import InstrumentMotion, InstrumentTrack
from tests.helpers.seen_rods import PLAN, VIEWS, points_of, seen_in, told

STRAIGHT = seen_in(VIEWS[0], points_of()).seen


def marks(seen, **options):
    return needle_lines([seen], line_width_px=1.5, scale=1.0, **options)


def test_marks_are_white_on_dark_and_belong_to_no_path():
    casing, line = marks(STRAIGHT)
    assert line.color == SEEN
    assert casing.width_px > line.width_px
    assert line.path_id == casing.path_id == ""
    assert line.apart
    assert len(line.points) % 2 == 0
    (_, other) = marks(STRAIGHT, taken=[SEEN])
    assert other.color != SEEN


def test_dashes_lie_on_the_centreline_and_the_bar_at_the_tip():
    (_, line) = marks(STRAIGHT)
    start, tip = STRAIGHT.centreline_px
    along = (tip - start) / np.linalg.norm(tip - start)
    across = np.array((-along[1], along[0]))
    dashes, mark = line.points[:-6], line.points[-6:]
    assert np.abs((dashes - start) @ across).max() < 1e-6
    drawn = np.linalg.norm(dashes[1::2] - dashes[::2], axis=1).sum()
    assert 0.3 < drawn / np.linalg.norm(tip - start) < 0.5
    assert np.abs((mark[:2] - tip) @ along).max() < 1e-6
    assert np.abs((mark[:2] - tip) @ across).min() > 0.5 * STRAIGHT.diameter_px
    assert ((mark[2:] - tip) @ along).max() < 1e-6


def test_an_unknown_tip_has_no_mark_and_an_uncertain_one_says_so():
    (_, known) = marks(STRAIGHT)
    (_, unknown) = marks(replace(STRAIGHT, tip_px=None, tip_sigma_px=None, tip_unknown="outside"))
    (_, vague) = marks(replace(STRAIGHT, tip_sigma_px=5.0))
    assert len(known.points) - len(unknown.points) == 6
    assert len(vague.points) - len(known.points) == 2


def test_a_bent_one_is_dashed_along_its_curve():
    seen = seen_in(VIEWS[0], points_of(bend_mm=6.0, count=17)).seen
    (_, line) = marks(seen)
    away = np.linalg.norm(line.points[:-6, None] - seen.centreline_px[None], axis=2).min(axis=1)
    assert away.max() < 0.7 * np.linalg.norm(seen.centreline_px[1] - seen.centreline_px[0])
    chord = seen.centreline_px[-1] - seen.centreline_px[0]
    across = np.array((-chord[1], chord[0])) / np.linalg.norm(chord)
    assert np.abs((line.points[:-6] - seen.centreline_px[0]) @ across).max() > 5.0


def track(depth, **changes):
    return InstrumentTrack(path_id="P1", seen=STRAIGHT, depth=depth, samples=((0, 1.0, 0.1),), **changes)


def test_words_and_their_urgency():
    cases = [
        (track(told()), "S1 left: 23.4 mm to target", CALM),
        (
            track(told(), motion=InstrumentMotion.ADVANCING, speed_mm_s=4.0),
            "S1 left: 23.4 mm to target, advancing",
            CALM,
        ),
        (track(told(off_axis_mm=4.0)), "S1 left: 23.4 mm to target, 4.0 mm off axis", NOTICE),
        (track(told(to_target_mm=-1.5)), "S1 left: past target by 1.5 mm", ALARM),
        (replace(track(told()), seen=None, depth=None), "S1 left: instrument not seen, depth unknown", NOTICE),
    ]
    for one, text, color in cases:
        (words,) = needle_words([PLAN], [one])
        assert (words.text, words.color) == (text, color)
    assert needle_words([PLAN], [InstrumentTrack(path_id="P1")]) == ()
    assert needle_words([PLAN], []) == ()
    (unsearched,) = needle_words([PLAN], [track(told())], looked_for=False)
    assert "not seen" in unsearched.text
