"""What a stream tells, put together: both metadata forms, table moves, preference, and what is refused."""

import numpy as np
import pytest

from guidance.errors import GeometryError
from guidance.geometry.calibration import calibration_table_from_text
from guidance.geometry.camera import ConeBeamCamera, project
from guidance.geometry.detector import Detector
from guidance.geometry.metadata import read_metadata
from guidance.geometry.paired import PairedTransforms
from guidance.geometry.positioner import PATIENT_POSITIONS, CArmPose, lps_from_equipment
from guidance.geometry.told import missing_keys, told_geometry
from guidance.geometry.told_patient import PatientReference, reference_of
from guidance.messages import CbctVolume

MARKERS_LPS_MM = np.array(((50.0, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, 20.0)))
ANGLES = {
    "XRay.PrimaryAngleDeg": "30",
    "XRay.SecondaryAngleDeg": "20",
    "XRay.SourceToDetectorMm": "1200",
    "XRay.SourceToIsocenterMm": "750",
    "XRay.ImagerPixelSpacingMm": "0.3 0.3",
    "XRay.IsocenterLpsMm": "0 0 0",
}
# Design section 3, +30 / +20.
AT_30_20 = ((735.43, 555.72), (594.19, 462.51), (511.50, 412.17))
AT_0_0 = ((778.17, 511.50), (511.50, 511.50), (511.50, 404.83))


def told(metadata, rows=1024, columns=1024, **more):
    return told_geometry(read_metadata(metadata), rows, columns, **more)


def pixels(metadata, points=MARKERS_LPS_MM, **more):
    return project(points, told(metadata, **more).pixel_from_patient)[:, :2]


def without(metadata, *keys):
    return {key: text for key, text in metadata.items() if key not in keys}


def refused(metadata, **more) -> GeometryError:
    with pytest.raises(GeometryError) as refusal:
        told(metadata, **more)
    return refusal.value


def matrix_text(primary=30.0, secondary=20.0, scale=1.0, isocenter=(0.0, 0.0, 0.0)) -> str:
    camera = ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=1200.0,
            source_to_isocenter_mm=750.0,
        ),
        detector=Detector(rows=1024, columns=1024, pitch_row_mm=0.3, pitch_column_mm=0.3),
        isocenter_lps_mm=isocenter,
    )
    return " ".join(map(repr, (scale * camera.pixel_from_patient).ravel().tolist()))


def test_angle_form_is_the_golden_table():
    assert told(ANGLES).source == "metadata_angles"
    assert told(ANGLES).source_to_detector_mm == 1200.0
    np.testing.assert_allclose(pixels(ANGLES), AT_30_20, atol=0.0051)


def test_matrix_form_is_kept_as_it_is():
    geometry = told({"XRay.ProjectionMatrix": matrix_text(scale=-2.0)})
    assert geometry.source == "metadata_matrix"
    homogeneous = np.column_stack((MARKERS_LPS_MM, np.ones(3))) @ geometry.pixel_from_patient.T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], AT_30_20, atol=0.0051)


def test_turn_and_flip_apply_to_the_angle_form_and_never_to_a_matrix():
    turned = {"XRay.FovRotationDeg": "90", "XRay.FovFlip": "1"}
    # 600 rows of 1024 before the turn: as sent the picture has 1024 rows and 600 columns.
    plain = pixels(ANGLES, rows=600, columns=1024)
    found = pixels({**ANGLES, **turned}, rows=1024, columns=600)
    # Clockwise: (u, v) -> (599 - v, u), then flipped: (v, u).
    np.testing.assert_allclose(found, plain[:, ::-1], atol=1e-9)
    matrix = {"XRay.ProjectionMatrix": matrix_text()}
    np.testing.assert_array_equal(told({**matrix, **turned}).pixel_from_patient, told(matrix).pixel_from_patient)


def test_isocentre_projection_is_in_the_cropped_picture_before_the_turn():
    """A field of view cut at column 100, row 40, then turned: the told principal point is of the cut picture."""
    cut = {**ANGLES, "XRay.IsocenterProjectionPx": "411.5 471.5"}
    np.testing.assert_allclose(pixels(cut, rows=900, columns=700), np.array(AT_30_20) - (100, 40), atol=0.0051)
    turned = pixels({**cut, "XRay.FovRotationDeg": "180"}, rows=900, columns=700)
    np.testing.assert_allclose(turned, (699, 899) - (np.array(AT_30_20) - (100, 40)), atol=0.0051)


