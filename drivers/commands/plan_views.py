"""`guidance plan views`: from where to look at a path, as DICOM positioner angles for this patient."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from drivers.commands.arguments import vector
from drivers.commands.plan_inputs import add_common, add_path, load_plan, planned_paths, print_answers, write_pictures
from drivers.commands.plan_tables import views_lines
from guidance.geometry.positioner import PATIENT_POSITIONS
from guidance.messages import Finding, Severity


def register(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `views` to `guidance plan`."""
    parser = commands.add_parser(
        "views",
        help="bull's-eye, progression and en face views of a path",
        description="Bull's-eye, progression and en face views of a path, best first. Primary +90 is the patient's "
        "left (LAO +), secondary +90 cranial. Write --entry-lps-mm=-5,0,0 for a leading minus.",
    )
    add_common(parser)
    add_path(parser)
    parser.add_argument(
        "--patient-position",
        choices=PATIENT_POSITIONS,
        help="on the table [the volume's; without one no view is called reachable]",
    )
    parser.add_argument("--c-arm", metavar="MODEL", help="whose reach counts [the configuration's]")
    parser.add_argument(
        "--isocenter-lps-mm", type=vector, metavar="X,Y,Z", help="[what the volume tells, else the path's middle]"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the views; 0."""
    plan = load_plan(arguments, c_arm=arguments.c_arm)
    paths = planned_paths(arguments, plan)
    position = arguments.patient_position or plan.volume.patient_position
    if not position:
        message = "neither the volume nor --patient-position says how the patient lies, so no view is called reachable"
        asked = Finding(code="patient_position_missing", severity=Severity.WARNING, message=message)
        plan = replace(plan, findings=(*plan.findings, asked))
    isocenter = arguments.isocenter_lps_mm or plan.isocenter_lps_mm
    answers = [
        plan.model.views(path, plan.zones, patient_position=position, isocenter_lps_mm=isocenter) for path in paths
    ]
    write_pictures(arguments, plan, paths, patient_position=position, isocenter_lps_mm=arguments.isocenter_lps_mm)
    names = {zone.id: zone.name for zone in plan.zones}
    print_answers(
        arguments,
        plan,
        answers,
        [views_lines(path, answer, names) for path, answer in zip(paths, answers, strict=True)],
    )
    return 0
