"""3D/3D registration on simulated second scans with metal, other fields of view and other modalities; known motions."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from drivers.commands.bench_report import percentile
from drivers.commands.demo_volume import FetchError, Progress, find_or_fetch_pelvis
from guidance.messages import F64
from guidance.registration.values import IDENTITY, motion_vector, small_motion
from guidance.registration.volumes import VolumeRegistration, register_volumes
from guidance.wire.volume_files import read_nifti
from simulators.pelvis import ProceduralPelvis
from simulators.rescan import Modality, Rod, rescan
from simulators.volumes import HuVolume, load_nifti

AIM_MM: Final = 0.3
AIM_S: Final = 5.0
_SHIFT_MM: Final = 15.0
_TURN_DEG: Final = 12.0
_TARGETS: Final = 30
_SACRUM: Final = 25  # TotalSegmentator's label
_TARGETS_WITHIN_MM: Final = 40.0
_RODS: Final = (
    Rod(start_lps_mm=(-40, 0, -5), end_lps_mm=(45, 5, -10), radius_mm=3.65),
    Rod(start_lps_mm=(-30, -20, -30), end_lps_mm=(35, -15, -28), radius_mm=1.5),
)

_CBCT: Final = Modality(spacing_mm=(0.8, 0.8, 0.8), size=(190, 190, 160), is_cylinder=True)
_POOR: Final = replace(
    _CBCT, grid_turn_deg=3.0, blur_mm=0.6, scale=0.85, offset_hu=60.0, cupping_hu=-120.0, noise_hu=70.0
)
_CT: Final = Modality(spacing_mm=(0.9, 0.9, 2.0), size=(320, 250, 110), grid_turn_deg=8.0, blur_mm=0.8, noise_hu=15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Two scans of one patient.

    Attributes:
        fixed, moving: how they are scanned.
        fixed_rods, moving_rods: whether metal is in the patient then.
        shared: the frame of reference is said to be the same, so the search begins there.
        quick: also in the quick run.
    """

    name: str
    fixed: Modality = _CBCT
    moving: Modality = _CBCT
    fixed_rods: bool = False
    moving_rods: bool = False
    shared: bool = True
    quick: bool = False


CASES: Final = (
    Case(name="second CBCT"),
    Case(name="noise, shading, other HU", moving=_POOR, quick=True),
    Case(name="screws in the second", moving=replace(_POOR, streak_hu=250.0), moving_rods=True, quick=True),
    Case(name="screws in the first", fixed=replace(_CBCT, streak_hu=250.0), fixed_rods=True, moving=_POOR),
    Case(name="small field of view", moving=replace(_POOR, size=(120, 120, 100))),
    Case(name="CT on CBCT", moving=_CT, quick=True),
    Case(name="CBCT on CT, screws", fixed=_CT, moving=replace(_POOR, streak_hu=250.0), moving_rods=True),
    Case(name="no shared frame, screws", moving=replace(_POOR, streak_hu=250.0), moving_rods=True, shared=False),
)


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """True HU, and about which point scans are made."""

    name: str
    volume: HuVolume
    center_lps_mm: F64


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of one case; errors are distances at targets within 40 mm of the field's middle."""

    registration: VolumeRegistration
    start_mm: float
    error_mm: float
    worst_mm: float
    wall_s: float
    cpu_s: float
    chi_squared: float


