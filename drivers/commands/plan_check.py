"""`guidance plan check`: how near a path comes to everything, as HTTP's clearance answers it."""

from __future__ import annotations

import argparse
from typing import Any

from drivers.commands.plan_inputs import add_common, add_path, load_plan, planned_paths, print_answers, write_pictures
from drivers.commands.plan_tables import clearance_lines


def register(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `check` to `guidance plan`."""
    parser = commands.add_parser(
        "check",
        help="clearance of a path",
        description="Distance from the instrument's surface to every zone along a path, negative inside; lengths, "
        "angles, bone. A path that hits a zone is an answer, not a failure. Write --entry-lps-mm=-5,0,0 for a leading "
        "minus.",
    )
    add_common(parser)
    add_path(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the clearance of each path; 0."""
    plan = load_plan(arguments)
    paths = planned_paths(arguments, plan)
    bone = plan.model.bone(plan.zones)
    answers = [
        plan.model.clearance(path, plan.zones, [other for other in paths if other.id != path.id], bone=bone)
        for path in paths
    ]
    write_pictures(arguments, plan, paths)
    print_answers(
        arguments,
        plan,
        answers,
        [clearance_lines(path, answer) for path, answer in zip(paths, answers, strict=True)],
    )
    return 0
