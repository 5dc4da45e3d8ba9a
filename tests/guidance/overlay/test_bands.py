"""The band as it is drawn: pixels and vectors against closed forms; what must stay as it was."""

import itertools

import numpy as np
import pytest

from guidance.config import OverlaySettings
from guidance.messages import PathStage, PlannedPath
from guidance.overlay.bands import band_color
from guidance.overlay.colors import ALARM, hex_of, rgb_of
from guidance.overlay.scene import frame_scene
from guidance.overlay.zones import PathAid
from guidance.uncertainty.band import SIGMAS_95
from guidance.uncertainty.values import PoseUncertainty, UncertaintyUnknown
from tests.helpers.drawn import PX_PER_MM, layer_of, pixels_of, track_of, view, words_of

FOCAL_PX = 4000.0
ACROSS = PlannedPath(
    id="P1", entry_lps_mm=(45, 0, 0), target_lps_mm=(-45, 0, 0), diameter_mm=6.0, label="S1", color="#00ff00"
)
STEEP = PlannedPath(
    id="P2", entry_lps_mm=(40, 60, 50), target_lps_mm=(10, -10, 20), diameter_mm=3.2, label="L5", color="#ff40ff"
)
DOWN = PlannedPath(
    id="P1", entry_lps_mm=(0, -30, 0), target_lps_mm=(0, 30, 0), diameter_mm=8.0, label="S1", color="#00ff00"
)


def shifts(x_mm=0.0, y_mm=0.0, z_mm=0.0):
    return PoseUncertainty(
        covariance=np.diag(np.square((x_mm, y_mm, z_mm, 0.0, 0, 0, 0, 0, 0))), pivot_lps_mm=(0.0, 0.0, 0.0)
    )


def draw(paths, matrix, uncertainty, *, settings=None, aids=None, **track):
    found = track_of(paths, matrix, **track)
    scene = frame_scene(
        found, paths, settings or OverlaySettings(), age_ms=0.0, aids=aids or {}, uncertainty=uncertainty
    )
    return scene, layer_of(scene, found.frame.pixels)


def band_of(scene, path, paths):
    color = band_color(rgb_of(path.color), frozenset(rgb_of(one.color) for one in paths))
    return [line for line in scene.lines if line.color == color]


def test_the_band_is_drawn_beside_the_tube_at_1_96_sigma():
    scene, layer = draw((ACROSS,), view(), shifts(x_mm=0.5, z_mm=0.8))
    ((line,),) = (band_of(scene, ACROSS, (ACROSS,)),)
    reach = (3.0 + SIGMAS_95 * 0.8) * PX_PER_MM
    # The end discs are seen nearly edge on, so beyond the ends there is little but the band along the path.
    end = (45.0 + 3.0 * np.hypot(45, 0) / np.hypot(45, 750) + SIGMAS_95 * 0.5) * PX_PER_MM
    assert line.points[:, 1].min() == pytest.approx(511.5 - reach, abs=0.05)
    assert line.points[:, 1].max() == pytest.approx(511.5 + reach, abs=0.05)
    assert line.points[:, 0].min() == pytest.approx(511.5 - end, abs=0.5)
    assert line.points[:, 0].max() == pytest.approx(511.5 + end, abs=0.5)
    lit = pixels_of(layer, hex_of(line.color))
    sides = lit[np.abs(lit[:, 1] - 511.5) < 40 * PX_PER_MM, 0]
    assert np.abs(np.abs(sides - 511.5) - reach).max() < 1.3


def test_the_band_widens_with_the_depth_of_the_source_side():
    # From 690 to 810 mm deep: the same mm are fewer px where it is deeper.
    path = PlannedPath(id="P1", entry_lps_mm=(0, 60, 40), target_lps_mm=(0, -60, -40), diameter_mm=2.0)
    scene, _ = draw((path,), view(), shifts(x_mm=1.0))
    (line,) = band_of(scene, path, (path,))
    for end, depth in (((0, 60, 40), 690.0), ((0, -60, -40), 810.0)):
        v = 511.5 - end[2] * FOCAL_PX / depth
        near = np.abs(line.points[:, 1] - v) < 30.0
        widest = np.abs(line.points[near, 0] - 511.5).max()
        assert widest == pytest.approx((1.0 + SIGMAS_95) * FOCAL_PX / depth, rel=0.02)


