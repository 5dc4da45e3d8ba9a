"""The one language for everything that crosses a boundary: frozen values, no behaviour, no I/O."""

from guidance.messages.basics import (
    EMPTY_METADATA,
    F64,
    U8,
    Finding,
    Matrix34,
    Pixels,
    Severity,
    Vector3,
)
from guidance.messages.frames import (
    FluoroFrame,
    InputState,
    TransformSample,
)
from guidance.messages.geometry import (
    UNCHECKED,
    AcceptedRegistration,
    CheckState,
    EquipmentUncertainty,
    GeometryState,
    GeometryVerdict,
    ImageCheck,
    PatientMotion,
)
from guidance.messages.plan import (
    AblationSetting,
    PathProjection,
    PathStage,
    PlanItem,
    PlannedPath,
)
from guidance.messages.suite import (
    CArmEvent,
    InjectorReading,
)
from guidance.messages.volumes import (
    CbctVolume,
    VolumeState,
)
from guidance.messages.zones import (
    MaskShape,
    PrismShape,
    SphereShape,
    StoredZones,
    TubeShape,
    Zone,
    ZoneKind,
    ZoneShape,
    ZoneSide,
    ZoneSite,
)

__all__ = [
    "EMPTY_METADATA",
    "F64",
    "U8",
    "UNCHECKED",
    "AblationSetting",
    "AcceptedRegistration",
    "CArmEvent",
    "CbctVolume",
    "CheckState",
    "EquipmentUncertainty",
    "Finding",
    "FluoroFrame",
    "GeometryState",
    "GeometryVerdict",
    "ImageCheck",
    "InjectorReading",
    "InputState",
    "MaskShape",
    "Matrix34",
    "PathProjection",
    "PathStage",
    "PatientMotion",
    "Pixels",
    "PlanItem",
    "PlannedPath",
    "PrismShape",
    "Severity",
    "SphereShape",
    "StoredZones",
    "TransformSample",
    "TubeShape",
    "Vector3",
    "VolumeState",
    "Zone",
    "ZoneKind",
    "ZoneShape",
    "ZoneSide",
    "ZoneSite",
]
