"""The words that all `guidance plan` commands share, what they mean, and how answers are told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from drivers.commands.arguments import not_negative, positive, vector
from drivers.commands.plan_files import TakenFiles, load_volume, names_of, take_plan_file, take_zones
from drivers.commands.plan_pictures import write_path_pictures
from drivers.commands.plan_tables import finding_lines
from drivers.planning_library import c_arm_of, c_arms_of, instruments_of
from drivers.settings import add_config_argument, load_settings
from guidance.case import BadFieldsError, Case, create_path
from guidance.config import PlanningSettings
from guidance.errors import ConfigError
from guidance.messages import Finding, PlannedPath, Vector3, Zone
from guidance.planning.answers import Clearance, Corridor, Views
from guidance.planning.c_arms import CArmModel
from guidance.planning.instruments import InstrumentLibrary
from guidance.planning.model import PlanningModel, ZoneFields
from guidance.planning.placement import check_placement
from guidance.planning.volume import HuProbe, PlanningVolume
from guidance.wire.json_text import json_text

Answer = Clearance | Views | Corridor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What the files and the configuration said.

    Attributes:
        volume, isocenter_lps_mm: of `--volume`; no isocentre where the objects do not say.
        zones: of all `--zones`, and of the plan file.
        case: holds the zones, and the paths of `--plan`.
        fields: distances and surfaces of the zones.
        model: answers the questions.
        library, c_arm, settings: of the configuration.
        findings: about volume and zones; every answer carries them.
    """

    volume: PlanningVolume
    isocenter_lps_mm: Vector3 | None
    zones: tuple[Zone, ...]
    case: Case
    fields: ZoneFields
    model: PlanningModel
    library: InstrumentLibrary
    c_arm: CArmModel
    settings: PlanningSettings
    findings: tuple[Finding, ...]


def add_common(parser: argparse.ArgumentParser) -> None:
    """Arguments of every `guidance plan` command."""
    parser.add_argument("--volume", type=Path, required=True, metavar="X", help="DICOM folder or NIfTI file")
    parser.add_argument("--series", default="", metavar="UID", help="Series Instance UID [the folder's largest volume]")
    parser.add_argument(
        "--zones",
        type=Path,
        action="extend",
        nargs="+",
        default=[],
        metavar="Y",
        help="NIfTI label map, DICOM Segmentation, RT Structure Set, or JSON list of drawn zones (bodies of POST "
        "/zones); may be given several times",
    )
    parser.add_argument(
        "--zone-names", metavar="FILE", help="of label maps: a names file, or the word totalsegmentator [that word]"
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write slices and views of each path there")
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="answer for a program")


def add_path(parser: argparse.ArgumentParser) -> None:
    """Arguments that say which path."""
    path = parser.add_argument_group("path", "one by its ends, or several by --plan")
    path.add_argument("--entry-lps-mm", type=vector, metavar="X,Y,Z", help="patient LPS")
    path.add_argument("--target-lps-mm", type=vector, metavar="X,Y,Z")
    path.add_argument("--diameter-mm", type=positive, metavar="D", help="true outer diameter [the instrument's]")
    path.add_argument("--instrument", metavar="ID", help="of the instrument library")
    path.add_argument("--approach", metavar="ID", help="of the approach templates; without it, it is recognised")
    path.add_argument("--label", metavar="TEXT", help="what it is called")
    path.add_argument("--permit", action="append", default=[], metavar="ZONE", help="id or name of a zone it may touch")
    path.add_argument("--power-w", type=not_negative, metavar="W", help="of an ablation")
    path.add_argument("--time-s", type=positive, metavar="S", help="of an ablation")
    path.add_argument("--plan", type=Path, metavar="FILE.mrk.json", help="3D Slicer markups with paths")


def load_plan(arguments: argparse.Namespace, *, c_arm: str | None = None) -> Plan:
    """Read what the arguments name.

    Raises:
        ConfigError: wrong use: no such file, instrument or C-arm.
        WireError, BadFieldsError: what is wrong with a file.
    """
    settings = load_settings(arguments.config).planning
    library = instruments_of(settings)
    model = c_arm_of(settings if c_arm is None else msgspec.structs.replace(settings, c_arm=c_arm), c_arms_of(settings))
    names = names_of(arguments.zone_names)
    found = load_volume(arguments.volume, series_uid=arguments.series)
    taken = TakenFiles(findings=list(found.findings))
    for path in arguments.zones:
        take_zones(taken, path, names, found.volume)
    if getattr(arguments, "plan", None) is not None:
        take_plan_file(taken, arguments.plan, diameter_mm=arguments.diameter_mm)
    fields = ZoneFields(taken.masks.__getitem__)
    return Plan(
        volume=found.volume,
        isocenter_lps_mm=found.isocenter_lps_mm,
        zones=taken.case.zones,
        case=taken.case,
        fields=fields,
        model=PlanningModel(found.volume, fields, library=library, c_arm=model, settings=settings),
        library=library,
        c_arm=model,
        settings=settings,
        findings=tuple(taken.findings),
    )


