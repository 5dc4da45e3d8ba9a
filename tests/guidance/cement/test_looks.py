"""From where cement was looked at: what is kept of a view that was left."""

from __future__ import annotations

from guidance.cement.looks import with_seen
from guidance.messages import CementSeen
from tests.helpers.cement import drop
from tests.helpers.drawn import view as matrix_of


def test_a_view_that_was_left_keeps_its_figures_and_none_of_its_maps() -> None:
    first = with_seen(None, CementSeen(run=1, view=drop(1)), 0)
    turned = matrix_of(90.0, size=256)
    assert first.look is not None
    after = with_seen(first, CementSeen(run=1, view=drop(2, pixel_from_patient=turned)), 0)
    (left,) = after.former
    view = left.seen.view
    assert (view.area_px, view.sequence) == (first.look.seen.view.area_px, 1)
    maps = (view.mask, view.blind, view.thickness_mm, view.grown, view.arrival_s, view.speed_px_s)
    assert all(each is None for each in maps)
