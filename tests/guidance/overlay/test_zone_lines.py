"""Zones on the picture: under the paths, in their own colours, switched, named, and said where they are not drawn."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from guidance.config import OverlaySettings
from guidance.messages import GeometryState, PlannedPath, SphereShape, Zone, ZoneKind, ZoneSite
from guidance.overlay.colors import rgb_of
from guidance.overlay.text import text_bitmap
from guidance.overlay.zones import NO_ZONES, ZonesOnPicture
from tests.helpers.drawn import PX_PER_MM, draw, layer_of, pixels_of, track_of, view, words_of
from tests.helpers.surfaces import ball, box, ring

ACROSS = PlannedPath(
    id="P1", entry_lps_mm=(45, 0, 0), target_lps_mm=(-45, 0, 0), diameter_mm=6.0, label="S1", color="#00ff00"
)


def zone(number, name="zone", color="#0072b2", **fields):
    shape = SphereShape(center_lps_mm=(0.0, 0.0, 0.0), radius_mm=1.0)
    return Zone(
        id=f"Z{number}", name=name, site=ZoneSite.FORAMEN, kind=ZoneKind.KEEP_OUT, shape=shape, color=color, **fields
    )


FORAMEN = (zone(1, "S1 foramen left", "#d55e00"), ring((20, 0, 10), 14.0, 4.0))
CANAL = (zone(2, "canal", "#0072b2"), box((-8, -30, -30), (8, 30, 30)))
ZONES = ZonesOnPicture((FORAMEN, CANAL))


def test_a_zone_is_an_outline_and_not_filled():
    zones = ZonesOnPicture(((zone(1), ball((0, 0, 0), 20.0, 60)),))
    _, layer = draw((), view(), zones=zones, settings=OverlaySettings(zone_labels=False))
    row = layer[511, :, :]
    lit = np.flatnonzero((row[:, :3] == rgb_of("#0072b2")).all(axis=1) & (row[:, 3] > 0))
    lines = [group.mean() for group in np.split(lit, np.flatnonzero(np.diff(lit) > 1) + 1)]
    # The tangent cone of a ball of 20 mm at 750 mm: 20 / sqrt(1 - (20 / 750)^2) mm at the isocentre's depth.
    reach = PX_PER_MM * 20.0 / np.sqrt(1.0 - (20.0 / 750.0) ** 2)
    np.testing.assert_allclose(lines, [511.5 - reach, 511.5 + reach], atol=0.6)


def test_paths_look_the_same_with_and_without_zones():
    for angles in itertools.product((0, 35, 120), (-20, 15)):
        _, alone = draw((ACROSS,), view(*angles))
        scene, both = draw((ACROSS,), view(*angles), zones=ZONES, settings=OverlaySettings(zone_labels=False))
        drawn = alone[..., 3] > 0
        np.testing.assert_array_equal(both[drawn], alone[drawn])
        assert scene.under > 50
        assert len(pixels_of(both, "#d55e00")) > 300
        np.testing.assert_array_equal(pixels_of(both, ACROSS.color), pixels_of(alone, ACROSS.color))


def test_a_zone_with_a_paths_colour_gets_another():
    same = (replace(FORAMEN[0], color="#00ff00"), FORAMEN[1])
    _, alone = draw((ACROSS,), view())
    scene, both = draw((ACROSS,), view(), zones=ZonesOnPicture((same,)))
    np.testing.assert_array_equal(pixels_of(both, "#00ff00"), pixels_of(alone, "#00ff00"))
    assert {vector.color for vector in scene.vectors if vector.zone_id} == {"#00ff01"}


@pytest.mark.parametrize("switch", ["setting", "operator", "each zone", "not trusted"])
def test_switched_off_there_is_no_zone(switch):
    settings, zones, state = OverlaySettings(), ZONES, GeometryState.TRUSTED
    if switch == "setting":
        settings = OverlaySettings(zones=False)
    elif switch == "operator":
        zones = ZonesOnPicture(ZONES.surfaces, ("x",), shown=False)
    elif switch == "each zone":
        zones = ZonesOnPicture(tuple((replace(each, shown=False), surface) for each, surface in ZONES.surfaces))
    else:
        state = GeometryState.WITHHELD
    _, alone = draw((ACROSS,), view(), state=state, reason="late" if state is GeometryState.WITHHELD else "")
    scene, layer = draw(
        (ACROSS,), view(), zones=zones, settings=settings, state=state, reason="late" if switch == "not trusted" else ""
    )
    if switch == "operator":
        # What an operator has switched off is said, so that nobody takes the picture for one without anything to hit.
        assert "zones switched off" in words_of(scene)
    else:
        np.testing.assert_array_equal(layer, alone)
        assert "zone" not in words_of(scene)
    assert not scene.under
    assert not [vector for vector in scene.vectors if vector.zone_id]


def test_a_degraded_picture_keeps_its_zones():
    scene, _ = draw((), view(), zones=ZONES, state=GeometryState.DEGRADED, reason="old")
    assert scene.under


def test_zones_without_a_surface_are_said():
    scene, _ = draw((), view(), zones=ZonesOnPicture((FORAMEN,), ("L5 foramen left", "vena iliaca")))
    assert "zones not shown, no surface yet: L5 foramen left, vena iliaca" in words_of(scene)
    scene, _ = draw((), view(), zones=ZonesOnPicture((), tuple(f"n{k}" for k in range(7))))
    assert "zones not shown, no surface yet: n0, n1, n2, n3 and 3 more" in words_of(scene)
    assert "zone" not in words_of(draw((), view(), zones=ZONES)[0])


def test_a_zone_that_reaches_the_source_is_withheld_and_said():
    zones = ZonesOnPicture((FORAMEN, (zone(3, "skin"), ball((0, 300, 0), 445.0))))
    scene, layer = draw((), view(), zones=zones)
    assert "zones not shown, they reach the X-ray source: skin" in words_of(scene)
    assert not len(pixels_of(layer, "#0072b2"))
    assert len(pixels_of(layer, "#d55e00"))


def test_names_stand_beside_their_zones_where_they_hide_nothing():
    scene, _ = draw((ACROSS,), view(10, 5), zones=ZONES)
    named = {text.zone_id: text for text in scene.texts if text.zone_id}
    assert {text.text for text in named.values()} == {"S1 foramen left", "canal"}
    assert [text.text for text in scene.texts if text.path_id] == ["S1"]
    settings = OverlaySettings(zone_labels=False)
    assert not [text for text in draw((ACROSS,), view(10, 5), zones=ZONES, settings=settings)[0].texts if text.zone_id]
    # The labels' pixels are no path's, with as many zones as you like.
    many = ZonesOnPicture(
        tuple((zone(k, f"zone {k}"), ball((9 * k - 40, 0, 7 * (k % 3)), 12.0, 10)) for k in range(10))
    )
    crowded, layer = draw((ACROSS,), view(), zones=many)
    _, alone = draw((ACROSS,), view())
    np.testing.assert_array_equal(pixels_of(layer, ACROSS.color), pixels_of(alone, ACROSS.color))
    named = [text for text in crowded.texts if text.zone_id]
    sizes = [text_bitmap(text.text, text.size_px).coverage.shape for text in named]
    boxes = [(t.left, t.top, t.left + width, t.top + height) for t, (height, width) in zip(named, sizes, strict=True)]
    assert len(boxes) > 3
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_the_page_gets_the_same_outlines_as_polylines():
    scene, layer = draw((ACROSS,), view(15, 70), zones=ZONES)
    lines = [vector for vector in scene.vectors if vector.zone_id and vector.kind == "line"]
    assert {vector.zone_id for vector in lines} == {"Z1", "Z2"}
    assert len([vector for vector in lines if vector.zone_id == "Z1"]) == 2  # the ring and its hole
    assert all(vector.closed and not vector.path_id for vector in lines)
    canvas = np.zeros(layer.shape[:2], np.uint8)
    for vector in lines:
        points = np.round(np.reshape(vector.points, (-1, 2)) * 16).astype(np.int32)
        cv2.polylines(canvas, [points], True, 255, 1, cv2.LINE_8, 4)
    apart = cv2.distanceTransform(255 - canvas, cv2.DIST_L2, 5)
    strong = [rgb_of("#d55e00"), rgb_of("#0072b2")]
    drawn = np.any([(layer[..., :3] == color).all(axis=2) for color in strong], axis=0) & (layer[..., 3] > 200)
    names = np.zeros_like(drawn)
    for text in scene.texts:
        if text.zone_id:
            names[text.top : text.top + 20, text.left : text.left + 120] = True
    assert apart[drawn & ~names].max() <= 1.5
    kinds = [vector.zone_id != "" for vector in scene.vectors if vector.kind == "line"]
    assert kinds == sorted(kinds, reverse=True)  # zones first: what is drawn later lies above


def test_nearer_to_the_detector_is_drawn_later():
    # At 0/0 the detector is in front of the patient, at smaller y.
    near, far = (zone(1, "near"), ball((0, -50, 0), 10.0)), (zone(2, "far"), ball((3, 50, 0), 10.0))
    for pair in ((near, far), (far, near)):
        scene, _ = draw((), view(), zones=ZonesOnPicture(pair))
        assert [vector.zone_id for vector in scene.vectors if vector.zone_id and vector.kind == "line"] == ["Z2", "Z1"]
        scene, _ = draw((), view(180), zones=ZonesOnPicture(pair))
        assert [vector.zone_id for vector in scene.vectors if vector.zone_id and vector.kind == "line"] == ["Z1", "Z2"]


def test_an_unmoved_arm_costs_no_new_outline(monkeypatch):
    first, _ = draw((ACROSS,), view(7.5), zones=ZONES)

    def refused(*arguments, **options):
        raise AssertionError("an outline was looked for")

    monkeypatch.setattr("guidance.overlay.zone_lines.silhouettes", refused)
    second, _ = draw((ACROSS,), view(7.5), zones=ZONES)
    assert first.strokes is second.strokes
    assert not first.strokes.flags.writeable
    with pytest.raises(AssertionError, match="outline"):
        draw((ACROSS,), view(8.5), zones=ZONES)


def test_no_zones_is_what_it_was():
    plain, _ = draw((ACROSS,), view(3))
    none, layer = draw((ACROSS,), view(3), zones=NO_ZONES, aids={})
    assert none.strokes is plain.strokes
    assert not none.under
    np.testing.assert_array_equal(layer, layer_of(plain, track_of((ACROSS,), view(3)).frame.pixels))


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (64, 900), (2048, 2048)])
def test_any_size_of_picture(shape):
    _, layer = draw((ACROSS,), view(20, 10, size=max(shape)), shape=shape, zones=ZONES)
    assert layer.shape == (*shape, 4)
