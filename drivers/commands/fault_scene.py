"""What the failure drill works on: a patient, the CBCT as it comes out of DICOM objects, a case with paths."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from drivers.commands.demo_volume import find_or_fetch_pelvis
from guidance.case import Case, create_path, volume_changed
from guidance.consistency import WatchVolume, watch_volume
from guidance.errors import WireError
from guidance.geometry.volume_resample import fill
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64, CbctVolume, Finding, Severity, Vector3, VolumeState
from guidance.tracking.known_metal import KnownMetal, known_metal_of
from guidance.wire.dicom_instance import parse, read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_series import Series, conclude, with_instance, with_problem
from simulators.carm_stream import render
from simulators.cbct import cbct_volume
from simulators.cbct_objects import CbctRun, cbct_objects
from simulators.demo_paths import demo_paths
from simulators.gantry import Gantry
from simulators.pelvis import ProceduralPelvis
from simulators.scene import Exposed, Exposure, Scene
from simulators.volumes import I16, HuVolume, load_nifti

CBCT_SPACING_MM: Final = (
    2.0  # the drill asks whether a lie is noticed; half of the suite's resolution is the harder test
)
_PICTURES_KEPT: Final = 500  # 0.8 MB each
_PROCEDURAL_SPACING_MM: Final = 2.0
_REAL_SACRUM_LPS_MM: Final[Vector3] = (0.0, -104.0, 215.0)
_LESIONS: Final = (((38.0, 6.0, -8.0), 14.0, 50), ((78.0, 10.0, -30.0), 16.0, 50), ((-62.0, 14.0, -22.0), 9.0, 900))
_OTHER_FIELD_MM: Final = (220.0, 220.0, 170.0)

Objects = Callable[[Sequence[Dataset]], Iterable[Dataset]]
"""What of a run's objects is sent."""


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Who lies on the table.

    Attributes:
        volume: all of the patient.
        scene: what is exposed.
        paths: bodies of POST /api/v1/paths.
        middle_lps_mm: of the paths; the isocentre.
        name: for people.
    """

    volume: HuVolume
    scene: Scene
    paths: tuple[dict[str, Any], ...]
    middle_lps_mm: Vector3
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A CBCT as the server has it.

    Attributes:
        volume: the message of the assembler's rules, ready or refused.
        watch: what frames are held against, and its metal; None where it is refused.
    """

    volume: CbctVolume
    watch: tuple[WatchVolume, KnownMetal] | None


def patient_of(volume: HuVolume, paths: Sequence[dict[str, Any]], name: str) -> Patient:
    """A patient with paths."""
    ends = np.array([path[key] for path in paths for key in ("entry_lps_mm", "target_lps_mm")], float)
    x, y, z = ends.mean(axis=0).tolist()
    scene = Scene(ProjectionVolume(volume.voxels_hu, volume.affine_lps_from_ijk))
    return Patient(volume, scene, tuple(paths), (x, y, z), name)


@lru_cache(maxsize=1)
def real_patient() -> Patient | None:
    """The demonstration's CT; None where it cannot be had without fetching it."""
    found = find_or_fetch_pelvis(download=_no_download)
    return None if found.path is None else patient_of(load_nifti(found.path), demo_paths("real"), "real pelvis CT")


@lru_cache(maxsize=2)
def procedural_patient(spacing_mm: float = _PROCEDURAL_SPACING_MM) -> Patient:
    """The procedural pelvis with what this product's patients have: bone destroyed on one side, dense on the other.

    Without it both sides are the same to the last voxel, and a flipped picture would be as good as a right one.
    """
    volume = ProceduralPelvis().volume(spacing_mm)
    voxels = volume.voxels_hu.copy()
    for middle_lps_mm, radius_mm, hu in _LESIONS:
        _put_ball(voxels, volume.affine_lps_from_ijk, np.asarray(middle_lps_mm), radius_mm, hu)
    return patient_of(replace(volume, voxels_hu=voxels), demo_paths("procedural"), "procedural pelvis with lesions")


