"""Geometry form (b): pairing by time, and the projection of two transforms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.camera import ConeBeamCamera, determinant, project
from guidance.geometry.detector import Detector
from guidance.geometry.paired import PairedTransforms, biplane_suffix, pair_transforms, projection_of_transforms
from guidance.geometry.positioner import CArmPose, positioner_axes
from guidance.messages import FluoroFrame, TransformSample

SECOND = 1 << 32  # of an OpenIGTLink timestamp
MS = SECOND // 1000
PIXELS = np.zeros((8, 8), np.uint8)


def frame(timestamp=100 * SECOND, device="Fluoro", received_ns=1_000_000_000, connection=1) -> FluoroFrame:
    return FluoroFrame(
        device=device, pixels=PIXELS, timestamp_igtl=timestamp, received_ns=received_ns, connection_id=connection
    )


def sample(name, timestamp, mark, received_ns=990_000_000, connection=1) -> TransformSample:
    return TransformSample(
        name=name,
        matrix=np.diag((1.0, 1.0, 1.0, float(mark))),
        timestamp_igtl=timestamp,
        received_ns=received_ns,
        connection_id=connection,
    )


def both(timestamp, mark, suffix="", **more):
    return [sample(f"{name}ToPatient{suffix}", timestamp, mark, **more) for name in ("Detector", "Source")]


def marks(samples, picture, pairing_ms=16.0, maximum_age_ms=500.0):
    pair = pair_transforms(samples, picture, pairing_ms=pairing_ms, maximum_age_ms=maximum_age_ms)
    return pair and (pair.patient_from_detector[3, 3], pair.patient_from_source[3, 3])


def test_the_nearest_in_time_wins():
    now = 100 * SECOND
    samples = both(now - 30 * MS, 1) + both(now - 4 * MS, 2) + both(now + 9 * MS, 3)
    assert marks(samples, frame(now)) == (2.0, 2.0)
    assert marks(samples[::-1], frame(now)) == (2.0, 2.0)


def test_within_half_a_frame_interval_only():
    now = 100 * SECOND
    assert marks(both(now - 16 * MS, 1), frame(now)) == (1.0, 1.0)
    with pytest.raises(GeometryError) as refusal:
        marks(both(now - 17 * MS, 1), frame(now))
    assert refusal.value.code == "transforms_not_paired"
    # Interval not known yet: only the very same time.
    assert marks(both(now, 1), frame(now), pairing_ms=0.0) == (1.0, 1.0)
    with pytest.raises(GeometryError):
        marks(both(now + 1, 1), frame(now), pairing_ms=0.0)


def test_one_of_two_is_not_a_geometry():
    now = 100 * SECOND
    with pytest.raises(GeometryError, match="SourceToPatient") as refusal:
        marks(both(now, 1)[:1], frame(now))
    assert refusal.value.code == "transforms_not_paired"


def test_no_transform_at_all_is_no_geometry():
    assert marks([], frame()) is None
    assert marks([sample("NeedleToPatient", 100 * SECOND, 1)], frame()) is None
    assert marks(both(100 * SECOND, 1, suffix="A"), frame()) is None


def test_biplane_takes_its_own():
    now = 100 * SECOND
    samples = both(now, 1, suffix="A") + both(now, 2, suffix="B") + both(now, 3)
    assert marks(samples, frame(now, device="FluoroA")) == (1.0, 1.0)
    assert marks(samples, frame(now, device="FluoroB")) == (2.0, 2.0)
    assert marks(samples, frame(now)) == (3.0, 3.0)
    assert [biplane_suffix(name) for name in ("Fluoro", "FluoroA", "FluoroB")] == ["", "A", "B"]


def test_the_pictures_own_connection_goes_first():
    now = 100 * SECOND
    own, other = both(now - 9 * MS, 1), both(now, 2, connection=2)
    assert marks(own + other, frame(now)) == marks(other + own, frame(now)) == (1.0, 1.0)
    assert marks(both(now - 17 * MS, 1) + other, frame(now)) == (2.0, 2.0)


def test_timestamp_zero_takes_the_latest_before_on_the_same_connection():
    samples = (
        both(0, 1, received_ns=900_000_000)
        + both(0, 2, received_ns=980_000_000)
        + both(0, 3, received_ns=1_000_000_001)  # after the picture
        + both(0, 4, received_ns=999_000_000, connection=2)  # of another sender
    )
    assert marks(samples, frame(0)) == (2.0, 2.0)
    assert marks(samples, frame(100 * SECOND)) == (2.0, 2.0)  # one unused timestamp is enough
    with pytest.raises(GeometryError):
        marks(samples, frame(0), maximum_age_ms=15.0)


RAS = np.diag((-1.0, -1.0, 1.0))


def transforms_of(pose: CArmPose, detector: Detector, isocenter, *, ras: bool) -> PairedTransforms:
    """What a sender with the design's words would send, made from the positioner's axes."""
    axes = positioner_axes(pose.primary_angle_deg, pose.secondary_angle_deg, pose.detector_rotation_deg)
    along_rows, to_source, up = axes
    source = isocenter + pose.source_to_isocenter_mm * to_source
    u0, v0 = detector.principal_point_or_middle_px
    centre = source - pose.source_to_detector_mm * to_source
    first_pixel = centre - u0 * detector.pitch_column_mm * along_rows + v0 * detector.pitch_row_mm * up
    turn = RAS if ras else np.eye(3)
    patient_from_detector, patient_from_source = np.eye(4), np.eye(4)
    patient_from_detector[:3, :3] = turn @ np.column_stack((along_rows, -up, to_source))
    # x right and y down have z into the picture, which is towards the source: a proper rotation.
    patient_from_detector[:3, 3] = turn @ first_pixel
    patient_from_source[:3, :3] = np.diag((9.0, 9.0, 9.0))  # only its translation is used
    patient_from_source[:3, 3] = turn @ source
    return PairedTransforms(patient_from_detector=patient_from_detector, patient_from_source=patient_from_source)


@given(
    st.tuples(st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180)),
    st.tuples(*[st.floats(-100, 100)] * 3),
    st.booleans(),
    st.none() | st.tuples(st.floats(100, 900), st.floats(100, 700)),
)
def test_the_same_picture_as_the_angle_form(angles, isocenter, ras, principal_point):
    pose = CArmPose(
        primary_angle_deg=angles[0],
        secondary_angle_deg=angles[1],
        source_to_detector_mm=1200.0,
        source_to_isocenter_mm=750.0,
        detector_rotation_deg=angles[2],
    )
    detector = Detector(
        rows=800, columns=1000, pitch_row_mm=0.2, pitch_column_mm=0.3, principal_point_px=principal_point
    )
    camera = ConeBeamCamera(pose=pose, detector=detector, isocenter_lps_mm=isocenter)
    transforms = transforms_of(pose, detector, np.array(isocenter), ras=ras)
    assert np.linalg.det(transforms.patient_from_detector[:3, :3]) == pytest.approx(1.0)
    matrix, distance = projection_of_transforms(transforms, (0.3, 0.2), 800, 1000, frame="ras" if ras else "lps")
    assert distance == pytest.approx(1200.0)
    assert determinant(matrix) < 0.0
    points = np.array(isocenter) + np.random.default_rng(1).uniform(-80, 80, (20, 3))
    np.testing.assert_allclose(project(points, matrix), project(points, camera.pixel_from_patient), atol=1e-6)


def good() -> PairedTransforms:
    pose = CArmPose(primary_angle_deg=0, secondary_angle_deg=0, source_to_detector_mm=1200, source_to_isocenter_mm=750)
    detector = Detector(rows=1000, columns=1000, pitch_row_mm=0.3, pitch_column_mm=0.3)
    return transforms_of(pose, detector, np.zeros(3), ras=True)


@pytest.mark.parametrize(
    ("change", "pitch", "code"),
    [
        (lambda pair: None, None, "no_pixel_pitch"),
        (lambda pair: None, (0.0, 0.3), "no_pixel_pitch"),
        (lambda pair: None, (float("nan"), 0.3), "no_pixel_pitch"),
        (lambda pair: None, (1.0, 1.1), "bad_pixel_spacing"),  # a sender's default of 1 mm
        (lambda pair: pair.patient_from_detector.__setitem__((0, 0), np.nan), (0.3, 0.3), "not_finite"),
        (lambda pair: pair.patient_from_source.__setitem__((0, 3), np.inf), (0.3, 0.3), "not_finite"),
        (lambda pair: pair.patient_from_detector.__imul__(0.3), (0.3, 0.3), "transforms_not_rigid"),
        (lambda pair: pair.patient_from_detector[:3, 2].__imul__(-1), (0.3, 0.3), "source_behind_detector"),
    ],
)
def test_unusable_transforms_are_refused(change, pitch, code):
    pair = good()
    change(pair)
    with pytest.raises(GeometryError) as refusal:
        projection_of_transforms(pair, pitch, 1000, 1000, frame="ras")
    assert refusal.value.code == code
