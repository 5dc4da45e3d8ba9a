"""`guidance geometry project`: where points must land, an integrator's test of a geometry adaptor."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from drivers.commands.arguments import number, numbers, pixel_count, vector
from guidance.errors import GeometryError
from guidance.geometry.camera import ConeBeamCamera, project
from guidance.geometry.detector import detector_of_picture
from guidance.geometry.positioner import CArmPose, positioner_from_isocenter


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `geometry` with its sub-commands to the command line."""
    geometry = subparsers.add_parser("geometry", help="check a geometry adaptor")
    commands = geometry.add_subparsers(dest="geometry_command", required=True)
    command = commands.add_parser(
        "project",
        help="print where points must land",
        description="Print the pixel (u, v) where each point must land, the centre of the first pixel being (0, 0), "
        "and its depth from the source along the central ray. Write --point-lps-mm=-5,0,0 for a leading minus.",
    )
    add_arguments(command)
    command.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `geometry project` (contract 5.1)."""
    parser.add_argument("--primary-deg", type=number, required=True, metavar="P", help="LAO positive, -180 to 180")
    parser.add_argument("--secondary-deg", type=number, required=True, metavar="S", help="CRAN positive, -90 to 90")
    parser.add_argument("--detector-rotation-deg", type=number, default=0.0, metavar="R", help="clockwise content [0]")
    parser.add_argument("--source-to-detector-mm", type=number, required=True, metavar="A")
    parser.add_argument("--source-to-isocenter-mm", type=number, required=True, metavar="B")
    parser.add_argument(
        "--pixel-spacing-mm",
        type=number,
        nargs="+",
        required=True,
        metavar="D",
        help="Imager Pixel Spacing: one number, or row and column",
    )
    parser.add_argument("--isocenter-lps-mm", type=vector, default=(0.0, 0.0, 0.0), metavar="X,Y,Z", help="[0,0,0]")
    parser.add_argument(
        "--size", type=pixel_count, nargs=2, required=True, metavar=("W", "H"), help="of the picture as sent"
    )
    parser.add_argument(
        "--point-lps-mm",
        type=vector,
        nargs="+",
        action="extend",
        required=True,
        metavar="X,Y,Z",
        help="patient LPS; may be given several times",
    )
    parser.add_argument(
        "--patient-position",
        metavar="HFS",
        help="then the angles are relative to the equipment (0018,9463..9465), not to the patient",
    )
    parser.add_argument(
        "--isocenter-projection-px",
        type=numbers(2),
        metavar="U,V",
        help="cropped picture before turn and flip [its middle]",
    )
    parser.add_argument("--fov-rotation-deg", type=int, choices=(0, 90, 180, 270), default=0, help="clockwise [0]")
    parser.add_argument("--fov-flip", action="store_true", help="flipped left to right, after the rotation")
    parser.add_argument("--json", action="store_true", help="answer for a program")


def run(args: argparse.Namespace) -> int:
    """Print the answer; 0, or 2 where the arguments describe no C-arm."""
    try:
        matrix = _camera(args).pixel_from_patient
    except GeometryError as error:
        print(f"guidance geometry project: {error}", file=sys.stderr)
        return 2
    points = project(np.array(args.point_lps_mm, dtype=np.float64), matrix).tolist()
    if args.json:
        answer = [
            {"lps_mm": list(point), "pixel_uv": None if w <= 0.0 else [u, v], "depth_mm": w}
            for point, (u, v, w) in zip(args.point_lps_mm, points, strict=True)
        ]
        print(json.dumps({"points": answer}))
        return 0
    print(f"{'x':>9} {'y':>9} {'z':>9} mm  {'u':>9} {'v':>9} px  {'depth':>9} mm")
    for (x, y, z), (u, v, w) in zip(args.point_lps_mm, points, strict=True):
        pixel = f"{u:9.2f} {v:9.2f} px" if w > 0.0 else f"{'behind the source':>22}"
        print(f"{x:9.2f} {y:9.2f} {z:9.2f} mm  {pixel}  {w:9.2f} mm")
    return 0


def _camera(args: argparse.Namespace) -> ConeBeamCamera:
    if len(args.pixel_spacing_mm) > 2:
        raise GeometryError("--pixel-spacing-mm takes one or two numbers", code="wrong_count", mend="row, column")
    primary, secondary, rotation = args.primary_deg, args.secondary_deg, args.detector_rotation_deg
    if args.patient_position:
        primary, secondary, rotation = positioner_from_isocenter(primary, secondary, rotation, args.patient_position)
    columns, rows = args.size
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=args.source_to_detector_mm,
            source_to_isocenter_mm=args.source_to_isocenter_mm,
            detector_rotation_deg=rotation,
        ),
        detector=detector_of_picture(
            rows,
            columns,
            pitch_row_mm=args.pixel_spacing_mm[0],
            pitch_column_mm=args.pixel_spacing_mm[-1],
            principal_point_px=args.isocenter_projection_px,
            fov_rotation_deg=args.fov_rotation_deg,
            fov_flip=args.fov_flip,
        ),
        isocenter_lps_mm=args.isocenter_lps_mm,
    )
