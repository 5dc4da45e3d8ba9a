"""The simulated C-arm's own ray geometry, built from DICOM's positioner definition alone.

It shares no code with `guidance.geometry`: a mistake made in both would not show. Source: PS3.3 C.8.7.5.1.2 and
C.8.19.6.13 (positioner and isocentre systems), C.7.3.1.1.2 (patient positions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from guidance.errors import ConfigError
from guidance.messages import F64, Vector3

# What lies in the room for each patient position: directions of the patient's left, back and head in equipment axes
# (x: left of a supine head-first patient, y: down, z: that patient's head).
_LEFT_BACK_HEAD: Final[dict[str, tuple[str, str, str]]] = {
    "HFS": ("+x", "+y", "+z"),
    "HFP": ("-x", "-y", "+z"),
    "FFS": ("-x", "+y", "-z"),
    "FFP": ("+x", "-y", "-z"),
    "HFDL": ("+y", "-x", "+z"),  # on the left side: left is down
    "HFDR": ("-y", "+x", "+z"),
    "FFDL": ("+y", "+x", "-z"),
    "FFDR": ("-y", "-x", "-z"),
}
PATIENT_POSITIONS: Final = tuple(_LEFT_BACK_HEAD)

AngleSystem = Literal["patient", "equipment"]
Motion = tuple[float, float, float, float, float, float]
"""Shift x, y, z in mm, then a rotation vector in deg (its length is the angle)."""

STILL: Final[Motion] = (0.0,) * 6


def lps_from_equipment(patient_position: str) -> F64:
    """(3, 3): turns a direction in the equipment's axes into the patient's LPS."""
    if patient_position not in _LEFT_BACK_HEAD:
        raise ConfigError(
            f"patient position {patient_position!r}",
            code="unknown_patient_position",
            mend=f"one of {' '.join(PATIENT_POSITIONS)}",
        )
    rows = np.zeros((3, 3))
    for row, word in enumerate(_LEFT_BACK_HEAD[patient_position]):
        rows[row, "xyz".index(word[1])] = 1.0 if word[0] == "+" else -1.0
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Gantry:
    """Everything that decides where a patient's point falls on the picture as sent.

    Attributes:
        primary_deg, secondary_deg, detector_rotation_deg: in the system that `angles` names.
        angles: `patient` (Positioner Primary Angle ...) or `equipment` (isocenter-based ...).
        source_to_detector_mm, source_to_isocenter_mm: as in DICOM.
        detector_rows, detector_columns: the detector's elements at this zoom.
        pitch_row_mm, pitch_column_mm: distance of rows, of columns, in the detector's plane.
        crop_px: left, top, width, height of the collimated picture; None: the whole detector.
        fov_rotation_deg: 0, 90, 180 or 270, clockwise, after the crop.
        fov_flip: horizontal flip, after the rotation.
        isocenter_lps_mm: isocentre in the patient with the table where it was at the CBCT.
        table_mm, table_at_cbct_mm: equipment axes.
        patient_position: one of DICOM's eight.
        patient_moved: what the patient did on the table since the CBCT: turned about the isocentre, then shifted, in
            LPS. Every projection has it; no equipment can tell it.
    """

    primary_deg: float = 0.0
    secondary_deg: float = 0.0
    detector_rotation_deg: float = 0.0
    angles: AngleSystem = "patient"
    source_to_detector_mm: float = 1200.0
    source_to_isocenter_mm: float = 750.0
    detector_rows: int = 1024
    detector_columns: int = 1024
    pitch_row_mm: float = 0.3
    pitch_column_mm: float = 0.3
    crop_px: tuple[int, int, int, int] | None = None
    fov_rotation_deg: int = 0
    fov_flip: bool = False
    isocenter_lps_mm: Vector3 = (0.0, 0.0, 0.0)
    table_mm: Vector3 = (0.0, 0.0, 0.0)
    table_at_cbct_mm: Vector3 = (0.0, 0.0, 0.0)
    patient_position: str = "HFS"
    patient_moved: Motion = STILL

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """left, top, width, height."""
        return self.crop_px or (0, 0, self.detector_columns, self.detector_rows)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the picture as sent."""
        _, _, width, height = self.crop
        return (width, height) if self.fov_rotation_deg in (90, 270) else (height, width)

    @property
    def picture_pitch_mm(self) -> tuple[float, float]:
        """(column step, row step) of the picture as sent, at the detector."""
        pitch = (self.pitch_column_mm, self.pitch_row_mm)
        return pitch[::-1] if self.fov_rotation_deg in (90, 270) else pitch

    def zoomed(self, factor: float) -> Gantry:
        """Electronic magnification: as many pixels over a field `factor` times smaller."""
        return replace(self, pitch_row_mm=self.pitch_row_mm / factor, pitch_column_mm=self.pitch_column_mm / factor)

    def turned(self, turn_deg: Vector3) -> Gantry:
        """Source and detector carried about the isocentre by a rotation vector in LPS; told relative to the patient."""
        turn = Rotation.from_rotvec(turn_deg, degrees=True).as_matrix()
        along_u, _, toward = (turn @ axis for axis in self.axes_lps())
        primary, secondary, rotation = angles_of(along_u, toward)
        return replace(
            self, primary_deg=primary, secondary_deg=secondary, detector_rotation_deg=rotation, angles="patient"
        )

    def isocenter_now_lps_mm(self) -> F64:
        """(3,): the table carried the patient on, so the isocentre lies elsewhere in the patient."""
        carried = lps_from_equipment(self.patient_position) @ np.subtract(self.table_mm, self.table_at_cbct_mm)
        return np.asarray(self.isocenter_lps_mm) - carried

    def axes_lps(self) -> tuple[F64, F64, F64]:
        """Unit vectors in LPS: along the detector's columns (u), along its rows (v), from source to detector."""
        p, s, r = np.radians([self.primary_deg, self.secondary_deg, self.detector_rotation_deg])
        toward_detector = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
        along_u = np.array([np.cos(p), np.sin(p), 0.0])
        along_v = np.cross(along_u, toward_detector)  # down the picture: at 0/0, left x front = feet
        # Content clockwise by r: what was to the right (u) comes to lie below (v).
        along_u, along_v = (
            np.cos(r) * along_u - np.sin(r) * along_v,
            np.sin(r) * along_u + np.cos(r) * along_v,
        )
        if self.angles == "equipment":
            to_lps = lps_from_equipment(self.patient_position)
            return to_lps @ along_u, to_lps @ along_v, to_lps @ toward_detector
        return along_u, along_v, toward_detector

    def source_lps_mm(self) -> F64:
        """(3,): the focal spot."""
        return self.isocenter_now_lps_mm() - self.source_to_isocenter_mm * self.axes_lps()[2]

    def project(self, points_lps_mm: F64) -> F64:
        """(N, 3) u, v, w by cutting each ray with the detector's plane, then crop, turn and flip pixel by pixel."""
        along_u, along_v, toward_detector = self.axes_lps()
        from_source = self._where_moved(np.asarray(points_lps_mm)) - self.source_lps_mm()
        depth = from_source @ toward_detector
        on_detector = from_source * (self.source_to_detector_mm / depth)[:, None]
        u = (self.detector_columns - 1) / 2.0 + on_detector @ along_u / self.pitch_column_mm
        v = (self.detector_rows - 1) / 2.0 + on_detector @ along_v / self.pitch_row_mm
        left, top, width, height = self.crop
        u, v = u - left, v - top
        if self.fov_rotation_deg == 90:
            u, v = height - 1 - v, u
        elif self.fov_rotation_deg == 180:
            u, v = width - 1 - u, height - 1 - v
        elif self.fov_rotation_deg == 270:
            u, v = v, width - 1 - u
        if self.fov_flip:
            u = self.size[1] - 1 - u
        return np.stack([u, v, depth], axis=1)

    def _where_moved(self, points_lps_mm: F64) -> F64:
        if self.patient_moved == STILL:
            return points_lps_mm
        turn: F64 = Rotation.from_rotvec(self.patient_moved[3:], degrees=True).as_matrix()
        middle = self.isocenter_now_lps_mm()
        moved: F64 = (points_lps_mm - middle) @ turn.T + middle + np.asarray(self.patient_moved[:3])
        return moved

    def pixel_from_patient(self) -> F64:
        """(3, 4), w in mm along the central ray: read off `project` at four places, for it is linear in u w, v w, w."""
        corners = np.vstack([np.zeros(3), np.eye(3) * 100.0]) + self.isocenter_now_lps_mm()
        uvw = self.project(corners)
        homogeneous = np.stack([uvw[:, 0] * uvw[:, 2], uvw[:, 1] * uvw[:, 2], uvw[:, 2]], axis=1)
        left = (homogeneous[1:] - homogeneous[0]).T / 100.0
        return np.column_stack([left, homogeneous[0] - left @ corners[0]])

    def lps_from_picture(self) -> F64:
        """(4, 4) of contract 5.3 (b): x along rows and y along columns of the picture in mm, z towards the source."""
        column_mm, row_mm = self.picture_pitch_mm
        source = self.source_lps_mm()
        toward_detector = self.axes_lps()[2]
        matrix = self.pixel_from_patient()
        at = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        rays = np.linalg.solve(matrix[:, :3], at.T).T
        places = source + rays * (self.source_to_detector_mm / (rays @ toward_detector))[:, None]
        result = np.eye(4)
        result[:3, 0] = (places[1] - places[0]) / column_mm
        result[:3, 1] = (places[2] - places[0]) / row_mm
        result[:3, 2] = -toward_detector
        result[:3, 3] = places[0]
        return result


def angles_of(along_u: F64, toward_detector: F64) -> tuple[float, float, float]:
    """Primary, secondary angle and detector rotation of axes, in the system that the axes are in."""
    primary = float(np.degrees(np.arctan2(toward_detector[0], -toward_detector[1])))
    secondary = float(np.degrees(np.arcsin(np.clip(toward_detector[2], -1.0, 1.0))))
    plain_u, plain_v, _ = Gantry(primary_deg=primary, secondary_deg=secondary).axes_lps()
    # u = cos r * plain u - sin r * plain v
    return primary, secondary, float(np.degrees(np.arctan2(-along_u @ plain_v, along_u @ plain_u)))
