"""Metadata of contract 5.3: what is read, and every malformed value refused by name."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.metadata import GEOMETRY_KEYS, XRayMetadata, read_frame_number, read_metadata


def test_every_key_is_read():
    found = read_metadata(
        {
            "XRay.ProjectionMatrix": "1 2 3 4 5 6 7 8 9 10 11 12",
            "XRay.PrimaryAngleDeg": "-179.5",
            "XRay.SecondaryAngleDeg": "+20",
            "XRay.IsocenterPrimaryAngleDeg": ".5",
            "XRay.IsocenterSecondaryAngleDeg": "-1e1",
            "XRay.DetectorRotationDeg": "90",
            "XRay.SourceToDetectorMm": "1200",
            "XRay.SourceToIsocenterMm": "750.",
            "XRay.ImagerPixelSpacingMm": "0.3 0.31",
            "XRay.IsocenterProjectionPx": "511.5\t510",
            "XRay.IsocenterLpsMm": " 1  -2 3 ",
            "XRay.CollimatorPx": "0 1 1023 1022",
            "XRay.TableMm": "1 2 3",
            "XRay.TableAtCbctMm": "4 5 6",
            "XRay.PatientPosition": "HFP",
            "XRay.FrameOfReferenceUID": "1.2.3",
            "XRay.FovRotationDeg": "270",
            "XRay.FovFlip": "1",
            "XRay.Live": "0",
            "XRay.FrameNumber": "7",
            "Other": "nonsense",
        }
    )
    assert found == XRayMetadata(
        projection_matrix=tuple(range(1, 13)),
        primary_angle_deg=-179.5,
        secondary_angle_deg=20.0,
        isocenter_primary_angle_deg=0.5,
        isocenter_secondary_angle_deg=-10.0,
        detector_rotation_deg=90.0,
        source_to_detector_mm=1200.0,
        source_to_isocenter_mm=750.0,
        imager_pixel_spacing_mm=(0.3, 0.31),
        isocenter_projection_px=(511.5, 510.0),
        isocenter_lps_mm=(1.0, -2.0, 3.0),
        collimator_px=(0.0, 1.0, 1023.0, 1022.0),
        table_mm=(1.0, 2.0, 3.0),
        table_at_cbct_mm=(4.0, 5.0, 6.0),
        patient_position="HFP",
        frame_of_reference_uid="1.2.3",
        fov_rotation_deg=270,
        fov_flip=True,
        live=False,
    )
    assert found.has_angles


def test_missing_and_empty_are_the_same():
    assert read_metadata({}) == read_metadata(dict.fromkeys(GEOMETRY_KEYS, "")) == XRayMetadata()
    assert read_metadata(dict.fromkeys(GEOMETRY_KEYS, "  ")) == XRayMetadata()
    assert not XRayMetadata().has_angles


@pytest.mark.parametrize(
    ("key", "text", "code"),
    [
        ("XRay.PrimaryAngleDeg", "nan", "not_finite"),
        ("XRay.PrimaryAngleDeg", "-inf", "not_finite"),
        ("XRay.PrimaryAngleDeg", "Infinity", "not_finite"),
        ("XRay.PrimaryAngleDeg", "1e999", "not_finite"),
        ("XRay.PrimaryAngleDeg", "thirty", "bad_number"),
        ("XRay.PrimaryAngleDeg", "30deg", "bad_number"),
        ("XRay.PrimaryAngleDeg", "3_0", "bad_number"),
        ("XRay.PrimaryAngleDeg", "0x1e", "bad_number"),
        ("XRay.PrimaryAngleDeg", "3,5", "bad_number"),
        ("XRay.PrimaryAngleDeg", "٣٠", "bad_number"),
        ("XRay.PrimaryAngleDeg", "30 20", "wrong_count"),
        ("XRay.PrimaryAngleDeg", "180.01", "out_of_range"),
        ("XRay.SecondaryAngleDeg", "-90.5", "out_of_range"),
        ("XRay.IsocenterPrimaryAngleDeg", "-181", "out_of_range"),
        ("XRay.IsocenterSecondaryAngleDeg", "200", "out_of_range"),
        ("XRay.DetectorRotationDeg", "1000", "out_of_range"),
        ("XRay.SourceToDetectorMm", "-1200", "out_of_range"),
        ("XRay.SourceToDetectorMm", "0", "out_of_range"),
        ("XRay.SourceToIsocenterMm", "1e6", "out_of_range"),
        ("XRay.ImagerPixelSpacingMm", "0.3", "wrong_count"),
        ("XRay.ImagerPixelSpacingMm", "0.3 0", "out_of_range"),
        ("XRay.ImagerPixelSpacingMm", "-0.3 0.3", "out_of_range"),
        ("XRay.ImagerPixelSpacingMm", "0.3\\0.3", "wrong_count"),
        ("XRay.IsocenterProjectionPx", "511.5", "wrong_count"),
        ("XRay.IsocenterProjectionPx", "nan 3", "not_finite"),
        ("XRay.IsocenterLpsMm", "0 0", "wrong_count"),
        ("XRay.IsocenterLpsMm", "0 0 1e300", "out_of_range"),
        ("XRay.TableMm", "0 0 0 0", "wrong_count"),
        ("XRay.TableAtCbctMm", "a b c", "bad_number"),
        ("XRay.ProjectionMatrix", "1 2 3", "wrong_count"),
        ("XRay.ProjectionMatrix", "1 2 3 4 5 6 7 8 9 10 11 NaN", "not_finite"),
        ("XRay.CollimatorPx", "10 0 nan 100", "not_finite"),
        ("XRay.CollimatorPx", "0 0 100", "wrong_count"),
        ("XRay.PatientPosition", "PRONE", "unknown_patient_position"),
        ("XRay.PatientPosition", "hfp", "unknown_patient_position"),
        ("XRay.FovRotationDeg", "45", "bad_fov_rotation"),
        ("XRay.FovRotationDeg", "-90", "bad_fov_rotation"),
        ("XRay.FovRotationDeg", "ninety", "bad_number"),
        ("XRay.FovFlip", "Y", "bad_flag"),
        ("XRay.FovFlip", "2", "bad_flag"),
        ("XRay.Live", "true", "bad_flag"),
    ],
)
def test_malformed_values_are_named(key, text, code):
    with pytest.raises(GeometryError) as refusal:
        read_metadata({key: text})
    assert refusal.value.code == code
    assert refusal.value.mend
    if code not in ("unknown_patient_position", "bad_fov_rotation"):
        assert key in str(refusal.value)


def test_a_long_text_is_shortened():
    with pytest.raises(GeometryError) as refusal:
        read_metadata({"XRay.ProjectionMatrix": "x" * 100_000})
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(("text", "number"), [("0", 0), (" 12 ", 12), ("9223372036854775807", 2**63 - 1), ("", None)])
def test_frame_number(text, number):
    assert read_frame_number({"XRay.FrameNumber": text}) == number


@pytest.mark.parametrize("text", ["-1", "1.0", "9223372036854775808", "1e3", "٣", "7 8", "9" * 5000])
def test_malformed_frame_number(text):
    with pytest.raises(GeometryError) as refusal:
        read_frame_number({"XRay.FrameNumber": text})
    assert refusal.value.code == "bad_frame_number"


@given(st.dictionaries(st.sampled_from(GEOMETRY_KEYS), st.text(max_size=30)))
def test_any_text_is_read_or_refused(metadata):
    with contextlib.suppress(GeometryError):
        assert isinstance(read_metadata(metadata), XRayMetadata)


@given(st.sampled_from(("XRay.IsocenterLpsMm", "XRay.TableMm")), st.tuples(*[st.floats(-5000, 5000)] * 3))
def test_every_number_python_writes_is_read_back(key, values):
    found = read_metadata({key: " ".join(map(repr, values))})
    assert (found.isocenter_lps_mm or found.table_mm) == values
