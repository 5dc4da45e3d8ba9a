"""Radiographs of a volume with the view files that tell their geometry, for tests of `guidance register`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from guidance.geometry.metadata import read_metadata
from guidance.geometry.told import told_geometry
from guidance.kernels.drr import MaterialCurves, ProjectionVolume, cone_projection
from simulators.volumes import HuVolume

SIZE = 256
GEOMETRY: dict[str, Any] = {
    "XRay.PrimaryAngleDeg": 0,
    "XRay.SecondaryAngleDeg": 0,
    "XRay.SourceToDetectorMm": 1200,
    "XRay.SourceToIsocenterMm": 750,
    "XRay.ImagerPixelSpacingMm": [1.2, 1.2],
    "XRay.IsocenterLpsMm": [0, 0, -20],
}


def geometry(primary_deg: float, secondary_deg: float = 0.0, **other: Any) -> dict[str, Any]:
    """The angle form of one view; `other` by key without `XRay.`, None removes one."""
    told = GEOMETRY | {"XRay.PrimaryAngleDeg": primary_deg, "XRay.SecondaryAngleDeg": secondary_deg}
    told |= {f"XRay.{key}": value for key, value in other.items()}
    return {key: value for key, value in told.items() if value is not None}


def matrix_of(told: dict[str, Any]) -> np.ndarray:
    """(3, 4) that the geometry says, by the server's own reading of it."""
    texts = {key: " ".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in told.items()}
    found = told_geometry(read_metadata(texts), SIZE, SIZE)
    assert found is not None
    return found.pixel_from_patient


def radiograph(volume: HuVolume, seen_from_volume: np.ndarray, told: dict[str, Any], *, seed: int = 0) -> np.ndarray:
    """(SIZE, SIZE) uint16, proportional to what the detector gets, with noise; the patient has moved."""
    water = np.clip(volume.voxels_hu.astype(np.float32) + 1000.0, 0.0, 4000.0)
    projection = ProjectionVolume(water, seen_from_volume @ volume.affine_lps_from_ijk, air=0)
    curves = MaterialCurves(np.zeros(1), np.zeros((1, 1)))
    lines = cone_projection(projection, matrix_of(told), (SIZE, SIZE), curves)[0]
    transmission = np.exp(-0.02 * lines / 1000.0)
    photons = np.random.default_rng(seed).poisson(transmission * 400_000.0)
    return np.minimum(photons, 65535).astype(np.uint16)


def write_nifti(volume: HuVolume, path: Path) -> Path:
    """The volume as a NIfTI file."""
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine_lps_from_ijk
    nibabel.save(nibabel.Nifti1Image(volume.voxels_hu.transpose(2, 1, 0), ras), path)
    return path


def write_view(folder: Path, name: str, image: str, told: dict[str, Any], **members: Any) -> Path:
    """`name`.json."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"image": image, "geometry": told} | members), encoding="utf-8")
    return path
