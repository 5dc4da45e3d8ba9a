"""Bull's-eye views: true circles and the margin's ring; elsewhere words that lead there."""

import numpy as np
import pytest

from guidance.config import OverlaySettings
from guidance.messages import PathStage, PlannedPath
from guidance.overlay.colors import ALARM, rgb_of
from guidance.overlay.zones import PathAid
from guidance.planning.answers import View
from tests.helpers.drawn import draw, pixels_of, view, words_of

# Straight along the view axis at 0/0; the source is at y = +750, so the entry at the back is the nearer to it.
DOWN = PlannedPath(
    id="P1", entry_lps_mm=(0, 40, 0), target_lps_mm=(0, -30, 0), diameter_mm=8.0, label="S1", color="#00ff00"
)
FOCAL_PX = 4000.0


def views(*angles, kind="bulls_eye", reachable=True):
    return tuple(View(kind=kind, primary_deg=p, secondary_deg=s, reachable=reachable, reason="") for p, s in angles)


def circles(scene, path_id="P1"):
    """Radii in px of what is round about the middle, by its own points."""
    found = []
    for line in scene.lines:
        if line.path_id == path_id and (line.closed or line.apart) and len(line.points) > 40:
            radii = np.hypot(*(line.points - 511.5).T)
            if np.ptp(radii) < 0.2:
                found.append(round(float(radii.mean()), 1))
    return found


def test_entry_and_target_are_circles_at_true_size_with_the_tighter_ring():
    scene, layer = draw((DOWN,), view(), aids={"P1": PathAid(margin_mm=3.0)})
    entry, target = 4.0 * FOCAL_PX / (750 - 40), 4.0 * FOCAL_PX / (750 + 30)
    ring = 7.0 * FOCAL_PX / (750 + 30)  # at the target's depth the margin looks tighter
    found = circles(scene)
    for radius in (entry, target, ring):
        assert min(abs(radius - each) for each in found) < 0.1, (radius, found)
    assert not any(abs(7.0 * FOCAL_PX / (750 - 40) - each) < 0.3 for each in found)
    for radius in (entry, target):
        at = np.flatnonzero(layer[511, :511, 3] > 100)
        assert np.abs(at - (511.5 - radius)).min() <= 1.0
    assert "S1 margin 3.0 mm" in [text.text for text in scene.texts if text.path_id == "P1"]


def test_the_ring_is_where_the_margin_ends_in_the_picture():
    scene, _ = draw((DOWN,), view(), aids={"P1": PathAid(margin_mm=3.0)})
    (ring,) = [line for line in scene.lines if line.apart and len(line.points) > 40]
    # A rod of the same margin ending at the target: its shadow's rim, by the tube's own projection.
    rod = PlannedPath(id="R", entry_lps_mm=(0, -29.9, 0), target_lps_mm=(0, -30, 0), diameter_mm=14.0)
    outline = draw((rod,), view())[0].lines[0].points
    radii = np.hypot(*(outline - 511.5).T), np.hypot(*(ring.points - 511.5).T)
    assert radii[0].mean() == pytest.approx(radii[1].mean(), abs=0.1)


def test_without_a_known_margin_there_is_no_ring_and_no_figure():
    scene, _ = draw((DOWN,), view(), aids={"P1": PathAid()})
    assert not [line for line in scene.lines if line.apart and len(line.points) > 40]
    assert [text.text for text in scene.texts if text.path_id] == ["S1"]
    assert "margin" not in words_of(scene).lower()


@pytest.mark.parametrize("margin_mm", [-1.2, -9.0])
def test_a_negative_margin_is_a_warning_in_ring_and_words(margin_mm):
    scene, layer = draw((DOWN,), view(), aids={"P1": PathAid(margin_mm=margin_mm)})
    assert f"S1: MARGIN {margin_mm} mm, it does not fit" in words_of(scene)
    (ring,) = [line for line in scene.lines if line.color == ALARM]
    assert not ring.path_id
    radius = max((4.0 + margin_mm) * FOCAL_PX / 780.0, 2.0)
    assert np.abs(np.hypot(*(ring.points - 511.5).T) - radius).max() < 0.3
    lit = pixels_of(layer, "#ff6858")
    assert len(lit)
    assert rgb_of("#ff6858") == ALARM


