"""What a frame shows: drawn layers are looked at pixel by pixel, not the code's own numbers."""

import itertools

import numpy as np
import pytest

from guidance.config import OverlaySettings
from guidance.liveness import Liveness
from guidance.messages import GeometryState, GeometryVerdict, PlannedPath
from guidance.overlay.colors import ALARM, CALM, NOTICE, PLATE, hex_of, rgb_of
from guidance.overlay.scene import frame_scene
from guidance.session import InputTrack
from tests.helpers.drawn import PX_PER_MM, draw, pixels_of, track_of, view, words_of

ACROSS = PlannedPath(
    id="P1", entry_lps_mm=(45, 0, 0), target_lps_mm=(-45, 0, 0), diameter_mm=6.0, label="S1", color="#00ff00"
)
STEEP = PlannedPath(
    id="P2", entry_lps_mm=(40, 60, 50), target_lps_mm=(10, -10, 20), diameter_mm=3.2, label="L5", color="#ff40ff"
)


def test_a_tube_is_drawn_at_its_true_diameter_around_its_centreline():
    _, layer = draw((ACROSS,), view())
    column = 511 + round(10 * PX_PER_MM)  # half way between two ticks
    lit = np.flatnonzero((layer[:, column, :3] == (0, 255, 0)).all(axis=1) & (layer[:, column, 3] > 0))
    lines = [group.mean() for group in np.split(lit, np.flatnonzero(np.diff(lit) > 1) + 1)]
    # The silhouette touches the cylinder off its axis: r / sqrt(1 - (r / 750)^2), 16.0001 px.
    np.testing.assert_allclose(lines, [511.5 - 3 * PX_PER_MM, 511.5, 511.5 + 3 * PX_PER_MM], atol=0.51)


def test_ticks_stand_each_ten_millimetres_from_the_entry():
    _, layer = draw((ACROSS,), view())
    beyond = round(511.5 + 3 * PX_PER_MM + 2.5)  # below the outline only ticks are left between the marks
    lit = np.flatnonzero(layer[beyond, :, 3] > 127)
    lit = lit[(lit > 511.5 - 42 * PX_PER_MM) & (lit < 511.5 + 42 * PX_PER_MM)]
    ticks = [group.mean() for group in np.split(lit, np.flatnonzero(np.diff(lit) > 1) + 1)]
    expected = [511.5 + (45 - depth) * PX_PER_MM for depth in range(80, 0, -10)]
    np.testing.assert_allclose(ticks, expected, atol=0.6)
    longer = beyond + 4
    assert layer[longer, round(511.5 + (45 - 50) * PX_PER_MM), 3] > 0
    assert layer[longer, round(511.5 + (45 - 40) * PX_PER_MM), 3] == 0


def test_entry_and_target_are_marked_by_different_shapes():
    # Oblique, so that the end faces are seen wide: 9.6 px to each side of the ends.
    oblique = PlannedPath(id="P1", entry_lps_mm=(40, 30, 0), target_lps_mm=(-40, -30, 0), diameter_mm=6.0)
    _, layer = draw((oblique,), view())
    lit = {}
    for name, x, y in (("entry", 40.0, 30.0), ("target", -40.0, -30.0)):
        u = round(511.5 + 4000.0 * x / (750.0 - y))
        lit[name] = {below for below in (3, 9, 20) if layer[512 + below - 1 : 512 + below + 1, u, 3].max() > 127}
    assert lit["entry"] == {20}  # an open circle wider than the tube, and rays outwards
    assert lit["target"] == {3, 9}  # a cross in the middle and a diamond's corner


def test_what_is_drawn_of_a_path_has_its_colour_and_everything_else_another():
    scene, layer = draw((ACROSS, STEEP), view(20, 10))
    colors = {tuple(color) for color in layer[layer[..., 3] > 0][:, :3].tolist()}
    own = {rgb_of(ACROSS.color), rgb_of(STEEP.color)}
    assert own <= colors
    for text in scene.texts:
        assert (rgb_of(hex_of(text.color)) in own) == bool(text.path_id)
    assert not layer[layer[..., 3] == 0].any()
    # Nothing of a path's colour is far from the path but its label.
    u0, v0 = scene.lines[0].points.min(axis=0) - 30
    u1, v1 = scene.lines[0].points.max(axis=0) + 30
    label = next(text for text in scene.texts if text.path_id == "P1")
    for v, u in pixels_of(layer, ACROSS.color):
        in_label = label.left <= u < label.left + 60 and label.top <= v < label.top + 30
        assert in_label or (u0 <= u <= u1 and v0 <= v <= v1)


