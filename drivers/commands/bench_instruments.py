"""`guidance bench instruments`: needles, pins and wires found in simulated pictures, in one view and in two."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from drivers.commands.bench_report import percentile, report
from drivers.commands.charts import Reference, bars_chart, histogram_chart
from drivers.commands.instrument_scene import KINDS, Kind, Patient, gantry_at, patients, random_instrument
from drivers.commands.instrument_scoring import (
    Case,
    angle_deg,
    aside_mm,
    depth_error_mm,
    middle_of,
    seen_error_mm,
    should_be_seen,
)
from guidance.messages import F64
from guidance.tracking.find import find_instruments
from guidance.tracking.known_metal import NO_METAL, metal_mask
from guidance.tracking.place import instrument_3d
from guidance.tracking.values import InstrumentView
from simulators.scene import Exposure

AIM_TIP_MM: Final = 1.0
AIM_AXIS_DEG: Final = 1.5
AIM_MS: Final = 1.0
DOSES: Final = (30.0, 100.0, 300.0, 1000.0)  # detected photons per pixel and frame behind the patient
BENDS_MM: Final = (0.0, 0.0, 2.0, 4.0)  # half of the instruments are straight
# Prone: detector above the table. Inlet and outlet, obliques, and what an iliosacral pin is followed in.
POSES: Final = ((180.0, 25.0), (180.0, -25.0), (150.0, 0.0), (-150.0, 0.0), (160.0, 30.0), (-160.0, -30.0))
QUICK_POSES: Final = POSES[:3]
_CASES: Final = 240
_QUICK_CASES: Final = 35
_SEED: Final = 9
_ANGLES_DEG: Final = (0.0, 30.0, 45.0, 60.0, 90.0)


def run_instruments(*, quick: bool) -> dict[str, Any]:
    """Random instruments near the plans of two or three pelves, two views each; and the same pictures without them."""
    everyone = patients()
    poses = QUICK_POSES if quick else POSES
    rng = np.random.default_rng(_SEED)
    rows: list[dict[str, Any]] = []
    spent_ms: list[float] = []
    metal_ms: list[float] = []
    for number in range(_QUICK_CASES if quick else _CASES):
        rows.append(_outcome(_case(number, everyone, poses, rng), spent_ms, metal_ms))
    empty = [_empty(patient, pose, dose) for patient in everyone for pose in poses for dose in (DOSES[0], DOSES[2])]
    placed = [row for row in rows if row["tip_mm"] is not None]
    seen = [row for row in rows for _ in range(row["views_expected"])]
    tips, axes = [row["tip_mm"] for row in placed], [row["axis_deg"] for row in placed]
    one_view = [value for row in rows for value in row["projected_mm"]]
    depths = [value for row in rows for value in row["depth_one_view_mm"]]
    without = [one["found"] / one["paths"] for one in empty if not one["metal"]]
    with_metal = [one["found"] / one["paths"] for one in empty if one["metal"]]
    figures: dict[str, Any] = {
        "cases": len(rows),
        "tip_median_mm": percentile(tips, 50.0),
        "tip_p95_mm": percentile(tips, 95.0),
        "tip_worst_mm": max(tips, default=None),
        "axis_median_deg": percentile(axes, 50.0),
        "axis_p95_deg": percentile(axes, 95.0),
        "axis_worst_deg": max(axes, default=None),
        "placed_rate": len(placed) / max(len([row for row in rows if row["views_expected"] == 2]), 1),
        "wrong_placements": sum(row["tip_mm"] > AIM_TIP_MM or row["axis_deg"] > AIM_AXIS_DEG for row in placed),
        "tip_projected_one_view_median_mm": percentile(one_view, 50.0),
        "tip_projected_one_view_p95_mm": percentile(one_view, 95.0),
        "depth_on_path_one_view_median_mm": percentile(depths, 50.0),
        "depth_on_path_one_view_p95_mm": percentile(depths, 95.0),
        "detection_rate": sum(row["views_seen"] for row in rows) / max(len(seen), 1),
        "wrong_findings_beside_instruments": sum(row["views_wrong"] for row in rows),
        "false_per_path_and_picture": float(np.mean(without)) if without else None,
        "false_per_path_and_picture_with_metal": float(np.mean(with_metal)) if with_metal else None,
        "false_with_metal_not_told_apart": float(
            np.mean([one["found_blind"] / one["paths"] for one in empty if one["metal"]])
        ),
        "ms_per_path_with_instrument": percentile(spent_ms, 50.0),
        "ms_known_metal_per_picture": percentile(metal_ms, 50.0),
        "ms_per_path_without": percentile([one["ms_per_path"] for one in empty], 50.0),
        "sigma_calibration": percentile([row["tip_sigmas"] for row in placed if row["tip_sigmas"] is not None], 68.3),
    }
    return report(
        "instruments",
        settings={
            "aims": {"tip_p95_mm": AIM_TIP_MM, "axis_p95_deg": AIM_AXIS_DEG, "ms_per_path": AIM_MS},
            "patients": [patient.name for patient in everyone],
            "kinds": [kind.name for kind in KINDS],
            "doses_photons": DOSES,
            "bends_mm": sorted(set(BENDS_MM)),
            "poses_deg": poses,
            "off_path": "tip up to 5 mm and axis up to 5 deg off the plan",
            "picture": "1024 x 1024, 0.3 mm at the detector, 80 kVp, no scatter",
            "seed": _SEED,
            "time": "CPU time of one thread; per path all of finding but the shadow of known metal, once a picture",
        },
        figures=figures,
        series={
            "by_kind": _groups(rows, "kind"),
            "by_dose": _groups(rows, "dose_photons"),
            "by_bend": _groups(rows, "bend_mm"),
            "by_angle": _groups(rows, "angle_group"),
            "by_patient": _groups(rows, "patient"),
            "cases": rows,
            "empty": empty,
        },
    )


def charts_of(answer: dict[str, Any]) -> dict[str, str]:
    """Error histograms and what they depend on, as SVG by file stem."""
    series = answer["series"]
    tips = {name: [row["tip_mm"] for row in series["cases"] if row["patient"] == name] for name in _patients(answer)}
    axes = {name: [row["axis_deg"] for row in series["cases"] if row["patient"] == name] for name in _patients(answer)}
    charts = {
        "instruments-tip": histogram_chart(
            tips,
            title="Tip error from two views",
            x_words="mm",
            x_limits=(0.0, 1.2),
            references=(Reference(value=AIM_TIP_MM, words="aim"),),
        ),
        "instruments-axis": histogram_chart(
            axes,
            title="Axis error from two views",
            x_words="deg",
            x_limits=(0.0, 1.8),
            references=(Reference(value=AIM_AXIS_DEG, words="aim"),),
        ),
    }
    for key, words in (("by_kind", "instrument"), ("by_dose", "photons per pixel"), ("by_bend", "bend, mm")):
        groups = series[key]
        charts[f"instruments-{key.replace('_', '-')}"] = bars_chart(
            [str(group["group"]) for group in groups],
            {
                "median": [group["tip_median_mm"] for group in groups],
                "95th percentile": [group["tip_p95_mm"] for group in groups],
            },
            title=f"Tip error from two views by {words}",
            x_words="mm",
            references=(Reference(value=AIM_TIP_MM, words="aim"),),
        )
    return charts


def _patients(answer: dict[str, Any]) -> list[str]:
    return [str(name) for name in answer["settings"]["patients"]]


def _case(
    number: int, everyone: tuple[Patient, ...], poses: tuple[tuple[float, float], ...], rng: np.random.Generator
) -> Case:
    patient = everyone[number % len(everyone)]
    kind: Kind = KINDS[number % len(KINDS)]
    path = patient.paths[int(rng.integers(len(patient.paths)))]
    path = replace(path, diameter_mm=kind.diameter_mm)
    first, second = rng.choice(len(poses), 2, replace=False)
    return Case(
        patient=patient,
        path=path,
        placed=random_instrument(path, kind, BENDS_MM[int(rng.integers(len(BENDS_MM)))], rng),
        dose=DOSES[int(rng.integers(len(DOSES)))],
        poses=(poses[int(first)], poses[int(second)]),
        seed=1000 + number,
    )


def _outcome(case: Case, spent_ms: list[float], metal_ms: list[float]) -> dict[str, Any]:
    views: list[InstrumentView] = []
    tip = np.array(case.placed.tip_lps_mm)
    expected = wrong = 0
    projected: list[float] = []
    depths: list[float] = []
    for number, pose in enumerate(case.poses):
        gantry = gantry_at(*pose, middle_of(case.path))
        matrix = gantry.pixel_from_patient()
        picture = case.patient.picture(
            gantry, [case.placed], Exposure(dose_photons=case.dose), seed=2 * case.seed + number
        )
        metal_ms.append(_mask_ms(case.patient, matrix, picture.shape))
        started = time.thread_time()
        found = find_instruments(picture, matrix, [case.path], known_metal=case.patient.metal)
        spent_ms.append((time.thread_time() - started) * 1e3)
        expected += should_be_seen(case, matrix)
        for seen in found:
            error_mm = seen_error_mm(seen, case.placed, matrix)
            if error_mm is not None:
                projected.append(error_mm)
                depths += depth_error_mm(case, seen, matrix)
            wrong += aside_mm(seen, case.placed, matrix) > AIM_TIP_MM or (error_mm or 0.0) > 2.0 * AIM_TIP_MM
            views.append(InstrumentView(seen=seen, pixel_from_patient=matrix))
    result = instrument_3d(views) if len(views) == 2 else None
    tip_mm = axis_deg = sigmas = None
    if result is not None and result.accepted and result.tip_lps_mm is not None and result.axis is not None:
        tip_mm = float(np.linalg.norm(np.array(result.tip_lps_mm) - tip))
        axis_deg = math.degrees(math.acos(min(1.0, float(np.array(result.axis) @ np.array(case.placed.axis)))))
        covariance = result.tip_covariance_mm2
        if covariance is not None:
            off = np.array(result.tip_lps_mm) - tip
            sigmas = math.sqrt(max(float(off @ np.linalg.pinv(covariance) @ off) / 3.0, 0.0))
    angle = angle_deg(case.poses)
    return {
        "patient": case.patient.name,
        "path": case.path.label,
        "kind": case.placed.kind.name,
        "diameter_mm": case.placed.kind.diameter_mm,
        "dose_photons": case.dose,
        "bend_mm": case.placed.bend_mm,
        "poses_deg": case.poses,
        "angle_deg": round(angle, 1),
        "angle_group": next(
            f"{low:.0f} to {high:.0f} deg"
            for low, high in pairwise(_ANGLES_DEG)
            if low <= min(angle, 180.0 - angle) <= high
        ),
        "views_expected": expected,
        "views_seen": len(views),
        "views_wrong": wrong,
        "tip_mm": tip_mm,
        "axis_deg": axis_deg,
        "tip_sigmas": sigmas,
        "scores": [round(view.seen.score, 3) for view in views],
        "residual_mm": None if result is None else result.residual_mm,
        "refused": "" if result is None else result.code,
        "projected_mm": projected,
        "depth_one_view_mm": depths,
    }


def _mask_ms(patient: Patient, matrix: F64, size: tuple[int, ...]) -> float:
    """Of the shadow of known metal, that each picture of another pose needs once for all its paths."""
    started = time.thread_time()
    metal_mask(patient.metal, (), matrix, (size[0], size[1]))
    return (time.thread_time() - started) * 1e3


def _empty(patient: Patient, pose: tuple[float, float], dose: float) -> dict[str, Any]:
    """A picture without any instrument, every path of it looked for at three diameters."""
    gantry = gantry_at(*pose, middle_of(patient.paths[0]))
    matrix = gantry.pixel_from_patient()
    picture = patient.picture(gantry, [], Exposure(dose_photons=dose), seed=int(dose))
    paths = [
        replace(path, id=f"{path.id}_{diameter}", diameter_mm=diameter)
        for path in patient.paths
        for diameter in (1.6, 2.8, 7.3)
    ]
    found = blind = 0
    started = time.thread_time()
    for path in paths:  # one by one: three plans on one line would otherwise share one finding
        found += len(find_instruments(picture, matrix, [path], known_metal=patient.metal))
    spent = time.thread_time() - started
    metal = bool(len(patient.metal.points_lps_mm))
    if metal:
        for path in paths:
            blind += len(find_instruments(picture, matrix, [path], known_metal=NO_METAL))
    return {
        "patient": patient.name,
        "pose_deg": pose,
        "dose_photons": dose,
        "metal": metal,
        "paths": len(paths),
        "found": found,
        "found_blind": blind,
        "ms_per_path": spent * 1e3 / len(paths),
    }


def _groups(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    found = []
    for group in sorted({row[key] for row in rows}, key=lambda value: (isinstance(value, str), value)):
        own = [row for row in rows if row[key] == group]
        expected = sum(row["views_expected"] for row in own)
        entry: dict[str, Any] = {"group": group, "cases": len(own)}
        values: dict[str, Callable[[dict[str, Any]], Any]] = {
            "tip": lambda row: row["tip_mm"],
            "axis": lambda row: row["axis_deg"],
        }
        for name, value in values.items():
            known = [value(row) for row in own if value(row) is not None]
            unit = "mm" if name == "tip" else "deg"
            entry[f"{name}_median_{unit}"] = percentile(known, 50.0)
            entry[f"{name}_p95_{unit}"] = percentile(known, 95.0)
        entry["detection_rate"] = sum(row["views_seen"] for row in own) / expected if expected else None
        found.append(entry)
    return found
