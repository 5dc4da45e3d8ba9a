"""Assembly against two independent libraries, where they do the case at all (decision 0004)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from guidance.geometry.volume_resample import fill
from guidance.messages import F64
from guidance.wire.dicom_classes import ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC
from guidance.wire.dicom_instance import read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_series import conclude, with_instance
from tests.helpers.dicom_objects import ct_series, multi_frame, phantom, save

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]

_COS, _SIN = np.cos(0.4), np.sin(0.4)
OBLIQUE = {"orientation": (_COS, _SIN, 0, -_SIN, _COS, 0), "step": (0, 0, -1.25)}
SHARED = Path(__file__).parents[3].parent / "shared" / "data"

CASES = {
    "axial": lambda: ct_series(phantom(8, 40, 48)),
    "falling": lambda: ct_series(phantom(8, 40, 48), step=(0, 0, -2)),
    "oblique": lambda: ct_series(phantom(8, 40, 48), **OBLIQUE),
    "coronal": lambda: ct_series(phantom(8, 40, 48), orientation=(1, 0, 0, 0, 0, -1), step=(0, 1.5, 0)),
    "fractions": lambda: ct_series(phantom(8, 40, 48), slope=0.5),
    "enhanced": lambda: [multi_frame(phantom(8), sop_class=ENHANCED_CT, frame_order=[3, 1, 0, 2, 7, 6, 5, 4])],
    "3d-angiography": lambda: [multi_frame(phantom(8), sop_class=XRAY_3D_ANGIOGRAPHIC, frame_order=range(7, -1, -1))],
}


def ours(datasets: list[Dataset]) -> tuple[np.ndarray, F64]:
    series, voxels = None, {}
    for dataset in datasets:
        instance = read_instance(dataset, name=str(dataset.SOPInstanceUID))
        decoded = list(decode_slices(dataset, instance))
        voxels.update({one.key: pixels for one, pixels in decoded})
        series = with_instance(series, replace(instance, slices=tuple(one for one, _ in decoded)), 0.0)
    assert series is not None
    grid = conclude(series)[0].grid
    assert grid is not None
    out = np.empty(grid.shape_kji, np.int16)
    fill(grid, voxels.__getitem__, out)
    return out, grid.affine_lps_from_ijk


def same_in_space(volume: np.ndarray, affine: F64, other: np.ndarray, other_lps_from_kji: F64) -> None:
    """Every voxel of the one lies at a voxel of the other, with its value; indices may run differently."""
    kji = np.argwhere(np.ones(volume.shape, bool))
    lps = kji[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    found = (lps - other_lps_from_kji[:3, 3]) @ np.linalg.inv(other_lps_from_kji[:3, :3]).T
    whole = np.rint(found).astype(int)
    np.testing.assert_allclose(found, whole, atol=1e-3)
    np.testing.assert_allclose(volume[tuple(kji.T)], other[tuple(whole.T)], atol=0.51)


@pytest.mark.parametrize("case", CASES)
def test_highdicom_sees_the_same(case: str, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom", reason="make test-oracle installs it")
    paths = save(CASES[case](), tmp_path)
    datasets = [pydicom.dcmread(path) for path in paths]
    if len(datasets) > 1:
        theirs = highdicom.get_volume_from_series(datasets)
    else:
        theirs = highdicom.imread(paths[0]).get_volume()
    same_in_space(*ours(datasets), theirs.array, theirs.affine)


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("enhanced", "3d-angiography")])
def test_simpleitk_sees_the_same(case: str, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="make test-oracle installs it")
    datasets = [pydicom.dcmread(path) for path in save(CASES[case](), tmp_path)]
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, :3], affine[:3, 3] = directions[:, ::-1], image.GetOrigin()
    same_in_space(*ours(datasets), sitk.GetArrayFromImage(image), affine)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not on this machine")
def test_simpleitk_reads_the_same_voxels_of_a_real_tilted_ct() -> None:
    sitk = pytest.importorskip("SimpleITK", reason="make test-oracle installs it")
    folder = SHARED / "tilted_ct"
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    volume, _ = ours([pydicom.dcmread(path) for path in folder.glob("*.dcm")])
    np.testing.assert_array_equal(volume, sitk.GetArrayFromImage(image))
