"""Lying streams: what is told and what is shown differ by exactly the scripted fault, and the truth is kept beside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from guidance.wire.openigtlink import Decoder, Image, timestamp_from_unix_ns
from simulators.carm import CArmScript, SentFrame, SimulatedCArm, Stop
from simulators.carm_metadata import GEOMETRY_FORMS, Technique, Telling, frame_metadata, frame_transforms
from simulators.carm_stream import render
from simulators.faults import Fault, faults_from_toml
from simulators.gantry import PATIENT_POSITIONS, STILL, Gantry
from simulators.lies import picture_with_fault, told_with_fault, turned_from_taken

WIDE = Gantry(
    detector_rows=40,
    detector_columns=64,
    pitch_row_mm=2.5,
    pitch_column_mm=2.5,
    primary_deg=20.0,
    secondary_deg=-10.0,
    isocenter_lps_mm=(3.0, -4.0, 5.0),
)
NOW_NS = 1_700_000_000_000_000_000
STEP_NS = 33_000_000
POINTS = np.array([[12.0, -7.0, 9.0], [-20.0, 4.0, -16.0], [3.0, 25.0, 1.0]])
TURNING = tuple(Stop(gantry=replace(WIDE, primary_deg=20.0 + n), frames=1) for n in range(8))


def take(scene, faults, *, stops=TURNING, form="matrix", count=4) -> list[SentFrame]:
    script = CArmScript(stops=stops, telling=Telling(geometry=form, frame_of_reference_uid="1.2"), faults=faults)
    carm = SimulatedCArm(script)
    frames = []
    for n in range(count):
        carm.advance()
        frames.append(carm.frame(render(scene, carm.stop.gantry, script.exposure), NOW_NS + n * STEP_NS))
    return frames


def told_matrix(frame: SentFrame) -> np.ndarray:
    return np.array(frame.metadata["XRay.ProjectionMatrix"].split(), float).reshape(3, 4)


def places(matrix, points=POINTS) -> np.ndarray:
    uvw = np.asarray(points) @ matrix[:, :3].T + matrix[:, 3]
    return uvw[:, :2] / uvw[:, 2:]


def images(frame: SentFrame) -> list[Image]:
    decoder = Decoder(maximum_body_bytes=1 << 24)
    found = []
    for chunk in frame.chunks:
        view = memoryview(chunk).cast("B")
        while len(view):
            room = decoder.next_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            decoder.advance(count)
            view = view[count:]
            while (event := decoder.next_event()) is not None:
                found.append(event)
    return [event for event in found if isinstance(event, Image)]


def test_without_a_fault_told_is_true(block_scene):
    for n, frame in enumerate(take(block_scene, {})):
        assert np.abs(places(told_matrix(frame)) - places(frame.pixel_from_patient)).max() < 1e-6
        assert (frame.taken, frame.faults, frame.late) == (n, (), None)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.MIRRORED_PICTURE,
        Fault.UPSIDE_DOWN_PICTURE,
        Fault.HALF_TURNED_PICTURE,
        Fault.QUARTER_TURNED_PICTURE,
        Fault.TRANSPOSED_PICTURE,
    ],
)
def test_a_turned_pictures_truth_turns_with_its_pixels(block_scene, fault):
    dot = np.zeros((7, 11), np.uint16)
    dot[2, 8] = 1
    v, u = np.argwhere(picture_with_fault(fault, dot))[0]
    assert turned_from_taken(fault, 7, 11) @ (8, 2, 1) == pytest.approx((u, v, 1))
    honest, lying = take(block_scene, {})[1], take(block_scene, {1: fault})[1]
    assert np.array_equal(lying.pixels, picture_with_fault(fault, honest.pixels))
    assert lying.metadata == honest.metadata
    turned = turned_from_taken(fault, 40, 64) @ np.append(places(honest.pixel_from_patient)[0], 1.0)
    assert places(lying.pixel_from_patient)[0] == pytest.approx(turned[:2], abs=1e-9)
    assert np.abs(places(told_matrix(lying)) - places(lying.pixel_from_patient)).max() > 1.0
    assert images(lying)[0].pixels.shape == lying.pixels.shape


@pytest.mark.parametrize(
    ("fault", "axis"), [(Fault.TURNED_ABOUT_X, 0), (Fault.TURNED_ABOUT_Y, 1), (Fault.TURNED_ABOUT_Z, 2)]
)
@pytest.mark.parametrize("position", ["HFS", "HFP"])
def test_a_volume_turned_about_the_isocentre(fault, axis, position):
    gantry = replace(WIDE, detector_rotation_deg=8.0, patient_position=position)
    told = told_with_fault(fault, gantry, gantry).pixel_from_patient()
    turn = Rotation.from_rotvec(5.0 * np.eye(3)[axis], degrees=True).as_matrix()
    middle = np.asarray(gantry.isocenter_lps_mm)
    turned = (POINTS - middle) @ turn.T + middle
    assert np.abs(places(told, turned) - places(gantry.pixel_from_patient())).max() < 1e-9
    assert places(told, middle[None]) == pytest.approx(places(gantry.pixel_from_patient(), middle[None]), abs=1e-9)


@pytest.mark.parametrize("form", ["matrix", "angles", "isocenter", "transforms"])
@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_what_the_patient_does_is_seen_but_not_told(form, position):
    assert form in GEOMETRY_FORMS
    moved = replace(WIDE, patient_position=position, patient_moved=(3.0, -1.0, 2.0, 0.0, 0.0, 10.0))
    still = replace(moved, patient_moved=STILL)
    technique = Technique(kvp=80, tube_current_ma=1, pulse_width_ms=1, air_kerma_mgy=0, dose_area_product_gycm2=0)
    telling = Telling(geometry=form, frame_of_reference_uid="1.2")
    told = [frame_metadata(gantry, telling, technique, frame_number=1, live=True) for gantry in (moved, still)]
    assert told[0] == told[1]
    for name, matrix in frame_transforms(moved).items():
        assert np.array_equal(matrix, frame_transforms(still)[name])
    turn = Rotation.from_rotvec([0.0, 0.0, 10.0], degrees=True).as_matrix()
    where = (POINTS - (3.0, -4.0, 5.0)) @ turn.T + (3.0, -4.0, 5.0) + (3.0, -1.0, 2.0)
    assert np.abs(moved.project(POINTS) - still.project(where)).max() < 1e-9
    assert np.abs(places(moved.pixel_from_patient()) - still.project(where)[:, :2]).max() < 1e-9


def test_the_previous_frames_geometry(block_scene):
    frames = take(block_scene, {2: Fault.PREVIOUS_GEOMETRY})
    assert np.array_equal(told_matrix(frames[2]), told_matrix(frames[1]))
    assert frames[2].metadata["XRay.FrameNumber"] == "3"
    assert np.abs(places(told_matrix(frames[3])) - places(frames[3].pixel_from_patient)).max() < 1e-6


@pytest.mark.parametrize(
    ("fault", "factor"),
    [(Fault.SOURCE_DISTANCE_2_PERCENT, 1.02), (Fault.SOURCE_DISTANCE_10_PERCENT, 1.1), (Fault.OTHER_ZOOM, 1.4)],
)
def test_a_wrong_scale_is_told_about_the_middle(block_scene, fault, factor):
    frame = take(block_scene, {1: fault})[1]
    middle = (31.5, 19.5)
    true = places(frame.pixel_from_patient) - middle
    assert np.abs(places(told_matrix(frame)) - middle - factor * true).max() < 1e-6


def test_the_table_that_is_not_told_or_told_twice(block_scene):
    stops = (Stop(gantry=replace(WIDE, table_mm=(10.0, 0.0, -6.0), table_at_cbct_mm=(1.0, 0.0, 0.0)), frames=4),)
    faults = {1: Fault.TABLE_NOT_TOLD, 2: Fault.TABLE_TOLD_TWICE}
    texts = [frame.metadata["XRay.TableMm"] for frame in take(block_scene, faults, stops=stops, form="angles")]
    assert texts == ["10 0 -6", "1 0 0", "19 0 -12", "10 0 -6"]


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFDL"])
def test_a_sender_that_counts_angles_the_other_way(position):
    gantry = replace(WIDE, patient_position=position)
    twice = told_with_fault(Fault.NEGATED_PRIMARY, told_with_fault(Fault.NEGATED_PRIMARY, gantry, gantry), gantry)
    assert twice.pixel_from_patient() == pytest.approx(gantry.pixel_from_patient(), abs=1e-9)
    once = told_with_fault(Fault.NEGATED_PRIMARY, gantry, gantry)
    assert np.abs(places(once.pixel_from_patient()) - places(gantry.pixel_from_patient())).max() > 1.0


def test_a_stop_that_tells_another_place(block_scene):
    elsewhere = replace(WIDE, primary_deg=-70.0)
    frame = take(block_scene, {}, stops=(Stop(gantry=WIDE, told=elsewhere),), count=1)[0]
    assert told_matrix(frame) == pytest.approx(elsewhere.pixel_from_patient(), abs=1e-6)
    assert frame.pixel_from_patient == pytest.approx(WIDE.pixel_from_patient(), abs=1e-9)


def test_a_frozen_picture_has_the_geometry_of_now(block_scene):
    frames = take(block_scene, {2: Fault.FROZEN_PICTURE})
    assert np.array_equal(frames[2].pixels, frames[1].pixels)
    assert frames[2].metadata["XRay.FrameNumber"] == "3"
    assert frames[2].taken == 1
    assert np.array_equal(frames[2].pixel_from_patient, frames[1].pixel_from_patient)
    assert np.abs(places(told_matrix(frames[2])) - places(frames[2].pixel_from_patient)).max() > 0.05


def test_a_message_that_comes_twice_and_one_that_comes_late(block_scene):
    frames = take(block_scene, {1: Fault.REPEATED_MESSAGE, 3: Fault.LATE}, count=6)
    assert b"".join(map(bytes, frames[1].chunks)) == b"".join(map(bytes, frames[0].chunks))
    assert frames[3].chunks == []
    late = frames[4].late
    assert late is not None
    assert (late.taken, frames[4].taken) == (3, 4)
    numbers = [image.metadata["XRay.FrameNumber"] for image in images(frames[4])]
    assert [int(number) for number in numbers] == [4, 3]
    assert [image.metadata["XRay.FrameNumber"] for image in images(frames[5])] == ["5"]


def test_a_clock_that_jumps_and_one_that_tells_nothing(block_scene):
    faults = {1: Fault.CLOCK_FORWARD, 2: Fault.CLOCK_BACKWARD, 3: Fault.NO_CLOCK}
    stamps = [images(frame)[0].timestamp_igtl for frame in take(block_scene, faults)]
    hour_ns = 3_600_000_000_000
    assert stamps[1] == timestamp_from_unix_ns(NOW_NS + STEP_NS + hour_ns)
    assert stamps[2] == timestamp_from_unix_ns(NOW_NS + 2 * STEP_NS - hour_ns)
    assert stamps[3] == 0


def test_damaged_pixels(block_scene):
    stops = (Stop(gantry=WIDE, frames=9, pixel_type="float32"),)
    faults = {0: Fault.NAN_PIXELS, 1: Fault.INFINITE_PIXELS, 2: Fault.BLACK_PICTURE}
    nan, infinite, black, sound = take(block_scene, faults, stops=stops)
    assert 0 < np.isnan(nan.pixels).sum() < nan.pixels.size / 50
    assert 0 < np.isinf(infinite.pixels).sum() < infinite.pixels.size / 50
    assert not black.pixels.any()
    assert np.isfinite(sound.pixels).all()
    assert take(block_scene, {0: Fault.NAN_PIXELS})[0].pixels.dtype == np.uint16  # whole numbers know no NaN


def test_several_faults_of_one_frame(block_scene):
    faults = faults_from_toml('[[fault]]\nkind = ["half_turned_picture", "clock_forward"]\nframe = 1\n')
    assert faults == {1: (Fault.HALF_TURNED_PICTURE, Fault.CLOCK_FORWARD)}
    honest, lying = take(block_scene, {})[1], take(block_scene, faults)[1]
    assert np.array_equal(lying.pixels, honest.pixels[::-1, ::-1])
    assert images(lying)[0].timestamp_igtl > images(honest)[0].timestamp_igtl
    assert lying.faults == faults[1]
