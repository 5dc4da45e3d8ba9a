"""The one language for everything that crosses a boundary: frozen values, no behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]

Vector3 = tuple[float, float, float]
Matrix34 = tuple[float, ...]  # 12 numbers, row-major, pixel_from_patient, w in mm along the central ray

EMPTY_METADATA: Final[Mapping[str, str]] = {}


class GeometryState(StrEnum):
    """What the overlay may do with a frame's geometry (contract 5.3)."""

    TRUSTED = "trusted"
    DEGRADED = "degraded"
    WITHHELD = "withheld"
    ABSENT = "absent"


class InputState(StrEnum):
    """What an input is doing (contract 5.3); `FROZEN_CLOCK` is a sender clock that stands while frames come."""

    CONNECTED = "connected"
    STREAMING = "streaming"
    VALID = "valid"
    HELD = "held"
    SILENT = "silent"
    FROZEN_CLOCK = "frozen_clock"


class VolumeState(StrEnum):
    RECEIVING = "receiving"
    READY = "ready"
    REFUSED = "refused"


class Severity(StrEnum):
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class FluoroFrame:
    """One fluoroscopy picture as the sender gave it.

    Attributes:
        device: OpenIGTLink device name, `Fluoro`, `FluoroA` or `FluoroB`.
        pixels: (rows, columns), C order, native byte order; uint8, int8, uint16, int16 or float32. Never altered.
        timestamp_igtl: header timestamp as on the wire, 32.32 fixed point seconds; 0 = unused.
        received_ns: server's monotonic clock when the last byte was in.
        metadata: `XRay.*` texts of the message.
        pixel_pitch_mm: (column step, row step) from the IMAGE header's matrix; None where it is unusable.
        header_version: version in the OpenIGTLink header.
        connection_id: which connection it came by.
        sequence: the server's own running number of frames of this device, never reused.
        pixels_crc64: CRC-64 of the pixel bytes as they came over the wire: equal for repeated content.
    """

    device: str
    pixels: Pixels
    timestamp_igtl: int
    received_ns: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    pixel_pitch_mm: tuple[float, float] | None = None
    header_version: int = 2
    connection_id: int = 0
    sequence: int = 0
    pixels_crc64: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformSample:
    """One TRANSFORM message.

    Attributes:
        name: device name, `DetectorToPatient` or `SourceToPatient`, with `A` / `B` at the end for biplane.
        matrix: (4, 4) float64, as on the wire (no RAS/LPS conversion yet).
        timestamp_igtl: header timestamp; 0 = unused.
        received_ns: server's monotonic clock.
        connection_id: which connection it came by.
    """

    name: str
    matrix: F64
    timestamp_igtl: int
    received_ns: int
    connection_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about a volume; `code` is one of the contract's (5.2)."""

    code: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CbctVolume:
    """A received volume; the voxels live in shared memory, this is everything else.

    Attributes:
        id: the server's id.
        series_instance_uid, study_instance_uid, patient_id, patient_name: DICOM identity.
        frame_of_reference_uid: Frame of Reference the affine is in; "" if the objects have none.
        patient_position: DICOM (0018,5100), `HFS` ... `FFDR`; "" if absent.
        state: receiving, ready or refused.
        findings: named findings, errors first.
        shape_kji: (slices, rows, columns); None until ready.
        affine_lps_from_ijk: 16 numbers, row-major 4x4, voxel centres at integers; None until ready.
        table_at_cbct_mm: table position in the axes of design section 3 from the objects; None if unknown.
        isocenter_lps_mm: isocentre in the patient frame from the objects; None if unknown.
        shared_memory: name of the int16 block `[k, j, i]` in HU; "" until ready.
        instance_count: instances taken into it.
        description: Series Description, for the page only.
    """

    id: str
    series_instance_uid: str
    study_instance_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    frame_of_reference_uid: str = ""
    patient_position: str = ""
    state: VolumeState = VolumeState.RECEIVING
    findings: tuple[Finding, ...] = ()
    shape_kji: tuple[int, int, int] | None = None
    affine_lps_from_ijk: tuple[float, ...] | None = None
    table_at_cbct_mm: Vector3 | None = None
    isocenter_lps_mm: Vector3 | None = None
    shared_memory: str = ""
    instance_count: int = 0
    description: str = ""


