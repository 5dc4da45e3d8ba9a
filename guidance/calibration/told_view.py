"""What a calibration picture's geometry says of where the gantry stood, put into the equipment's own angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidance.calibration.view_camera import ViewCamera
from guidance.errors import GeometryError
from guidance.geometry.detector import detector_of_picture
from guidance.geometry.metadata import XRayMetadata
from guidance.geometry.positioner import isocenter_from_positioner, positioner_axes
from guidance.geometry.told_patient import has_equipment_angles, has_patient_angles, patient_angles
from guidance.messages import F64

# Where only the source to detector distance is told, the isocentre is taken this far along it: only to begin with.
_USUAL_SHARE = 0.63


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldView:
    """One picture's told stand.

    Attributes:
        name: of the picture.
        primary_deg, secondary_deg, detector_rotation_deg: equipment-related.
        source_to_detector_mm: as the equipment shows it.
        source_to_isocenter_mm: None where it is not told.
        pitch_mm: (row, column) in the detector's plane.
        rows, columns: of the picture as sent.
        principal_px: where the isocentre is told to project, cropped picture before turn and flip; None: not told.
        fov_rotation_deg, fov_flip: turn and flip that are in the picture.
    """

    name: str
    primary_deg: float
    secondary_deg: float
    detector_rotation_deg: float
    source_to_detector_mm: float
    source_to_isocenter_mm: float | None
    pitch_mm: tuple[float, float]
    rows: int
    columns: int
    principal_px: tuple[float, float] | None = None
    fov_rotation_deg: int = 0
    fov_flip: bool = False

    @property
    def axes(self) -> F64:
        """(3, 3) `positioner_axes`."""
        return positioner_axes(self.primary_deg, self.secondary_deg, self.detector_rotation_deg)

    @property
    def cropped_size(self) -> tuple[int, int]:
        """(rows, columns) before turn and flip."""
        turned = self.fov_rotation_deg in (90, 270)
        return (self.columns, self.rows) if turned else (self.rows, self.columns)

    @property
    def middle_px(self) -> tuple[float, float]:
        """The cropped picture's middle: where classic XA assumes that the isocentre projects."""
        rows, columns = self.cropped_size
        return ((columns - 1) / 2.0, (rows - 1) / 2.0)

    @property
    def focal_px(self) -> tuple[float, float]:
        """(fu, fv) as told."""
        return (self.source_to_detector_mm / self.pitch_mm[1], self.source_to_detector_mm / self.pitch_mm[0])

    @property
    def distance_mm(self) -> float:
        """Source to isocentre, told or usual."""
        return self.source_to_isocenter_mm or _USUAL_SHARE * self.source_to_detector_mm

    def ideal_camera(self) -> ViewCamera:
        """The camera that classic XA takes, for equipment points about the isocentre, before turn and flip."""
        x, y, z = self.axes
        return ViewCamera(
            focal_px=self.focal_px,
            principal_px=self.principal_px or self.middle_px,
            rotation=np.array((x, -z, -y)),
            translation_mm=np.array((0.0, 0.0, self.distance_mm)),
        )


def told_view(name: str, xray: XRayMetadata, rows: int, columns: int) -> ToldView:
    """The told stand of one picture.

    Args:
        name: of the picture.
        xray: from `metadata.read_metadata`; angles relative to the equipment, or to the patient with a position.
        rows, columns: of the picture as sent.

    Raises:
        GeometryError: `incomplete_geometry` and those of the angles' conversion, naming the key.
    """
    missing = [
        key
        for key, value in (
            ("XRay.SourceToDetectorMm", xray.source_to_detector_mm),
            ("XRay.ImagerPixelSpacingMm", xray.imager_pixel_spacing_mm),
        )
        if value is None
    ]
    if not has_equipment_angles(xray):
        if not has_patient_angles(xray):
            missing += ["XRay.IsocenterPrimaryAngleDeg", "XRay.IsocenterSecondaryAngleDeg"]
        elif not xray.patient_position:
            missing.append("XRay.PatientPosition")
    if missing or xray.source_to_detector_mm is None or xray.imager_pixel_spacing_mm is None:
        raise GeometryError(
            f"geometry incomplete, missing {', '.join(missing)}",
            code="incomplete_geometry",
            mend="tell the angles that the equipment showed, distance and pixel spacing of every picture",
        )
    if xray.isocenter_primary_angle_deg is not None and xray.isocenter_secondary_angle_deg is not None:
        angles = (
            xray.isocenter_primary_angle_deg,
            xray.isocenter_secondary_angle_deg,
            xray.detector_rotation_deg or 0.0,
        )
    else:
        angles = isocenter_from_positioner(*patient_angles(xray), xray.patient_position)
    distance_mm = xray.source_to_isocenter_mm
    if distance_mm is not None and distance_mm >= xray.source_to_detector_mm:
        raise GeometryError(
            "the isocentre is told to lie behind the detector",
            code="distance_out_of_range",
            mend="mend XRay.SourceToIsocenterMm",
        )
    detector_of_picture(  # refuses sizes that no detector has
        rows,
        columns,
        pitch_row_mm=xray.imager_pixel_spacing_mm[0],
        pitch_column_mm=xray.imager_pixel_spacing_mm[1],
        fov_rotation_deg=xray.fov_rotation_deg or 0,
    )
    return ToldView(
        name=name,
        primary_deg=angles[0],
        secondary_deg=angles[1],
        detector_rotation_deg=angles[2],
        source_to_detector_mm=xray.source_to_detector_mm,
        source_to_isocenter_mm=distance_mm,
        pitch_mm=xray.imager_pixel_spacing_mm,
        rows=rows,
        columns=columns,
        principal_px=xray.isocenter_projection_px,
        fov_rotation_deg=xray.fov_rotation_deg or 0,
        fov_flip=bool(xray.fov_flip),
    )
