"""`guidance cement`: follow cement in recorded pictures, without a server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

import cv2
import msgspec
import numpy as np

from drivers.cement_desk import site_cements
from drivers.commands.arguments import not_negative, number, positive
from drivers.commands.cement_inputs import load_sequence
from drivers.commands.cement_offline import FollowedPicture, OfflineCement, Scene
from drivers.commands.plan_files import TakenFiles, load_volume, names_of, take_zones
from drivers.commands.plan_tables import finding_lines
from drivers.settings import add_config_argument, load_settings
from guidance.cement.answers import CementAnswer
from guidance.cement.profiles import CementLibrary
from guidance.cement.space import cement_space
from guidance.cement.values import CementScene
from guidance.consistency.volume import watch_volume
from guidance.errors import CaseError, ConfigError, WireError
from guidance.messages import CbctVolume, CementMaterial, Finding, MaskShape
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.surface import surface_of_shape
from guidance.wire.json_text import json_text

_NAMES: Final = ("Fluoro", "FluoroA", "FluoroB")
_MOST_INPUTS: Final = 2

_DESCRIPTION: Final = """\
Follow new cement in pictures: --frames is a folder of them (PNG, TIFF, NPY or DICOM, in the order of their names; 2
comes before 10) or one DICOM object, --reference a picture or a folder of pictures of the same view before the cement,
best five or more. A biplane's second input is a second --reference, --frames and --geometry.

--geometry is a JSON file: the XRay.* keys that a stream sends, for all pictures; or {"geometry": {KEY: VALUE},
"rate_hz": N or "timestamps_s": [...], "frames": [{KEY: VALUE}, ...], "reference": [...], "name": ...}, where frames and
reference say what differs from picture to picture; or a list of one object per picture. Without it the front is
followed in pixels.

The answer is an object with the members of GET /cement after the last picture, and "frames": the same after each one,
with "file" and "input" (--lines: one object per line and picture instead). Unknown is null, with a reason in "reasons".
With neither --brand nor --opacity-per-mm, and in display-processed pictures, there is no thickness and no volume.