@pytest.mark.parametrize("color", [hex_of(CALM), hex_of(PLATE), hex_of(NOTICE), hex_of(ALARM), "#000000", "#ffffff"])
@pytest.mark.parametrize("state", [GeometryState.DEGRADED, GeometryState.WITHHELD])
def test_words_and_marks_avoid_a_paths_colour(color, state):
    path = PlannedPath(id="P1", entry_lps_mm=(0, 0, 900), target_lps_mm=(0, 0, 950), diameter_mm=1.0, color=color)
    scene, layer = draw((path,), view(), state=state, reason="late")
    assert not scene.drawn_ids
    assert not len(pixels_of(layer, color))


@pytest.mark.parametrize(
    ("state", "word"), [(GeometryState.WITHHELD, "PATHS WITHHELD"), (GeometryState.ABSENT, "NO GEOMETRY")]
)
def test_without_trust_there_are_words_and_no_path(state, word):
    # Even a verdict that still carries a matrix, and places that say "drawn", draw nothing.
    trusted = track_of((ACROSS,), view())
    verdict = GeometryVerdict(state=state, reason="the table moved", code="table", pixel_from_patient=view())
    track = InputTrack(device="Fluoro", frame=trusted.frame, verdict=verdict, places=trusted.places)
    scene = frame_scene(track, (ACROSS,), OverlaySettings(), age_ms=0.0)
    assert not len(scene.strokes)
    assert not scene.lines
    assert not scene.drawn_ids
    assert not [text for text in scene.texts if text.path_id or text.text in {"R", "L", "H", "F"}]
    assert f"{word}: the table moved" in words_of(scene)
    assert "RESEARCH USE ONLY" in words_of(scene)


def test_states_are_said_in_words():
    held = Liveness(held=True, why="frame number 7 came twice")
    scene, _ = draw((), view(), liveness=held, age_ms=1234.0)
    assert "HELD 1.2 s: frame number 7 came twice" in words_of(scene)
    assert "LIVE" not in words_of(scene)
    assert "LIVE" in words_of(draw((), view())[0])
    assert "NO SIGNAL 3.0 s" in words_of(draw((), view(), silent=True, age_ms=3000.0)[0])
    assert "DEGRADED: geometry is old" in words_of(
        draw((), view(), state=GeometryState.DEGRADED, reason="geometry is old")[0]
    )


def test_a_path_beside_the_picture_is_said():
    away = PlannedPath(id="P9", entry_lps_mm=(0, 0, 900), target_lps_mm=(0, 0, 950), diameter_mm=3.0)
    scene, _ = draw((ACROSS, away), view())
    assert scene.drawn_ids == ("P1",)
    assert "1 of 2 paths outside the picture" in words_of(scene)