class PathStage(StrEnum):
    """How far a path has come; each step changes what is drawn."""

    PLANNED = "planned"
    PLACED = "placed"
    VERIFIED = "verified"
    SCREW_IN = "screw_in"
    CEMENTED = "cemented"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationSetting:
    """How a probe is to be run; the instrument library's table says what zone that gives."""

    power_w: float
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPath:
    """A planned instrument path.

    Attributes:
        id: at most 10 ASCII characters (OpenIGTLink device names carry it).
        entry_lps_mm, target_lps_mm: ends of the axis, patient LPS.
        diameter_mm: true outer diameter, > 0.
        label: what the operator reads, any language.
        color: `#rrggbb`.
        instrument: id in the instrument library, or free words for what is not in it.
        approach: id of an approach template, or free words.
        frame_of_reference_uid: frame that the ends are in; "" while the case has no volume yet.
        patient_id: whose path it is, for frames' UIDs repeat after careless anonymisation; None: not known yet.
        stage: how far it has come.
        permitted_zone_ids: zones that this path may touch or cross (an SI joint on a trans-iliac way).
        bevel_deg: turn of a bevelled tip about the axis, seen from the hub, clockwise; 0 = the bevel's opening towards
            the patient's head, or, where the axis runs along the body, towards the patient's front; None: no bevel.
        ablation: how a probe is to be run; None for what ablates nothing.
    """

    id: str
    entry_lps_mm: Vector3
    target_lps_mm: Vector3
    diameter_mm: float
    label: str = ""
    color: str = "#00ff00"
    instrument: str = ""
    approach: str = ""
    frame_of_reference_uid: str = ""
    patient_id: str | None = None
    stage: PathStage = PathStage.PLANNED
    permitted_zone_ids: tuple[str, ...] = ()
    bevel_deg: float | None = None
    ablation: AblationSetting | None = None


class ZoneSite(StrEnum):
    """What a zone is (contract 5.4)."""

    FORAMEN = "foramen"
    CANAL = "canal"
    VENTRAL_SURFACE = "ventral_surface"
    SI_JOINT = "si_joint"
    DISC = "disc"
    VEIN = "vein"
    NEEDLE_TRACK = "needle_track"
    SKIN = "skin"
    BONE = "bone"
    LESION = "lesion"
    OTHER = "other"


class ZoneSide(StrEnum):
    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


class ZoneKind(StrEnum):
    """Keep-out: no instrument and no cement; target: where they shall go."""

    KEEP_OUT = "keep_out"
    TARGET = "target"


