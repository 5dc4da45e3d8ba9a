"""`guidance bench consistency`: what the check of every frame costs, finds, misses and wrongly raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from drivers.commands.bench_report import percentile, report
from drivers.commands.charts import Reference, Series, lines_chart
from drivers.commands.consistency_scenes import VIEWS, Patient, Shot, across, breathing, clean_streams, patients
from guidance.config import ConsistencySettings
from guidance.consistency import ConsistencyTrack, FrameMeasurer, observe
from guidance.consistency.displacement import displacement_of
from guidance.consistency.picture import SeenPicture, grid_of
from guidance.kernels.watch import bin_picture
from guidance.messages import F64, CheckState, ImageCheck
from guidance.registration.values import motion_vector, small_motion

_AIM_MS: Final = 3.0
_AIM_STILL_MS: Final = 1.5
_SIZES: Final = (512, 1024, 2048)
_TYPES: Final[dict[str, Callable[[npt.NDArray[np.uint16]], npt.NDArray[Any]]]] = {
    "u8": lambda picture: (picture >> 8).astype(np.uint8),
    "i8": lambda picture: ((picture >> 8).astype(np.int16) - 128).astype(np.int8),
    "i16": lambda picture: (picture >> 1).astype(np.int16),
    "u16": lambda picture: picture,
    "f32": lambda picture: picture.astype(np.float32),
}
_TRUE_MM: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
_SETTINGS: Final = ConsistencySettings()
_AROUND_MM: Final = 30.0 * np.vstack((np.zeros(3), np.eye(3), -np.eye(3)))
_NS: Final = 1_000_000_000


def run_consistency(*, quick: bool) -> dict[str, Any]:
    """Times are CPU of one thread. Errors are displacements across the ray, root mean square 30 mm around the pivot."""
    found, missing = patients()
    figures: dict[str, Any] = {}
    series: dict[str, Any] = {}
    figures |= _times(found[0], 15 if quick else 60)
    accuracy = [row for patient in found for row in _accuracy(patient, 1 if quick else 6)]
    errors = [row["error_mm"] for row in accuracy]
    figures |= {
        "error_median_mm": percentile(errors, 50.0),
        "error_p95_mm": percentile(errors, 95.0),
        "residual_bias_mm": float(np.mean([row["residual_mm"] - row["true_mm"] for row in accuracy])),
        "error_over_sigma_rms": float(np.sqrt(np.mean([row["sigmas"] ** 2 for row in accuracy]))),
        "similarity_least": min(row["similarity"] for row in accuracy),
    }
    series["accuracy"] = accuracy
    detection = _detection(found, 2 if quick else 12)
    series["detection"] = detection
    by_size = dict(zip(detection["true_mm"], zip(detection["marked"], detection["withheld"], strict=True), strict=True))
    figures |= {
        "marked_at_1_5_mm": by_size[1.5][0],
        "withheld_at_3_mm": by_size[3.0][1],
        "withheld_at_10_mm": by_size[10.0][1],
        "false_alarms_at_0_mm": by_size[0.0][0],
    }
    alarms = _false_alarms(found, 4 if quick else 12)
    series["clean_streams"] = alarms
    figures |= {
        "clean_frames": sum(row["frames"] for row in alarms.values()),
        "false_warnings": sum(row["warnings"] for row in alarms.values()),
        "false_contradictions": sum(row["contradictions"] for row in alarms.values()),
    }
    breaths = _breathing(found[0], 12.0 if quick else 24.0)
    series["breathing"] = breaths
    figures |= {
        "breathing_told_mm": breaths["told_mm"],
        "breathing_true_mm": breaths["true_peak_to_peak_mm"],
        "breathing_known_after_s": breaths["known_after_s"],
    }
    return report(
        "consistency",
        settings={
            "aim_turning_ms": _AIM_MS,
            "aim_still_ms": _AIM_STILL_MS,
            "warning_mm": _SETTINGS.warning_mm,
            "limit_mm": _SETTINGS.limit_mm,
            "patients": [patient.name for patient in found],
            "missing": missing,
            "views": len(VIEWS),
            "quick": quick,
        },
        figures=figures,
        series=series,
    )


def charts_of(answer: dict[str, Any]) -> dict[str, str]:
    """Detection by true motion, and the residual under breathing."""
    detection, breaths = answer["series"]["detection"], answer["series"]["breathing"]
    return {
        "consistency-detection": lines_chart(
            [
                Series(name="marked or withheld", x=detection["true_mm"], y=detection["marked"]),
                Series(name="withheld", x=detection["true_mm"], y=detection["withheld"]),
            ],
            title="A patient who has moved, in the first frame that shows it",
            x_words="true motion across the view, mm",
            y_words="share of pictures",
            y_limits=(0.0, 1.0),
            marks=True,
        ),
        "consistency-breathing": lines_chart(
            [
                Series(name="true", x=breaths["seconds"], y=breaths["true_mm"]),
                Series(name="this frame", x=breaths["seconds"], y=breaths["raw_mm"]),
                Series(name="smoothed", x=breaths["seconds"], y=breaths["smoothed_mm"]),
            ],
            title="Residual under breathing",
            x_words="s",
            y_words="mm at the isocentre",
            references=[
                Reference(answer["settings"]["warning_mm"], "warning"),
                Reference(answer["settings"]["limit_mm"], "limit"),
            ],
        ),
    }


def _times(patient: Patient, count: int) -> dict[str, Any]:
    gantry = patient.gantry(VIEWS[1], 512)
    small = patient.picture(gantry, 1)
    figures: dict[str, Any] = {}
    for size in _SIZES:
        times = size // 512
        picture = np.kron(small, np.ones((times, times), np.uint16))
        turning = [patient.gantry((VIEWS[1][0] + 0.2 * n, 0.2 * n), size).pixel_from_patient() for n in range(count)]
        measurer = FrameMeasurer(patient.watch)
        measurer.measure(picture, turning[0])
        figures[f"still_ms_{size}"] = _median_ms(partial(measurer.measure, picture, turning[0]), count)
        figures[f"turning_ms_{size}"] = _median_ms(partial(_next, measurer, picture, iter(turning)), count)
    picture = np.kron(small, np.ones((2, 2), np.uint16))
    told = patient.gantry(VIEWS[1], 1024).pixel_from_patient()
    for name, change in _TYPES.items():
        typed, measurer = change(picture), FrameMeasurer(patient.watch)
        measurer.measure(typed, told)
        figures[f"still_ms_1024_{name}"] = _median_ms(partial(measurer.measure, typed, told), count)
    elsewhere, measurer = np.ascontiguousarray(picture[::-1]), FrameMeasurer(patient.watch)
    began = time.thread_time()
    measurer.measure(elsewhere, told)
    figures["contradicting_first_ms_1024"] = (time.thread_time() - began) * 1e3
    figures["contradicting_ms_1024"] = _median_ms(lambda: measurer.measure(elsewhere, told), count)
    copy = np.empty_like(picture)
    grid = grid_of(picture.shape)
    passes_ms = _median_ms(lambda: np.copyto(copy, picture), count)
    bins_ms = _median_ms(lambda: bin_picture(picture, grid, logarithm=True, bright=True), count)
    layer_ms = _median_ms(lambda: SeenPicture(picture, logarithm=True, bright=True, collimator_px=None), count)
    return figures | {
        "bins_ms_1024": bins_ms,
        "layer_ms_1024": layer_ms,
        "memory_copy_ms_1024": passes_ms,
        "bins_over_memory_copy": bins_ms / passes_ms,
    }


def _next(measurer: FrameMeasurer, picture: npt.NDArray[np.uint16], poses: Iterator[F64]) -> None:
    measurer.measure(picture, next(poses))


def _median_ms(work: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(count):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return float(np.median(times)) * 1e3


def _accuracy(patient: Patient, count: int) -> list[dict[str, float]]:
    """Motions drawn at random, all six numbers, found in one frame."""
    rows = []
    rng = np.random.default_rng(17)
    for view in VIEWS:
        gantry = patient.gantry(view)
        told = np.ascontiguousarray(gantry.pixel_from_patient())
        for n in range(count):
            vector = np.concatenate((rng.uniform(-2.0, 2.0, 3), rng.uniform(-1.0, 1.0, 3)))
            truth = small_motion(vector, patient.pivot_lps_mm)
            measured = FrameMeasurer(patient.watch).measure(patient.picture(gantry, n, truth), told)
            points = patient.pivot_lps_mm + _AROUND_MM
            true = displacement_of(vector, np.zeros((6, 6)), told, patient.pivot_lps_mm, points)
            if measured.offset is None or measured.residual_mm is None or measured.sigma_mm is None:
                rows.append(
                    {"error_mm": true.mm, "true_mm": true.mm, "residual_mm": 0.0, "sigmas": 9.0, "similarity": 0.0}
                )
                continue
            found = small_motion(np.array(measured.offset), patient.pivot_lps_mm)
            left = motion_vector(found @ np.linalg.inv(truth), patient.pivot_lps_mm)
            error = displacement_of(left, np.zeros((6, 6)), told, patient.pivot_lps_mm, points)
            rows.append(
                {
                    "error_mm": error.mm,
                    "true_mm": true.mm,
                    "residual_mm": measured.residual_mm,
                    "sigmas": error.mm / (np.sqrt(2.0) * float(np.hypot(measured.sigma_mm, 0.15))),
                    "similarity": measured.similarity or 0.0,
                }
            )
    return rows


def _detection(found: list[Patient], count: int) -> dict[str, list[float]]:
    """Share of pictures that the first frame after a motion across the view marks, or withholds."""
    marked, withheld = [], []
    rng = np.random.default_rng(23)
    for size_mm in _TRUE_MM:
        states = []
        for patient in found:
            for n in range(count):
                gantry = patient.gantry(VIEWS[int(rng.integers(len(VIEWS)))])
                motion = across(gantry, float(rng.uniform(0.0, 360.0)), size_mm, patient.pivot_lps_mm)
                told = gantry.pixel_from_patient()
                shots = [
                    Shot(patient.picture(gantry, 7), told, 0.0),
                    Shot(patient.picture(gantry, n, motion), told, 0.1),
                ]
                states.append(_checks(patient, shots)[-1].state)
        marked.append(_share(states, {CheckState.WARNING, CheckState.CONTRADICTS}))
        withheld.append(_share(states, {CheckState.CONTRADICTS}))
    return {"true_mm": list(_TRUE_MM), "marked": marked, "withheld": withheld}


def _share(states: list[CheckState], of: set[CheckState]) -> float:
    return sum(state in of for state in states) / len(states)


def _checks(patient: Patient, shots: Iterable[Shot]) -> list[ImageCheck]:
    measurer, track, last, checks = FrameMeasurer(patient.watch), ConsistencyTrack(), None, []
    for shot in shots:
        moved = last is None or not np.array_equal(last, shot.told)
        measured = measurer.measure(shot.pixels, shot.told)
        received_ns = 10 * _NS + round(shot.seconds * _NS)
        track = observe(track, measured, received_ns=received_ns, moved=moved, settings=_SETTINGS)
        checks.append(track.check)
        last = shot.told
    return checks


def _false_alarms(found: list[Patient], frames: int) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    for patient in found:
        for name, shots in clean_streams(patient, frames):
            row = rows.setdefault(name, {"frames": 0, "warnings": 0, "contradictions": 0, "not_told": 0})
            for check in _checks(patient, shots):
                row["frames"] += 1
                row["warnings"] += check.state is CheckState.WARNING
                row["contradictions"] += check.state is CheckState.CONTRADICTS
                row["not_told"] += check.state is CheckState.CANNOT_TELL
    return rows


def _breathing(patient: Patient, seconds: float) -> dict[str, Any]:
    peak_to_peak_mm = 3.0
    shots = breathing(patient, peak_to_peak_mm, seconds)
    checks = _checks(patient, shots)
    known = [shot.seconds for shot, check in zip(shots, checks, strict=True) if check.breathing_mm is not None]
    return {
        "seconds": [shot.seconds for shot in shots],
        "true_mm": [shot.true_mm for shot in shots],
        "raw_mm": [check.raw_mm for check in checks],
        "smoothed_mm": [check.residual_mm for check in checks],
        "states": [check.state.value for check in checks],
        "true_peak_to_peak_mm": peak_to_peak_mm,
        "told_mm": checks[-1].breathing_mm,
        "known_after_s": known[0] if known else None,
    }
