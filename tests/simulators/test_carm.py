"""A C-arm's frames as bytes: decoded again by the codec, with each form of geometry, pedal, type and fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.wire.openigtlink import Decoder, Image, Refusal, Transform, timestamp_from_unix_ns
from simulators.carm import CArmScript, SimulatedCArm, Stop, sweep
from simulators.carm_metadata import Telling
from simulators.carm_stream import biplane, render
from simulators.faults import Fault
from simulators.gantry import Gantry

SMALL = Gantry(detector_rows=48, detector_columns=64, pitch_row_mm=2.5, pitch_column_mm=2.5)
NOW_NS = 1_700_000_000_000_000_000
STEP_NS = 33_000_000


def script(**changes) -> CArmScript:
    values = {"stops": (Stop(gantry=SMALL, frames=4),), "telling": Telling(frame_of_reference_uid="1.2.3")}
    return CArmScript(**(values | changes))


def take(scene, carm: SimulatedCArm, count: int):
    """Frames as sent, going from stop to stop as the stream does."""
    frames = []
    for n in range(count):
        carm.advance()
        exposed = render(scene, carm.stop.gantry, carm.script.exposure)
        frames.append(carm.frame(exposed, NOW_NS + n * STEP_NS))
    return frames


def decode(frames):
    """Everything that a receiver makes of them."""
    decoder = Decoder(maximum_body_bytes=1 << 24)
    events = []
    for frame in frames:
        for chunk in frame.chunks:
            view = memoryview(chunk).cast("B")
            while len(view):
                room = decoder.next_buffer()
                count = min(len(room), len(view))
                room[:count] = view[:count]
                decoder.advance(count)
                view = view[count:]
                while (event := decoder.next_event()) is not None:
                    events.append(event)
                    if isinstance(event, Refusal) and event.fatal:
                        return events
    return events


def test_frames_come_out_as_they_went_in(block_scene):
    frames = take(block_scene, SimulatedCArm(script()), 3)
    images = decode(frames)
    assert [type(image) for image in images] == [Image] * 3
    for n, (image, frame) in enumerate(zip(images, frames, strict=True)):
        assert image.device == "Fluoro"
        assert np.array_equal(image.pixels, frame.pixels)
        assert image.pixels.dtype == np.uint16
        assert image.pixels.shape == (48, 64)
        assert image.metadata == frame.metadata
        assert image.metadata["XRay.FrameNumber"] == str(n + 1)
        assert image.metadata["XRay.Live"] == "1"
        assert image.timestamp_igtl == timestamp_from_unix_ns(NOW_NS + n * STEP_NS)
    kerma = [float(frame.metadata["XRay.AirKermaMgy"]) for frame in frames]
    assert 0.0 < kerma[0] < kerma[1] < kerma[2] < 3.0


def test_the_same_seed_gives_the_same_bytes(block_scene):
    def stream(seed):
        frames = take(block_scene, SimulatedCArm(script(seed=seed)), 4)
        return b"".join(bytes(chunk) for frame in frames for chunk in frame.chunks)

    assert stream(5) == stream(5)
    assert stream(5) != stream(6)


@pytest.mark.parametrize(
    ("form", "present", "absent"),
    [
        ("matrix", {"XRay.ProjectionMatrix"}, {"XRay.PrimaryAngleDeg"}),
        ("angles", {"XRay.PrimaryAngleDeg", "XRay.IsocenterLpsMm"}, {"XRay.ProjectionMatrix"}),
        ("isocenter", {"XRay.IsocenterPrimaryAngleDeg", "XRay.PatientPosition"}, {"XRay.PrimaryAngleDeg"}),
        ("none", {"XRay.KVp"}, {"XRay.ProjectionMatrix", "XRay.PrimaryAngleDeg", "XRay.TableMm"}),
    ],
)
def test_forms_of_geometry(block_scene, form, present, absent):
    told = replace(script().telling, geometry=form)
    metadata = take(block_scene, SimulatedCArm(script(telling=told)), 1)[0].metadata
    assert present <= set(metadata)
    assert not absent & set(metadata)


def test_transforms_come_first_and_carry_the_frames_timestamp(block_scene):
    told = replace(script().telling, geometry="transforms")
    events = decode(take(block_scene, SimulatedCArm(script(telling=told, device="FluoroB")), 1))
    assert [type(event) for event in events] == [Transform, Transform, Image]
    assert [event.device for event in events[:2]] == ["DetectorToPatientB", "SourceToPatientB"]
    assert len({event.timestamp_igtl for event in events}) == 1
    ras = np.array(events[1].matrix).reshape(4, 3)[3]
    assert ras == pytest.approx([0.0, -750.0, 0.0], abs=1e-3)  # LPS (0, +750, 0): behind a supine patient's back


def test_table_is_told_as_difference_applied_or_alone(block_scene):
    gantry = replace(SMALL, table_mm=(10.0, 0.0, -5.0))

    def told(table):
        changes = {"telling": replace(script().telling, table=table), "stops": (Stop(gantry=gantry),)}
        return take(block_scene, SimulatedCArm(script(**changes)), 1)[0].metadata

    assert told("difference")["XRay.TableAtCbctMm"] == "0 0 0"
    assert told("difference")["XRay.IsocenterLpsMm"] == "0 0 0"
    assert "XRay.TableMm" not in told("applied")
    assert told("applied")["XRay.IsocenterLpsMm"] == "-10 0 5"
    assert "XRay.TableAtCbctMm" not in told("alone")


def test_header_version_1_has_no_metadata(block_scene):
    image = decode(take(block_scene, SimulatedCArm(script(header_version=1)), 1))[0]
    assert (image.header_version, dict(image.metadata)) == (1, {})


def test_size_and_type_change_in_mid_stream(block_scene):
    wide = replace(SMALL, crop_px=(4, 8, 40, 24), fov_rotation_deg=90)
    stops = (
        Stop(gantry=SMALL, frames=1, pixel_type="uint8"),
        Stop(gantry=wide, frames=1, pixel_type="int16"),
        Stop(gantry=SMALL, frames=1, pixel_type="float32"),
        Stop(gantry=SMALL, frames=1, pixel_type="int8"),
    )
    images = decode(take(block_scene, SimulatedCArm(script(stops=stops)), 4))
    assert [(image.pixels.shape, image.pixels.dtype.name) for image in images] == [
        ((48, 64), "uint8"),
        ((40, 24), "int16"),
        ((48, 64), "float32"),
        ((48, 64), "int8"),
    ]


@pytest.mark.parametrize(("released", "sent"), [("silent", 0), ("held", 2), ("lying", 2)])
def test_pedal(block_scene, released, sent):
    stops = (Stop(gantry=SMALL, frames=2), Stop(gantry=SMALL, frames=2, pedal=False))
    frames = take(block_scene, SimulatedCArm(script(stops=stops, released=released)), 4)
    assert sum(bool(frame.chunks) for frame in frames[2:]) == sent
    for frame in frames[2 : 2 + sent]:
        assert frame.pixels is frames[1].pixels
        assert frame.metadata["XRay.FrameNumber"] == "2"
        assert frame.metadata["XRay.Live"] == ("0" if released == "held" else "1")


def test_biplane_is_two_devices(block_scene):
    first, second = biplane(script(), replace(SMALL, primary_deg=90.0))
    assert (first.device, second.device) == ("FluoroA", "FluoroB")
    assert second.stops[0].gantry.primary_deg == 90.0


def test_a_script_without_loop_ends(block_scene):
    carm = SimulatedCArm(script(loop=False, stops=(Stop(gantry=SMALL, frames=2),)))
    take(block_scene, carm, 2)
    assert carm.finished


def test_a_sweep_goes_the_shorter_way_round():
    angles = [
        stop.gantry.primary_deg
        for stop in sweep(replace(SMALL, primary_deg=170.0), replace(SMALL, primary_deg=-170.0), poses=3, frames_each=1)
    ]
    assert angles == pytest.approx([175.0, -180.0, -175.0])


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.CORRUPT_CRC, "Crc"),
        (Fault.WRONG_SIZE, "ImageSize"),
        (Fault.SUB_VOLUME, "SubVolume"),
        (Fault.UNKNOWN_TYPE, None),
        (Fault.UNKNOWN_VERSION, None),
        (Fault.OVERSIZED, None),
    ],
)
def test_faults_of_the_bytes_are_found_by_the_receiver(block_scene, fault, code):
    events = decode(take(block_scene, SimulatedCArm(script(faults={1: fault})), 3))
    images = [event for event in events if isinstance(event, Image)]
    assert len(images) == (1 if fault is Fault.OVERSIZED else 2)  # the stream behind that one is lost
    refused = [event for event in events if isinstance(event, Refusal)]
    assert len(refused) >= 1
    if code:
        assert code.lower() in refused[0].code.lower()


def test_a_split_header_is_no_fault_to_a_good_receiver(block_scene):
    frames = take(block_scene, SimulatedCArm(script(faults={0: Fault.SPLIT_HEADER})), 1)
    assert len(frames[0].chunks[0]) == 31
    assert isinstance(decode(frames)[0], Image)


def test_hang_up_comes_within_a_message(block_scene):
    frame = take(block_scene, SimulatedCArm(script(faults={0: Fault.HANG_UP})), 1)[0]
    assert frame.hang_up
    assert decode([frame]) == []


@pytest.mark.parametrize(
    ("fault", "form", "key", "value"),
    [
        (Fault.NAN_METADATA, "matrix", "XRay.ProjectionMatrix", "nan"),
        (Fault.NAN_METADATA, "angles", "XRay.PrimaryAngleDeg", "nan"),
        (Fault.MISSING_KEYS, "angles", "XRay.SourceToDetectorMm", None),
        (Fault.WRONG_FRAME_OF_REFERENCE, "angles", "XRay.FrameOfReferenceUID", "1.2.3.4.5.6"),
        (Fault.NO_FRAME_OF_REFERENCE, "angles", "XRay.FrameOfReferenceUID", None),
        (Fault.WRONG_PATIENT_POSITION, "angles", "XRay.PatientPosition", "HFP"),
        (Fault.ABSURD_SOURCE_DISTANCE, "angles", "XRay.SourceToDetectorMm", "12"),
        (Fault.EQUIPMENT_ANGLES_ALONE, "angles", "XRay.PatientPosition", None),
        (Fault.HELD, "angles", "XRay.Live", "0"),
    ],
)
def test_faults_of_the_metadata(block_scene, fault, form, key, value):
    told = replace(script().telling, geometry=form)
    frames = take(block_scene, SimulatedCArm(script(telling=told, faults={1: fault})), 2)
    text = frames[1].metadata.get(key)
    assert text is None if value is None else text.split()[0] == value
    assert frames[0].metadata.get(key) != text


def test_a_mirrored_matrix_has_the_other_handedness(block_scene):
    told = replace(script().telling, geometry="matrix")
    frames = take(block_scene, SimulatedCArm(script(telling=told, faults={1: Fault.MIRRORED_MATRIX})), 2)
    signs = [
        np.sign(np.linalg.det(np.array(frame.metadata["XRay.ProjectionMatrix"].split(), float).reshape(3, 4)[:, :3]))
        for frame in frames
    ]
    assert signs == [-1.0, 1.0]


def test_faults_of_the_time(block_scene):
    faults = {1: Fault.REPEATED_FRAME_NUMBER, 2: Fault.LYING_HELD, 3: Fault.REPEATED_PIXELS, 4: Fault.STALE}
    faults |= {5: Fault.FROZEN_CLOCK, 6: Fault.FROZEN_CLOCK}
    frames = take(block_scene, SimulatedCArm(script(faults=faults, stops=(Stop(gantry=SMALL, frames=9),))), 8)
    images = decode(frames)
    assert [image.metadata["XRay.FrameNumber"] for image in images[:4]] == ["1", "1", "1", "2"]
    assert np.array_equal(images[1].pixels, images[2].pixels)
    assert np.array_equal(images[2].pixels, images[3].pixels)
    assert images[4].timestamp_igtl < images[3].timestamp_igtl
    assert images[5].timestamp_igtl == images[6].timestamp_igtl < images[7].timestamp_igtl
