"""`guidance bench calibration`: a phantom's pictures to a table, against the simulator's truth and OpenCV."""

from __future__ import annotations

import time
from typing import Any, Final

import cv2
import numpy as np
from scipy import stats

from drivers.commands.bench_report import report
from drivers.commands.calibrate_simulated import grid_deg, simulated_set
from drivers.commands.calibration_cases import CUBE_MM, at_pose, measured_without_picture, nine_between
from drivers.commands.charts import Reference, Series, histogram_chart, lines_chart
from guidance.calibration.frame import likely_cameras
from guidance.calibration.held_out import held_out_view, missed
from guidance.calibration.phantom import Phantom, built_in_phantom
from guidance.calibration.picture import LeftOut, MeasuredView, measured_view
from guidance.calibration.report import calibration_answer
from guidance.calibration.suite import SuiteCalibration, calibrated_suite
from guidance.geometry.camera import project
from guidance.messages import F64
from simulators.bead_phantom import placed
from simulators.flexing_gantry import FlexingGantry

_SAGS_MM: Final = (0.5, 1.0, 2.0)
_RIPPLES_MM: Final = (0.0, 0.1)  # what no low order of the angles has, in every other suite
_AIMS: Final = {
    "inside_95_of_views": "0.93 to 0.97",
    "inside_95_between_views": "0.93 or more",
    "held_out_interpolated_rms_mm": 0.2,
    "reprojection_rms_px": 0.1,
}
_NOISE_PX: Final = 0.013  # what detection reaches on the pictures of this benchmark


def run_calibration(quick: bool) -> dict[str, Any]:
    """Two parts: pictures of one suite (detection to held-out views); many suites without pictures (covariance)."""
    phantom = built_in_phantom()
    figures, series = _with_pictures(phantom, 24.0 if quick else 12.0)
    more, curves = _over_seeds(phantom, 6 if quick else 30)
    return report(
        "calibration",
        settings={
            "quick": quick,
            "aims": _AIMS,
            "phantom": phantom.name,
            "peer": f"cv2.calibrateCamera {cv2.__version__}, one view at a time, the same correspondences",
            "sag_mm": list(_SAGS_MM),
            "ripple_mm": list(_RIPPLES_MM),
            "seeds": 6 if quick else 30,
        },
        figures=figures | more,
        series=series | curves,
    )


def charts_of(answer: dict[str, Any]) -> dict[str, str]:
    """Held-out errors by method; whether 95 % hold 95 %; where the isocentre really projects."""
    series = answer["series"]
    held = {
        "classic XA": series["held_out_classic_xa_mm"],
        "nearest view, turned": series["held_out_nearest_view_mm"],
        "interpolated": series["held_out_interpolated_mm"],
    }
    told = series["told_probability"]
    return {
        "calibration-held-out": histogram_chart(
            held, title="Beads of views that nothing was fitted to", x_words="error at the isocentre, mm", bins=40
        ),
        "calibration-covariance": lines_chart(
            [
                Series(name="calibrated views", x=told, y=series["found_of_views"]),
                Series(name="between views", x=told, y=series["found_between_views"]),
                Series(name="as told", x=told, y=told),
            ],
            title="How many true errors lie inside the told probability",
            x_words="told",
            y_words="found",
            x_limits=(0.0, 1.0),
            y_limits=(0.0, 1.0),
            references=(Reference(axis="x", value=0.95, words="95 %"),),
        ),
        "calibration-classic-xa": lines_chart(
            [
                Series(name=f"secondary {secondary:g} deg", x=line["primary_deg"], y=line["off_mm"])
                for secondary, line in ((float(key), line) for key, line in series["isocenter_off_middle"].items())
            ],
            title="Where classic XA puts the isocentre, and where it is",
            x_words="primary angle, deg",
            y_words="off, mm at the isocentre",
            marks=True,
        ),
    }


