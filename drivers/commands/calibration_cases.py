"""Cases for `guidance bench calibration`: suites with known truth, measured without pictures, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from drivers.commands.calibrate_simulated import told_of
from guidance.calibration.dlt import camera_of, projection_of
from guidance.calibration.phantom import Phantom
from guidance.calibration.picture import MeasuredView
from guidance.calibration.report import picture_slopes
from guidance.calibration.suite import SuiteCalibration
from guidance.calibration.view_camera import ViewCamera, fitted, shadows_of
from guidance.geometry.camera import decomposed, project
from guidance.geometry.rotations import turn_of
from guidance.messages import F64
from simulators.bead_phantom import PlacedPhantom
from simulators.flexing_gantry import FlexingGantry

CUBE_MM: Final = np.array([(x, y, z) for x in (-40.0, 40.0) for y in (-40.0, 40.0) for z in (-40.0, 40.0)])
_INSIDE_PX: Final = 12.0


def measured_without_picture(
    phantom: Phantom,
    gantry: FlexingGantry,
    laid: PlacedPhantom,
    poses_deg: Sequence[tuple[float, float]],
    *,
    noise_px: float,
    rng: np.random.Generator,
) -> list[MeasuredView]:
    """Views as the detection of a picture would give them: shadows of the true beads with noise, some beads unseen."""
    views = []
    radii = phantom.diameters_mm / 2.0
    for primary, secondary in poses_deg:
        told = told_of(gantry, primary, secondary)
        matrix = gantry.pixel_from_equipment(primary, secondary) @ laid.equipment_from_phantom
        places = shadows_of(_camera_of(matrix), laid.points_mm, radii)
        inside = (places > _INSIDE_PX) & (places < (gantry.columns - _INSIDE_PX, gantry.rows - _INSIDE_PX))
        beads = np.flatnonzero(inside[:, 0] & inside[:, 1] & (rng.random(len(places)) > 0.08))
        places = places[beads] + rng.normal(0.0, noise_px, (len(beads), 2))
        start = camera_of(projection_of(phantom.points_mm[beads], places), 1.0)
        spread = np.full(len(beads), 0.1)
        camera, _ = fitted(start, phantom.points_mm[beads], radii[beads], places, spread)
        views.append(
            MeasuredView(
                told=told,
                camera=camera,
                beads=beads,
                places_px=places,
                sigma_px=np.full(len(beads), noise_px),
                named=len(beads),
                expected=len(beads),
                false_shadows=0,
                touching=0,
            )
        )
    return views


def nine_between(truth: F64, found: F64) -> F64:
    """(9,): how far `truth` lies from `found`, in the numbers of `CalibratedView.covariance`."""
    true, ours = decomposed(truth), decomposed(found)
    turn = ours.axes.T @ true.axes
    shift = ours.axes.T @ (true.translation_mm - ours.translation_mm)
    return np.concatenate(
        (
            shift,
            np.degrees(turn_of(turn)),
            np.subtract(true.principal_point_px, ours.principal_point_px),
            [true.focal_v_px / ours.focal_v_px - 1.0],
        )
    )


def at_pose(
    done: SuiteCalibration, gantry: FlexingGantry, primary_deg: float, secondary_deg: float, approach: int
) -> tuple[F64, F64]:
    """Errors of a cube's corners on another approach of a pose: mm at the isocentre, squares over variance; (8,)."""
    matrix = done.table.pixel_from_equipment(
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        detector_rotation_deg=0.0,
        source_to_detector_mm=gantry.source_to_detector_mm,
        rows=gantry.rows,
        columns=gantry.columns,
    )
    truth = gantry.pixel_from_equipment(primary_deg, secondary_deg, approach=approach)
    off = (project(CUBE_MM, matrix) - project(CUBE_MM, truth))[:, :2]
    covariance = done.table.covariance_at(
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        detector_rotation_deg=0.0,
        source_to_detector_mm=gantry.source_to_detector_mm,
    )
    assert covariance is not None
    slopes = picture_slopes(matrix, CUBE_MM)
    spread = slopes @ covariance @ slopes.transpose(0, 2, 1)
    parts = decomposed(matrix)
    to_mm = float(parts.translation_mm[2]) / parts.focal_v_px
    return np.linalg.norm(off, axis=1) * to_mm, np.einsum("ni,nij,nj->n", off, np.linalg.inv(spread), off)


def _camera_of(matrix: F64) -> ViewCamera:
    return camera_of(matrix / float(np.linalg.norm(matrix[2, :3])), 1.0)
