"""Data sets to what assembly needs, with real and made objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from guidance.errors import WireError
from guidance.wire.dicom_classes import ENHANCED_CT, SEGMENTATION, XRAY_3D_ANGIOGRAPHIC, is_valid_uid
from guidance.wire.dicom_instance import Calibration, parse, read_instance
from tests.helpers.dicom_objects import ct_slice, file_bytes, multi_frame, phantom

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not on this machine")

PLANE = phantom(1)[0]


def test_a_ct_image() -> None:
    dataset = ct_slice(PLANE, position=(1.5, -2.5, 33.25), slope=2.0, intercept=-1000.0, ImagesInAcquisition=7)
    instance = read_instance(parse(file_bytes(dataset)), name="7.7")
    one = instance.slices[0]
    assert (one.instance_uid, one.position_mm, one.spacing_mm) == ("7.7", (1.5, -2.5, 33.25), (0.8, 0.7))
    assert (one.rows, one.columns, one.patient_position) == (*PLANE.shape, "HFS")
    assert instance.calibrations == (Calibration(slope=2.0, intercept=-1000.0),)
    assert (instance.announced, instance.patient_id, instance.patient_name) == (7, "P1", "Phantom^One")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"RescaleSlope": None}, "not_calibrated", id="no-slope"),
        pytest.param({"RescaleIntercept": None}, "not_calibrated", id="no-intercept"),
        pytest.param({"RescaleSlope": "0"}, "not_calibrated", id="slope-zero"),
        pytest.param({"RescaleType": "US"}, "not_calibrated", id="rescale-type-unspecified"),
        pytest.param({"ImageType": ["DERIVED", "PRIMARY", "PERFUSION"]}, "not_calibrated", id="perfusion-map"),
        pytest.param({"ImagePositionPatient": None}, "bad_geometry", id="no-position"),
        pytest.param({"ImagePositionPatient": [1, 2]}, "bad_geometry", id="two-coordinates"),
        pytest.param({"ImageOrientationPatient": None}, "bad_geometry", id="no-orientation"),
        pytest.param({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "bad_geometry", id="directions-parallel"),
        pytest.param({"PixelSpacing": None}, "bad_geometry", id="no-spacing"),
        pytest.param({"PixelSpacing": [0, 0]}, "bad_geometry", id="spacing-zero"),
        pytest.param({"Rows": None}, "bad_geometry", id="no-rows"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, Any], code: str) -> None:
    instance = read_instance(ct_slice(PLANE, position=(0, 0, 0), **changes), name="1")
    assert [problem.code for problem in instance.problems] == [code]
    assert instance.slices == ()


def test_a_number_that_is_none_is_bad_geometry_and_no_crash() -> None:
    data = file_bytes(ct_slice(PLANE, position=(0, 0, 0), spacing=(0.5, 0.5)))
    instance = read_instance(parse(data.replace(b"0.5\\0.5 ", b"abc\\def ")), name="1")
    assert [problem.code for problem in instance.problems] == ["bad_geometry"]


def test_a_real_world_value_mapping_in_hu_is_a_scale() -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0), RescaleType="US")
    mapping, unit = Dataset(), Dataset()
    unit.CodeValue = "[hnsf'U]"
    mapping.MeasurementUnitsCodeSequence = Sequence([unit])
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 0.5, -1000.0
    dataset.RealWorldValueMappingSequence = Sequence([mapping])
    assert read_instance(dataset, name="1").calibrations == (Calibration(slope=0.5, intercept=-1000.0),)


def test_a_localizer_is_no_slice() -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], RescaleSlope=None)
    instance = read_instance(dataset, name="1")
    assert (instance.slices, instance.problems) == ((), ())


@pytest.mark.parametrize("sop_class", [ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC])
def test_a_multi_frame_object(sop_class: str) -> None:
    dataset = multi_frame(phantom(4), sop_class=sop_class, frame_order=[2, 0, 3, 1])
    instance = read_instance(parse(file_bytes(dataset)), name="5")
    assert [one.position_mm[2] for one in instance.slices] == [104.0, 100.0, 106.0, 102.0]
    assert [one.frame for one in instance.slices] == [0, 1, 2, 3]
    assert instance.announced == 1
    assert set(instance.calibrations) == {Calibration(slope=1.0, intercept=-1024.0)}


@pytest.mark.parametrize(
    ("sop_class", "rescale_type", "frame_type"),
    [
        pytest.param(ENHANCED_CT, "US", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"), id="unspecified"),
        pytest.param(ENHANCED_CT, "HU", ("DERIVED", "PRIMARY", "PERFUSION", "RCBF"), id="perfusion"),
        pytest.param(XRAY_3D_ANGIOGRAPHIC, "", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"), id="3d-angiography-silent"),
    ],
)
def test_a_multi_frame_object_without_hu_is_refused(
    sop_class: str, rescale_type: str, frame_type: tuple[str, ...]
) -> None:
    dataset = multi_frame(sop_class=sop_class, rescale_type=rescale_type, frame_type=frame_type)
    assert [problem.code for problem in read_instance(dataset, name="1").problems] == ["not_calibrated"]


def test_a_multi_frame_object_that_lost_frames_is_refused() -> None:
    dataset = multi_frame(phantom(4))
    del dataset.PerFrameFunctionalGroupsSequence[2]
    assert [problem.code for problem in read_instance(dataset, name="1").problems] == ["bad_geometry"]


def test_isocenter_and_table_come_from_the_object() -> None:
    # equipment = R (lps - isocenter), R a turn about z by 90 degrees, so isocenter = (10, -20, 130)
    rotation = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ (10, -20, 130)
    dataset = multi_frame(
        EquipmentCoordinateSystemIdentification="ISOCENTER", ImageToEquipmentMappingMatrix=matrix.ravel().tolist()
    )
    table = Dataset()
    table.TableXPositionToIsocenter, table.TableYPositionToIsocenter, table.TableZPositionToIsocenter = (
        1.5,
        120.0,
        -30.0,
    )
    dataset.SharedFunctionalGroupsSequence[0].IsocenterReferenceSystemSequence = Sequence([table])
    instance = read_instance(dataset, name="1")
    assert instance.isocenter_lps_mm == pytest.approx((10, -20, 130))
    assert instance.table_at_cbct_mm == (1.5, 120.0, -30.0)


@pytest.mark.parametrize("field", ["PerFrameFunctionalGroupsSequence", "EquipmentCoordinateSystemIdentification"])
def test_isocenter_and_table_that_are_not_said_are_unknown(field: str) -> None:
    dataset = multi_frame()
    delattr(dataset, field) if field in dataset else None
    instance = read_instance(dataset, name="1")
    assert (instance.isocenter_lps_mm, instance.table_at_cbct_mm) == (None, None)


def test_other_classes_have_no_slices() -> None:
    dataset = ct_slice(PLANE, position=(0, 0, 0), SOPClassUID=SEGMENTATION)
    instance = read_instance(dataset, name="1")
    assert (instance.slices, instance.problems, instance.announced) == ((), (), None)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(bytes(128) + b"DICM" + bytes(500), id="zeros"),
        pytest.param(file_bytes(ct_slice(PLANE, position=(0, 0, 0)))[:420], id="cut-in-the-header"),
    ],
)
def test_what_is_no_dicom_file_is_refused(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_instance(parse(data), name="1")
    assert caught.value.code == "unreadable_instance"


@pytest.mark.parametrize(
    ("uid", "valid"),
    [
        ("1.2.840.10008", True),
        ("", False),
        ("../../etc/passwd", False),
        ("1..2", False),
        ("1.2\n", False),
        ("1" * 65, False),
    ],
)
def test_uid(uid: str, valid: bool) -> None:
    assert is_valid_uid(uid) is valid


@needs_shared
def test_real_perfusion_map_is_not_calibrated() -> None:
    data = (SHARED / "enhanced_ct" / "eCT_Supplemental.dcm").read_bytes()
    instance = read_instance(parse(data), name="1")
    assert [problem.code for problem in instance.problems] == ["not_calibrated"]


@needs_shared
def test_real_legacy_converted_object_and_its_twins_agree() -> None:
    folder = SHARED / "enhanced_ct"
    many = pydicom.dcmread(folder / "legacy_converted_multiframe.dcm")
    twins = [pydicom.dcmread(folder / f"legacy_single_frame_{number}.dcm") for number in (1, 2, 3)]
    for dataset in (many, *twins):  # their Rescale Type is US: say HU to see that the planes are the same
        if "SharedFunctionalGroupsSequence" in dataset:
            dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleType = "HU"
        else:
            dataset.RescaleType = "HU"
    planes = {one.position_mm: one for one in read_instance(many, name="1").slices}
    singles = {one.position_mm: one for twin in twins for one in read_instance(twin, name="2").slices}
    assert planes.keys() == singles.keys()
    for place, one in planes.items():
        twin = singles[place]
        assert (one.row_direction, one.column_direction, one.spacing_mm, one.frame_of_reference_uid) == (
            twin.row_direction,
            twin.column_direction,
            twin.spacing_mm,
            twin.frame_of_reference_uid,
        )