def test_the_tube_keeps_its_pixels_and_its_colour():
    paths = (ACROSS, STEEP)
    _, bare = draw(paths, view(15, -10), None)
    scene, layer = draw(paths, view(15, -10), shifts(0.5, 0.5, 0.5))
    labels = [text for text in scene.texts if text.path_id]
    away = np.ones(bare.shape[:2], bool)
    for text in labels:  # labels have more to say, and so stand elsewhere
        away[max(text.top - 40, 0) : text.top + 60, max(text.left - 300, 0) : text.left + 400] = False
    for path in paths:
        own = (bare[..., :3] == rgb_of(path.color)).all(axis=2) & (bare[..., 3] == 255) & away
        assert own.sum() > 100
        assert (layer[own] == bare[own]).all()
    colors = {tuple(color) for color in layer[layer[..., 3] > 0][:, :3].tolist()}
    for path in paths:
        tint = band_color(rgb_of(path.color), frozenset(map(rgb_of, (ACROSS.color, STEEP.color))))
        assert tint in colors
        assert tint != rgb_of(path.color)


@pytest.mark.parametrize("color", ["#ffffff", "#000000", "#e0e8f0", "#808080"])
def test_a_bands_colour_is_no_paths(color):
    path = PlannedPath(id="P1", entry_lps_mm=(45, 0, 0), target_lps_mm=(-45, 0, 0), diameter_mm=3.0, color=color)
    tint = band_color(rgb_of(color), frozenset({rgb_of(color)}))
    other = PlannedPath(
        id="P2", entry_lps_mm=(45, 0, 30), target_lps_mm=(-45, 0, 30), diameter_mm=3.0, color=hex_of(tint)
    )
    scene, _ = draw((path, other), view(), shifts(1, 1, 1))
    for line in scene.lines:
        assert (line.color in {rgb_of(path.color), rgb_of(other.color)}) == bool(line.path_id)


def test_the_page_gets_the_same_band():
    scene, _ = draw((ACROSS, STEEP), view(15, -10), shifts(0.5, 0.8, 0.3))
    ends = []
    for vector in scene.vectors:
        if vector.kind == "line":
            points = np.reshape(vector.points, (-1, 2))
            joined = np.concatenate((points, points[:1] if vector.closed else points[:0]))
            ends += [(*a, *b, vector.width_px / 2, *rgb_of(vector.color)) for a, b in itertools.pairwise(joined)]
    np.testing.assert_allclose(np.array(ends), scene.strokes, atol=0.006)


@pytest.mark.parametrize("size", [512, 2048])
def test_lines_and_dots_scale_with_the_picture(size):
    def band(px):
        scene, _ = draw((ACROSS,), view(size=px), shifts(0.5, 0.5, 0.5), shape=(px, px))
        (line,) = band_of(scene, ACROSS, (ACROSS,))
        return line

    # Half a pixel of the middle apart; a small picture's lines are not made thinner than 0.7 of a large one's.
    assert np.ptp(band(size).points[:, 1]) == pytest.approx(np.ptp(band(1024).points[:, 1]) * size / 1024, abs=0.3)
    assert band(size).width_px == pytest.approx(band(1024).width_px * max(size / 1024, 0.7))


def test_labels_say_the_half_width():
    scene, _ = draw((ACROSS,), view(), shifts(x_mm=0.5, z_mm=0.8))
    assert "S1  ±1.6 mm (95 %)" in [text.text for text in scene.texts]


def test_the_ring_is_the_margin_less_the_band():
    sigma, margin = 0.4, 3.0
    band = 2.44775 * sigma  # all round alike
    everything, _ = draw((DOWN,), view(), shifts(sigma, sigma, sigma), aids={"P1": PathAid(margin_mm=margin)})
    # The deeper end, 780 mm from the source: there the ring is drawn, and the margin counts.
    dashed = [line for line in everything.lines if line.apart and line.path_id and len(line.points) > 40]
    (ring,) = [np.hypot(*(line.points - 511.5).T) for line in dashed]
    assert ring.mean() == pytest.approx((4.0 + margin - band) * FOCAL_PX / 780.0, abs=0.3)
    assert "S1 margin 3.0 mm, 2.0 mm remains  ±1.0 mm (95 %)" in [text.text for text in everything.texts]
    assert not band_of(everything, DOWN, (DOWN,))  # it is in the ring