@lru_cache(maxsize=2)
def other_patients_volume(of_real: bool) -> HuVolume:
    """A CBCT-sized pelvis of somebody else, its sacrum where the patient's own is."""
    origin = _REAL_SACRUM_LPS_MM if of_real else (0.0, 0.0, 0.0)
    real = real_patient()
    if of_real or real is None:
        pelvis = ProceduralPelvis(origin_lps_mm=origin)
        return pelvis.volume(CBCT_SPACING_MM, center_lps_mm=origin, size_mm=_OTHER_FIELD_MM)
    shifted = real.volume.affine_lps_from_ijk.copy()
    shifted[:3, 3] -= _REAL_SACRUM_LPS_MM
    moved = replace(real.volume, affine_lps_from_ijk=shifted)
    return cbct_volume(moved, spacing_mm=CBCT_SPACING_MM, center_lps_mm=np.zeros(3))


def own_cbct(patient: Patient) -> HuVolume:
    """The patient's CBCT: a cut-out about the isocentre."""
    return cbct_volume(patient.volume, spacing_mm=CBCT_SPACING_MM, center_lps_mm=np.asarray(patient.middle_lps_mm))


def received(volume: HuVolume, run: CbctRun, sent: Objects = lambda objects: objects) -> Received:
    """What the server makes of a run: every object written, parsed, decoded and put together by the product's rules.

    Args:
        sent: which of the objects arrive, and how.
    """
    series: Series | None = None
    pixels: dict[tuple[str, int], Any] = {}
    for number, dataset in enumerate(sent(list(cbct_objects(volume, run)))):
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        parsed = parse(file.getvalue())
        instance = read_instance(parsed, name=f"{dataset.SOPInstanceUID}.{number}")
        series = with_instance(series, instance, 0.0)
        try:
            decoded = list(decode_slices(parsed, instance))
        except WireError as error:
            problem = Finding(code=error.code, severity=Severity.ERROR, message=str(error))
            series = with_problem(series, instance.name, problem)
            continue
        pixels |= {one.key: values for one, values in decoded}
        whole = replace(instance, slices=tuple(one for one, _ in decoded))
        series = replace(series, instances={**series.instances, instance.name: whole})
    assert series is not None
    conclusion = conclude(series)[0]
    if conclusion.grid is None:
        return Received(conclusion.volume, None)
    voxels = np.empty(conclusion.grid.shape_kji, np.int16)
    fill(conclusion.grid, pixels.__getitem__, voxels)
    affine = np.asarray(conclusion.grid.affine_lps_from_ijk)
    watch = watch_volume(voxels, affine), known_metal_of(voxels, affine)
    return Received(replace(conclusion.volume, shared_memory="drill"), watch)


def case_with(cbct: Received, paths: Sequence[dict[str, Any]]) -> Case:
    """A case that has taken the volume in, by its own rules, with the paths planned in it."""
    case = volume_changed(Case(), cbct.volume)
    assert (case.active is not None) is (cbct.volume.state is VolumeState.READY)
    for path in paths:
        case, _ = create_path(case, path)
    return case


class Pictures:
    """Noise-free pictures by patient and place; rendering one takes longer than all that the drill does with it.

    Any number of threads may ask; the oldest of more than `_PICTURES_KEPT` are forgotten.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, Gantry, Exposure], Exposed] = {}
        self._lock = threading.Lock()

    def exposed(self, patient: Patient, gantry: Gantry, exposure: Exposure) -> Exposed:
        """The picture, rendered once."""
        key = (id(patient), gantry, exposure)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None:
            return kept
        picture = render(patient.scene, gantry, exposure)
        with self._lock:
            self._kept[key] = picture
            if len(self._kept) > _PICTURES_KEPT:
                del self._kept[next(iter(self._kept))]
        return picture


def targets_lps_mm(paths: Sequence[dict[str, Any]]) -> F64:
    """(N, 3): where each path ends."""
    return np.array([path["target_lps_mm"] for path in paths], float)


def _put_ball(voxels_hu: I16, affine_lps_from_ijk: F64, middle_lps_mm: F64, radius_mm: float, hu: int) -> None:
    k, j, i = np.meshgrid(*(np.arange(size) for size in voxels_hu.shape), indexing="ij", sparse=True)
    along = [
        affine_lps_from_ijk[n, 0] * i + affine_lps_from_ijk[n, 1] * j + affine_lps_from_ijk[n, 2] * k for n in range(3)
    ]
    offset = affine_lps_from_ijk[:3, 3] - middle_lps_mm
    inside = sum((along[n] + offset[n]) ** 2 for n in range(3)) <= radius_mm**2
    # Soft tissue stays: it is bone that a metastasis takes or thickens.
    voxels_hu[inside & (voxels_hu > 150)] = hu


def _no_download(folder: Path, progress: Callable[[str], None]) -> Path:
    raise OSError("not fetched for the drill")
