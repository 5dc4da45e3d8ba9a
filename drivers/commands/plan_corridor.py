"""`guidance plan corridor`: whether a straight corridor through bone exists, and which is the best."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, Final

import msgspec

from drivers.commands.arguments import not_negative, positive
from drivers.commands.plan_inputs import (
    add_common,
    corridor_path,
    load_plan,
    print_answers,
    write_pictures,
    wrong_arguments,
)
from drivers.commands.plan_tables import corridor_lines
from guidance.case import BadFieldsError
from guidance.planning.questions import corridor_question

LEVELS: Final = ("free", "s1", "s2", "iliosacral")
_TELL_EVERY_S: Final = 2.0


def register(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `corridor` to `guidance plan`."""
    parser = commands.add_parser(
        "corridor",
        help="the best straight corridor through bone",
        description="Whether a straight corridor for a diameter exists with a margin all round, and the best one: "
        "trans-sacral S1 or S2, iliosacral, or free (from any surface to any other). Where there is none it says so, "
        "and at which diameter there would be one; that is an answer, not a failure.",
    )
    add_common(parser)
    parser.add_argument("--level", required=True, choices=LEVELS)
    parser.add_argument("--diameter-mm", type=positive, required=True, metavar="D", help="of the screw")
    parser.add_argument("--margin-mm", type=not_negative, default=0.0, metavar="M", help="asked for all round [0]")
    parser.add_argument("--side", choices=("left", "right"), help="of the entry, for iliosacral [the better one]")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the best corridor, or that there is none; 0."""
    fields = {name: getattr(arguments, name) for name in ("level", "diameter_mm", "margin_mm", "side")}
    try:
        asked = corridor_question(fields)
    except BadFieldsError as error:
        raise wrong_arguments(error) from None
    plan = load_plan(arguments)
    teller = _Teller()
    answer = plan.model.corridor(
        plan.zones,
        level=asked.level,
        diameter_mm=asked.diameter_mm,
        margin_mm=asked.margin_mm,
        side=asked.side,
        progress=teller.tell,
    )
    if answer.search_s is None:
        answer = msgspec.structs.replace(answer, search_s=teller.passed_s())
    path = corridor_path(answer)
    write_pictures(arguments, plan, [path] if path else [])
    print_answers(arguments, plan, [answer], [corridor_lines(answer)])
    return 0


class _Teller:
    """Says on standard error how far the search has come, now and then."""

    def __init__(self) -> None:
        self._began_s = self._told_s = time.monotonic()

    def passed_s(self) -> float:
        return time.monotonic() - self._began_s

    def tell(self, part: float) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            print(f"searching: {100.0 * part:.0f} %", file=sys.stderr, flush=True)