A picture that cannot be read is told of in its place, and the next one goes on. Exit code 2 is wrong use (a file that
is not there, an unknown brand), 1 a reference that cannot be used. docs/cement-offline.md.
"""


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "cement",
        help="follow cement in recorded pictures, without a server",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--reference", type=Path, action="append", required=True, metavar="X", help="before the cement")
    parser.add_argument("--frames", type=Path, action="append", required=True, metavar="DIR", help="since then")
    parser.add_argument("--geometry", type=Path, action="append", metavar="G.json", help="XRay keys of the pictures")
    parser.add_argument("--brand", default="", help="cement of the library, as baso4_30")
    parser.add_argument("--opacity-per-mm", type=positive, metavar="F", help="contrast per mm of thin cement")
    parser.add_argument("--mixed-s-ago", type=not_negative, metavar="S", help="from mixing to the first picture")
    parser.add_argument("--temperature-c", type=number, default=20.0, metavar="C", help="of the room [20]")
    parser.add_argument("--rate-hz", type=positive, metavar="HZ", help="pictures per second [the file's, else 15]")
    parser.add_argument("--volume", type=Path, metavar="V", help="DICOM folder or NIfTI file: volume in 3D, scatter")
    parser.add_argument("--zones", type=Path, action="append", metavar="Z", help="as of guidance plan")
    parser.add_argument("--zone-names", metavar="FILE", help="names of a label map's numbers, or totalsegmentator")
    parser.add_argument("--mask-dir", type=Path, metavar="DIR", help="write each mask there: PNG, 255 where cement is")
    parser.add_argument("--thickness-dir", type=Path, metavar="DIR", help="write each thickness map there: NPY, mm")
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="answer for a program")
    parser.add_argument("--lines", action="store_true", help="one JSON object per picture and line, as they are done")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # What a decoder finds wrong with a file is said in our own line.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    settings = load_settings(arguments.config)
    library = site_cements(settings.cement)
    material = CementMaterial(
        brand=arguments.brand,
        opacity_per_mm=arguments.opacity_per_mm,
        mixed_s_ago=arguments.mixed_s_ago,
        temperature_c=arguments.temperature_c,
    )
    _check_material(library, material)
    sequences = tuple(_sequences(arguments))
    known, findings = _known(arguments)
    offline = OfflineCement(sequences, material, known, settings, library)
    findings += tuple(finding for one in sequences for finding in one.findings)
    told: list[dict[str, Any]] = []
    last: CementAnswer | None = None
    followed = 0
    writers = _Writers(arguments.mask_dir, arguments.thickness_dir, len(sequences) > 1)
    for picture in offline.pictures():
        writers.write(picture)
        last = picture.answer or last
        followed += picture.answer is not None
        entry = _entry(picture)
        if arguments.lines:
            _print(sys.stdout, entry)
        else:
            told.append(entry)
            if not arguments.json:
                print(_line(picture), flush=True)
    findings += offline.findings
    if not followed:
        raise WireError(
            f"none of {len(told)} pictures can be followed: {findings[-1].message if findings else ''}",
            code="unreadable_picture",
        )
    alerts = json.loads(json_text(offline.alerts))["items"]
    if arguments.json and not arguments.lines:
        whole = json.loads(json_text(last)) if last is not None else {}
        _print(sys.stdout, {**whole, "frames": told, "alerts": alerts, "findings": [_finding(one) for one in findings]})
    elif not arguments.lines:
        print("\n".join([*(f"  {alert['priority']}: {alert['text']}" for alert in alerts), *finding_lines(findings)]))
    elif findings:
        print("\n".join(finding_lines(findings)), file=sys.stderr)
    return 0


def _check_material(library: CementLibrary, material: CementMaterial) -> None:
    """What is wrong with it is said before the pictures are read."""
    try:
        if material.brand or material.opacity_per_mm is not None:
            library.opacity(material)
    except CaseError as error:
        raise ConfigError(error.args[0], code=error.code, mend=error.mend) from None


def _sequences(arguments: argparse.Namespace) -> Iterator[Any]:
    count = len(arguments.frames)
    geometry = arguments.geometry or [None] * count
    if count > _MOST_INPUTS or len(arguments.reference) != count or len(geometry) not in (count,):
        raise ConfigError(
            f"{len(arguments.reference)} --reference, {count} --frames and {len(geometry)} --geometry",
            code="another_number",
            mend="one of each, or two of each for a biplane",
        )
    names = _NAMES[:1] if count == 1 else _NAMES[1:]
    seen: set[str] = set()
    for reference, frames, file, name in zip(arguments.reference, arguments.frames, geometry, names, strict=True):
        sequence = load_sequence(reference, frames, file, device=name, rate_hz=arguments.rate_hz)
        if sequence.device in seen:
            raise ConfigError(f"two inputs are called {sequence.device}", code="name_twice", mend="mend one's name")
        seen.add(sequence.device)
        yield sequence


def _known(arguments: argparse.Namespace) -> tuple[Scene, tuple[Finding, ...]]:
    """Volume and zones."""
    findings: tuple[Finding, ...] = ()
    told: CbctVolume | None = None
    scene, planning = CementScene(), None
    if arguments.volume is not None:
        loaded = load_volume(arguments.volume)
        told, planning, findings = loaded.told, loaded.volume, loaded.findings
        voxels, affine = planning.voxels_hu, planning.affine_lps_from_ijk
        scene = CementScene(watch=watch_volume(voxels, affine), space=cement_space(voxels, affine))
    taken = TakenFiles()
    names = names_of(arguments.zone_names)
    for path in arguments.zones or ():
        take_zones(taken, path, names, planning)
    zones = taken.case.zones
    surfaces = tuple(
        (
            zone,
            surface_of_shape(zone.shape, taken.masks.get(zone.shape.mask_id))
            if isinstance(zone.shape, MaskShape)
            else surface_of_shape(zone.shape),
        )
        for zone in zones
    )
    scene = replace(scene, zones=ZonesOnPicture(surfaces=surfaces))
    return Scene(volume=told, zones=zones, scene=scene), findings + tuple(taken.findings)


class _Writers:
    """Maps as files; named as their pictures."""

    def __init__(self, masks: Path | None, thicknesses: Path | None, several: bool) -> None:
        self._masks, self._thicknesses, self._several = masks, thicknesses, several
        for folder in (masks, thicknesses):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)

    def write(self, picture: FollowedPicture) -> None:
        view = picture.view
        if view is None:
            return
        if self._masks is not None and view.mask is not None:
            done, data = cv2.imencode(".png", (view.mask > 0).astype(np.uint8) * 255)
            assert done
            self._place(self._masks, picture, ".png").write_bytes(data.tobytes())
        if self._thicknesses is not None and view.thickness_mm is not None:
            np.save(self._place(self._thicknesses, picture, ".npy"), np.asarray(view.thickness_mm, np.float32))

    def _place(self, folder: Path, picture: FollowedPicture, suffix: str) -> Path:
        if self._several:
            folder = folder / picture.device
            folder.mkdir(exist_ok=True)
        file, _, frame = picture.name.partition("#")
        stem = Path(file).stem
        return folder / f"{stem}_{int(frame):05d}{suffix}" if frame else folder / f"{stem}{suffix}"


def _entry(picture: FollowedPicture) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": picture.name, "input": picture.device, "reason": picture.reason}
    if picture.answer is not None:
        entry |= json.loads(json_text(picture.answer))
    return entry


def _line(picture: FollowedPicture) -> str:
    """One picture for people."""
    answer = picture.answer
    if answer is None:
        return f"{picture.name}: not followed: {picture.reason}"
    told = answer.inputs[picture.device]
    if not told.seen:
        return f"{picture.name}: cannot be told: {told.reason}"
    parts = [f"{told.area_px:.0f} px" if told.area_mm2 is None else f"{told.area_mm2:.1f} mm2"]
    if answer.volume_ml is not None:
        parts.append(f"{answer.volume_ml:.2f} ml ({answer.volume_low_ml:.2f} to {answer.volume_high_ml:.2f})")
    elif answer.volume_low_ml is not None:
        parts.append(f"{answer.volume_low_ml:.2f} to {answer.volume_high_ml:.2f} ml")
    if answer.front_speed_mm_s is not None:
        parts.append(f"{answer.front_speed_mm_s:.1f} mm/s")
    parts += [site.text for site in answer.sites if site.status is not None and site.status.value != "clear"]
    return f"{picture.name}: {', '.join(parts)}"


def _finding(finding: Finding) -> Any:
    return msgspec.to_builtins(finding)


def _print(stream: TextIO, value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), file=stream, flush=True)
