"""Pictures of a phantom in a simulated suite whose gantry sags: for a demonstration, for tests, and as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from drivers.commands.calibrate_inputs import CalibrationPicture
from guidance.calibration.phantom import Phantom
from guidance.calibration.told_view import ToldView
from guidance.messages import F64, Pixels
from simulators.bead_phantom import PlacedPhantom, phantom_picture, placed
from simulators.flexing_gantry import FlexingGantry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedSet:
    """What was simulated: pictures, and the truth behind them."""

    gantry: FlexingGantry
    laid: PlacedPhantom
    pictures: tuple[CalibrationPicture, ...]

    @property
    def equipment_from_phantom(self) -> F64:
        """(4, 4), as the suite's own CBCT of the phantom would tell it."""
        return self.laid.equipment_from_phantom


def grid_deg(step_deg: float, primary_deg: float = 60.0, secondary_deg: float = 24.0) -> list[tuple[float, float]]:
    """Poses about 0 / 0, so many degrees apart."""
    along, across = int(primary_deg // step_deg), int(secondary_deg // step_deg)
    return [(step_deg * p, step_deg * s) for p in range(-along, along + 1) for s in range(-across, across + 1)]


def simulated_set(
    phantom: Phantom,
    *,
    sag_mm: float = 1.0,
    seed: int = 1,
    step_deg: float = 12.0,
    poses_deg: Sequence[tuple[float, float]] | None = None,
) -> SimulatedSet:
    """A suite of its own for every seed, and its views of the phantom."""
    gantry = FlexingGantry(sag_mm=sag_mm, seed=seed)
    laid = placed(phantom, seed=seed)
    pictures = []
    for number, (primary, secondary) in enumerate(poses_deg or grid_deg(step_deg)):
        told = told_of(gantry, primary, secondary)
        pictures.append(CalibrationPicture(told=told, pixels=partial(_taken, gantry, laid, told, seed * 1000 + number)))
    return SimulatedSet(gantry=gantry, laid=laid, pictures=tuple(pictures))


def told_of(gantry: FlexingGantry, primary_deg: float, secondary_deg: float) -> ToldView:
    """What the suite says of a pose: its angles and nominal distances, nothing of its sag."""
    return ToldView(
        name=f"P{primary_deg:+g}_S{secondary_deg:+g}",
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        detector_rotation_deg=0.0,
        source_to_detector_mm=gantry.source_to_detector_mm,
        source_to_isocenter_mm=gantry.source_to_isocenter_mm,
        pitch_mm=(gantry.pitch_mm, gantry.pitch_mm),
        rows=gantry.rows,
        columns=gantry.columns,
    )


def write_views(made: SimulatedSet, folder: Path) -> None:
    """Write pictures (16 bit PNG), view files and pose/equipment_from_phantom.json, as a site would have them."""
    folder.mkdir(parents=True, exist_ok=True)
    pose = folder / "pose"
    pose.mkdir(exist_ok=True)
    (pose / "equipment_from_phantom.json").write_text(
        json.dumps(made.equipment_from_phantom.tolist()) + "\n", encoding="utf-8"
    )
    for picture in made.pictures:
        told = picture.told
        _, png = cv2.imencode(".png", picture.pixels())
        (folder / f"{told.name}.png").write_bytes(png.tobytes())
        geometry = {
            "XRay.IsocenterPrimaryAngleDeg": told.primary_deg,
            "XRay.IsocenterSecondaryAngleDeg": told.secondary_deg,
            "XRay.SourceToDetectorMm": told.source_to_detector_mm,
            "XRay.SourceToIsocenterMm": told.source_to_isocenter_mm,
            "XRay.ImagerPixelSpacingMm": list(told.pitch_mm),
            "XRay.PixelIntensityRelationship": "LIN",
        }
        view = {"image": f"{told.name}.png", "name": told.name, "geometry": geometry}
        (folder / f"{told.name}.json").write_text(json.dumps(view, indent=1) + "\n", encoding="utf-8")


def _taken(gantry: FlexingGantry, laid: PlacedPhantom, told: ToldView, seed: int) -> Pixels:
    matrix = gantry.pixel_from_equipment(told.primary_deg, told.secondary_deg)
    return np.asarray(phantom_picture(laid, matrix, (gantry.rows, gantry.columns), seed=seed))
