"""Cement in the session: what is asked of each frame, what its answer changes, starts, stops and alerts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from guidance.case import drawable_paths
from guidance.cement import progress
from guidance.cement.values import CementFrame, CementScene
from guidance.clock import ns_from_igtl
from guidance.errors import CaseError, GeometryError
from guidance.geometry.intensity import PixelIntensity, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.messages import (
    CementBody,
    CementMaterial,
    CementRun,
    CementSeen,
    FluoroFrame,
    InjectorReading,
    Matrix34,
    Vector3,
)
from guidance.session.planned import space_of, watch_of
from guidance.session.state import DRAWABLE, WAITS_FOR_TRANSFORMS, InputTrack, Session, active_volume, pivot_of

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
    """

    run: CementRun
    frame: CementFrame
    scene: CementScene


def start_cement(
    session: Session, material: CementMaterial, now_ns: int, *, work_ends_ns: int | None = None
) -> Session:
    """Follow cement from now on; the live frames before are the reference.

    Args:
        work_ends_ns: when the cement's working time ends, server's monotonic clock; None: not known.

    Raises:
        CaseError: `already_tracking`; `no_reference`: no input has sent enough live frames at rest.
    """
    if session.cement.run is not None:
        raise CaseError("cement is tracked already", code="already_tracking", mend="stop it first: POST /cement/stop")
    frames = {device: track.live_frames for device, track in session.inputs.items()}
    if not any(count >= LEAST_REFERENCE_FRAMES for count in frames.values()):
        words = ", ".join(f"{device} has sent {count}" for device, count in sorted(frames.items())) or "there is none"
        raise CaseError(
            f"no reference: {LEAST_REFERENCE_FRAMES} live frames of one input at rest are needed, {words}",
            code="no_reference",
            mend="send live frames of the view without new cement, then start",
        )
    number = session.cement_runs + 1
    run = CementRun(
        number=number,
        material=material,
        started_ns=now_ns,
        after_sequence=tuple((name, each.frame.sequence) for name, each in session.inputs.items() if each.frame),
    )
    cement = progress.started(session.cement, run, session.case.zones, work_ends_ns=work_ends_ns)
    return replace(session, cement=cement, cement_runs=number)


def stop_cement(session: Session) -> Session:
    """Follow it no longer; nothing happens where nothing is followed."""
    if session.cement.run is None:
        return session
    inputs = {device: replace(track, cement=None) for device, track in session.inputs.items()}
    return replace(session, cement=progress.stopped(session.cement), inputs=inputs)


def with_reading(session: Session, reading: InjectorReading, now_ns: int) -> Session:
    """The injector has told something."""
    cement = progress.with_injector(session.cement, reading, now_ns, session.cement_settings)
    return replace(session, cement=cement)


def with_case_zones(session: Session, now_ns: int) -> Session:
    """The zones may be others now."""
    cement = progress.with_zones(session.cement, session.case.zones, now_ns=now_ns, settings=session.cement_settings)
    return session if cement is session.cement else replace(session, cement=cement)


def with_registration(session: Session, now_ns: int) -> Session:
    """Another registration holds: no distance of the former one is told any more."""
    if session.cement.run is None:
        return session
    return replace(session, cement=progress.registered_anew(session.cement, now_ns, session.cement_settings))


def with_time(session: Session, now_ns: int) -> Session:
    """Time has passed."""
    if session.cement.run is None:
        return session
    return replace(session, cement=progress.with_time(session.cement, now_ns, session.cement_settings))


def with_seen(session: Session, track: InputTrack, now_ns: int) -> Session:
    """What a settled frame shows of cement."""
    if track.cement is None:
        return session
    cement = progress.with_frame(
        session.cement,
        track.cement,
        session.case.zones,
        interval_ns=track.interval_ns,
        now_ns=now_ns,
        settings=session.cement_settings,
    )
    return session if cement is session.cement else replace(session, cement=cement)


