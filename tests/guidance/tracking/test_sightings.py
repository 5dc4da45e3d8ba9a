"""Instruments seen from several directions are put together when they belong together, and only then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.geometry.camera import project
from guidance.messages import F64, PlannedPath
from guidance.tracking.sightings import (
    KEPT_NS,
    Sighting,
    Sightings,
    found_instrument,
    known_paths,
    looks_around,
    sighted,
)
from guidance.tracking.values import InstrumentView, SeenInstrument
from simulators.gantry import Gantry

S = 1_000_000_000
PATH = PlannedPath(id="P1", entry_lps_mm=(60.0, 0.0, 0.0), target_lps_mm=(0.0, 0.0, 0.0), diameter_mm=3.2)
HUB, TIP = np.array((50.0, 20.0, 45.0)), np.array((10.0, 1.0, 2.0))


def matrix(primary_deg: float) -> F64:
    return Gantry(primary_deg=primary_deg, secondary_deg=10.0).pixel_from_patient()


def sighting(primary_deg: float, at_s: float, *, device: str = "Fluoro", tip: F64 = TIP) -> Sighting:
    """A straight rod from the hub to the tip, seen exactly."""
    view = matrix(primary_deg)
    ends = project(np.array((HUB, tip)), view)[:, :2]
    seen = SeenInstrument(
        path_id="P1",
        centreline_px=ends,
        tip_px=(float(ends[1, 0]), float(ends[1, 1])),
        tip_sigma_px=0.5,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=16.0,
        contrast=0.5,
        score=0.9,
        bend_px=0.0,
    )
    return Sighting(
        device=device, view=InstrumentView(seen=seen, pixel_from_patient=view, name=device), received_ns=round(at_s * S)
    )


def after(*sightings: Sighting) -> Sightings:
    known = Sightings(path=PATH)
    for each in sightings:
        known = sighted(known, each)
    return known


def test_one_direction_places_nothing() -> None:
    assert after(sighting(0.0, 0.0), sighting(0.0, 1.0), sighting(5.0, 2.0)).placed is None


def test_two_planes_at_once_place_it() -> None:
    known = after(sighting(0.0, 0.0, device="FluoroA"), sighting(80.0, 0.03, device="FluoroB"))
    assert known.placed is not None
    assert known.placed.accepted
    np.testing.assert_allclose(known.placed.tip_lps_mm, TIP, atol=0.05)


def test_a_single_c_arm_places_it_when_it_has_turned() -> None:
    known = after(sighting(0.0, 0.0), sighting(60.0, 20.0))
    assert known.placed is not None
    np.testing.assert_allclose(known.placed.tip_lps_mm, TIP, atol=0.05)


def test_an_instrument_that_was_moved_while_the_c_arm_turned_is_refused() -> None:
    known = after(sighting(0.0, 0.0), sighting(60.0, 20.0, tip=TIP - (0.0, 0.0, 8.0)))
    assert known.placed is not None
    assert not known.placed.accepted
    assert known.placed.tip_lps_mm is None


def test_what_was_seen_too_long_ago_is_forgotten() -> None:
    assert after(sighting(0.0, 0.0), sighting(60.0, KEPT_NS / S + 1.0)).placed is None


def test_it_is_put_together_anew_when_the_tip_has_moved_and_not_when_nothing_has() -> None:
    before = after(sighting(0.0, 0.0, device="FluoroA"), sighting(80.0, 0.03, device="FluoroB"))
    known = sighted(before, sighting(0.0, 0.066, device="FluoroA"))
    both = sighted(known, sighting(80.0, 0.1, device="FluoroB"))
    assert both.placed is before.placed or both.placed is known.placed
    advanced = TIP - (2.0, 0.0, 0.0)
    again = sighted(both, sighting(0.0, 0.133, device="FluoroA", tip=advanced))
    again = sighted(again, sighting(80.0, 0.166, device="FluoroB", tip=advanced))
    assert again.placed is not None
    np.testing.assert_allclose(again.placed.tip_lps_mm, advanced, atol=0.05)


def test_only_a_few_poses_of_an_input_are_kept() -> None:
    known = after(*(sighting(25.0 * n, float(n)) for n in range(7)))
    assert len(known.kept) <= 5


@pytest.mark.parametrize(("turn", "expected"), [(0, True), (1, False), (3, False), (4, True)])
def test_all_paths_are_searched_in_every_fourth_frame(turn: int, expected: bool) -> None:
    assert looks_around(turn) is expected


def test_paths_with_an_instrument_are_searched_in_every_frame() -> None:
    paths = tuple(replace(PATH, id=f"P{n}") for n in range(3))
    assert known_paths(paths, {"P1", "gone"}) == (paths[1],)


def test_planes_of_one_moment_that_show_different_things_are_said_views_in_turn_are_not() -> None:
    off = TIP - (0.0, 0.0, 8.0)
    at_once = after(sighting(0.0, 0.0, device="FluoroA"), sighting(80.0, 0.03, device="FluoroB", tip=off))
    told = found_instrument(at_once, at_once.kept[-1].view)
    assert told.placed is None
    assert "contradict" in told.contradiction
    in_turn = after(sighting(0.0, 0.0), sighting(60.0, 20.0, tip=off))
    assert found_instrument(in_turn, in_turn.kept[-1].view).contradiction == ""
