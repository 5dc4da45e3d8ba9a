"""What can be asked of planning, and every way to ask it wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from guidance.case import BadFieldsError
from guidance.messages import ZoneSide
from guidance.planning.questions import CorridorQuestion, corridor_question, proposal_question


def test_a_corridor_is_asked_for() -> None:
    fields = {"level": "iliosacral", "diameter_mm": 7, "margin_mm": 1.5, "side": "right"}
    assert corridor_question(fields) == CorridorQuestion(
        level="iliosacral", diameter_mm=7.0, margin_mm=1.5, side=ZoneSide.RIGHT
    )
    assert corridor_question({"level": "s2", "diameter_mm": 8, "side": None, "margin_mm": None}) == CorridorQuestion(
        level="s2", diameter_mm=8.0
    )


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({}, ["level", "diameter_mm"]),
        ({"level": ["s1"], "diameter_mm": True}, ["level", "diameter_mm"]),
        ({"level": "s1", "diameter_mm": 51}, ["diameter_mm"]),
        ({"level": "s1", "diameter_mm": 7, "margin_mm": float("nan")}, ["margin_mm"]),
        ({"level": "free", "diameter_mm": 7, "side": "left"}, ["side"]),
        ({"level": "iliosacral", "diameter_mm": 7, "side": "midline", "length_mm": 9}, ["length_mm", "side"]),
    ],
)
def test_every_fault_of_a_corridor_is_named(fields: dict[str, Any], at_fault: list[str]) -> None:
    with pytest.raises(BadFieldsError) as caught:
        corridor_question(fields)
    assert [error.field for error in caught.value.errors] == at_fault


def test_a_proposal_is_of_bone_or_skin() -> None:
    assert [proposal_question({"what": what}) for what in ("bone", "skin")] == ["bone", "skin"]
    for fields in ({}, {"what": "nerve"}, {"what": None}, {"what": "bone", "more": 1}):
        with pytest.raises(BadFieldsError):
            proposal_question(fields)
