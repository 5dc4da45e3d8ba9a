"""Volumes out of files: geometry, units, padding, which volume of several, and what cannot be read."""

from __future__ import annotations

import gzip
from io import BytesIO

import nibabel
import numpy as np
import pytest
from pydicom import dcmwrite

from guidance.errors import WireError
from guidance.wire.volume_files import read_dicom_volume, read_nifti, read_nifti_volume
from simulators.cbct_objects import CbctRun, cbct_objects
from simulators.volumes import HuVolume

# RAS: i to the left, j to the back, k to the head, as most CT comes out of converters.
AFFINE_RAS = np.array([[-2.0, 0, 0, 10], [0, -3.0, 0, 20], [0, 0, 4.0, -30], [0, 0, 0, 1]])
AFFINE_LPS = np.array([[2.0, 0, 0, -10], [0, 3.0, 0, -20], [0, 0, 4.0, -30], [0, 0, 0, 1]])


def nifti(values: np.ndarray, affine: np.ndarray = AFFINE_RAS, *, kind=nibabel.Nifti1Image, unit: str = "mm") -> bytes:
    image = kind(values, affine)
    image.header.set_xyzt_units(unit)
    return image.to_bytes()


def files_of(volume: HuVolume, run: CbctRun) -> list[tuple[str, bytes]]:
    files = []
    for number, dataset in enumerate(cbct_objects(volume, run)):
        stream = BytesIO()
        dcmwrite(stream, dataset, enforce_file_format=True)
        files.append((f"{run.seed}-{number}.dcm", stream.getvalue()))
    return files


def series_uid(run: CbctRun) -> str:
    return str(next(iter(cbct_objects(block(4), run))).SeriesInstanceUID)


def block(slices: int) -> HuVolume:
    values = np.random.default_rng(slices).integers(-900, 900, (slices, 12, 10), dtype=np.int16)
    return HuVolume(values, np.diag([2.0, 2.0, 3.0, 1.0]), "block")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("packed", [False, True])
def test_nifti_becomes_kji_in_lps(kind, packed):
    values = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    data = nifti(values, kind=kind)
    found = read_nifti_volume(gzip.compress(data) if packed else data, origin="x.nii")
    assert found.volume.voxels_hu.shape == (4, 3, 2)
    assert found.volume.voxels_hu[3, 2, 1] == values[1, 2, 3]
    assert found.volume.affine_lps_from_ijk == pytest.approx(AFFINE_LPS)
    assert (found.volume.patient_position, found.volume.frame_of_reference_uid) == ("", "")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_big_endian_nifti(kind):
    values = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    image = kind(values, AFFINE_RAS, header=kind.header_class(endianness=">"))
    assert read_nifti_volume(image.to_bytes(), origin="x").volume.voxels_hu[3, 2, 1] == 23


@pytest.mark.parametrize(("unit", "scale"), [("meter", 1000.0), ("micron", 0.001), ("unknown", 1.0)])
def test_lengths_in_other_units_become_mm(unit, scale):
    grid = read_nifti(nifti(np.zeros((2, 2, 2), np.int16), unit=unit), origin="x")
    assert grid.affine_lps_from_ijk[:3] == pytest.approx(AFFINE_LPS[:3] * scale)


def test_padding_becomes_air_and_nothing_wraps_round():
    values = np.array([-3024.0, -1500.0, -1207.0, 63536.0, 40000.0, np.nan, 12.6, 3000.0]).reshape(2, 2, 2)
    voxels = read_nifti_volume(nifti(values), origin="x").volume.voxels_hu
    expected = np.array([-1000, -1000, -1207, -1000, 32767, -1000, 13, 3000]).reshape(2, 2, 2)
    assert np.array_equal(voxels, expected.transpose(2, 1, 0))


def test_a_last_axis_of_one_is_none():
    assert read_nifti_volume(nifti(np.zeros((2, 3, 4, 1), np.uint8)), origin="x").volume.voxels_hu.shape == (4, 3, 2)


def without_place() -> bytes:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), AFFINE_RAS)
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    return image.to_bytes()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"no NIfTI", "unreadable_nifti", id="no header"),
        pytest.param(b"", "unreadable_nifti", id="empty"),
        pytest.param(gzip.compress(nifti(np.zeros((9, 9, 9), np.int16)))[:-40], "unreadable_nifti", id="cut gzip"),
        pytest.param(nifti(np.zeros((9, 9, 9), np.int16))[:-40], "unreadable_nifti", id="cut"),
        pytest.param(without_place(), "no_geometry", id="no qform, no sform"),
        pytest.param(nifti(np.zeros((3, 4), np.int16)), "not_a_volume", id="a picture"),
        pytest.param(nifti(np.zeros((3, 4, 5, 2), np.int16)), "not_a_volume", id="two volumes"),
        pytest.param(nifti(np.zeros((3, 4, 5), np.complex64)), "not_a_volume", id="complex"),
    ],
)
def test_what_is_no_volume_is_named(data, code):
    with pytest.raises(WireError, match=r"bad\.nii") as refused:
        read_nifti_volume(data, origin="bad.nii")
    assert refused.value.code == code


def test_the_largest_volume_of_a_folder_is_taken_and_the_other_named():
    small, large = CbctRun(seed=1, patient_position="HFS"), CbctRun(seed=2, patient_position="HFP")
    files = files_of(block(4), small) + files_of(block(9), large) + [("notes.txt", b"not DICOM")]
    found = read_dicom_volume(files, origin="folder")
    assert np.array_equal(found.volume.voxels_hu, block(9).voxels_hu)
    assert found.volume.patient_position == "HFP"
    assert found.volume.frame_of_reference_uid == large.frame_of_reference_uid
    assert [finding.code for finding in found.findings][-1] == "several_volumes"
    assert series_uid(small) in found.findings[-1].message


def test_a_series_may_be_chosen():
    small, large = CbctRun(seed=1), CbctRun(seed=2)
    files = files_of(block(4), small) + files_of(block(9), large)
    found = read_dicom_volume(files, origin="folder", series_uid=series_uid(small))
    assert found.volume.voxels_hu.shape[0] == 4
    assert "several_volumes" not in [finding.code for finding in found.findings]
    with pytest.raises(WireError, match="no volume in folder"):
        read_dicom_volume(files, origin="folder", series_uid="1.2.3")


def test_why_there_is_no_volume_is_said():
    with pytest.raises(WireError, match="9 instances were announced, 1 came") as refused:
        read_dicom_volume(files_of(block(9), CbctRun())[:1], origin="folder")
    assert refused.value.code == "no_volume"
