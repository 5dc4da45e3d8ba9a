"""Cement on the picture: the front where it is, what is new, marks by status, words by urgency; no colour alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.case import Author
from guidance.config import OverlaySettings
from guidance.messages import AlertCondition, AlertPriority, CementBody, CementMaterial, GeometryState, ZoneSite
from guidance.overlay.cement_lines import CASING, FRONT, cement_on_picture, cement_pieces
from guidance.overlay.cement_words import alert_words, cement_words
from guidance.overlay.colors import ALARM, CALM, NOTICE, hex_of
from guidance.overlay.layout import sheet_of
from guidance.overlay.scene import frame_scene
from tests.helpers.cement import FORAMEN, FakeCementApi, drop, near_site
from tests.helpers.drawn import layer_of, pixels_of, track_of, view, words_of

SIZE = 1024
MIDDLE = 511.5
RADIUS = 80.0
SHEET = sheet_of((SIZE, SIZE), OverlaySettings(), frozenset())
CANAL = replace(FORAMEN, id="Z2", name="Sacral canal", site=ZoneSite.CANAL, side=None)
INTERVAL = CementBody(views=("Fluoro",), volume_low_ml=0.8, volume_high_ml=1.9, reason="one view only")
LEFT, RIGHT = (MIDDLE - RADIUS, MIDDLE), (MIDDLE + RADIUS, MIDDLE)


def big_drop(number, **members):
    """A disk of 80 px radius in the middle of 1024 px, 0.1875 mm each; its left half is new."""
    values = {"mm_per_px": 0.1875, "pixel_from_patient": view(), "radius_px": RADIUS, "size": SIZE}
    return drop(number, **(values | members))


@pytest.fixture
def api():
    api = FakeCementApi((FORAMEN, CANAL))
    api.start_cement(CementMaterial(opacity_per_mm=0.1), author=Author(via="server"))
    return api


def shown(api, *, device="Fluoro"):
    told = cement_on_picture(api.known, api.book, device)
    assert told is not None
    return told


def flow(api, foramen_px, canal_px, **members):
    for number in (1, 2):
        sites = (near_site(foramen_px, at=RIGHT), near_site(canal_px, zone_id="Z2", at=LEFT))
        api.frame(big_drop(number, **members), *sites, body=INTERVAL)


def scene_of(cement, *, sequence=2, state=GeometryState.TRUSTED, settings=None):
    track = track_of((), view(), state=state, reason="" if state is GeometryState.TRUSTED else "why")
    track = replace(track, frame=replace(track.frame, sequence=sequence))
    return frame_scene(track, (), settings or OverlaySettings(), age_ms=0.0, cement=cement)


def test_nothing_is_said_while_nothing_is_followed():
    idle = FakeCementApi((FORAMEN,))
    assert cement_on_picture(idle.known, idle.book, "Fluoro") is None
    api = FakeCementApi((FORAMEN,))
    api.alarm(AlertCondition(kind="vein", priority=AlertPriority.HIGH, text="a vein fills"))
    scene = scene_of(shown(api))
    assert "!!! STOP: a vein fills" in words_of(scene)  # an alert stays on the picture after the stop
    assert "CEMENT" not in words_of(scene)
    assert not scene.lines


def test_front_lies_on_the_contour_and_growth_on_the_new_half(api):
    flow(api, 100.0, 100.0)
    pieces = cement_pieces(shown(api), 2, SHEET, trusted=True)
    casing, growth, front = pieces.lines
    assert (casing.color, front.color, growth.color) == (CASING, FRONT, FRONT)
    assert casing.width_px > front.width_px
    assert growth.width_px > casing.width_px  # what is new is told by its width
    assert front.closed
    assert all(line.cement for line in pieces.lines)
    assert np.hypot(*(front.points - MIDDLE).T) == pytest.approx(RADIUS, abs=0.01)
    chords = (front.points + np.roll(front.points, 1, axis=0)) / 2
    assert np.abs(np.hypot(*(chords - MIDDLE).T) - RADIUS).max() < 0.6
    assert growth.points[:, 0].max() < MIDDLE + 2.0
    assert growth.points[:, 0].min() < MIDDLE - RADIUS + 1.0
    assert np.hypot(*(growth.points[1::2] - growth.points[::2]).T).sum() == pytest.approx(np.pi * RADIUS, rel=0.05)


def test_drawn_pixels_are_at_the_front(api):
    flow(api, 100.0, 100.0)
    scene = scene_of(shown(api))
    layer = layer_of(scene, np.zeros((SIZE, SIZE), np.uint8))
    found = pixels_of(layer, hex_of(FRONT))
    away = np.hypot(*(found - MIDDLE).T) - RADIUS
    assert np.abs(away).max() < 4.0
    angles = np.degrees(np.arctan2(found[:, 0] - MIDDLE, found[:, 1] - MIDDLE))
    assert np.diff(np.sort(angles)).max() < 3.0  # all around


def test_no_path_has_the_fronts_colour(api):
    flow(api, 1.0, 100.0)
    sheet = sheet_of((SIZE, SIZE), OverlaySettings(), frozenset((FRONT, CASING, NOTICE, ALARM)))
    pieces = cement_pieces(shown(api), 2, sheet, trusted=True)
    assert not {piece.color for piece in (*pieces.lines, *pieces.texts)} & sheet.taken


@pytest.mark.parametrize("sequence", [1, 3])
def test_front_of_another_frame_is_never_drawn(api, sequence):
    flow(api, 1.0, 1.0)
    scene = scene_of(shown(api), sequence=sequence)
    assert not scene.lines
    assert not [text for text in scene.texts if text.zone_id]
    assert "not followed in this picture" in words_of(scene)
    other = scene_of(shown(api, device="FluoroB"))
    assert not other.lines


def test_marks_differ_by_status_and_name_their_zone(api):
    flow(api, 4.0, -3.0)
    pieces = cement_pieces(shown(api), 2, SHEET, trusted=True)
    by_zone = {text.zone_id: text for text in pieces.texts}
    assert by_zone["Z1"].text == "S1 left 0.8 mm"
    assert by_zone["Z2"].text == "Sacral canal contact possible"
    ring, diamond = _outlines_at(pieces, RIGHT), _outlines_at(pieces, LEFT)
    assert len(ring) == 32
    assert len(diamond) == 8
    assert by_zone["Z1"].left > RIGHT[0]
    assert by_zone["Z2"].left > LEFT[0]


def _outlines_at(pieces, at):
    near = [line for line in pieces.lines if line.apart and np.hypot(*(line.points - at).T).max() < 20.0]
    assert len(near) == 2
    assert near[0].points is near[1].points or (near[0].points == near[1].points).all()
    return near[1].points


def test_labels_stay_on_the_picture_and_apart(api):
    edge = (SIZE - 1.0, 2.0)
    for number in (1, 2):
        sites = (near_site(4.0, at=edge), near_site(4.0, zone_id="Z2", at=(edge[0] - 1.0, edge[1] + 1.0)))
        api.frame(big_drop(number), *sites, body=INTERVAL)
    one, other = cement_pieces(shown(api), 2, SHEET, trusted=True).texts
    for text in (one, other):
        assert 0 <= text.left < SIZE - 60
        assert text.top >= 0
    assert abs(one.top - other.top) >= 10


def test_without_trust_the_front_stays_and_zones_go(api):
    flow(api, 4.0, -3.0)
    scene = scene_of(shown(api), state=GeometryState.WITHHELD)
    assert {line.width_px for line in scene.lines} == {
        line.width_px for line in cement_pieces(shown(api), 2, SHEET, trusted=False).lines
    }
    assert scene.lines
    assert not [text for text in scene.texts if text.zone_id]
    said = words_of(scene)
    assert "CEMENT 20000 px" in said
    assert "2D only, no geometry" in said
    assert "mm²" not in said


def test_switched_off_it_is_said_and_alerts_stay(api):
    flow(api, 1.0, 100.0)
    scene = scene_of(shown(api), settings=OverlaySettings(cement=False))
    assert not scene.lines
    assert "cement is followed, and not drawn" in words_of(scene)
    assert "!!! STOP: S1 left" in words_of(scene)


def test_page_gets_the_same_pieces(api):
    flow(api, 4.0, 100.0)
    vectors = scene_of(shown(api)).vectors
    of_zone = [vector for vector in vectors if vector.zone_id == "Z1"]
    assert [vector.text for vector in of_zone if vector.kind == "text"] == ["S1 left 0.8 mm"]
    # What tells of a zone needs geometry, the front does not.
    assert not [vector for vector in of_zone if vector.cement]
    assert len(of_zone) > 2
    closed = [vector for vector in vectors if vector.closed]
    assert len(closed) == 2
    ring = np.array(closed[1].points).reshape(-1, 2)
    assert np.hypot(*(ring - MIDDLE).T) == pytest.approx(RADIUS, abs=0.02)


def test_contours_of_any_make_are_drawn(api):
    odd = (
        np.zeros((0, 2)),
        np.array([[5.0, 5.0], [6.0, 5.0]]),
        np.array([[5.0, 5.0], [5.2, 5.0], [5.1, 5.2]]),
        np.stack((np.linspace(-3.0, 1030.0, 5000), np.full(5000, 1024.4)), axis=1),
    )
    api.frame(big_drop(2, front_px=odd))
    pieces = cement_pieces(shown(api), 2, SHEET, trusted=True)
    assert all(len(line.points) >= 2 and np.isfinite(line.points).all() for line in pieces.lines)
    assert sum(len(line.points) for line in pieces.lines) < 3000
    assert len(scene_of(shown(api)).strokes)
    api.frame(big_drop(3, front_px=odd), near_site(1.0, at=(float("nan"), 3.0)), near_site(1.0, zone_id="Z2"))
    assert "Z1" not in {text.zone_id for text in cement_pieces(shown(api), 3, SHEET, trusted=True).texts}


def test_words_and_their_urgency(api):
    flow(api, 100.0, 200.0)
    amount, clear = cement_words(shown(api), 2, trusted=True)
    assert (amount.text, amount.color) == ("CEMENT 710 mm² (0.8 to 1.9 ml)", CALM)
    assert clear.text.startswith("clear: 1")
    assert clear.text.endswith("mm left to S1 left")
    whole = replace(shown(api), body=CementBody(volume_ml=1.26, volume_low_ml=1.1, volume_high_ml=1.4))
    assert cement_words(whole, 2, trusted=True)[0].text == "CEMENT 710 mm² 1.3 ml (1.1 to 1.4 ml)"
    unknown = replace(shown(api), body=CementBody())
    assert "volume unknown" in cement_words(unknown, 2, trusted=True)[0].text
    api.wait(2.0)
    (paused,) = cement_words(shown(api), 2, trusted=True)
    assert (paused.text, paused.color) == ("CEMENT PAUSED: no frame for 2.0 s", NOTICE)
    api.frame(big_drop(30, seen=False, code="black", reason="the picture is black"))
    (lost,) = cement_words(shown(api), 30, trusted=True)
    assert (lost.text, lost.color) == ("CEMENT LOST: the picture is black", ALARM)


def test_a_balloon_is_never_called_cement(api):
    flow(api, 100.0, 200.0)
    balloon = replace(shown(api), balloon=True, body=CementBody(volume_ml=2.0, balloon_ml=3.16))
    (words,) = cement_words(balloon, 2, trusted=True)
    assert (words.text, words.color) == ("BALLOON 3.2 ml: contrast, no cement", CALM)
    (words,) = cement_words(balloon, 2, trusted=False)
    assert "volume unknown" in words.text
    told = FakeCementApi()
    told.start_cement(CementMaterial(opacity_per_mm=0.1, balloon=True), author=Author(via="server"))
    assert shown(told).balloon


def test_no_good_news_while_a_zone_is_near(api):
    flow(api, 100.0, 4.0)
    assert not [words for words in cement_words(shown(api), 2, trusted=True) if words.text.startswith("clear")]


def test_banners_are_marked_by_priority_and_shrink_when_acknowledged(api):
    kinds = ("vein", "needle_track", "out_of_picture", "no_reading", "balloon")
    priorities = (AlertPriority.HIGH, AlertPriority.MEDIUM, *[AlertPriority.LOW] * 3)
    told = [
        AlertCondition(kind=kind, priority=priority, text=kind)
        for kind, priority in zip(kinds, priorities, strict=True)
    ]
    api.alarm(*told)
    words = alert_words(api.book.alerts)
    assert [one.text.split()[0] for one in words[:3]] == ["!!!", "!!", "!"]
    assert [one.size_part for one in words] == [1.5, 1.0, 1.0, 1.0]
    assert words[3].text == "and 2 more alerts"
    api.acknowledge("A1", by="Ada")
    api.alarm(*told[:2])
    words = alert_words(api.book.alerts)
    assert words[0].text == "!! needle_track"
    assert words[-1].text == "!!! vein (acknowledged)"
    assert [one.text for one in words if "no longer" in one.text]