def marks_of(scene):
    letters = {text.text: (text.left, text.top) for text in scene.texts if len(text.text) == 1 and not text.path_id}
    across = ("left", "middle", "right")
    down = ("top", "middle", "bottom")
    return {letter: (across[u // 350], down[v // 350]) for letter, (u, v) in letters.items()}


SIDES = {
    "left": ("left", "middle"),
    "right": ("right", "middle"),
    "top": ("middle", "top"),
    "bottom": ("middle", "bottom"),
}


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        pytest.param(view(0), {"L": "right", "R": "left", "H": "top", "F": "bottom"}, id="front"),
        pytest.param(view(180), {"L": "left", "R": "right", "H": "top", "F": "bottom"}, id="back"),
        pytest.param(view(90), {"P": "right", "A": "left", "H": "top", "F": "bottom"}, id="left-lateral"),
        pytest.param(view(-90), {"A": "right", "P": "left", "H": "top", "F": "bottom"}, id="right-lateral"),
        pytest.param(view(0, flip=True), {"L": "left", "R": "right", "H": "top", "F": "bottom"}, id="flipped"),
        pytest.param(view(0, roll_deg=90.0), {"L": "bottom", "R": "top", "H": "right", "F": "left"}, id="turned"),
    ],
)
def test_sides_of_the_patient_are_marked(matrix, expected):
    scene, _ = draw((), matrix)
    assert marks_of(scene) == {letter: SIDES[side] for letter, side in expected.items()}


def test_marks_and_words_do_not_cover_each_other():
    for roll_deg, primary_deg in itertools.product(range(0, 360, 15), (0, 40)):
        _, layer = draw((), view(primary_deg, roll_deg=float(roll_deg), size=512), shape=(512, 512))
        scene, _ = draw((), view(primary_deg, roll_deg=float(roll_deg), size=512), shape=(512, 512))
        boxes = [
            (int(row[3]), int(row[4]), int(row[3] + row[2]), int(row[4] + row[1]), tuple(row[1:5].tolist()))
            for row in scene.sprite_table
        ]
        for a, b in itertools.combinations(set(boxes), 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert layer.any()


def test_labels_of_near_paths_stand_apart():
    paths = tuple(
        PlannedPath(
            id=f"P{n}", entry_lps_mm=(40, 5 * n, 2 * n), target_lps_mm=(-30, 0, n), diameter_mm=3.0, label=f"path {n}"
        )
        for n in range(4)
    )
    scene, _ = draw(paths, view())
    labels = [row for row, text in zip(scene.sprite_table[:4], scene.texts, strict=False) if text.path_id]
    assert len(labels) == 4
    for a, b in itertools.combinations(labels, 2):
        assert a[3] + a[2] <= b[3] or b[3] + b[2] <= a[3] or a[4] + a[1] <= b[4] or b[4] + b[1] <= a[4]


@pytest.mark.parametrize("label", ["骶骨 螺钉", "Крестец", "عظم", "S1 \u0007\n", "\ud800", "😀", "x" * 500, " ", ""])
def test_any_label_is_drawn_in_the_paths_colour(label):
    path = PlannedPath(
        id="P1", entry_lps_mm=(40, 0, 0), target_lps_mm=(0, 0, 0), diameter_mm=3.0, label=label, color="#12ab34"
    )
    scene, layer = draw((path,), view())
    text = next(text for text in scene.texts if text.path_id == "P1")
    ink = layer[max(text.top, 0) : text.top + 20, text.left : text.left + 10]
    assert ((ink[..., :3] == (0x12, 0xAB, 0x34)).all(axis=2) & (ink[..., 3] > 0)).any()


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (64, 900), (900, 64), (512, 512), (2048, 2048)])
@pytest.mark.parametrize("primary_deg", [0.0, 37.0, 90.0])
def test_any_size_of_picture(shape, primary_deg):
    paths = (ACROSS, STEEP)
    _, layer = draw(paths, view(primary_deg, size=max(shape)), shape=shape)
    assert layer.shape == (*shape, 4)


def test_vectors_are_the_same_pieces_as_the_strokes():
    scene, _ = draw((ACROSS, STEEP), view(15, -10))
    ends = []
    for vector in scene.vectors:
        if vector.kind == "line":
            points = np.reshape(vector.points, (-1, 2))
            closing = points[:1] if vector.closed else points[:0]
            joined = np.concatenate((points, closing))
            color = rgb_of(vector.color)
            ends += [(*a, *b, vector.width_px / 2, *color) for a, b in itertools.pairwise(joined)]
    np.testing.assert_allclose(np.array(ends), scene.strokes, atol=0.006)
    texts = [vector for vector in scene.vectors if vector.kind == "text"]
    assert [vector.text for vector in texts] == [text.text for text in scene.texts]
    assert {vector.path_id for vector in scene.vectors} == {"P1", "P2", ""}


def test_the_live_picture_needs_no_lines_until_the_page_asks(monkeypatch):
    def refused(*arguments, **options):
        raise AssertionError("a line was made")

    monkeypatch.setattr("guidance.overlay.path_strokes.path_lines", refused)
    scene, layer = draw((ACROSS, STEEP), view(3.25, 7.5))
    assert len(pixels_of(layer, ACROSS.color))
    with pytest.raises(AssertionError, match="a line was made"):
        _ = scene.vectors
    monkeypatch.undo()
    assert {vector.path_id for vector in scene.vectors} == {"P1", "P2", ""}


def test_down_the_barrel_there_is_a_circle_and_no_ticks():
    # Straight along the view axis: 12 mm wide at 750 +- 20 mm from the source.
    path = PlannedPath(id="P1", entry_lps_mm=(0, -20, 0), target_lps_mm=(0, 20, 0), diameter_mm=12.0, color="#00ff00")
    _, layer = draw((path,), view())
    row = layer[511, :, 3]
    edge = np.flatnonzero(row[600:] > 0) if row[600:].any() else np.zeros(0)
    assert edge.size < 80  # at most the mark's own ray and the words at the edge
    rim = 511.5 + 6.0 * 4000.0 / (750.0 - 20.0)
    assert layer[511:513, round(rim) - 1 : round(rim) + 2, 3].max() > 127


def test_an_unmoved_arm_gives_the_very_same_strokes():
    first, second = (draw((ACROSS,), view(5))[0] for _ in range(2))
    assert first.strokes is second.strokes
    assert not first.strokes.flags.writeable
