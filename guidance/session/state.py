"""What the live session knows: one value per input, and the session that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from guidance.alerts.book import AlertBook
from guidance.case import Case
from guidance.cement.progress import CementProgress
from guidance.clock import SenderClock
from guidance.config import CementSettings, ConsistencySettings, GeometrySettings, TrackingSettings, UncertaintySettings
from guidance.consistency.track import ConsistencyTrack
from guidance.geometry.calibration import CalibrationTable
from guidance.liveness import Liveness
from guidance.messages import (
    UNCHECKED,
    CbctVolume,
    CementSeen,
    FluoroFrame,
    GeometryState,
    GeometryVerdict,
    ImageCheck,
    InputState,
    Matrix34,
    PathProjection,
    PlannedPath,
    TransformSample,
    Vector3,
)
from guidance.overlay.zones import NO_ZONES, PathAid, ZonesOnPicture
from guidance.session.planned import Planned
from guidance.tracking.track import InstrumentTrack
from guidance.tracking.values import PlacedInstrument
from guidance.uncertainty.frame import STANDING, PoseRate
from guidance.uncertainty.values import FrameUncertainty

NS_PER_MS: Final = 1_000_000
DRAWABLE: Final = (GeometryState.TRUSTED, GeometryState.DEGRADED)
WAITS_FOR_TRANSFORMS: Final = ("transforms_not_paired", "no_geometry")
"""Codes of verdicts that transforms still to come may change."""
_NO_GEOMETRY: Final = GeometryVerdict(state=GeometryState.ABSENT, reason="no frame yet", code="no_frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTrack:
    """What is known of one input.

    Attributes:
        device: OpenIGTLink device name.
        connection_id: connection that sends it.
        frame: the newest frame; None before the first.
        frames: how many came.
        interval_ns: smoothed time between frames; 0 until two came.
        liveness: is it live, and how old is the picture.
        clock: the sender's clock.
        verdict: what its geometry may be used for.
        places: where the paths fall on the newest frame.
        silent: no frame for longer than the limit, or its connection closed.
        epoch: registration that the verdict was made in.
        check: what the picture itself says of its geometry.
        measured_with: the matrix that `check` was found with; None where the picture was not measured.
        outdated: the picture was held against the volume at a matrix that a former registration gave.
        consistency: how the pictures agreed with their geometry so far.
        followed_with: the matrix of the newest picture in `consistency`.
        rate: how fast the geometry went when the frame came.
        uncertainty: of the frame's geometry; None where nothing may be drawn with it.
        instruments: what its pictures show of instruments along the planned paths.
        placed: by path id, where this frame, with other views, puts them in the patient.
        taken_ns: when it was taken; steps are the sender's where its clock goes on soundly.
        live_frames: how many live ones of this size, type and pose came one after the other.
        cement: what this frame shows of cement; None where it is not followed.
        pose_before: the matrix of the frame before; None where nothing could be drawn with it.
        told_late: this frame's geometry came after it was shown.
        told_late_before: that of the frame before did, so this one's is waited for.
    """

    device: str
    connection_id: int = 0
    frame: FluoroFrame | None = None
    frames: int = 0
    interval_ns: int = 0
    liveness: Liveness = field(default_factory=Liveness)
    clock: SenderClock = field(default_factory=SenderClock)
    verdict: GeometryVerdict = _NO_GEOMETRY
    places: tuple[PathProjection, ...] = ()
    silent: bool = False
    epoch: int = 0
    check: ImageCheck = UNCHECKED
    measured_with: Matrix34 | None = None
    outdated: bool = False
    consistency: ConsistencyTrack = field(default_factory=ConsistencyTrack)
    followed_with: Matrix34 | None = None
    rate: PoseRate = STANDING
    uncertainty: FrameUncertainty | None = None
    instruments: tuple[InstrumentTrack, ...] = ()
    placed: Mapping[str, PlacedInstrument] = field(default_factory=dict)
    taken_ns: int = 0
    live_frames: int = 0
    cement: CementSeen | None = None
    pose_before: Matrix34 | None = None
    told_late: bool = False
    told_late_before: bool = False

    @property
    def state(self) -> InputState:
        """One of the contract's states; the sender's frozen clock is one of its own."""
        if self.silent:
            return InputState.SILENT
        if self.frame is None:
            return InputState.CONNECTED
        if self.liveness.held:
            return InputState.HELD
        if self.clock.frozen:
            return InputState.FROZEN_CLOCK
        return InputState.VALID if self.verdict.state in DRAWABLE else InputState.STREAMING

    @property
    def frame_number(self) -> int | None:
        return self.liveness.last.frame_number if self.liveness.last else None

    def age_ms(self, now_ns: int) -> float:
        """Age of the picture on the screen, ms."""
        return self.liveness.age_ns(now_ns) / NS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Everything the live path knows.

    Attributes:
        settings: when geometry is trusted.
        silence_ns: how long an input may be without a frame.
        transform_frame: "ras" or "lps": what "patient" means in TRANSFORM messages.
        calibration: the suite's table, contract form (c).
        case: paths, volumes, epoch.
        consistency: when a picture contradicts its geometry.
        uncertainty: what is not told of the geometry's accuracy.
        inputs: by device name, each with its newest frame of which all is known.
        pending: inputs whose newest frame is being held against the volume; nothing of it is shown yet.
        transforms: newest TRANSFORM samples by (connection, name), oldest first; of a picture's geometry only.
        told_position: (epoch, patient position) that the streams first told in that epoch; a registration ends with
            the patient position, and the volume does not always know one.
        planned: what planning has worked out.
        zones, aids: what of it goes onto the picture now.
        tracking: what is followed in live pictures.
        cement_settings: how cement is followed.
        cement: what is known of it.
        cement_runs: how often it was followed since the server began.
        alerts: that are latched.
        needle_tips: by path id, the path and where receivers were told that its instrument's tip is.
    """

    settings: GeometrySettings = field(default_factory=GeometrySettings)
    silence_ns: int = 2_000_000_000
    transform_frame: str = "ras"
    calibration: CalibrationTable | None = None
    case: Case = field(default_factory=Case)
    consistency: ConsistencySettings = field(default_factory=ConsistencySettings)
    uncertainty: UncertaintySettings = field(default_factory=UncertaintySettings)
    inputs: Mapping[str, InputTrack] = field(default_factory=dict)
    pending: Mapping[str, InputTrack] = field(default_factory=dict)
    transforms: Mapping[tuple[int, str], tuple[TransformSample, ...]] = field(default_factory=dict)
    told_position: tuple[int, str] = (-1, "")
    cement_settings: CementSettings = field(default_factory=CementSettings)
    cement: CementProgress = field(default_factory=CementProgress)
    cement_runs: int = 0
    alerts: AlertBook = field(default_factory=AlertBook)
    planned: Planned = field(default_factory=Planned)
    zones: ZonesOnPicture = NO_ZONES
    aids: Mapping[str, PathAid] = field(default_factory=dict)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    needle_tips: Mapping[str, tuple[PlannedPath, PlacedInstrument]] = field(default_factory=dict)


