"""Where paths fall, and whether anything of them is on the picture."""

import pytest

from guidance.messages import GeometryState, GeometryVerdict, PlannedPath
from guidance.overlay.place import place_paths

# The design's golden view from the front: SID 1200, SOD 750, pitch 0.3 mm, 1024 x 1024.
FRONT = (4000.0, -511.5, 0.0, 383625.0, 0.0, -511.5, -4000.0, 383625.0, 0.0, -1.0, 0.0, 750.0)


def place(entry, target, *, state=GeometryState.TRUSTED, diameter_mm=3.0):
    path = PlannedPath(id="P1", entry_lps_mm=entry, target_lps_mm=target, diameter_mm=diameter_mm)
    verdict = GeometryVerdict(state=state, pixel_from_patient=FRONT)
    (result,) = place_paths((path,), verdict, rows=1024, columns=1024)
    return result


def test_ends_fall_where_the_golden_table_says():
    result = place((50, 0, 0), (0, 30, 0))
    assert result.entry_px == pytest.approx((778.17, 511.5), abs=0.005)
    assert result.target_px == pytest.approx((511.5, 511.5), abs=0.005)
    assert result.drawn


@pytest.mark.parametrize("state", [GeometryState.WITHHELD, GeometryState.ABSENT])
def test_nothing_is_placed_without_trust(state):
    result = place((50, 0, 0), (0, 30, 0), state=state)
    assert (result.entry_px, result.target_px, result.drawn) == (None, None, False)


def test_an_end_behind_the_source_has_no_pixel_and_its_path_is_not_drawn():
    result = place((0, 0, 0), (0, 800, 0))
    assert result.entry_px is not None
    assert result.target_px is None
    assert not result.drawn


@pytest.mark.parametrize(
    ("entry", "target", "drawn"),
    [
        pytest.param((-500, 0, 0), (500, 0, 0), True, id="across, both ends outside"),
        pytest.param((200, 0, 0), (300, 0, 0), False, id="beside"),
        pytest.param((0, 0, -300), (300, 0, 0), False, id="past a corner"),
        pytest.param((97, 0, 0), (97, 0, 50), True, id="only its rim reaches in"),
    ],
)
def test_drawn_means_that_some_of_it_is_on_the_picture(entry, target, drawn):
    assert place(entry, target).drawn is drawn