def test_where_nothing_remains_it_alarms():
    scene, layer = draw((DOWN,), view(), shifts(0.4, 0.4, 0.4), aids={"P1": PathAid(margin_mm=0.5)})
    (ring,) = [line for line in scene.lines if line.color == ALARM]
    assert not ring.path_id
    radius = (4.0 + 0.5 - 2.44775 * 0.4) * FOCAL_PX / 780.0
    assert np.abs(np.hypot(*(ring.points - 511.5).T) - radius).max() < 0.3
    assert len(pixels_of(layer, hex_of(ALARM)))
    assert "S1: MARGIN 0.5 mm, the overlay may be off by more, ±1.0 mm (95 %)" in words_of(scene)
    assert "S1 margin 0.5 mm, -0.5 mm remains  ±1.0 mm (95 %)" in [text.text for text in scene.texts]


def test_end_on_without_a_margin_the_band_is_a_ring_of_the_planes_95_percent():
    scene, _ = draw((DOWN,), view(), shifts(0.4, 0.4, 0.4))
    (line,) = band_of(scene, DOWN, (DOWN,))
    radii = np.hypot(*(line.points - 511.5).T)
    # Both ends fall on one place: the nearer one's reach, 720 mm deep, in which the other's lies.
    assert radii.max() == pytest.approx((4.0 + 2.44775 * 0.4) * FOCAL_PX / 720.0, rel=0.02)
    assert radii.min() > (4.0 + 2.44775 * 0.4) * FOCAL_PX / 780.0 * 0.97
    assert "S1  ±1.0 mm (95 %)" in [text.text for text in scene.texts]


def test_what_is_unknown_is_said_to_be_so_and_is_not_zero():
    unknown = UncertaintyUnknown(reason="the registration's covariance cannot be used")
    scene, _ = draw((ACROSS,), view(), unknown)
    assert "uncertainty unknown: the registration's covariance cannot be used" in words_of(scene)
    assert not band_of(scene, ACROSS, (ACROSS,))
    down, _ = draw((DOWN,), view(), unknown, aids={"P1": PathAid(margin_mm=2.0)})
    assert "S1 margin 2.0 mm, uncertainty unknown" in [text.text for text in down.texts]
    assert "±" not in "".join(text.text for text in down.texts)


def test_switched_off_or_not_asked_for_it_is_what_it_was():
    aids = {"P1": PathAid(margin_mm=2.0)}
    for path, angles in ((ACROSS, (20, 5)), (DOWN, (0, 0))):
        bare, layer = draw((path,), view(*angles), None, aids=aids)
        off, same = draw((path,), view(*angles), shifts(1, 1, 1), aids=aids, settings=OverlaySettings(bands=False))
        np.testing.assert_array_equal(layer, same)
        np.testing.assert_array_equal(bare.strokes, off.strokes)
        silent, _ = draw(
            (path,), view(*angles), UncertaintyUnknown(reason="why"), settings=OverlaySettings(bands=False)
        )
        assert "unknown" not in words_of(silent)


def test_a_path_that_reaches_the_source_has_no_band_and_says_so():
    path = PlannedPath(id="P1", entry_lps_mm=(20, 0, 0), target_lps_mm=(5, 745, 0), diameter_mm=3.0, label="S1")
    scene, _ = draw((path, STEEP), view(), shifts(1, 1, 1))
    assert "S1  uncertainty unknown" in [text.text for text in scene.texts]
    assert not band_of(scene, path, (path, STEEP))
    assert band_of(scene, STEEP, (path, STEEP))


def test_an_unmoved_arm_gives_the_very_same_strokes():
    uncertainty = shifts(1, 1, 1)
    first, second = (draw((ACROSS,), view(5), uncertainty)[0] for _ in range(2))
    assert first.strokes is second.strokes
    wider, _ = draw((ACROSS,), view(5), shifts(2, 2, 2))
    assert wider.strokes is not first.strokes


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (64, 900), (900, 64), (2048, 2048)])
@pytest.mark.parametrize("sigma_mm", [1e-9, 1.0, 1e6])
def test_any_size_of_picture_and_of_band(shape, sigma_mm):
    _, layer = draw((ACROSS, STEEP), view(37, size=max(shape)), shifts(sigma_mm, sigma_mm, sigma_mm), shape=shape)
    assert layer.shape == (*shape, 4)


@pytest.mark.parametrize("stage", list(PathStage))
def test_every_stage_has_its_band(stage):
    path = PlannedPath(
        id="P1", entry_lps_mm=(45, 0, 0), target_lps_mm=(-45, 0, 0), diameter_mm=6.0, stage=stage, bevel_deg=20.0
    )
    scene, _ = draw((path,), view(), shifts(1, 1, 1))
    assert band_of(scene, path, (path,))