def seen_in(session: Session, track: InputTrack, seen: CementSeen | None, *, epoch: int) -> CementSeen | None:
    """What was seen, as far as it still holds: of this run, and without distances where its geometry does not hold.

    Args:
        epoch: of the registration that it was asked with.
    """
    if seen is None or session.cement.run is None or seen.run != session.cement.run.number:
        return None
    current = epoch == session.case.epoch
    if seen.view.pixel_from_patient is None or (current and track.verdict.pixel_from_patient is not None):
        return seen if current else replace(seen, body=CementBody(reason=progress.REGISTERED))
    reason = f"geometry is withheld: {track.verdict.reason}" if current else progress.REGISTERED
    view = replace(seen.view, pixel_from_patient=None, mm_per_px=None, reason=seen.view.reason or reason)
    sites = tuple(replace(site, distance_px=None, nearest_px=None, reason=reason) for site in seen.sites)
    body = seen.body if current else CementBody(reason=reason)
    return replace(seen, view=view, sites=sites, extensions=(), tracks=(), outside_px=None, body=body)


def cement_asked(session: Session, track: InputTrack) -> CementAsk | None:
    """What is to be followed in the track's frame."""
    run = session.cement.run
    frame = cement_frame(session, track) if run is not None else None
    if run is None or frame is None:
        return None
    watched = watch_of(session.case, session.planned)
    scene = CementScene(
        zones=session.zones,
        watch=watched[0] if watched is not None else None,
        space=space_of(session.case, session.planned),
        paths=drawable_paths(session.case),
        epoch=session.case.epoch,
    )
    return CementAsk(run=run, frame=frame, scene=scene)


def reference_of(session: Session, track: InputTrack) -> CementFrame | None:
    """The track's frame as one to compare with, while nothing is followed."""
    return cement_frame(session, track) if session.cement.run is None else None


def pose_of(track: InputTrack | None) -> Matrix34 | None:
    """The matrix of its frame; None where nothing may be drawn with it."""
    return track.verdict.pixel_from_patient if track is not None and track.verdict.state in DRAWABLE else None


def cement_frame(session: Session, track: InputTrack) -> CementFrame | None:
    """What following cement needs of the track's frame; None where it is no live one, or its geometry is on its way."""
    frame = track.frame
    if frame is None or track.liveness.held or track.silent:
        return None
    if track.told_late_before and track.verdict.code in WAITS_FOR_TRANSFORMS:
        return None  # what is seen without a pose tells nothing in 3D, and cannot be compared with another pose
    matrix = pose_of(track)
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
        pixel_from_patient=matrix,
        isocenter_lps_mm=_isocenter_lps_mm(session, frame),
        pose=_told_pose(session, matrix),
        steady=track.frames <= 1 or (track.pose_before is not None and _same_pose(track.pose_before, matrix)),
    )


def _isocenter_lps_mm(session: Session, frame: FluoroFrame) -> Vector3:
    """Where the isocentre is in the volume's frame: as told, else the volume's own."""
    try:
        told = read_metadata(frame.metadata).isocenter_lps_mm
    except GeometryError:
        told = None
    if told is None:
        return pivot_of(active_volume(session))
    registration = session.case.registration
    if registration is None:
        return told
    moved = np.array(registration.seen_lps_from_volume_lps, np.float64).reshape(4, 4)
    x, y, z = (np.linalg.inv(moved) @ (*told, 1.0))[:3].tolist()
    return x, y, z


def _told_pose(session: Session, matrix: Matrix34 | None) -> Matrix34 | None:
    registration = session.case.registration
    if matrix is None or registration is None:
        return matrix
    moved = np.array(registration.seen_lps_from_volume_lps, np.float64).reshape(4, 4)
    return tuple((np.array(matrix).reshape(3, 4) @ np.linalg.inv(moved)).ravel().tolist())


def live_frames_here(before: InputTrack | None, track: InputTrack) -> int:
    """How many live frames of this size, type and pose came one after the other, this one included."""
    frame = track.frame
    if frame is None or track.liveness.held:
        return before.live_frames if before is not None else 0
    if before is None or before.frame is None or before.connection_id != track.connection_id:
        return 1
    last = before.frame
    same = last.pixels.shape == frame.pixels.shape and last.pixels.dtype == frame.pixels.dtype
    alike = same and _same_pose(before.verdict.pixel_from_patient, track.verdict.pixel_from_patient)
    return before.live_frames + 1 if alike else 1


def _same_pose(earlier: Matrix34 | None, now: Matrix34 | None) -> bool:
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