def test_the_warnings_colour_is_no_paths():
    same = PlannedPath(id="P2", entry_lps_mm=(40, 0, 0), target_lps_mm=(0, 0, 30), diameter_mm=2.0, color="#ff6858")
    scene, _ = draw((DOWN, same), view(), aids={"P1": PathAid(margin_mm=-1.0)})
    assert {vector.color for vector in scene.vectors if vector.color.startswith("#ff68") and not vector.path_id} == {
        "#ff6859"
    }


@pytest.mark.parametrize(
    ("primary_deg", "down"), [(0.0, True), (2.5, True), (177.6, True), (9.0, False), (30.0, False)]
)
def test_near_the_axis_counts_as_down_the_path(primary_deg, down):
    scene, _ = draw((DOWN,), view(primary_deg), aids={"P1": PathAid(margin_mm=2.0, views=views((0, 0)))})
    assert ("S1 margin 2.0 mm" in [text.text for text in scene.texts]) is down
    assert ("deg off" in words_of(scene)) is not down


def test_elsewhere_the_nearest_useful_view_is_told_with_how_far_off_it_is():
    told = views((8, 9), (60, 0)) + views((33, 0), kind="progression") + views((21, 0), reachable=False)
    scene, _ = draw((DOWN,), view(20, 9), aids={"P1": PathAid(views=told)})
    assert "S1: bull's-eye LAO 8 CRAN 9, 10 deg off" in words_of(scene)
    # What planning said of how far off it is may be older than the picture: it is worked out anew.
    scene, _ = draw((DOWN,), view(40, 0), aids={"P1": PathAid(views=told)})
    assert "S1: progression LAO 33 CRAN 0, 7 deg off" in words_of(scene)
    scene, _ = draw((DOWN,), view(40, 0), aids={"P1": PathAid(views=views((0, 0), reachable=False))})
    assert "deg off" not in words_of(scene)


def test_words_do_not_fill_the_picture():
    paths = tuple(
        PlannedPath(id=f"P{n}", entry_lps_mm=(40, 0, 9 * n), target_lps_mm=(-20, 0, 9 * n), diameter_mm=3.0)
        for n in range(6)
    )
    aids = {path.id: PathAid(views=views((90, 0))) for path in paths}
    assert words_of(draw(paths, view(), aids=aids)[0]).count("deg off") == 3


def test_switched_off_it_is_what_it_was():
    aids = {"P1": PathAid(margin_mm=-2.0, views=views((0, 0)))}
    for angles in ((0, 0), (40, 0)):
        plain, layer = draw((DOWN,), view(*angles))
        off, same = draw((DOWN,), view(*angles), aids=aids, settings=OverlaySettings(view_aids=False))
        np.testing.assert_array_equal(layer, same)
        np.testing.assert_array_equal(plain.strokes, off.strokes)


def test_side_holes_need_no_view_aids():
    path = PlannedPath(
        id="P1", entry_lps_mm=(45, 0, 0), target_lps_mm=(-45, 0, 0), diameter_mm=8.0, stage=PathStage.SCREW_IN
    )
    aids = {"P1": PathAid(side_hole_depths_mm=(10.0,))}
    off, _ = draw((path,), view(), aids=aids, settings=OverlaySettings(view_aids=False))
    assert [line for line in off.lines if line.closed and len(line.points) == 12]


def test_an_aid_for_another_path_changes_nothing():
    plain, layer = draw((DOWN,), view())
    _, same = draw((DOWN,), view(), aids={"P9": PathAid(margin_mm=2.0)})
    np.testing.assert_array_equal(layer, same)
    assert plain.drawn_ids == ("P1",)