def _with_pictures(phantom: Phantom, step_deg: float) -> tuple[dict[str, Any], dict[str, Any]]:
    made = simulated_set(phantom, step_deg=step_deg)
    started = time.process_time()
    render_s = 0.0
    views: list[MeasuredView | LeftOut] = []
    for picture in made.pictures:
        before = time.process_time()
        pixels = picture.pixels()
        render_s += time.process_time() - before
        good = [(view.told, view.camera) for view in views if isinstance(view, MeasuredView)]
        views.append(measured_view(phantom, picture.told, pixels, poses=likely_cameras(picture.told, good[:1])))
    detect_s = time.process_time() - started - render_s
    measured = [view for view in views if isinstance(view, MeasuredView)]
    names = [view.told.name for view in measured]
    hold = names[2::4]
    started = time.process_time()
    done = calibrated_suite(phantom, views, hold_out=hold, equipment_from_phantom=made.equipment_from_phantom)
    adjust_s = time.process_time() - started
    answer = calibration_answer(phantom, done)
    points = done.bundle.points_mm @ made.equipment_from_phantom[:3, :3].T + made.equipment_from_phantom[:3, 3]
    errors: dict[str, list[F64]] = {"interpolated": [], "nearest_view": [], "classic_xa": []}
    for view in done.held:
        for method, by_bead in held_out_view(view, done.table, points, phantom.diameters_mm / 2.0)[1].items():
            errors[method].append(by_bead)
    figures: dict[str, Any] = {
        "views": len(done.used),
        "views_held_out": len(done.held),
        "views_left_out": len(done.left_out),
        "reprojection_rms_px": answer.rms_px,
        "detection_sigma_px": answer.sigma_px,
        "worst_bead_px": answer.worst_bead.residual_px,
        "classic_xa_isocenter_off_rms_mm": answer.classic_xa_off_mm[0],
        "classic_xa_isocenter_off_worst_mm": answer.classic_xa_off_mm[1],
        "detect_and_label_cpu_ms_per_view": 1e3 * detect_s / len(made.pictures),
        "adjust_cpu_ms": 1e3 * adjust_s,
    }
    for method, values in errors.items():
        found = missed(values)
        figures[f"held_out_{method}_rms_mm"] = None if found is None else found.rms_mm
        figures[f"held_out_{method}_worst_mm"] = None if found is None else found.worst_mm
        figures[f"held_out_{method}_rms_px"] = None if found is None else found.rms_px
    figures |= _beside_opencv(phantom, done, made.gantry)
    off: dict[str, dict[str, list[float]]] = {}
    for one in sorted(answer.views, key=lambda one: one.primary_deg):
        line = off.setdefault(f"{one.secondary_deg:g}", {"primary_deg": [], "off_mm": []})
        line["primary_deg"].append(one.primary_deg)
        line["off_mm"].append(one.isocenter_off_middle_mm)
    series: dict[str, Any] = {
        f"held_out_{method}_mm": [round(float(value), 4) for part in values for value in part[:, 1]]
        for method, values in errors.items()
    }
    return figures, series | {"isocenter_off_middle": off}


def _beside_opencv(phantom: Phantom, done: SuiteCalibration, gantry: FlexingGantry) -> dict[str, float | None]:
    """The same correspondences given to OpenCV, view by view: points off the truth, and time."""
    pose = done.pose.equipment_from_phantom
    off: dict[str, list[float]] = {"peer": [], "alone": [], "bundle": []}
    residual, peer_s = [], 0.0
    for view, bundled in zip(done.used, done.bundle.cameras, strict=True):
        truth = project(CUBE_MM, gantry.pixel_from_equipment(view.told.primary_deg, view.told.secondary_deg))
        started = time.process_time()
        rms, matrix = opencv_camera(view, phantom)
        peer_s += time.process_time() - started
        residual.append(rms)
        from_equipment = np.linalg.inv(pose)
        to_mm = gantry.source_to_isocenter_mm / view.camera.focal_px[1]
        for name, one in (("peer", matrix), ("alone", view.camera.matrix), ("bundle", bundled.matrix)):
            seen = project(CUBE_MM, one @ from_equipment)
            off[name].append(float(np.sqrt(np.mean(np.sum((seen - truth)[:, :2] ** 2, axis=1)))) * to_mm)
    return {
        "points_rms_mm_opencv": _rms(off["peer"]),
        "points_rms_mm_view_alone": _rms(off["alone"]),
        "points_rms_mm_bundle": _rms(off["bundle"]),
        "opencv_reprojection_rms_px": _rms(residual),
        "opencv_cpu_ms_per_view": 1e3 * peer_s / len(done.used),
    }