class TubeShape(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tube"):
    """All that is within `radius_mm` of a polyline: its ends are round."""

    points_lps_mm: tuple[Vector3, ...]
    radius_mm: float


class SphereShape(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="sphere"):
    """A ball."""

    center_lps_mm: Vector3
    radius_mm: float


class PrismShape(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="prism"):
    """A plane polygon extruded by `height_mm` along its right-hand normal."""

    polygon_lps_mm: tuple[Vector3, ...]
    height_mm: float


class MaskShape(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mask"):
    """Voxels kept beside the case.

    Attributes:
        mask_id: sha256 (hex) of the stored voxels.
        shape_kji, affine_lps_from_ijk: their grid, cut to the zone; 16 numbers, row-major.
        volume_ml: of the voxels, weighted by how much of each belongs to the zone.
    """

    mask_id: str
    shape_kji: tuple[int, int, int]
    affine_lps_from_ijk: tuple[float, ...]
    volume_ml: float


ZoneShape = TubeShape | SphereShape | PrismShape | MaskShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A part of the patient that must not be hit, or that shall be reached.

    Attributes:
        id: the server's, `Z1`, `Z2`, ...
        name: what the operator reads.
        color: `#rrggbb` of its outline.
        level: vertebral level, `L5`, `S1`; "" where it has none or it is not known.
        shown: outlined on the live picture.
        origin: `drawn`, `dicom_seg`, `rtstruct`, `nifti`, `markups` or `proposed`.
        origin_uid: SOP Instance UID and segment or ROI number of where it is from, so that nothing comes twice.
        frame_of_reference_uid, patient_id: as of a path.
    """

    id: str
    name: str
    site: ZoneSite
    kind: ZoneKind
    shape: ZoneShape
    side: ZoneSide | None = None
    color: str = "#d55e00"
    level: str = ""
    shown: bool = True
    origin: str = "drawn"
    origin_uid: str = ""
    frame_of_reference_uid: str = ""
    patient_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredZones:
    """A received DICOM object that holds zones; read when the volume that it belongs to counts.

    Attributes:
        path: the stored file.
        name: under which it is stored; its SOP Instance UID, with an ending where the UID was already taken.
        patient_id, description: as in the object.
    """

    path: str
    name: str
    patient_id: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One path of a plan from outside (OpenIGTLink POINT group or TRAJ element, markups line), patient LPS.

    Attributes:
        name: what the sender calls it; the same name later changes the same path.
        entry_lps_mm, target_lps_mm: ends of the axis, already converted from RAS.
        diameter_mm: the DIAMETER field.
        color: `#rrggbb` from the RGBA field; "" lets the case choose.
        instrument, approach: as of a path; "" where the sender does not say.
    """

    name: str
    entry_lps_mm: Vector3
    target_lps_mm: Vector3
    diameter_mm: float
    color: str = ""
    instrument: str = ""
    approach: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathProjection:
    """Where a path falls on one frame; px (u, v), centre of the first pixel is (0, 0)."""

    id: str
    entry_px: tuple[float, float] | None
    target_px: tuple[float, float] | None
    drawn: bool


class CheckState(StrEnum):
    """What a picture itself says of the geometry that is told for it."""

    UNCHECKED = "unchecked"  # nothing to compare it with yet, or switched off
    CANNOT_TELL = "cannot_tell"  # picture or volume shows too little there
    AGREES = "agrees"
    WARNING = "warning"
    CONTRADICTS = "contradicts"


class PatientMotion(StrEnum):
    """How what is seen moves against what is told."""

    STILL = "still"
    BREATHING = "breathing"
    DRIFT = "drift"
    JUMP = "jump"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCheck:
    """A frame held against the volume's projection.

    Attributes:
        state: see `CheckState`.
        reason: words for the operator; "" where it agrees.
        code: stable snake_case name of the reason; "" where it agrees.
        residual_mm, residual_px: how far off what is seen lies, at the isocentre's depth and in px of the picture as
            sent, smoothed over the last frames; None where it cannot be told.
        raw_mm, raw_px: the same of this frame alone.
        similarity: agreement of picture and projection after the residual is taken out, 1 = the same.
        motion: how it moves; None where not known yet.
        breathing_mm: peak to peak of the breathing; None without.
        registration_offered: a registration may mend it.
    """

    state: CheckState = CheckState.UNCHECKED
    reason: str = ""
    code: str = ""
    residual_mm: float | None = None
    residual_px: float | None = None
    raw_mm: float | None = None
    raw_px: float | None = None
    similarity: float | None = None
    motion: PatientMotion | None = None
    breathing_mm: float | None = None
    registration_offered: bool = False


UNCHECKED: Final = ImageCheck()


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRegistration:
    """Where the active volume is seen, as found by registration; ends with its epoch.

    Attributes:
        seen_lps_from_volume_lps: 16 numbers, row-major; a volume point x is seen where the told geometry puts M x.
        pivot_lps_mm, covariance: 36 numbers, of a small motion after M (`guidance.registration.values`).
        residual_px: that it was accepted with.
        inputs: whose pictures it was made from.
        frame_of_reference_uid: that the streams told; "" where they told none. It is the registration that connects
            such a stream with the volume.
        views: `pixel_from_patient` of the pictures it was made from, as told, without M; () where they are not known.
    """

    seen_lps_from_volume_lps: tuple[float, ...]
    pivot_lps_mm: Vector3
    covariance: tuple[float, ...]
    residual_px: float | None = None
    inputs: tuple[str, ...] = ()
    frame_of_reference_uid: str = ""
    views: tuple[Matrix34, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EquipmentUncertainty:
    """What a calibration says of itself at one pose.

    Attributes:
        covariance: 81 numbers, row-major: a small motion of equipment points about the isocentre (shift mm, turn deg,
            equipment axes), principal point u, v in px of the picture as sent, focal length relative.
        lps_from_equipment: 9 numbers, row-major rotation.
        isocenter_lps_mm: where the isocentre is now in the frame of M x; None where that is not told.
    """

    covariance: tuple[float, ...]
    lps_from_equipment: tuple[float, ...]
    isocenter_lps_mm: Vector3 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryVerdict:
    """What was found out about a frame's geometry.

    Attributes:
        state: see `GeometryState`.
        reason: words for the operator; "" when trusted.
        code: stable snake_case name of the reason, counted in /metrics; "" when trusted.
        pixel_from_patient: 12 numbers row-major, pixel of the picture as sent from patient LPS mm at the time of
            the CBCT, scaled so that w is mm along the central ray, an accepted registration applied; None unless
            trusted or degraded.
        source: `metadata_matrix`, `metadata_angles`, `transforms`, `table` or "".
        check: what the picture itself says.
        calibration: how well the table knows it, where it comes from one that says so.
    """

    state: GeometryState
    reason: str = ""
    code: str = ""
    pixel_from_patient: Matrix34 | None = None
    source: str = ""
    check: ImageCheck = UNCHECKED
    calibration: EquipmentUncertainty | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorReading:
    """What the cement injector tells (contract 5.5); None is "not told".

    Attributes:
        volume_ml: delivered since the injection began.
        flow_ml_s: present flow.
        pressure_bar: pressure at the injector.
        elapsed_s: seconds since the injection began.
        running: the plunger moves.
        received_ns: server's monotonic clock.
    """

    volume_ml: float | None
    flow_ml_s: float | None
    pressure_bar: float | None
    elapsed_s: float | None
    running: bool
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CArmEvent:
    """Something the C-arm reports by MQTT, such as `acquisition_started`; `details` are its other members as sent."""

    event: str
    details: Mapping[str, Any]
    received_ns: int
