"""Parts of the patient that must not be hit, or that shall be reached, and their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from guidance.messages.basics import Vector3


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
