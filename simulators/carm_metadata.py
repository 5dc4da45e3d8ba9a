"""What a C-arm says about a frame: the `XRay.*` metadata and transforms of contract 5.3, in each of their forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from guidance.errors import ConfigError
from guidance.messages import F64
from simulators.gantry import STILL, Gantry, angles_of, lps_from_equipment

GeometryForm = Literal["matrix", "angles", "isocenter", "transforms", "none"]
GEOMETRY_FORMS: Final = ("matrix", "angles", "isocenter", "transforms", "none")
TableForm = Literal["difference", "applied", "alone"]
TABLE_FORMS: Final = ("difference", "applied", "alone")

_RAS_FROM_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_REFERENCE_POINT_MM: Final = 150.0  # interventional reference point: this far from the isocentre towards the source


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How this C-arm tells its geometry.

    Attributes:
        geometry: which form.
        table: `difference` sends the table now and at the CBCT, the rest as it was at the CBCT; `applied` sends
            everything true for this frame and no table; `alone` leaves out where the table was at the CBCT.
        frame_of_reference_uid: "" leaves the key out.
    """

    geometry: GeometryForm = "angles"
    table: TableForm = "difference"
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """Exposure figures of one frame; kerma and dose-area product since the stream began."""

    kvp: float
    tube_current_ma: float
    pulse_width_ms: float
    air_kerma_mgy: float
    dose_area_product_gycm2: float


def frame_metadata(
    gantry: Gantry, telling: Telling, technique: Technique, *, frame_number: int, live: bool
) -> dict[str, str]:
    """All keys of one IMAGE message.

    Raises:
        ConfigError: equipment-related angles asked of a gantry that is told relative to the patient.
    """
    rows, columns = gantry.size
    texts = {
        "XRay.FrameNumber": str(frame_number),
        "XRay.Live": "1" if live else "0",
        "XRay.KVp": _text(technique.kvp),
        "XRay.TubeCurrentMa": _text(technique.tube_current_ma),
        "XRay.PulseWidthMs": _text(technique.pulse_width_ms),
        "XRay.AirKermaMgy": _text(technique.air_kerma_mgy),
        "XRay.DoseAreaProductGycm2": _text(technique.dose_area_product_gycm2),
        "XRay.PixelIntensityRelationship": "LIN",
        "XRay.PixelIntensityRelationshipSign": "1",
        "XRay.CollimatorPx": f"0 0 {columns - 1} {rows - 1}",
        "XRay.FovRotationDeg": str(gantry.fov_rotation_deg),
        "XRay.FovFlip": "1" if gantry.fov_flip else "0",
        "XRay.PatientPosition": gantry.patient_position,
    }
    if telling.frame_of_reference_uid:
        texts["XRay.FrameOfReferenceUID"] = telling.frame_of_reference_uid
    if telling.geometry in ("transforms", "none"):
        return texts
    if telling.table != "applied":
        texts["XRay.TableMm"] = _texts(gantry.table_mm)
    if telling.table == "difference":
        texts["XRay.TableAtCbctMm"] = _texts(gantry.table_at_cbct_mm)
    told = replace(gantry, patient_moved=STILL)
    if telling.table != "applied":
        told = replace(told, table_mm=gantry.table_at_cbct_mm)
    if telling.geometry == "matrix":
        return texts | {"XRay.ProjectionMatrix": _texts(told.pixel_from_patient().ravel().tolist())}
    return texts | _angles(told, telling)


def frame_transforms(gantry: Gantry, suffix: str = "") -> dict[str, F64]:
    """TRANSFORM messages of form (b), RAS: device name -> (4, 4)."""
    told = replace(gantry, patient_moved=STILL)
    source = np.eye(4)
    source[:3, 3] = told.source_lps_mm()
    return {
        f"DetectorToPatient{suffix}": _RAS_FROM_LPS @ told.lps_from_picture(),
        f"SourceToPatient{suffix}": _RAS_FROM_LPS @ source,
    }


def patient_angles(gantry: Gantry) -> tuple[float, float, float]:
    """Primary, secondary angle and detector rotation relative to the patient, whatever the gantry is told in."""
    along_u, _, toward = gantry.axes_lps()
    return angles_of(along_u, toward)


def equipment_angles(gantry: Gantry) -> tuple[float, float, float]:
    """The same relative to the equipment."""
    along_u, _, toward = gantry.axes_lps()
    to_equipment = lps_from_equipment(gantry.patient_position).T
    return angles_of(to_equipment @ along_u, to_equipment @ toward)


def reference_point_mm(gantry: Gantry) -> float:
    """Distance of the interventional reference point from the source, mm (IEC 60601-2-43)."""
    distance = gantry.source_to_isocenter_mm - _REFERENCE_POINT_MM
    if distance <= 0.0:
        raise ConfigError("the isocentre is too near to the source", code="bad_gantry", mend="150 mm at the least")
    return distance


def _angles(told: Gantry, telling: Telling) -> dict[str, str]:
    left, top, _, _ = told.crop
    middle = ((told.detector_columns - 1) / 2.0 - left, (told.detector_rows - 1) / 2.0 - top)
    texts = {
        "XRay.SourceToDetectorMm": _text(told.source_to_detector_mm),
        "XRay.SourceToIsocenterMm": _text(told.source_to_isocenter_mm),
        "XRay.ImagerPixelSpacingMm": _texts((told.pitch_row_mm, told.pitch_column_mm)),
        "XRay.IsocenterProjectionPx": _texts(middle),
        "XRay.IsocenterLpsMm": _texts(told.isocenter_now_lps_mm().tolist()),
    }
    if telling.geometry == "isocenter":
        primary, secondary, rotation = _plain(told, "equipment")
        names = ("XRay.IsocenterPrimaryAngleDeg", "XRay.IsocenterSecondaryAngleDeg")
    else:
        primary, secondary, rotation = _plain(told, "patient")
        names = ("XRay.PrimaryAngleDeg", "XRay.SecondaryAngleDeg")
    return texts | {
        names[0]: _text(primary),
        names[1]: _text(secondary),
        "XRay.DetectorRotationDeg": _text(rotation),
    }


def _plain(gantry: Gantry, system: Literal["patient", "equipment"]) -> tuple[float, float, float]:
    """The gantry's own numbers where they are in that system already; else worked out from its axes."""
    if gantry.angles == system:
        return gantry.primary_deg, gantry.secondary_deg, gantry.detector_rotation_deg
    return patient_angles(gantry) if system == "patient" else equipment_angles(gantry)


def _text(value: float) -> str:
    return f"{value:.12g}"


def _texts(values: Sequence[float]) -> str:
    return " ".join(_text(value) for value in values)