def test_pixel_spacing_is_row_then_column():
    found = pixels({**ANGLES, "XRay.ImagerPixelSpacingMm": "0.6 0.3"}, rows=512)
    u, v = np.transpose(AT_30_20)
    np.testing.assert_allclose(found, np.column_stack((u, (v + 0.5) / 2 - 0.5)), atol=0.0051)


def test_detector_rotation():
    flat = {**ANGLES, "XRay.PrimaryAngleDeg": "0", "XRay.SecondaryAngleDeg": "0", "XRay.DetectorRotationDeg": "90"}
    np.testing.assert_allclose(pixels(flat)[[0, 2]], ((511.50, 778.17), (618.17, 511.50)), atol=0.0051)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_equipment_angles_show_the_phantom_as_it_lies_in_the_room(position):
    metadata = {
        **without(ANGLES, "XRay.PrimaryAngleDeg", "XRay.SecondaryAngleDeg"),
        "XRay.IsocenterPrimaryAngleDeg": "30",
        "XRay.IsocenterSecondaryAngleDeg": "20",
        "XRay.PatientPosition": position,
    }
    np.testing.assert_allclose(pixels(metadata, MARKERS_LPS_MM @ lps_from_equipment(position).T), AT_30_20, atol=0.0051)


def test_prone_under_a_detector_above_the_table():
    """Both ways of saying it: primary 180 of the patient, or 0 of the equipment with HFP."""
    prone = {**ANGLES, "XRay.PrimaryAngleDeg": "180", "XRay.SecondaryAngleDeg": "0"}
    equipment = {
        **without(ANGLES, "XRay.PrimaryAngleDeg", "XRay.SecondaryAngleDeg"),
        "XRay.IsocenterPrimaryAngleDeg": "0",
        "XRay.IsocenterSecondaryAngleDeg": "0",
        "XRay.PatientPosition": "HFP",
    }
    found = pixels(prone)
    np.testing.assert_allclose(found, pixels(equipment), atol=1e-9)
    # Seen from the back, the patient's left is on the picture's left, the head still up.
    np.testing.assert_allclose(found[0], (1023 - 778.17, 511.5), atol=0.0051)
    np.testing.assert_allclose(found[2], (511.5, 404.83), atol=0.0051)


@pytest.mark.parametrize("form", ["angles", "matrix"])
@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_a_moved_table_moves_the_patient(position, form):
    """What was at the isocentre's left is brought to where the markers were: the same pixels again."""
    moved_mm = np.array((40.0, -15.0, 60.0))
    geometry = ANGLES if form == "angles" else {"XRay.ProjectionMatrix": matrix_text()}
    metadata = {
        **geometry,
        "XRay.PatientPosition": position,
        "XRay.TableAtCbctMm": "100 -200 300",
        "XRay.TableMm": "140 -215 360",
    }
    # A point of the patient that the table carries onto a marker's old place lies that much before it.
    points = MARKERS_LPS_MM - lps_from_equipment(position) @ moved_mm
    found = project(points, _normalised(told(metadata)))[:, :2]
    np.testing.assert_allclose(found, AT_30_20, atol=0.0051)


def _normalised(geometry):
    matrix = geometry.pixel_from_patient
    return matrix / np.linalg.norm(matrix[2, :3])


def test_without_a_table_the_isocentre_is_true_for_this_frame():
    np.testing.assert_allclose(pixels({**ANGLES, "XRay.TableAtCbctMm": "9 9 9"}), pixels(ANGLES))


def test_table_alone_takes_its_reference_from_the_cbct():
    metadata = {**ANGLES, "XRay.TableMm": "10 0 0", "XRay.PatientPosition": "HFS"}
    reference = PatientReference(table_at_cbct_mm=(4.0, 0.0, 0.0))
    points = MARKERS_LPS_MM - (6.0, 0.0, 0.0)
    np.testing.assert_allclose(pixels(metadata, points, reference=reference), AT_30_20, atol=0.0051)
    error = refused(metadata)
    assert error.code == "table_reference_unknown"
    assert "table reference unknown" in str(error)


