"""An input's newest picture as registration wants it: the pose as told, whatever frame of reference it is told in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.clock import ns_from_igtl
from guidance.errors import GeometryError
from guidance.geometry.intensity import collimated, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.geometry.trust import judge
from guidance.registration.values import RegistrationView
from guidance.session.state import NS_PER_MS, InputTrack, Session, active_volume

_CEMENT_EDGE: Final = 0.012  # of the picture's width: some 2 mm


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


def _without_cement(track: InputTrack, valid: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
    """Where the picture may be compared with a volume that was taken before the cement."""
    mask = track.cement.view.mask if track.cement is not None and track.cement.view.seen else None
    if mask is None or not mask.any():
        return valid
    # Its edge is blurred, and what has come since is not in the mask yet.
    reach = max(3, round(_CEMENT_EDGE * mask.shape[1])) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    free: npt.NDArray[np.bool_] = cv2.dilate(mask, kernel) == 0
    return free if valid is None else free & valid


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
        valid=_without_cement(track, collimated(xray, rows, columns)),
        name=track.device,
    )
    return LiveView(
        device=track.device,
        view=view,
        frame_of_reference_uid=xray.frame_of_reference_uid or "",
        received_ns=frame.received_ns,
    )
