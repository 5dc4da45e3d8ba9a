"""Label maps: places in the patient, names, and every file that does not say what or where it is."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from guidance.case import BadFieldsError
from guidance.messages import ZoneKind, ZoneSide, ZoneSite
from guidance.wire.label_map import read_label_map
from guidance.wire.label_names import LabelName, totalsegmentator
from guidance.wire.read_zones import ReadZones

SHARED = Path(__file__).parents[4] / "shared" / "data" / "pelvis_ct"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/pelvis_ct is not here")
NAMES = {1: LabelName(name="foramen S1 left"), 4: LabelName(name="sacrum", site=ZoneSite.BONE)}
TURN = np.deg2rad(20)
OBLIQUE = np.array(
    [
        [-0.8 * np.cos(TURN), 0.1, 0.0, 30.0],
        [0.8 * np.sin(TURN), 0.9, 0.2, -40.0],
        [0.0, 0.0, 1.5, 100.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def labels(kind: str = "uint8") -> np.ndarray:
    values = np.zeros((9, 8, 7), kind)  # [i, j, k] as NIfTI has it
    values[1:4, 2:6, 3:5] = 1
    values[5, 5, 5] = 4
    values[6:9, 0, 0] = 4
    return values


def packed(image: Any, *, gz: bool = False) -> bytes:
    data = image.to_bytes()
    return gzip.compress(data) if gz else data


def read(image: Any, names: Any = NAMES, **options: Any) -> ReadZones:
    return read_label_map(packed(image), names, frame_of_reference_uid="1.2.3", origin_uid="file", **options)


@pytest.mark.parametrize("affine", [np.diag([-2.0, -2.0, 3.0, 1.0]), OBLIQUE], ids=["plain", "oblique and sheared"])
@pytest.mark.parametrize("image_kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int64", ">i4"])
@pytest.mark.parametrize("gz", [False, True])
def test_every_voxel_is_where_the_file_says_in_lps(affine: np.ndarray, image_kind: Any, kind: str, gz: bool) -> None:
    values = labels(kind)
    data = packed(image_kind(values, affine, dtype=values.dtype), gz=gz)
    result = read_label_map(data, NAMES, frame_of_reference_uid="1.2.3")
    assert [zone.name for zone in result.zones] == ["foramen S1 left", "sacrum"]
    for zone, number in zip(result.zones, (1, 4), strict=True):
        filled = np.argwhere(zone.occupancy.values)
        assert (zone.occupancy.values[tuple(filled.T)] == 255).all()
        got = filled[:, ::-1] @ zone.occupancy.affine_lps_from_ijk[:3, :3].T + zone.occupancy.affine_lps_from_ijk[:3, 3]
        ras = np.argwhere(values == number) @ affine[:3, :3].T + affine[:3, 3]
        want = ras * (-1, -1, 1)
        # NIfTI keeps its affine as float32
        np.testing.assert_allclose(np.sort(got, axis=0), np.sort(want, axis=0), atol=1e-4)
        assert zone.frame_of_reference_uid == "1.2.3"


def test_attributes_come_from_the_names_file_and_are_guessed_otherwise() -> None:
    foramen, sacrum = read(nibabel.Nifti1Image(labels(), np.eye(4))).zones
    assert (foramen.site, foramen.side, foramen.level, foramen.kind) == (
        ZoneSite.FORAMEN,
        ZoneSide.LEFT,
        "S1",
        ZoneKind.KEEP_OUT,
    )
    assert (sacrum.site, sacrum.kind, sacrum.origin, sacrum.origin_uid) == (
        ZoneSite.BONE,
        ZoneKind.TARGET,
        "nifti",
        "file#4",
    )
    told = [finding.message for finding in read(nibabel.Nifti1Image(labels(), np.eye(4))).findings]
    assert len(told) == 1
    assert "foramen S1 left" in told[0]
    assert "sacrum" not in told[0]


def test_a_label_without_a_name_stays_unknown_and_is_told() -> None:
    result = read(nibabel.Nifti1Image(labels(), np.eye(4)), {4: LabelName(name="sacrum", site=ZoneSite.BONE)})
    assert (result.zones[0].name, result.zones[0].site, result.zones[0].kind) == (
        "label 1",
        ZoneSite.OTHER,
        ZoneKind.KEEP_OUT,
    )
    assert [finding.code for finding in result.findings] == ["unnamed_label"]


def test_only_the_wanted_labels() -> None:
    assert [zone.name for zone in read(nibabel.Nifti1Image(labels(), np.eye(4)), labels={4}).zones] == ["sacrum"]


def test_large_numbers_are_labels_too() -> None:
    values = labels("int32")
    values[values == 4] = 70_000_000
    result = read(nibabel.Nifti1Image(values, np.eye(4)), {70_000_000: LabelName(name="sacrum")})
    assert [zone.name for zone in result.zones] == ["label 1", "sacrum"]
    assert int((result.zones[1].occupancy.values > 0).sum()) == 4


def test_a_trailing_axis_of_one_is_no_fourth_axis() -> None:
    result = read(nibabel.Nifti1Image(labels()[..., None], np.eye(4)))
    assert len(result.zones) == 2


def test_sform_goes_before_qform_and_their_difference_is_told() -> None:
    image = nibabel.Nifti1Image(labels(), np.eye(4))
    image.set_qform(np.diag([1.0, 1.0, 1.0, 1.0]), code=1)
    moved = np.eye(4)
    moved[:3, 3] = (0, 0, 12.0)
    image.set_sform(moved, code=1)
    result = read(image)
    assert result.zones[0].occupancy.affine_lps_from_ijk[2, 3] == pytest.approx(12 + 3 - 1)
    assert result.findings[0].code == "sform_qform_differ"
    assert "12.0 mm" in result.findings[0].message


def test_qform_alone_is_a_declared_geometry() -> None:
    image = nibabel.Nifti1Image(labels(), None)
    image.set_qform(np.diag([-2.0, -2.0, 3.0, 1.0]), code=1)
    image.set_sform(None, code=0)
    assert read(image).zones[0].occupancy.affine_lps_from_ijk[2, 2] == pytest.approx(3.0)


def undeclared() -> bytes:
    image = nibabel.Nifti1Image(labels(), None)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    return packed(image)


def scaled() -> bytes:
    image = nibabel.Nifti1Image(labels(), np.eye(4))
    image.header.set_slope_inter(0.5, 0)
    data = bytearray(packed(image))
    data[112:116] = np.float32(0.5).tobytes()  # scl_slope; nibabel writes 1 for data that it was given as integers
    return bytes(data)


def in_metres() -> bytes:
    image = nibabel.Nifti1Image(labels(), np.eye(4))
    image.header.set_xyzt_units("meter")
    return packed(image)


def flat() -> bytes:
    image = nibabel.Nifti1Image(labels(), np.eye(4))
    image.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), code=1)
    return packed(image)


def of(values: np.ndarray) -> Callable[[], bytes]:
    return lambda: packed(nibabel.Nifti1Image(values, np.eye(4), dtype=values.dtype))


def cut() -> bytes:
    return packed(nibabel.Nifti1Image(labels(), np.eye(4)))[:-30]


def cut_gz() -> bytes:
    return packed(nibabel.Nifti1Image(labels(), np.eye(4)), gz=True)[:-30]


def huge() -> bytes:
    data = bytearray(packed(nibabel.Nifti1Image(labels(), np.eye(4))))
    data[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], "<i2").tobytes()
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "field", "word"),
    [
        pytest.param(undeclared, "sform_code", "does not say where it lies", id="no geometry"),
        pytest.param(scaled, "scl_slope", "slope 1", id="scaled"),
        pytest.param(in_metres, "xyzt_units", "mm", id="metres"),
        pytest.param(flat, "sform", "invertible", id="flat voxels"),
        pytest.param(of(np.zeros((4, 4, 4, 2), np.uint8) + 1), "dim", "4 axes", id="4-D"),
        pytest.param(of(np.ones((4, 4), np.uint8)), "dim", "2 axes", id="2-D"),
        pytest.param(of(labels("float32")), "datatype", "integer", id="fractions"),
        pytest.param(of(np.full((4, 4, 4), -5, np.int16)), "labels", "CT", id="negative: a CT"),
        pytest.param(of(np.arange(8000, dtype=np.int16).reshape(20, 20, 20)), "labels", "picture", id="thousands"),
        pytest.param(of(np.zeros((4, 4, 4), np.uint8)), "labels", "empty", id="empty"),
        pytest.param(cut, "file", "cut off", id="cut"),
        pytest.param(cut_gz, "file", "", id="cut gzip"),
        pytest.param(huge, "dim", "30000", id="27 terabytes"),
        pytest.param(lambda: b"", "file", "NIfTI", id="nothing"),
        pytest.param(lambda: b"PK\x03\x04" + b"\0" * 600, "file", "NIfTI", id="another file"),
        pytest.param(lambda: b"\x1f\x8b" + b"\7" * 600, "file", "NIfTI", id="no gzip"),
        pytest.param(lambda: gzip.compress(b"\0" * 5000), "file", "NIfTI", id="zeros"),
    ],
)
def test_what_is_refused_is_named_with_its_mend(make: Callable[[], bytes], field: str, word: str) -> None:
    with pytest.raises(BadFieldsError) as caught:
        read_label_map(make(), NAMES)
    assert [error.field for error in caught.value.errors] == [field]
    assert word in str(caught.value)


@needs_data
def test_the_real_pelvis_has_its_bones_where_they_belong() -> None:
    result = read_label_map((SHARED / "labels.nii.gz").read_bytes(), totalsegmentator(), frame_of_reference_uid="1.2.3")
    image = nibabel.load(SHARED / "labels.nii.gz")
    values = np.asarray(image.dataobj)
    zones = {zone.name: zone for zone in result.zones}
    (finding,) = result.findings
    assert (finding.code, "gluteus_maximus_left" in finding.message) == ("ignored_label", True)
    muscles = [number for number in np.unique(values) if 80 <= number <= 89]
    assert len(zones) == len(np.unique(values)) - 1 - len(muscles)
    for number, label in totalsegmentator().items():
        if label.name in zones:
            assert int((zones[label.name].occupancy.values > 0).sum()) == int((values == number).sum())

    def center(name: str) -> np.ndarray:
        occupancy = zones[name].occupancy
        ijk = np.argwhere(occupancy.values).mean(axis=0)[::-1]
        return occupancy.affine_lps_from_ijk[:3, :3] @ ijk + occupancy.affine_lps_from_ijk[:3, 3]

    assert center("hip_right")[0] < center("sacrum")[0] < center("hip_left")[0]  # x grows to the patient's left
    assert center("sacrum")[2] < center("vertebrae_S1")[2] < center("vertebrae_L5")[2]
    assert center("urinary_bladder")[1] < center("sacrum")[1]  # y grows to the back