def active_volume(session: Session) -> CbctVolume | None:
    """The volume that counts, where the server holds it ready."""
    wanted = session.case.active_volume_id
    return next((volume for volume in session.case.volumes if wanted and volume.id == wanted), None)


def pivot_of(volume: CbctVolume | None) -> Vector3:
    """Where the told geometry turns about: the CBCT's isocentre, or, where it tells none, the volume's middle."""
    if volume is None:
        return (0.0, 0.0, 0.0)
    if volume.isocenter_lps_mm is not None:
        return volume.isocenter_lps_mm
    return _middle_lps_mm(volume.affine_lps_from_ijk, volume.shape_kji)


@lru_cache(maxsize=8)
def _middle_lps_mm(affine: tuple[float, ...] | None, shape_kji: tuple[int, int, int] | None) -> Vector3:
    if affine is None or shape_kji is None:
        return (0.0, 0.0, 0.0)
    i, j, k = ((size - 1) / 2.0 for size in reversed(shape_kji))
    x, y, z = (
        affine[4 * row] * i + affine[4 * row + 1] * j + affine[4 * row + 2] * k + affine[4 * row + 3]
        for row in range(3)
    )
    return x, y, z


def central_ray_of(pixel_from_patient: Matrix34) -> Vector3:
    """Unit vector from source to detector."""
    x, y, z = pixel_from_patient[8:11]
    return x, y, z
