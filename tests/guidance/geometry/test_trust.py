"""The verdict: trusted only with everything in place; each doubt has its code and its words."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.config import GeometrySettings
from guidance.geometry.camera import ConeBeamCamera, project
from guidance.geometry.detector import Detector
from guidance.geometry.metadata import GEOMETRY_KEYS
from guidance.geometry.positioner import CArmPose
from guidance.geometry.trust import judge
from guidance.messages import CbctVolume, FluoroFrame, GeometryState, TransformSample, VolumeState

PIXELS = np.zeros((1024, 1024), np.uint16)
UID = "1.2.826.0.1.1"
ANGLES = {
    "XRay.PrimaryAngleDeg": "30",
    "XRay.SecondaryAngleDeg": "20",
    "XRay.SourceToDetectorMm": "1200",
    "XRay.SourceToIsocenterMm": "750",
    "XRay.ImagerPixelSpacingMm": "0.3 0.3",
    "XRay.IsocenterLpsMm": "0 0 0",
}
TOLD = {**ANGLES, "XRay.FrameOfReferenceUID": UID}
MARKERS_LPS_MM = np.array(((50.0, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, 20.0)))
AT_30_20 = ((735.43, 555.72), (594.19, 462.51), (511.50, 412.17))
# 200 x 200 x 200 voxels of 1 mm about the isocentre, i to the left, j to the back, k to the head.
AFFINE = (1.0, 0, 0, -100, 0, 1.0, 0, -95, 0, 0, 1.0, -90, 0, 0, 0, 1.0)


def volume(**change) -> CbctVolume:
    given_ = {
        "id": "v",
        "series_instance_uid": "1.2.3",
        "frame_of_reference_uid": UID,
        "patient_position": "HFP",
        "state": VolumeState.READY,
        "shape_kji": (200, 200, 200),
        "affine_lps_from_ijk": AFFINE,
    }
    return CbctVolume(**{**given_, **change})


def frame(metadata, **change) -> FluoroFrame:
    given_ = {"device": "Fluoro", "pixels": PIXELS, "timestamp_igtl": 0, "received_ns": 10**9, "metadata": metadata}
    return FluoroFrame(**{**given_, **change})


SETTINGS = GeometrySettings()


def verdict(metadata, *, active=None, **more):
    return judge(frame(metadata), volume=active or volume(), settings=more.pop("settings", SETTINGS), **more)


def matrix_of(primary=30.0, secondary=20.0, flip=False, sid=1200.0) -> np.ndarray:
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=sid,
            source_to_isocenter_mm=750.0,
        ),
        detector=Detector(rows=1024, columns=1024, pitch_row_mm=0.3, pitch_column_mm=0.3, fov_flip=flip),
    ).pixel_from_patient


def told_matrix(matrix) -> dict[str, str]:
    return {
        "XRay.ProjectionMatrix": " ".join(map(repr, np.asarray(matrix).ravel().tolist())),
        "XRay.FrameOfReferenceUID": UID,
    }


def assert_refused(found, code, *words, state=GeometryState.WITHHELD):
    assert (found.state, found.code) == (state, code), found.reason
    assert found.pixel_from_patient is None
    assert found.reason
    for word in words:
        assert word in found.reason


def assert_golden(found, source):
    assert (found.state, found.reason, found.code, found.source) == (GeometryState.TRUSTED, "", "", source)
    matrix = np.array(found.pixel_from_patient).reshape(3, 4)
    assert np.linalg.norm(matrix[2, :3]) == pytest.approx(1.0)
    seen = project(MARKERS_LPS_MM, matrix)
    np.testing.assert_allclose(seen[:, :2], AT_30_20, atol=0.0051)
    np.testing.assert_allclose(seen[:, 2], project(MARKERS_LPS_MM, matrix_of())[:, 2], atol=1e-6)


def test_angles_are_trusted():
    assert_golden(verdict(TOLD), "metadata_angles")


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-6, -3e5, 1e300, -1e-300])
def test_a_matrix_of_any_scale_and_sign_is_trusted(scale):
    told = told_matrix(scale * matrix_of())
    assert_golden(verdict(told), "metadata_matrix")
    table = {"XRay.TableMm": "4000 -4000 4000", "XRay.TableAtCbctMm": "4000 -4000 3999.9"}
    moved = verdict({**told, **table})
    assert moved.state is GeometryState.TRUSTED
    np.testing.assert_allclose(moved.pixel_from_patient, verdict(told).pixel_from_patient, rtol=2e-3)


@pytest.mark.parametrize("scale", [1.0, -1.0])
@pytest.mark.parametrize(("flipped", "said"), list(itertools.product((False, True), ("", "0", "1"))))
def test_handedness_must_be_as_the_flip_says(scale, flipped, said):
    found = verdict({**told_matrix(scale * matrix_of(flip=flipped)), "XRay.FovFlip": said})
    if flipped == (said == "1"):
        assert found.state is GeometryState.TRUSTED
    else:
        assert_refused(found, "mirrored_picture", "flip" if said == "1" else "mirrored")


def test_rotation_beside_a_matrix_changes_nothing():
    plain = verdict(told_matrix(matrix_of()))
    turned = verdict({**told_matrix(matrix_of()), "XRay.FovRotationDeg": "90"})
    assert turned == plain


def test_the_classic_mirror_is_withheld():
    """ "z to the detector with an all-positive K": rows left to right, columns up, as seen from the source."""
    axes = np.array(((-1.0, 0, 0, 0), (0, 0, -1.0, 0), (0, -1.0, 0, 750.0)))
    mirrored = np.array(((4000.0, 0, 511.5), (0, 4000.0, 511.5), (0, 0, 1.0))) @ axes
    assert_refused(verdict(told_matrix(mirrored)), "mirrored_picture")


def transforms(suffix="", timestamp=0, **more):
    source, detector = np.eye(4), np.eye(4)
    # 0/0 in RAS numbers: x to the patient's left (-R), y to the feet (-S), z to the source in the back (-A).
    detector[:3, :3] = np.array(((-1.0, 0, 0), (0, 0, -1.0), (0, -1.0, 0))).T
    detector[:3, 3] = (511.5 * 0.3, 450.0, 511.5 * 0.3)
    source[:3, 3] = (0.0, -750.0, 0.0)
    return [
        TransformSample(name=f"{name}{suffix}", matrix=matrix, timestamp_igtl=timestamp, received_ns=10**9 - 1, **more)
        for name, matrix in (("DetectorToPatient", detector), ("SourceToPatient", source))
    ]


def test_paired_transforms_are_trusted():
    picture = frame({"XRay.FrameOfReferenceUID": UID}, pixel_pitch_mm=(0.3, 0.3))
    found = judge(picture, volume=volume(), settings=SETTINGS, transforms=transforms())
    assert (found.state, found.source) == (GeometryState.TRUSTED, "transforms")
    seen = project(MARKERS_LPS_MM, np.array(found.pixel_from_patient).reshape(3, 4))[:, :2]
    np.testing.assert_allclose(seen, ((778.17, 511.5), (511.5, 511.5), (511.5, 404.83)), atol=0.0051)


def test_transforms_that_do_not_pair_are_said():
    picture = frame({"XRay.FrameOfReferenceUID": UID}, pixel_pitch_mm=(0.3, 0.3), connection_id=9)
    found = judge(picture, volume=volume(), settings=SETTINGS, transforms=transforms())
    assert_refused(found, "transforms_not_paired", "DetectorToPatient")
    picture = frame({"XRay.FrameOfReferenceUID": UID}, device="FluoroA", pixel_pitch_mm=(0.3, 0.3))
    found = judge(picture, volume=volume(), settings=SETTINGS, transforms=transforms("B"))
    assert_refused(found, "no_geometry", state=GeometryState.ABSENT)


def test_pairing_window_is_the_setting_or_half_an_interval():
    late = (1 << 32) // 50  # 20 ms
    picture = frame({"XRay.FrameOfReferenceUID": UID}, pixel_pitch_mm=(0.3, 0.3), timestamp_igtl=1 << 40)
    samples = transforms(timestamp=(1 << 40) + late)
    for settings_, interval_ms, state in (
        (SETTINGS, 41.0, GeometryState.TRUSTED),
        (SETTINGS, 39.0, GeometryState.WITHHELD),
        (GeometrySettings(transform_pairing_ms=25.0), 10.0, GeometryState.TRUSTED),
        (GeometrySettings(transform_pairing_ms=15.0), 41.0, GeometryState.WITHHELD),
    ):
        found = judge(picture, volume=volume(), settings=settings_, transforms=samples, frame_interval_ms=interval_ms)
        assert found.state is state


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"XRay.FrameOfReferenceUID": UID},
        {"XRay.ImagerPixelSpacingMm": "0.3 0.3", "XRay.SourceToDetectorMm": "1200"},
    ],
)
def test_no_geometry_is_absent_and_says_what_is_missing(metadata):
    assert_refused(verdict(metadata), "no_geometry", "XRay.PrimaryAngleDeg", state=GeometryState.ABSENT)
    without_volume = judge(frame(metadata), volume=None, settings=SETTINGS)
    assert_refused(without_volume, "no_geometry", state=GeometryState.ABSENT)


def test_no_active_volume():
    for active in (None, volume(state=VolumeState.RECEIVING), volume(affine_lps_from_ijk=None)):
        assert_refused(judge(frame(TOLD), volume=active, settings=SETTINGS), "no_active_volume")


class TestFrameOfReference:
    def test_another_one(self):
        other = {**ANGLES, "XRay.FrameOfReferenceUID": "1.2.3.4"}
        assert_refused(verdict(other), "frame_of_reference_mismatch", UID, "1.2.3.4")
        # Not even the operator's word mends two names that differ.
        assert_refused(verdict(other, shared_frame_confirmed=True), "frame_of_reference_mismatch")

    def test_none_until_somebody_says_so(self):
        assert_refused(verdict(ANGLES), "no_frame_of_reference")
        assert_golden(verdict(ANGLES, shared_frame_confirmed=True), "metadata_angles")
        assert_golden(verdict(ANGLES, settings=GeometrySettings(shared_frame_of_reference=True)), "metadata_angles")

    def test_a_volume_without_one_needs_the_word_too(self):
        nameless = volume(frame_of_reference_uid="")
        assert_refused(verdict(TOLD, active=nameless), "no_frame_of_reference")
        assert_golden(verdict(TOLD, active=nameless, shared_frame_confirmed=True), "metadata_angles")


def test_patient_position_that_contradicts_the_volume():
    assert_golden(verdict({**TOLD, "XRay.PatientPosition": "HFP"}), "metadata_angles")
    for metadata in (TOLD, told_matrix(matrix_of())):
        found = verdict({**metadata, "XRay.PatientPosition": "HFS"})
        assert_refused(found, "patient_position_mismatch", "HFS", "HFP")
    assert_golden(
        verdict({**TOLD, "XRay.PatientPosition": "HFS"}, active=volume(patient_position="")), "metadata_angles"
    )


def test_held_pictures_are_not_live():
    assert_refused(verdict({**TOLD, "XRay.Live": "0"}), "held", "HELD")
    assert_refused(verdict({**TOLD, "XRay.Live": "1"}, held=True), "held", "HELD")
    assert_golden(verdict({**TOLD, "XRay.Live": "1"}), "metadata_angles")


def test_age():
    assert_golden(verdict(TOLD, age_ms=200.0), "metadata_angles")
    aged = verdict(TOLD, age_ms=201.0)
    assert (aged.state, aged.code) == (GeometryState.DEGRADED, "ageing")
    assert "201 ms" in aged.reason
    assert aged.pixel_from_patient == verdict(TOLD).pixel_from_patient
    assert_refused(verdict(TOLD, age_ms=501.0), "stale", "STALE")
    assert_refused(verdict(TOLD, age_ms=float("nan")), "stale")


def test_table_without_a_reference():
    moved = {**TOLD, "XRay.TableMm": "0 0 50"}
    assert_refused(verdict(moved), "table_reference_unknown", "table reference unknown")
    known = verdict(moved, active=volume(table_at_cbct_mm=(0.0, 0.0, 50.0)))
    assert_golden(known, "metadata_angles")
    assert_refused(verdict({**told_matrix(matrix_of()), "XRay.TableMm": "0 0 50"}), "table_reference_unknown")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"XRay.PrimaryAngleDeg": "nan"}, "not_finite"),
        ({"XRay.PrimaryAngleDeg": "LAO 30"}, "wrong_count"),
        ({"XRay.SourceToIsocenterMm": "1250"}, "distance_out_of_range"),
        ({"XRay.SourceToDetectorMm": "3000"}, "distance_out_of_range"),
        ({"XRay.SourceToDetectorMm": "400", "XRay.SourceToIsocenterMm": "300"}, "distance_out_of_range"),
        ({"XRay.SourceToDetectorMm": "1.2", "XRay.SourceToIsocenterMm": "0.75"}, "out_of_range"),  # metres
        ({"XRay.ImagerPixelSpacingMm": ""}, "incomplete_geometry"),
        ({"XRay.ImagerPixelSpacingMm": "1 1"}, "bad_pixel_spacing"),
        ({"XRay.IsocenterLpsMm": ""}, "incomplete_geometry"),
        ({"XRay.IsocenterLpsMm": "0 2000 0"}, "volume_not_in_beam"),
        ({"XRay.IsocenterLpsMm": "0 -2000 0"}, "volume_not_in_beam"),
        ({"XRay.SourceToIsocenterMm": "100"}, "source_inside_volume"),
        ({"XRay.FrameNumber": "-3"}, "bad_frame_number"),
        ({"XRay.Live": "yes"}, "bad_flag"),
        ({"XRay.PatientPosition": "BELLY"}, "unknown_patient_position"),
        ({"XRay.FovRotationDeg": "30"}, "bad_fov_rotation"),
    ],
)
def test_absurd_angles_are_withheld(change, code):
    assert_refused(verdict({**TOLD, **change}), code)


NAN = matrix_of()
NAN[1, 2] = np.nan
METRES = matrix_of()
METRES[:, 3] /= 1000.0
CENTIMETRES = matrix_of()
CENTIMETRES[:, 3] /= 10.0
PARALLEL = matrix_of()
PARALLEL[2] = (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("matrix", "code"),
    [
        (NAN, "not_finite"),
        (np.zeros((3, 4)), "not_a_projection"),
        (PARALLEL, "not_a_projection"),
        (np.vstack((matrix_of()[0], matrix_of()[0], matrix_of()[2])), "not_a_projection"),
        (np.eye(3, 4), "not_a_projection"),
        (np.diag((1.0, 8.0, 1.0)) @ matrix_of(), "not_a_projection"),
        (METRES, "not_a_projection"),
        (CENTIMETRES, "source_inside_volume"),
    ],
)
def test_absurd_matrices_are_withheld(matrix, code):
    assert_refused(verdict(told_matrix(matrix)), code)


class TestContradiction:
    def test_matrix_and_angles_of_two_poses(self):
        angles = {"XRay.PrimaryAngleDeg": "30", "XRay.SecondaryAngleDeg": "20"}
        assert verdict({**told_matrix(matrix_of(31.0, 20.0)), **angles}).state is GeometryState.TRUSTED
        found = verdict({**told_matrix(matrix_of(36.0, 20.0)), **angles})
        assert_refused(found, "contradictory_geometry", "6 deg")
        assert_refused(verdict({**told_matrix(matrix_of(-30.0, 20.0)), **angles}), "contradictory_geometry")
        assert_refused(verdict({**told_matrix(matrix_of(-150.0, -20.0)), **angles}), "contradictory_geometry")

    def test_matrix_and_a_complete_angle_form_that_differ(self):
        assert_golden(verdict({**TOLD, **told_matrix(matrix_of())}), "metadata_matrix")
        moved = matrix_of()
        moved[0] += 60.0 * moved[2]  # 60 px are 11 mm at the isocentre
        assert_refused(verdict({**TOLD, **told_matrix(moved)}), "contradictory_geometry", "mm apart")
        zoomed = np.diag((1.5, 1.5, 1.0)) @ matrix_of()
        assert_refused(verdict({**TOLD, **told_matrix(zoomed)}), "contradictory_geometry")

    def test_patient_and_equipment_angles_that_differ(self):
        both = {
            **TOLD,
            "XRay.IsocenterPrimaryAngleDeg": "30",
            "XRay.IsocenterSecondaryAngleDeg": "20",
            "XRay.PatientPosition": "HFP",
        }
        assert_refused(verdict(both), "contradictory_angles")


def test_a_malformed_matrix_is_never_replaced_by_something_else():
    """A stream that tells nonsense is not trusted for its other half."""
    found = verdict({**TOLD, "XRay.ProjectionMatrix": "1 2 3"})
    assert_refused(found, "wrong_count", "XRay.ProjectionMatrix")


def test_size_changes_are_followed_frame_by_frame():
    half = judge(
        frame({**TOLD, "XRay.ImagerPixelSpacingMm": "0.6 0.6"}, pixels=PIXELS[:512, :512]),
        volume=volume(),
        settings=SETTINGS,
    )
    seen = project(MARKERS_LPS_MM, np.array(half.pixel_from_patient).reshape(3, 4))[:, :2]
    np.testing.assert_allclose(seen, (np.array(AT_30_20) + 0.5) / 2.0 - 0.5, atol=0.0051)


texts = st.sampled_from(("", "0", "1", "30", "nan", "0 0 0", "1 2", "HFP", "1e30", "-1", "750", "1200", "0.3 0.3", UID))


@given(st.dictionaries(st.sampled_from((*GEOMETRY_KEYS, "XRay.FrameNumber")), texts), st.booleans())
def test_nothing_that_is_sent_raises_or_is_drawn_unfinished(metadata, over_good):
    found = verdict({**TOLD, **metadata} if over_good else metadata)
    if found.state in (GeometryState.TRUSTED, GeometryState.DEGRADED):
        matrix = np.array(found.pixel_from_patient).reshape(3, 4)
        assert np.isfinite(matrix).all()
        assert np.linalg.norm(matrix[2, :3]) == pytest.approx(1.0)
    else:
        assert found.pixel_from_patient is None
        assert found.reason
        assert found.code


def test_angles_told_in_both_systems_are_held_against_the_volumes_position() -> None:
    """The equipment believes a prone patient to be supine: the same numbers in both systems, and no position told."""
    both = TOLD | {"XRay.IsocenterPrimaryAngleDeg": "30", "XRay.IsocenterSecondaryAngleDeg": "20"}
    assert verdict(both, active=volume(patient_position="HFP")).code == "contradictory_angles"
    assert verdict(both, active=volume(patient_position="HFS")).state is GeometryState.TRUSTED


@pytest.mark.parametrize(
    ("pitch", "rotation", "code"),
    [
        pytest.param("0.3 0.3", "0", "", id="its-own"),
        pytest.param("0.15 0.15", "0", "contradictory_geometry", id="another-zoom"),
        pytest.param("0.6 0.6", "0", "contradictory_geometry", id="binned"),
        pytest.param("0.3 0.6", "0", "contradictory_geometry", id="columns-binned"),
        pytest.param("0.3 0.3", "90", "", id="turned"),
    ],
)
def test_a_matrix_of_another_zoom_than_the_pitch_beside_it(pitch: str, rotation: str, code: str) -> None:
    told = {
        "XRay.ProjectionMatrix": " ".join(map(repr, matrix_of().ravel().tolist())),
        "XRay.FrameOfReferenceUID": UID,
        "XRay.SourceToDetectorMm": "1200",
        "XRay.ImagerPixelSpacingMm": pitch,
        "XRay.FovRotationDeg": rotation,
    }
    assert verdict(told).code == code