def opencv_camera(view: MeasuredView, phantom: Phantom) -> tuple[float, F64]:
    """OpenCV's camera for one view's correspondences: rms per coordinate in px, and the matrix.

    OpenCV wants a proper rotation, so the picture goes in mirrored left to right.
    """
    rows, columns = view.told.cropped_size
    mirrored = view.places_px * (-1.0, 1.0) + (columns - 1.0, 0.0)
    start = np.array(
        ((view.told.focal_px[0], 0.0, (columns - 1) / 2.0), (0.0, view.told.focal_px[1], (rows - 1) / 2.0), (0, 0, 1))
    )
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_ZERO_TANGENT_DIST
    flags |= cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    rms, intrinsics, _, turns, shifts = cv2.calibrateCamera(
        [phantom.points_mm[view.beads].astype(np.float32)],
        [mirrored.astype(np.float32).reshape(-1, 1, 2)],
        (columns, rows),
        start,
        np.zeros(5),
        flags=flags,
    )
    rotation = cv2.Rodrigues(turns[0])[0]
    flip = np.array(((-1.0, 0.0, columns - 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    matrix = flip @ intrinsics @ np.column_stack((rotation, np.ravel(shifts[0])))
    return float(rms) / np.sqrt(2.0), np.asarray(matrix, np.float64)


def _over_seeds(phantom: Phantom, seeds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Suites of different sag, wobble and beads: errors of K, R, t, and how many true errors the covariances hold."""
    nine, of_views, between, off_mm = [], [], [], []
    grid = grid_deg(12.0, 48.0, 24.0)
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 0xCA1])
        ripple_mm = _RIPPLES_MM[seed % len(_RIPPLES_MM)]
        gantry = FlexingGantry(sag_mm=_SAGS_MM[seed % len(_SAGS_MM)], ripple_mm=ripple_mm, seed=100 + seed)
        laid = placed(phantom, seed=seed)
        views = measured_without_picture(phantom, gantry, laid, grid, noise_px=_NOISE_PX, rng=rng)
        done = calibrated_suite(phantom, views, equipment_from_phantom=laid.equipment_from_phantom)
        for view in done.table.views:
            assert view.covariance is not None
            truth = gantry.pixel_from_equipment(view.primary_deg, view.secondary_deg)
            error = nine_between(truth, view.pixel_from_equipment)
            nine.append(error)
            of_views.append(float(error @ np.linalg.solve(view.covariance, error)))
        for _ in range(20):
            primary, secondary = float(rng.uniform(-48.0, 48.0)), float(rng.uniform(-24.0, 24.0))
            millimetres, squares = at_pose(done, gantry, primary, secondary, approach=7)
            off_mm += millimetres.tolist()
            between += squares.tolist()
    errors = np.array(nine)
    told = np.linspace(0.0, 1.0, 21)
    in_views, in_between = stats.chi2.cdf(of_views, 9), stats.chi2.cdf(between, 2)
    figures = {
        "focal_error_rms_percent": 100.0 * _rms(errors[:, 8].tolist()),
        "principal_point_error_rms_px": _rms(np.linalg.norm(errors[:, 6:8], axis=1).tolist()),
        "rotation_error_rms_deg": _rms(np.linalg.norm(errors[:, 3:6], axis=1).tolist()),
        "translation_error_rms_mm": _rms(np.linalg.norm(errors[:, :3], axis=1).tolist()),
        "inside_95_of_views": float(np.mean(in_views <= 0.95)),
        "inside_95_between_views": float(np.mean(in_between <= 0.95)),
        "between_views_rms_mm": _rms(off_mm),
        "between_views_worst_mm": max(off_mm),
    }
    series = {
        "told_probability": [round(float(value), 3) for value in told],
        "found_of_views": [round(float(np.mean(in_views <= value)), 4) for value in told],
        "found_between_views": [round(float(np.mean(in_between <= value)), 4) for value in told],
    }
    return figures, series


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