def planned_paths(arguments: argparse.Namespace, plan: Plan) -> list[PlannedPath]:
    """The path that the arguments describe, then those of `--plan`; each can have been planned on this volume.

    Raises:
        ConfigError: no path, half a path, or one that cannot be.
        BadFieldsError: a path of the file that cannot be.
    """
    paths, probe = list(plan.case.paths), HuProbe(plan.volume)
    ends = (arguments.entry_lps_mm, arguments.target_lps_mm)
    if ends == (None, None):
        if not paths:
            mend = "--entry-lps-mm X,Y,Z --target-lps-mm X,Y,Z --diameter-mm D, or --plan FILE.mrk.json"
            raise ConfigError("no path is given", code="no_path", mend=mend)
    else:
        try:
            paths.insert(0, _path_of(arguments, plan))
            check_placement(paths[0].entry_lps_mm, paths[0].target_lps_mm, probe)
        except BadFieldsError as error:
            raise wrong_arguments(error) from None
    for path in plan.case.paths:
        try:
            check_placement(path.entry_lps_mm, path.target_lps_mm, probe)
        except BadFieldsError as error:
            raise BadFieldsError(error.errors, what=f"path {path.label!r} of {arguments.plan}") from None
    permitted = _permitted(arguments.permit, plan.zones)
    return [replace(path, permitted_zone_ids=(*path.permitted_zone_ids, *permitted)) for path in paths]


def wrong_arguments(error: BadFieldsError) -> ConfigError:
    """The same as wrong use, where the fields are the arguments of the command line."""
    told = "; ".join(f"--{one.field.replace('_', '-')} {one.message}" for one in error.errors)
    return ConfigError(told, code=error.code)


def corridor_path(answer: Corridor) -> PlannedPath | None:
    """The best corridor as a path to draw; None without one."""
    if answer.entry_lps_mm is None or answer.target_lps_mm is None:
        return None
    return PlannedPath(
        id="P1",
        entry_lps_mm=answer.entry_lps_mm,
        target_lps_mm=answer.target_lps_mm,
        diameter_mm=answer.diameter_mm,
        label=answer.level,
    )


def print_answers(
    arguments: argparse.Namespace, plan: Plan, answers: Sequence[Answer], tables: Sequence[Sequence[str]]
) -> None:
    """One answer as it is, several as a collection; what was found about the files stands in each."""
    if arguments.json:
        whole = [msgspec.structs.replace(answer, findings=(*plan.findings, *answer.findings)) for answer in answers]
        told = json.loads(json_text(whole[0] if len(whole) == 1 else {"items": whole}))
        print(json.dumps(told, ensure_ascii=False))
        return
    for table in tables:
        print("\n".join(table))
    for line in finding_lines(plan.findings):
        print(line)


def write_pictures(
    arguments: argparse.Namespace,
    plan: Plan,
    paths: Sequence[PlannedPath],
    *,
    patient_position: str = "",
    isocenter_lps_mm: Vector3 | None = None,
) -> None:
    """With `--pictures`: slices and views of each path, and on standard error which files they are.

    Raises:
        OSError: a file cannot be written.
    """
    if arguments.pictures is None:
        return
    zones = [(zone, plan.fields.field(zone.shape), plan.fields.surface(zone.shape)) for zone in plan.zones]
    isocenter = isocenter_lps_mm or plan.isocenter_lps_mm
    bone = plan.model.known_bone(plan.zones)
    for number, path in enumerate(paths, start=1):
        others = [other for other in paths if other is not path]
        clearance = plan.model.clearance(path, plan.zones, others, bone=bone)
        files = write_path_pictures(
            arguments.pictures,
            plan.volume,
            path,
            zones,
            plan.model.views(
                path,
                plan.zones,
                patient_position=patient_position or plan.volume.patient_position,
                isocenter_lps_mm=isocenter,
            ),
            c_arm=plan.c_arm,
            isocenter_lps_mm=isocenter,
            others=others,
            library=plan.library,
            margin_mm=clearance.margin_mm,
            # Two paths may have the same label.
            name=f"{number}_{path.label}" if len(paths) > 1 else "",
        )
        for file in files:
            print(f"wrote {file}", file=sys.stderr)


def _path_of(arguments: argparse.Namespace, plan: Plan) -> PlannedPath:
    for name, value in (("--entry-lps-mm", arguments.entry_lps_mm), ("--target-lps-mm", arguments.target_lps_mm)):
        if value is None:
            raise ConfigError(f"{name} is missing", code="no_path", mend="a path has an entry and a target")
    fields: dict[str, Any] = {"entry_lps_mm": arguments.entry_lps_mm, "target_lps_mm": arguments.target_lps_mm}
    for name in ("instrument", "approach", "label"):
        if getattr(arguments, name):
            fields[name] = getattr(arguments, name)
    fields["diameter_mm"] = _diameter_mm(arguments, plan.library)
    if (arguments.power_w is None) != (arguments.time_s is None):
        raise ConfigError("--power-w and --time-s come together", code="bad_ablation")
    if arguments.time_s is not None:
        fields["ablation"] = {"power_w": arguments.power_w, "time_s": arguments.time_s}
    _, path = create_path(plan.case, fields)
    return path


def _diameter_mm(arguments: argparse.Namespace, library: InstrumentLibrary) -> float:
    if arguments.instrument is not None:
        instrument = library.find(arguments.instrument)
        if instrument is None:
            known = ", ".join(held.id for held in library.instruments)
            raise ConfigError(
                f"no instrument {arguments.instrument!r}", code="unknown_instrument", mend=f"one of {known}"
            )
        return float(arguments.diameter_mm or instrument.diameter_mm)
    if arguments.diameter_mm is None:
        raise ConfigError("--diameter-mm is missing", code="no_diameter", mend="or name an --instrument")
    return float(arguments.diameter_mm)


def _permitted(words: Sequence[str], zones: Sequence[Zone]) -> tuple[str, ...]:
    ids = []
    for word in words:
        found = [zone.id for zone in zones if word in (zone.id, zone.name)]
        if not found:
            known = ", ".join(f"{zone.id} {zone.name}" for zone in zones) or "none was given"
            raise ConfigError(f"--permit {word}: no such zone", code="unknown_zone", mend=f"zones: {known}")
        ids += found
    return tuple(ids)
