"""GET /cement from what is known: nothing invented, every null with its reason, numbers that JSON can carry."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.case import Author
from guidance.cement.answers import CementAnswer
from guidance.cement.told import MAPS, cement_front, cement_input, map_of, newest_frame_number
from guidance.messages import CementBody, CementMaterial, CementSeen, InjectorReading
from guidance.wire.json_text import json_text
from tests.helpers.cement import FORAMEN, FakeCementApi, S, drop, near_site

FIGURES = ("frame_number", "area_mm2", "volume_ml", "volume_low_ml", "volume_high_ml", "front_speed_mm_s")
SERVER = Author(via="server")


def followed(*views, body=None, **material):
    api = FakeCementApi((FORAMEN,))
    api.start_cement(CementMaterial(**(material or {"opacity_per_mm": 0.1})), author=SERVER)
    for view in views:
        api.frame(view, near_site(9.0), body=body)
    return api


def test_every_null_figure_has_its_reason_in_every_state():
    geometry = {"pixel_from_patient": None, "mm_per_px": None}
    cases = [
        FakeCementApi((FORAMEN,)),
        followed(),
        followed(drop(1)),
        followed(drop(1, **geometry)),
        followed(drop(1, frame_number=None)),
        followed(drop(1, front_speed_px_s=None)),
        followed(drop(1, seen=False, code="black", reason="the picture is black")),
        followed(drop(1), drop(2, seen=False, code="black", reason="the picture is black")),
        followed(drop(1, thickness_mm=None, thickness_sum_mm_px=None)),
    ]
    for api in cases:
        told = api.cement()
        unknown = {name for name in FIGURES if getattr(told, name) is None}
        assert unknown <= {name for name, words in told.reasons.items() if words}
        assert not {name for name in FIGURES if getattr(told, name) is not None} & told.reasons.keys()
        for site in told.sites:
            assert site.distance_mm is not None or site.reason


def test_a_frame_that_cannot_be_told_says_why_and_no_figure():
    told = cement_input(CementSeen(run=1, view=drop(1, seen=False, code="black", reason="the picture is black")))
    assert (told.seen, told.code, told.reason) == (False, "black", "the picture is black")
    assert (told.area_px, told.area_mm2, told.growth_px) == (None, None, None)


def test_figures_of_a_view_are_its_own():
    view = drop(1, blind=np.ones((256, 256), np.uint8), motion=(1.5, -2.0, 0.25), gain=1.1, unseen_s=3.0)
    told = cement_input(CementSeen(run=1, view=view, sites=(near_site(8.0),)))
    assert told.thickness_mean_mm == pytest.approx(1.0)
    assert (told.blind_share, told.shift_px, told.turn_deg, told.gain, told.unseen_s) == (
        1.0,
        (1.5, -2.0),
        0.25,
        1.1,
        3.0,
    )
    assert told.front_speed_mm_s == pytest.approx(3.0)
    [site] = told.sites
    assert (site.distance_px, site.distance_mm, site.nearest_px) == (8.0, 6.0, (147.5, 127.5))


def test_each_view_has_its_own_time_to_contact():
    api = FakeCementApi((FORAMEN,))
    api.start_cement(CementMaterial(opacity_per_mm=0.1), author=SERVER)
    for number in range(1, 41):  # 2 px, 1.5 mm a second, in a drop that does not grow
        api.frame(drop(number), near_site(20.0 - 0.2 * number))
    [site] = api.cement().inputs["Fluoro"].sites
    left_s = (site.distance_px or 0.0) / 2.0
    assert site.time_to_contact_s is not None
    assert 0.5 * left_s < site.time_to_contact_s <= left_s
    [told] = api.cement().sites
    assert told.time_to_contact_s == pytest.approx(site.time_to_contact_s)
    api.wait(3.0)
    assert api.cement().inputs["Fluoro"].sites[0].distance_px == site.distance_px


def test_of_two_planes_the_newest_pair_counts_and_a_silent_one_does_not():
    views = {"FluoroA": drop(12, now_ns=5 * S), "FluoroB": drop(11, now_ns=5 * S - 10)}
    assert newest_frame_number(views) == 11
    assert newest_frame_number(views | {"FluoroB": drop(3, now_ns=2 * S)}) == 12
    assert newest_frame_number(views | {"FluoroB": drop(11, now_ns=5 * S - 10, frame_number=None)}) == 12
    assert newest_frame_number({}) is None


def test_opacity_that_was_told_is_told_again_and_no_clock_without_a_brand():
    told = followed(drop(1), opacity_per_mm=0.07).cement()
    assert (told.brand, told.opacity_per_mm, told.working_time) == (None, 0.07, None)
    told = followed(drop(1), brand="baso4_10", mixed_s_ago=100.0).cement()
    assert told.working_time is not None
    assert told.working_time.mixed_s == pytest.approx(100.1)
    assert told.started_at == "2026-09-21T14:13:20.000+00:00"


def test_injected_counts_from_the_start():
    api = followed(drop(1))
    for at_ns, volume_ml in ((2 * S, 0.0), (3 * S, 1.5)):
        api.now_ns = at_ns
        api.inject(
            InjectorReading(
                volume_ml=volume_ml, flow_ml_s=0.1, pressure_bar=None, elapsed_s=None, running=True, received_ns=at_ns
            )
        )
    api.now_ns = 4 * S
    told = api.cement()
    assert told.injected_ml == 1.5
    assert told.injector is not None
    assert (told.injector.running, told.injector.flow_ml_s, told.injector.pressure_bar) == (True, 0.1, None)
    assert told.injector.age_s == 1.0
    assert "injected_ml" not in told.reasons


def test_front_is_told_to_a_hundredth_and_maps_by_name():
    view = drop(1)
    front = cement_front(view)
    assert len(front.front_px[0]) == 360
    assert max(abs(value * 100 - round(value * 100)) for value in front.front_px[0]) < 1e-6
    assert set(front.maps) == {name for name in MAPS if map_of(view, name) is not None}
    assert map_of(view, "speed_px_s") is None
    assert map_of(view, "no such map") is None


numbers = st.floats(allow_nan=True, allow_infinity=True)
scales = st.one_of(st.none(), st.floats(-1e3, 1e3), st.sampled_from((math.nan, math.inf)))


@given(area=numbers, mm=scales, speed=numbers, low=numbers, volume=numbers, distance=numbers)
def test_whatever_the_numbers_are_the_answer_is_json_of_its_shape(area, mm, speed, low, volume, distance):
    view = drop(
        1, size=32, radius_px=5.0, area_px=area, mm_per_px=mm, front_speed_px_s=speed, thickness_sum_mm_px=volume
    )
    api = FakeCementApi()  # how near is D's to say; here only what is told of it
    api.start_cement(CementMaterial(opacity_per_mm=0.1), author=SERVER)
    api.frame(view, body=CementBody(volume_ml=volume, volume_low_ml=low, volume_high_ml=low))
    text = json_text(api.cement())
    told = msgspec.json.decode(text, type=CementAnswer)
    assert "NaN" not in text.decode()
    for name in FIGURES:
        value = json.loads(text)[name]
        assert value is None or math.isfinite(value)
        assert value is not None or told.reasons[name]
    assert cement_input(CementSeen(run=1, view=view, sites=(near_site(distance),))).sites[0].zone_id == "Z1"
