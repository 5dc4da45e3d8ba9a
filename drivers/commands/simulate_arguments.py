"""The words of `guidance simulate` and what they mean as plans, scripts and volumes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.commands.demo_volume import Progress as TellProgress
from drivers.commands.demo_volume import find_or_fetch_pelvis
from guidance.errors import ConfigError
from guidance.messages import Vector3
from simulators.carm import PIXEL_TYPES, CArmScript, Stop, sweep
from simulators.carm_metadata import GEOMETRY_FORMS, TABLE_FORMS, Telling
from simulators.cbct_objects import OBJECT_KINDS, CbctRun
from simulators.demo_paths import Which, demo_paths
from simulators.faults import faults_from_toml
from simulators.gantry import PATIENT_POSITIONS, Gantry
from simulators.instruments import Cylinder
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_anatomy import DYSMORPHIC, USUAL
from simulators.scene import Exposure
from simulators.suite import path_views
from simulators.volumes import HuVolume, load_volume

_PROCEDURAL_SPACING_MM = 1.0


def add_common(parser: argparse.ArgumentParser) -> None:
    """Arguments of every simulated device."""
    parser.add_argument(
        "--volume",
        default="procedural",
        help="DICOM folder, NIfTI file, `procedural`, `dysmorphic`, or `real` (fetched once) [procedural]",
    )
    parser.add_argument("--patient-position", default="HFP", choices=PATIENT_POSITIONS, help="on the table [HFP]")
    parser.add_argument("--seed", type=int, default=1, help="of noise and UIDs [1]")
    parser.add_argument("--paths", type=Path, help="JSON list of paths (bodies of POST /paths) [four of the demo]")
    parser.add_argument("--json", action="store_true", help="progress and report as JSON, one object a line")


def add_openigtlink(parser: argparse.ArgumentParser) -> None:
    """Where the C-arm sends."""
    parser.add_argument("--host", default="127.0.0.1", help="of the server [127.0.0.1]")
    parser.add_argument("--port", type=int, default=18944, help="of the server's fluoroscopy input [18944]")


def add_dicom(parser: argparse.ArgumentParser) -> None:
    """Where the modality sends."""
    parser.add_argument("--dicom-host", default="127.0.0.1", help="of the server [127.0.0.1]")
    parser.add_argument("--dicom-port", type=int, default=11112, help="of the server's storage [11112]")
    parser.add_argument("--called-ae-title", default="GUIDANCE", help="the server's [GUIDANCE]")
    parser.add_argument("--calling-ae-title", default="CARM1", help="the modality's own [CARM1]")
    parser.add_argument("--spacing-mm", type=float, default=0.5, help="edge of a voxel of the CBCT [0.5]")
    parser.add_argument("--kind", default="ct", choices=OBJECT_KINDS, help="which objects [ct]")


def add_stream(parser: argparse.ArgumentParser) -> None:
    """What the C-arm does and how it tells it."""
    stream = parser.add_argument_group("stream")
    stream.add_argument("--listen", metavar="HOST:PORT", help="be the server instead of dialling one; port 0: any")
    stream.add_argument("--rate-hz", type=float, default=30.0, help="pictures per second [30]")
    stream.add_argument("--frames", type=int, help="end after so many [never]")
    stream.add_argument("--render-ahead", action="store_true", help="render every pose before the first frame")
    stream.add_argument("--device", default="Fluoro", help="device name [Fluoro]")
    stream.add_argument("--biplane", action="store_true", help="two planes, FluoroA and FluoroB, at right angles")
    stream.add_argument("--header-version", type=int, default=2, choices=(1, 2), help="of OpenIGTLink [2]")
    stream.add_argument("--pixel-type", default="uint16", choices=PIXEL_TYPES, help="of the pictures [uint16]")
    stream.add_argument("--pedal", type=int, nargs=2, metavar=("ON", "OFF"), help="frames pressed and released")
    stream.add_argument(
        "--released", default="silent", choices=("silent", "held", "lying"), help="what comes meanwhile [silent]"
    )
    stream.add_argument("--faults", type=Path, help="TOML script of faults by frame")
    place = parser.add_argument_group("geometry")
    place.add_argument("--geometry", default="angles", choices=GEOMETRY_FORMS, help="form it is told in [angles]")
    place.add_argument("--table-told", default="difference", choices=TABLE_FORMS, help="[difference]")
    place.add_argument("--frame-of-reference", help="UID told with each frame [that of the CBCT of the same seed]")
    place.add_argument("--poses", help="P,S;P,S ... degrees relative to the patient [the paths' views]")
    place.add_argument("--dwell", type=int, default=75, help="frames at each pose [75]")
    place.add_argument("--between", type=int, default=8, help="poses between two of them [8]")
    place.add_argument("--isocenter-lps-mm", type=vector, help="x,y,z [middle of the paths]")
    place.add_argument("--source-to-detector-mm", type=float, default=1200.0)
    place.add_argument("--source-to-isocenter-mm", type=float, default=750.0)
    place.add_argument("--size", type=int, nargs=2, default=(1024, 1024), metavar=("W", "H"), help="[1024 1024]")
    place.add_argument("--pixel-spacing-mm", type=float, default=0.3, help="[0.3]")
    place.add_argument("--zoom", type=float, default=1.0, help="[1]")
    place.add_argument("--detector-rotation-deg", type=float, default=0.0)
    place.add_argument("--fov-rotation-deg", type=int, default=0, choices=(0, 90, 180, 270))
    place.add_argument("--fov-flip", action="store_true")
    place.add_argument("--table-mm", type=vector, default=(0.0, 0.0, 0.0), help="x,y,z now; 0,0,0 at the CBCT")
    seen = parser.add_argument_group("picture")
    seen.add_argument("--kvp", type=float, default=80.0, help="[80]")
    seen.add_argument("--dose-photons", type=float, default=250.0, help="per pixel behind the patient [250]")
    seen.add_argument(
        "--pin",
        action="append",
        default=[],
        type=pin,
        metavar="X,Y,Z,X,Y,Z,D",
        help="a steel pin from here to there, mm, and its diameter; again for more",
    )


def vector(text: str) -> Vector3:
    """x,y,z."""
    x, y, z = (float(part) for part in text.split(","))
    return (x, y, z)


def pin(text: str) -> Cylinder:
    """Both ends and the diameter."""
    a, b, c, d, e, f, diameter = (float(part) for part in text.split(","))
    return Cylinder(start_lps_mm=(a, b, c), end_lps_mm=(d, e, f), diameter_mm=diameter)


def chosen_volume(name: str, tell: TellProgress) -> tuple[HuVolume, Which]:
    """The volume that `--volume` names; ConfigError where it can't be had."""
    if name in ("procedural", "dysmorphic"):
        tell("making the procedural pelvis")
        pelvis = ProceduralPelvis(USUAL if name == "procedural" else DYSMORPHIC)
        return pelvis.volume(_PROCEDURAL_SPACING_MM), "procedural"
    if name == "real":
        found = find_or_fetch_pelvis(tell)
        if found.path is None:
            raise ConfigError(
                found.reason, code="no_volume", mend="choose `--volume procedural`, which needs no network"
            )
        return load_volume(found.path), "real"
    return load_volume(Path(name)), "other"