def test_a_moved_table_needs_the_patient_position_from_somewhere():
    metadata = {**ANGLES, "XRay.TableMm": "10 0 0", "XRay.TableAtCbctMm": "0 0 0"}
    assert refused(metadata).code == "patient_position_unknown"
    found = told(metadata, reference=PatientReference(patient_position="HFS"))
    expected = told({**metadata, "XRay.PatientPosition": "HFS"})
    np.testing.assert_array_equal(found.pixel_from_patient, expected.pixel_from_patient)
    still = {**ANGLES, "XRay.TableMm": "1 2 3", "XRay.TableAtCbctMm": "1 2 3"}
    np.testing.assert_array_equal(told(still).pixel_from_patient, told(ANGLES).pixel_from_patient)


def test_isocentre_of_the_cbct_needs_a_word_on_the_table():
    metadata = without(ANGLES, "XRay.IsocenterLpsMm")
    reference = PatientReference(isocenter_lps_mm=(3.0, 4.0, 5.0), table_at_cbct_mm=(0.0, 0.0, 0.0))
    assert "XRay.IsocenterLpsMm" in str(refused(metadata, reference=reference))
    found = told({**metadata, "XRay.TableMm": "0 0 0"}, reference=reference)
    np.testing.assert_allclose(
        found.pixel_from_patient, told({**metadata, "XRay.IsocenterLpsMm": "3 4 5"}).pixel_from_patient
    )


@pytest.mark.parametrize("key", ANGLES)
def test_an_incomplete_angle_form_names_what_is_missing(key):
    error = refused(without(ANGLES, key))
    assert error.code == "incomplete_geometry"
    assert key in str(error) or "complete in one system" in str(error)


def test_angles_without_a_system_or_of_two_systems_are_refused():
    mixed = {**without(ANGLES, "XRay.SecondaryAngleDeg"), "XRay.IsocenterSecondaryAngleDeg": "0"}
    assert refused(mixed).code == "incomplete_geometry"
    equipment = {
        **without(ANGLES, "XRay.PrimaryAngleDeg", "XRay.SecondaryAngleDeg"),
        "XRay.IsocenterPrimaryAngleDeg": "0",
        "XRay.IsocenterSecondaryAngleDeg": "0",
    }
    error = refused(equipment)
    assert error.code == "incomplete_geometry"
    assert "XRay.PatientPosition" in str(error)


def test_both_systems_must_agree():
    both = {
        **ANGLES,
        "XRay.IsocenterPrimaryAngleDeg": "30",
        "XRay.IsocenterSecondaryAngleDeg": "20",
    }
    assert told(both).source == "metadata_angles"  # nothing to compare without a position
    np.testing.assert_allclose(pixels({**both, "XRay.PatientPosition": "HFS"}), AT_30_20, atol=0.0051)
    assert refused({**both, "XRay.PatientPosition": "HFP"}).code == "contradictory_angles"


def test_one_angle_beside_the_other_system_must_agree_too():
    equipment = {
        **without(ANGLES, "XRay.PrimaryAngleDeg", "XRay.SecondaryAngleDeg"),
        "XRay.IsocenterPrimaryAngleDeg": "30",
        "XRay.IsocenterSecondaryAngleDeg": "20",
        "XRay.PatientPosition": "HFP",
    }
    assert told({**equipment, "XRay.PrimaryAngleDeg": "-150"}).source == "metadata_angles"
    assert refused({**equipment, "XRay.PrimaryAngleDeg": "30"}).code == "contradictory_angles"
    assert refused({**equipment, "XRay.SecondaryAngleDeg": "-20"}).code == "contradictory_angles"


@pytest.mark.parametrize("sod", ["1200", "1300"])
def test_isocentre_behind_the_detector(sod):
    assert refused({**ANGLES, "XRay.SourceToIsocenterMm": sod}).code == "distance_out_of_range"


def test_a_cut_picture_needs_its_principal_point():
    blades = {**ANGLES, "XRay.CollimatorPx": "100 40 799 939"}
    error = refused(blades, rows=900, columns=700)
    assert error.code == "principal_point_unknown"
    known = {**blades, "XRay.IsocenterProjectionPx": "411.5 471.5"}
    np.testing.assert_allclose(pixels(known, rows=900, columns=700), np.array(AT_30_20) - (100, 40), atol=0.0051)
    assert refused({**ANGLES, "XRay.CollimatorPx": "100 40 100 40"}).code == "principal_point_unknown"
    # A matrix has the crop in it.
    matrix = {"XRay.ProjectionMatrix": matrix_text()}
    assert told({**blades, **matrix}, rows=900, columns=700).told_camera is None
    assert told({**ANGLES, **matrix}).told_camera is not None
    # Blades inside the picture cut nothing away.
    np.testing.assert_allclose(pixels(blades), AT_30_20, atol=0.0051)
    np.testing.assert_allclose(pixels({**ANGLES, "XRay.CollimatorPx": "0 0 1024 1024"}), AT_30_20, atol=0.0051)


