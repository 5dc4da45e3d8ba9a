"""An input's newest picture as registration wants it: the pose as told, whatever frame of reference it is told in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from guidance.clock import ns_from_igtl
from guidance.errors import GeometryError
from guidance.geometry.intensity import collimated, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.geometry.trust import judge
from guidance.registration.values import RegistrationView
from guidance.session.state import NS_PER_MS, InputTrack, Session, active_volume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveView:
    """A view of an input.

    Attributes:
        device: the input.
        view: its picture with the pose as told, no registration applied.
        frame_of_reference_uid: that the stream tells; "" where it tells none.
        received_ns: when the picture came.
    """

    device: str
    view: RegistrationView
    frame_of_reference_uid: str
    received_ns: int


def live_view(session: Session, track: InputTrack, now_ns: int) -> LiveView:
    """The newest picture of an input, for registration.

    Raises:
        GeometryError: no picture, not live, no usable geometry; its code says which.
    """
    frame = track.frame
    if frame is None or track.silent:
        raise GeometryError(f"{track.device} sends no picture", code="silent", mend="expose, and ask again")
    lag_ns = track.clock.lag_ns(ns_from_igtl(frame.timestamp_igtl), frame.received_ns) or 0
    verdict = judge(
        frame,
        volume=active_volume(session),
        settings=session.settings,
        held=track.liveness.held,
        age_ms=track.age_ms(now_ns) + lag_ns / NS_PER_MS,
        transforms=itertools.chain.from_iterable(session.transforms.values()),
        frame_interval_ms=track.interval_ns / NS_PER_MS,
        transform_frame=session.transform_frame,
        calibration=session.calibration,
        for_registration=True,
    )
    if verdict.pixel_from_patient is None:
        raise GeometryError(f"{track.device}: {verdict.reason}", code=verdict.code)
    xray = read_metadata(frame.metadata)
    intensity = read_intensity(frame.metadata)
    rows, columns = frame.pixels.shape
    view = RegistrationView(
        pixels=frame.pixels,
        pixel_from_patient=np.array(verdict.pixel_from_patient, np.float64).reshape(3, 4),
        intensity=intensity.relationship,
        sign=intensity.sign,
        valid=collimated(xray, rows, columns),
        name=track.device,
    )
    return LiveView(
        device=track.device,
        view=view,
        frame_of_reference_uid=xray.frame_of_reference_uid or "",
        received_ns=frame.received_ns,
    )
