"""The JSON shapes of case, volumes, live state and problems as types, and what fills them from the core's values."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from guidance.case import Case
from guidance.cement.alert_answers import AlertAnswer
from guidance.cement.answers import CementAnswer
from guidance.messages import UNCHECKED, CbctVolume, GeometryState, ImageCheck, InputState, Severity, VolumeState

NOTICE: Final = "Research use only, not for clinical use"

Vector3Mm = Annotated[tuple[float, float, float], msgspec.Meta(description="x, y, z in mm, patient LPS")]
PixelUv = Annotated[
    tuple[float, float], msgspec.Meta(description="u, v in px; (0, 0) is the centre of the first pixel")
]
Color = Annotated[str, msgspec.Meta(pattern="^#[0-9a-fA-F]{6}$", description="#rrggbb")]


class VolumeFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding about a volume; codes as in contract 5.2."""

    code: str
    severity: Severity
    message: str


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume the server holds."""

    id: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    frame_of_reference_uid: str
    patient_position: str
    description: str
    state: VolumeState
    active: bool
    same_patient: bool | None
    findings: tuple[VolumeFinding, ...]
    instance_count: int
    shape_kji: tuple[int, int, int] | None
    affine_lps_from_ijk: tuple[tuple[float, float, float, float], ...] | None


class VolumeList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /volumes."""

    items: tuple[Volume, ...]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator is asked; answered by PUT /case with this or the present volume's id."""

    volume_id: str
    text: str


class CaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET and PUT /case."""

    active_volume_id: str | None
    frame_of_reference_uid: str
    patient_id: str | None
    study_instance_uid: str | None
    epoch: int
    shared_frame_confirmed: bool
    zones_shown: bool
    question: Question | None


class CaseUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What PUT /case takes."""

    active_volume_id: str | msgspec.UnsetType = msgspec.UNSET
    shared_frame_confirmed: bool | msgspec.UnsetType = msgspec.UNSET
    zones_shown: bool | msgspec.UnsetType = msgspec.UNSET


class PathPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a path falls on a frame; null where an end is not in front of the source or geometry is not trusted."""

    id: str
    entry_px: PixelUv | None
    target_px: PixelUv | None
    drawn: bool


class InstrumentSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument that is seen along a path, against its plan; null is "not known", and `text` says why.

    With one view (`assumed`) the depth holds only if the tip lies on the planned path.
    """

    path_id: str
    to_target_mm: float | None
    off_axis_mm: float | None
    assumed: bool
    text: str


class InputGeometry(msgspec.Struct, frozen=True, kw_only=True):
    """The newest frame of one input; `age_ms` counts from the frame's last byte to now."""

    state: InputState
    geometry_state: GeometryState
    reason: str
    frame_number: int | None
    age_ms: float | None
    pixel_from_patient: tuple[float, ...] | None
    paths: tuple[PathPlace, ...] = ()
    check: ImageCheck = UNCHECKED
    instruments: tuple[InstrumentSeen, ...] = ()


class GeometryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /geometry."""

    inputs: dict[str, InputGeometry]


class LiveState(GeometryAnswer, frozen=True, kw_only=True):
    """The text message of the stream: what /geometry, /cement and /alerts answer."""

    cement: CementAnswer
    alerts: tuple[AlertAnswer, ...]


class OverlayVector(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the overlay in px of the live picture.

    A `line` joins `points` (u, v, u, v, ...), back to the first where `closed`; a `text` stands with its left
    baseline at its one point. A text without `path_id` and `zone_id` is a side mark (one letter) or says the state
    that the frame had; the latter is for those who show the picture at once, and no longer true on one that stopped.
    `cement` was seen in the picture itself: it holds without geometry too.
    """

    kind: Literal["line", "text"]
    color: Color
    points: tuple[float, ...]
    width_px: float = 1.5
    closed: bool = False
    text: str = ""
    size_px: float = 16.0
    path_id: str = ""
    zone_id: str = ""
    cement: bool = False


class PictureHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Stands before the JPEG in a binary message: little-endian uint32 length of this JSON, this JSON, the JPEG.

    Attributes:
        width, height: size of the live picture in px; `overlay` is in these.
        scale: px of the JPEG per px of the live picture.
        age_ms: from the frame's last byte in to the making of this message.
        latency_ms: from the frame's last byte in to the overlay's first byte out; null before one went out.
    """

    device: str
    sequence: int
    frame_number: int | None
    width: int
    height: int
    scale: float
    age_ms: float
    latency_ms: float | None
    state: InputState
    geometry_state: GeometryState
    reason: str
    epoch: int
    overlay: tuple[OverlayVector, ...]


class LatencyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Last byte in to first byte out, ms; null before the first frame."""

    now: float | None
    p50: float | None
    p99: float | None
    worst: float | None


class VolumeShown(msgspec.Struct, frozen=True, kw_only=True):
    """What the active volume is, in words for everyone who looks at the page."""

    id: str
    name: str
    kind: Literal["real", "procedural", "unknown"]


class InputStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One input as the status page shows it."""

    state: InputState
    peer: str
    frames: int
    dropped: int
    rate_hz: float | None
    detail: str = ""


class ClientStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One connected receiver; `dropped` are the frames that this slow reader lost."""

    kind: str
    peer: str
    frames: int
    dropped: int


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /status; `counters` holds every refusal and loss by name."""

    version: str
    ready: bool
    reasons: tuple[str, ...]
    uptime_s: float
    volume: VolumeShown | None
    inputs: dict[str, InputStatus]
    clients: tuple[ClientStatus, ...]
    latency_ms: LatencyFigures
    counters: dict[str, int]
    listeners: dict[str, str]
    notice: str = NOTICE


class FieldAtFault(msgspec.Struct, frozen=True, kw_only=True):
    """Which member of the request is at fault; `pointer` is a JSON pointer (RFC 6901)."""

    field: str
    message: str
    pointer: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error (RFC 9457); `code` is the stable name, `mend` what the reader can do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    mend: str = ""
    errors: tuple[FieldAtFault, ...] = ()


def volume_shape(case: Case, volume: CbctVolume) -> Volume:
    """A volume as HTTP tells it; the patient's name stays inside."""
    return Volume(
        id=volume.id,
        series_instance_uid=volume.series_instance_uid,
        study_instance_uid=volume.study_instance_uid,
        patient_id=volume.patient_id,
        frame_of_reference_uid=volume.frame_of_reference_uid,
        patient_position=volume.patient_position,
        description=volume.description,
        state=volume.state,
        active=volume.id == case.active_volume_id,
        same_patient=None if case.patient_id is None else volume.patient_id == case.patient_id,
        findings=tuple(
            VolumeFinding(code=found.code, severity=found.severity, message=found.message) for found in volume.findings
        ),
        instance_count=volume.instance_count,
        shape_kji=volume.shape_kji,
        affine_lps_from_ijk=None if volume.affine_lps_from_ijk is None else _rows_of_four(volume.affine_lps_from_ijk),
    )


def _rows_of_four(numbers: tuple[float, ...]) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((a, b, c, d) for a, b, c, d in zip(*[iter(numbers)] * 4, strict=True))


def case_shape(case: Case) -> CaseAnswer:
    """The case as HTTP tells it."""
    asked = case.question
    return CaseAnswer(
        active_volume_id=case.active_volume_id or None,
        frame_of_reference_uid=case.frame_of_reference_uid,
        patient_id=case.patient_id,
        study_instance_uid=case.study_instance_uid,
        epoch=case.epoch,
        shared_frame_confirmed=case.shared_frame_confirmed,
        zones_shown=case.zones_shown,
        question=Question(volume_id=asked.volume_id, text=asked.text) if asked else None,
    )