def test_nothing_told_is_none():
    assert told({}) is None
    assert told({"XRay.ImagerPixelSpacingMm": "0.3 0.3", "XRay.KVp": "70"}) is None


# A source 750 mm above the detector's origin; the rest is judged in test_paired.
TRANSFORMS = PairedTransforms(patient_from_detector=np.eye(4), patient_from_source=np.eye(4))
TRANSFORMS.patient_from_source[2, 3] = 750.0


def test_order_of_preference():
    table = calibration_table_from_text(
        'format = "guidance-calibration-table"\nversion = 1\nrows = 1024\ncolumns = 1024\n[[view]]\n'
        "primary_deg = 30\nsecondary_deg = 20\nsource_to_detector_mm = 1200\n"
        f"pixel_from_equipment = [{matrix_text().replace(' ', ', ')}]\n"
    )
    everything = {"transforms": TRANSFORMS, "pixel_pitch_mm": (0.3, 0.3), "calibration": table}
    assert told({**ANGLES, "XRay.ProjectionMatrix": matrix_text()}, **everything).source == "metadata_matrix"
    assert told(ANGLES, **everything).source == "metadata_angles"
    partial = {**without(ANGLES, "XRay.ImagerPixelSpacingMm"), "XRay.PatientPosition": "HFS"}
    assert told(partial, **everything).source == "transforms"
    assert told({}, **everything).source == "transforms"
    assert told(partial, calibration=table).source == "table"
    np.testing.assert_allclose(pixels(partial, calibration=table), AT_30_20, atol=0.0051)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_calibration_table_serves_every_patient_position(position):
    """The table is of the room: the phantom as it lies there, told by either kind of angle, is at the same pixels."""
    table = calibration_table_from_text(
        'format = "guidance-calibration-table"\nversion = 1\nrows = 1024\ncolumns = 1024\n[[view]]\n'
        "primary_deg = 30\nsecondary_deg = 20\nsource_to_detector_mm = 1200\n"
        f"pixel_from_equipment = [{matrix_text().replace(' ', ', ')}]\n"
    )
    isocenter = np.array((5.0, -6.0, 7.0))
    metadata = {
        "XRay.IsocenterPrimaryAngleDeg": "30",
        "XRay.IsocenterSecondaryAngleDeg": "20",
        "XRay.PatientPosition": position,
        "XRay.SourceToDetectorMm": "1200",
        "XRay.IsocenterLpsMm": "5 -6 7",
    }
    points = MARKERS_LPS_MM @ lps_from_equipment(position).T + isocenter
    np.testing.assert_allclose(pixels(metadata, points, calibration=table), AT_30_20, atol=0.0051)
    assert refused({**metadata, "XRay.IsocenterPrimaryAngleDeg": "40"}, calibration=table).code == "view_not_calibrated"
    assert refused(without(metadata, "XRay.IsocenterLpsMm"), calibration=table).code == "incomplete_geometry"


def test_calibration_needs_the_position_of_the_patient():
    table = calibration_table_from_text(
        'format = "guidance-calibration-table"\nversion = 1\nrows = 1024\ncolumns = 1024\n[[view]]\n'
        "primary_deg = 30\nsecondary_deg = 20\nsource_to_detector_mm = 1200\n"
        f"pixel_from_equipment = [{matrix_text().replace(' ', ', ')}]\n"
    )
    partial = without(ANGLES, "XRay.ImagerPixelSpacingMm")
    assert refused(partial, calibration=table).code == "patient_position_unknown"


def test_what_the_volume_says():
    assert reference_of(None) == PatientReference()
    volume = CbctVolume(
        id="v",
        series_instance_uid="1.2",
        patient_position="HFP",
        table_at_cbct_mm=(1.0, 2.0, 3.0),
        isocenter_lps_mm=(4.0, 5.0, 6.0),
    )
    assert reference_of(volume) == PatientReference(
        patient_position="HFP", table_at_cbct_mm=(1.0, 2.0, 3.0), isocenter_lps_mm=(4.0, 5.0, 6.0)
    )
    assert missing_keys(read_metadata(ANGLES), reference_of(volume)) == []
