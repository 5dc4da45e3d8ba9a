"""`guidance calibrate`: pictures of a bead phantom to the suite's calibration table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from drivers.commands.arguments import not_negative, positive
from drivers.commands.calibrate_inputs import CalibrationPicture, Unreadable, pictures_of, pose_of
from drivers.commands.calibrate_simulated import SimulatedSet, simulated_set, write_views
from drivers.commands.calibrate_words import words_of
from drivers.commands.progress import show_progress
from drivers.commands.register_inputs import read_bytes
from guidance.calibration.frame import likely_cameras
from guidance.calibration.phantom import Phantom, built_in_phantom, phantom_from_text
from guidance.calibration.picture import LeftOut, MeasuredView, measured_view
from guidance.calibration.report import calibration_answer
from guidance.calibration.suite import calibrated_suite
from guidance.errors import ConfigError
from guidance.geometry.calibration import calibration_table_from_text, text_of_calibration_table
from guidance.messages import F64

_HOLD_OUT_EVERY: Final = 6
_FEWEST_TO_HOLD_OUT: Final = 12


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "calibrate",
        help="pictures of a bead phantom to a calibration table",
        description="Find the beads of a phantom in pictures of it, and from them the true projection of each view; "
        "write the table that geometry.calibration_table names. How a site does it: docs/calibration.md.",
    )
    parser.add_argument(
        "views", nargs="*", type=Path, metavar="VIEWS", help='view files {"image", "geometry"}, or folders of them'
    )
    parser.add_argument("--simulate", action="store_true", help="a demonstration: pictures of a simulated suite")
    parser.add_argument("--phantom", type=Path, metavar="FILE", help="TOML description [the built-in helix]")
    parser.add_argument(
        "--phantom-pose",
        type=Path,
        metavar="FILE",
        help="JSON 4x4 equipment_from_phantom, from the suite's own CBCT of it [the views' best isocentre]",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table here [nothing is written]")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    parser.add_argument("--suite", default="", help="the suite's name, for people")
    parser.add_argument(
        "--hold-out", action="append", default=[], metavar="NAME", help="fit nothing to this view; may be repeated"
    )
    parser.add_argument(
        "--hold-out-every",
        type=int,
        metavar="N",
        help=f"hold every Nth view out, 0 none [{_HOLD_OUT_EVERY} from {_FEWEST_TO_HOLD_OUT} views on, unless named]",
    )
    parser.add_argument("--share-focal", action="store_true", help="one focal length per source to detector distance")
    parser.add_argument(
        "--tolerance-mm", type=positive, default=1.0, metavar="MM", help="reach of a view's distance [1]"
    )
    parser.add_argument("--sag-mm", type=not_negative, default=1.0, help="--simulate: how far the gantry sags [1]")
    parser.add_argument("--seed", type=int, default=1, help="--simulate: another suite [1]")
    parser.add_argument("--step-deg", type=positive, default=12.0, help="--simulate: from view to view [12]")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="--simulate: write the views' files here, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.simulate == bool(arguments.views):
        raise ConfigError("either view files or --simulate", code="wrong_use", mend="see guidance calibrate --help")
    if arguments.out is not None and arguments.out.exists() and not arguments.force:
        raise ConfigError(f"{arguments.out} is there already", code="file_exists", mend="another name, or --force")
    phantom = _phantom(arguments.phantom)
    pictures, pose = _pictures(arguments, phantom)
    hold_out = _held_out(arguments, [one.name for one in pictures])
    views = measured(phantom, pictures)
    done = calibrated_suite(
        phantom,
        views,
        hold_out=hold_out,
        suite=arguments.suite,
        equipment_from_phantom=pose,
        share_focal=arguments.share_focal,
        tolerance_mm=arguments.tolerance_mm,
    )
    answer = calibration_answer(phantom, done)
    if arguments.out is not None:
        text = text_of_calibration_table(done.table)
        calibration_table_from_text(text, origin=str(arguments.out))  # what the server would refuse is never written
        _write(arguments.out, text)
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(answer), indent=2))
    else:
        for line in words_of(answer):
            print(line)
        if arguments.out is not None:
            print(f"wrote {arguments.out}; name it in geometry.calibration_table")
    return 0


def measured(phantom: Phantom, pictures: Sequence[CalibrationPicture | Unreadable]) -> list[MeasuredView | LeftOut]:
    """Find the beads of every picture; says how far it is on standard error."""
    views: list[MeasuredView | LeftOut] = []
    for done, picture in enumerate(pictures, start=1):
        if isinstance(picture, Unreadable):
            views.append(LeftOut(name=picture.name, code=picture.code, reason=picture.reason, mend=picture.mend))
        else:
            good = [view for view in views if isinstance(view, MeasuredView)]
            views.append(
                measured_view(
                    phantom,
                    picture.told,
                    picture.pixels(),
                    intensity=picture.intensity.relationship,
                    sign=picture.intensity.sign,
                    valid=picture.valid,
                    poses=likely_cameras(picture.told, [(view.told, view.camera) for view in good[:3]]),
                )
            )
        show_progress("view", done, len(pictures))
    return views


def _phantom(file: Path | None) -> Phantom:
    if file is None:
        return built_in_phantom()
    data = read_bytes(file, "a phantom's description, docs/calibration.md")
    try:
        return phantom_from_text(data.decode("utf-8"), origin=str(file))
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is no UTF-8 text", code="bad_phantom", mend="see docs/calibration.md") from None


def _pictures(
    arguments: argparse.Namespace, phantom: Phantom
) -> tuple[Sequence[CalibrationPicture | Unreadable], F64 | None]:
    if not arguments.simulate:
        pose = pose_of(arguments.phantom_pose) if arguments.phantom_pose is not None else None
        return pictures_of(arguments.views), pose
    made: SimulatedSet = simulated_set(
        phantom, sag_mm=arguments.sag_mm, seed=arguments.seed, step_deg=arguments.step_deg
    )
    print(f"a simulated suite, {len(made.pictures)} views of {phantom.name}; no real one", file=sys.stderr)
    if arguments.keep is not None:
        write_views(made, arguments.keep)
    return made.pictures, made.equipment_from_phantom


def _held_out(arguments: argparse.Namespace, names: list[str]) -> frozenset[str]:
    unknown = sorted(set(arguments.hold_out) - set(names))
    if unknown:
        raise ConfigError(
            f"no view is named {unknown[0]!r}", code="unknown_view", mend=f"one of {', '.join(names[:20])}"
        )
    every = arguments.hold_out_every
    if every is None:
        every = _HOLD_OUT_EVERY if len(names) >= _FEWEST_TO_HOLD_OUT and not arguments.hold_out else 0
    if every < 0 or every == 1:
        raise ConfigError("--hold-out-every 1 leaves no view", code="wrong_use", mend="0, or 2 and more")
    return frozenset(arguments.hold_out) | (frozenset(names[every // 2 :: every]) if every else frozenset())


def _write(file: Path, text: str) -> None:
    """Written whole or not at all: a server may read it at any time."""
    part = file.with_name(file.name + ".part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