def chosen_paths(arguments: argparse.Namespace, volume: HuVolume, which: Which) -> Sequence[dict[str, Any]]:
    """The paths of `--paths`, or the demonstration's for that volume."""
    if arguments.paths is None:
        return demo_paths(which, volume.center_lps_mm)
    try:
        paths = json.loads(arguments.paths.read_text(encoding="utf-8"))
        for path in paths:
            for key in ("entry_lps_mm", "target_lps_mm"):
                x, y, z = (float(value) for value in path[key])
                path[key] = [x, y, z]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{arguments.paths} is no list of paths: {error!r}",
            code="bad_paths",
            mend="a JSON list of objects with entry_lps_mm and target_lps_mm",
        ) from None
    return list(paths)


def cbct_run(arguments: argparse.Namespace) -> CbctRun:
    """The run's identity."""
    return CbctRun(seed=arguments.seed, patient_position=arguments.patient_position, kind=arguments.kind)


def carm_script(arguments: argparse.Namespace, paths: Sequence[dict[str, Any]]) -> CArmScript:
    """What the C-arm does."""
    views = _views(arguments, paths)
    ends = [path[key] for path in paths for key in ("entry_lps_mm", "target_lps_mm")]
    middle = [sum(values) / len(ends) for values in zip(*ends, strict=True)]
    columns, rows = arguments.size
    first = Gantry(
        source_to_detector_mm=arguments.source_to_detector_mm,
        source_to_isocenter_mm=arguments.source_to_isocenter_mm,
        detector_rotation_deg=arguments.detector_rotation_deg,
        detector_rows=rows,
        detector_columns=columns,
        pitch_row_mm=arguments.pixel_spacing_mm,
        pitch_column_mm=arguments.pixel_spacing_mm,
        fov_rotation_deg=arguments.fov_rotation_deg,
        fov_flip=arguments.fov_flip,
        isocenter_lps_mm=arguments.isocenter_lps_mm or (middle[0], middle[1], middle[2]),
        table_mm=arguments.table_mm,
        patient_position=arguments.patient_position,
    ).zoomed(arguments.zoom)
    places = [replace(first, primary_deg=primary, secondary_deg=secondary) for primary, secondary in views]
    stops: list[Stop] = []
    for here, there in zip(places, [*places[1:], places[0]], strict=True):
        stops.append(Stop(gantry=here, frames=arguments.dwell))
        if here != there:
            stops += sweep(here, there, poses=arguments.between, frames_each=3)
    stops = [replace(stop, pixel_type=arguments.pixel_type) for stop in stops]
    if arguments.pedal:
        on, off = arguments.pedal
        stops = [each for stop in stops for each in (replace(stop, frames=on), replace(stop, frames=off, pedal=False))]
    run_uid = CbctRun(seed=arguments.seed).frame_of_reference_uid
    uid = run_uid if arguments.frame_of_reference is None else arguments.frame_of_reference
    return CArmScript(
        stops=tuple(stops),
        device=arguments.device,
        telling=Telling(geometry=arguments.geometry, table=arguments.table_told, frame_of_reference_uid=uid),
        exposure=Exposure(kvp=arguments.kvp, dose_photons=arguments.dose_photons),
        rate_hz=arguments.rate_hz,
        released=arguments.released,
        header_version=arguments.header_version,
        faults=faults_from_toml(arguments.faults.read_text(encoding="utf-8")) if arguments.faults else {},
        seed=arguments.seed,
    )


def _views(arguments: argparse.Namespace, paths: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    if arguments.poses is None:
        return [
            view
            for path in paths
            for view in path_views(path["entry_lps_mm"], path["target_lps_mm"], arguments.patient_position)
        ]
    try:
        pairs = [[float(angle) for angle in pair.split(",")] for pair in arguments.poses.split(";")]
        return [(primary, secondary) for primary, secondary in pairs]
    except ValueError:
        raise ConfigError(
            f"--poses {arguments.poses}", code="bad_poses", mend="write primary,secondary;primary,secondary"
        ) from None
