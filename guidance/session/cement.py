"""Cement in the session: what is asked of each frame, and what a start needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.cement.values import CementFrame, CementScene
from guidance.clock import ns_from_igtl
from guidance.errors import GeometryError
from guidance.geometry.intensity import PixelIntensity, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.messages import CementRun, FluoroFrame
from guidance.session.state import DRAWABLE, InputTrack

LEAST_REFERENCE_FRAMES: Final = 5
_SAME_POSE: Final = 1e-3  # px; a C-arm that stands still tells the same numbers
_CLOCK_SET_NS: Final = 2_000_000_000  # a step so much longer than the wait for the frame is a clock that was set
_UNTOLD: Final = PixelIntensity(relationship="DISP")
_KVP: Final = (20.0, 200.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementAsk:
    """Follow cement in a frame.

    Attributes:
        run: which start of tracking it belongs to.
        frame: the picture.
        scene: what is around the cement.
        steady: the frame before was drawn with its geometry: this one's may go into what is known in 3D.
    """

    run: CementRun
    frame: CementFrame
    scene: CementScene
    steady: bool


def cement_frame(track: InputTrack) -> CementFrame | None:
    """What following cement needs of the track's frame; None where it is no live one."""
    frame = track.frame
    if frame is None or track.liveness.held or track.silent:
        return None
    return CementFrame(
        device=frame.device,
        sequence=frame.sequence,
        frame_number=track.frame_number,
        received_ns=frame.received_ns,
        time_ns=track.taken_ns,
        pixels=frame.pixels,
        intensity=_intensity(frame),
        collimator_px=_blades(frame),
        kvp=_kvp(frame),
        pixel_from_patient=track.verdict.pixel_from_patient if track.verdict.state in DRAWABLE else None,
    )


def live_frames_here(before: InputTrack | None, track: InputTrack) -> int:
    """How many live frames of this size, type and pose came one after the other, this one included."""
    frame = track.frame
    if frame is None or track.liveness.held:
        return before.live_frames if before is not None else 0
    if before is None or before.frame is None or before.connection_id != track.connection_id:
        return 1
    last = before.frame
    same = last.pixels.shape == frame.pixels.shape and last.pixels.dtype == frame.pixels.dtype
    return before.live_frames + 1 if same and _same_pose(before, track) else 1


def _same_pose(before: InputTrack, track: InputTrack) -> bool:
    earlier, now = before.verdict.pixel_from_patient, track.verdict.pixel_from_patient
    if earlier is None or now is None:
        return True  # nothing tells that it moved; whoever follows cement looks at the pictures
    return bool(np.allclose(earlier, now, rtol=_SAME_POSE, atol=_SAME_POSE))


def taken_ns(before: InputTrack | None, track: InputTrack) -> int:
    """When the track's frame was taken: steps between frames are the sender's where its clock goes on soundly.

    A recording may be played faster or slower than it was taken, so the clock's rate is not asked for; where it stands,
    goes back or is set, the step is that of the receive times.
    """
    frame = track.frame
    assert frame is not None
    if before is None or before.frame is None or before.connection_id != track.connection_id:
        return frame.received_ns
    received_step_ns = frame.received_ns - before.frame.received_ns
    step_ns = received_step_ns
    if frame.timestamp_igtl and before.frame.timestamp_igtl:
        sent_step_ns = ns_from_igtl(frame.timestamp_igtl) - ns_from_igtl(before.frame.timestamp_igtl)
        if 0 < sent_step_ns < received_step_ns + _CLOCK_SET_NS:
            step_ns = sent_step_ns
    return before.taken_ns + step_ns


def _intensity(frame: FluoroFrame) -> PixelIntensity:
    try:
        return read_intensity(frame.metadata)
    except GeometryError:
        return _UNTOLD  # what is told of it cannot be read, so no thickness is taken from it


def _blades(frame: FluoroFrame) -> tuple[int, int, int, int] | None:
    try:
        xray = read_metadata(frame.metadata)
    except GeometryError:
        return None
    told = xray.collimator_px
    if told is None or xray.fov_rotation_deg or xray.fov_flip:
        return None  # beside a turn or flip it is not said whether the blades are told before or after: they are found
    left, top, right, bottom = (round(value) for value in told)
    return left, top, right, bottom


def _kvp(frame: FluoroFrame) -> float | None:
    try:
        kvp = float(frame.metadata.get("XRay.KVp", ""))
    except ValueError:
        return None
    return kvp if _KVP[0] <= kvp <= _KVP[1] else None