def volume_figures(quick: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and series for `guidance bench registration`.

    Args:
        quick: one motion of each case on one patient, else six on two.
    """
    every: list[Outcome] = []
    rows = []
    edge = 256 if quick else 512
    for patient in _patients(quick):
        for case in CASES:
            if case.quick or not quick:
                found = [run_case(patient, case, seed) for seed in range(1 if quick else 6)]
                every += found
                rows.append(_row(patient.name, case.name, found))
    used = [one for one in every if one.registration.accepted]
    errors = [one.error_mm for one in used]
    figures = {
        "volume_error_mm": percentile(errors, 50.0),
        "volume_error_p95_mm": percentile(errors, 95.0),
        "volume_error_worst_mm": max((one.worst_mm for one in used), default=None),
        "volume_success_rate": sum(one.error_mm <= AIM_MM for one in used) / len(every),
        "volume_wrongly_accepted": sum(one.error_mm > 1.0 for one in used),
        "volume_time_s": percentile([one.wall_s for one in every], 50.0),
        "volume_cpu_s": percentile([one.cpu_s for one in every], 50.0),
        f"volume_time_{edge}_s": _large_time_s(edge),
        "volume_chi_squared_per_freedom": percentile([one.chi_squared / 6.0 for one in used], 50.0),
    }
    return figures, {"volumes": rows}


def run_case(patient: Patient, case: Case, seed: int) -> Outcome:
    """Scan twice, register, compare with what is known."""
    random = np.random.default_rng(seed)
    center = patient.center_lps_mm + random.uniform(-12.0, 12.0, 3)
    moved = _motion(random, center)
    targets = center + random.uniform(-_TARGETS_WITHIN_MM, _TARGETS_WITHIN_MM, (_TARGETS, 3))
    rods = tuple(_carried(rod, patient.center_lps_mm) for rod in _RODS)
    fixed = rescan(
        patient.volume,
        case.fixed,
        scan_from_patient=IDENTITY,
        center_lps_mm=center,
        rods=rods if case.fixed_rods else (),
        seed=2 * seed,
    )
    moving = rescan(
        patient.volume,
        case.moving,
        scan_from_patient=moved,
        center_lps_mm=center + random.uniform(-15.0, 15.0, 3),
        rods=rods if case.moving_rods else (),
        seed=2 * seed + 1,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    found = register_volumes(
        fixed.voxels_hu,
        fixed.affine_lps_from_ijk,
        moving.voxels_hu,
        moving.affine_lps_from_ijk,
        start=IDENTITY if case.shared else None,
        threads=2,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    back = found.fixed_lps_from_moving_lps @ moved
    apart = np.linalg.norm(targets @ back[:3, :3].T + back[:3, 3] - targets, axis=1)
    before = np.linalg.norm(targets @ moved[:3, :3].T + moved[:3, 3] - targets, axis=1)
    estimate = found.estimate
    off = motion_vector(np.asarray(np.linalg.inv(back), np.float64), estimate.pivot_lps_mm)
    known = bool(np.isfinite(estimate.covariance).all())
    return Outcome(
        registration=found,
        start_mm=float(before.mean()),
        error_mm=float(apart.mean()),
        worst_mm=float(apart.max()),
        wall_s=wall,
        cpu_s=cpu,
        chi_squared=float(off @ np.linalg.solve(estimate.covariance, off)) if known else float("nan"),
    )


def _patients(quick: bool) -> list[Patient]:
    procedural = Patient(
        "procedural pelvis", ProceduralPelvis().volume(2.0 if quick else 1.0), np.array((0.0, -5, -10))
    )
    if quick:
        return [procedural]
    real = _real_pelvis()
    return [procedural] if real is None else [procedural, real]


def _real_pelvis() -> Patient | None:
    """The demonstration's CT where this machine has it; nothing is fetched for a benchmark."""

    def nothing(folder: Path, tell: Progress) -> Path:
        raise FetchError("not asked for")

    path = find_or_fetch_pelvis(download=nothing).path
    if path is None:
        return None
    labels = read_nifti((path.parent / "labels.nii.gz").read_bytes(), origin="labels")
    affine = labels.affine_lps_from_ijk
    sacrum = np.argwhere(np.asarray(labels.values) == _SACRUM).mean(axis=0)
    return Patient("real CT, 3 mm", load_nifti(path), affine[:3, :3] @ sacrum + affine[:3, 3])


def _motion(random: np.random.Generator, pivot_lps_mm: F64) -> F64:
    directions = random.normal(size=(2, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    size = random.uniform(0.3, 1.0, 2) * (_SHIFT_MM, _TURN_DEG)
    return small_motion(np.concatenate(directions * size[:, None]), pivot_lps_mm)


def _carried(rod: Rod, by_mm: F64) -> Rod:
    x, y, z = by_mm.tolist()

    def moved(point: tuple[float, float, float]) -> tuple[float, float, float]:
        return point[0] + x, point[1] + y, point[2] + z

    return replace(rod, start_lps_mm=moved(rod.start_lps_mm), end_lps_mm=moved(rod.end_lps_mm))


def _row(patient: str, case: str, found: list[Outcome]) -> dict[str, Any]:
    used = [one for one in found if one.registration.accepted]
    return {
        "patient": patient,
        "case": case,
        "cases": len(found),
        "accepted": len(used),
        "codes": sorted({one.registration.code for one in found if one.registration.code}),
        "start_mm": round(float(np.mean([one.start_mm for one in found])), 2),
        "error_median_mm": _rounded(percentile([one.error_mm for one in used], 50.0)),
        "error_worst_mm": _rounded(max((one.worst_mm for one in used), default=None)),
        "residual_mm": _rounded(
            percentile([mm for one in used if (mm := one.registration.residual_mm) is not None], 50.0)
        ),
        "cpu_s": _rounded(percentile([one.cpu_s for one in found], 50.0)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _large_time_s(edge: int) -> float:
    """Wall time of two volumes of `edge`^3; the anatomy in them is coarser than their voxels, the work is not."""
    factor = edge // 128
    small = ProceduralPelvis().volume(1.6, center_lps_mm=(0.0, -5.0, -10.0), size_mm=(204.8, 204.8, 204.8))
    voxels = small.voxels_hu.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
    affine = small.affine_lps_from_ijk @ np.diag((1.0 / factor, 1.0 / factor, 1.0 / factor, 1.0))
    moved = small_motion(np.array((4.0, -3.0, 5.0, 3.0, -2.0, 4.0)), small.center_lps_mm) @ affine
    started = time.perf_counter()
    register_volumes(voxels, affine, voxels, moved, start=IDENTITY, threads=2)
    return time.perf_counter() - started
