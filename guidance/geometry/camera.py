"""The cone-beam camera: patient LPS mm to pixel and back, and what any foreign 3x4 matrix says."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from guidance.errors import GeometryError
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose, positioner_axes
from guidance.messages import F64, Vector3

# A calibrated flat detector's pixels are square to a few per cent and its axes perpendicular; beyond this the
# twelve numbers are not a C-arm's.
_LARGEST_PITCH_RATIO = 4.0
_LARGEST_SKEW = 0.05
# det(M) of a normalised matrix is focal_u_px * focal_v_px; the shortest C-arm focal length is some hundred pixels.
_SMALLEST_FOCAL_PX = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConeBeamCamera:
    """One exposure: pose, detector and where the isocentre lies in the patient.

    Attributes:
        pose: gantry relative to the patient.
        detector: pixel pitch, principal point, turn and flip.
        isocenter_lps_mm: isocentre at the time of the exposure, patient LPS.
    """

    pose: CArmPose
    detector: Detector
    isocenter_lps_mm: Vector3 = (0.0, 0.0, 0.0)

    @property
    def pixel_from_patient(self) -> F64:
        """(3, 4) float64; w is mm along the central ray, pixels are those of the picture as sent."""
        plane_from_patient = plane_from_isocenter_frame(
            positioner_axes(
                self.pose.primary_angle_deg, self.pose.secondary_angle_deg, self.pose.detector_rotation_deg
            ),
            self.pose.source_to_detector_mm,
            self.pose.source_to_isocenter_mm,
        )
        plane_from_patient[:, 3] -= plane_from_patient[:, :3] @ np.asarray(self.isocenter_lps_mm)
        matrix: F64 = self.detector.picture_from_plane() @ plane_from_patient
        return matrix

    @property
    def source_lps_mm(self) -> F64:
        """(3,) float64: the X-ray source in the patient's frame."""
        source: F64 = np.asarray(self.isocenter_lps_mm) + self.pose.source_to_isocenter_mm * self._axes()[1]
        return source

    def magnification(self, depth_mm: float) -> float:
        """Detector mm per patient mm at `depth_mm` (w, along the central ray from the source); > 1 in front of it."""
        return self.pose.source_to_detector_mm / depth_mm

    def _axes(self) -> F64:
        return positioner_axes(self.pose.primary_angle_deg, self.pose.secondary_angle_deg)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraParts:
    """What a normalised 3x4 matrix is made of: M = K R, t = -R source.

    Attributes:
        intrinsics_px: (3, 3) K, upper triangular, K[2, 2] = 1, focal lengths positive.
        axes: (3, 3) R, orthonormal rows: along u, along v, from source to detector (LPS).
        translation_mm: (3,) t, so that pixel ~ K (R x + t).
        source_lps_mm: (3,) the X-ray source.
        principal_point_px: (u, v).
        focal_u_px, focal_v_px: source to detector over pixel pitch.
        handedness: -1 for a picture as seen from the detector, +1 for a mirrored one (= sign of det R).
    """

    intrinsics_px: F64
    axes: F64
    translation_mm: F64
    source_lps_mm: F64
    principal_point_px: tuple[float, float]
    focal_u_px: float
    focal_v_px: float
    handedness: int

    @property
    def pitch_ratio(self) -> float:
        """Row pitch over column pitch (1 for square pixels)."""
        return self.focal_u_px / self.focal_v_px

    @property
    def skew_px(self) -> float:
        return float(self.intrinsics_px[0, 1])

    @property
    def pixel_from_patient(self) -> F64:
        """(3, 4): the matrix again."""
        matrix: F64 = self.intrinsics_px @ np.column_stack((self.axes, self.translation_mm))
        return matrix


def plane_from_isocenter_frame(axes: F64, source_to_detector_mm: float, source_to_isocenter_mm: float) -> F64:
    """Cone projection alone.

    Args:
        axes: (3, 3) rows Xp, Yp, Zp from `positioner_axes`.
        source_to_detector_mm, source_to_isocenter_mm: > 0.

    Returns:
        (3, 4): point relative to the isocentre -> (x w, y w, w), x right and y down in mm on the detector from
        where the central ray meets it, w mm along the central ray from the source.
    """
    matrix = np.empty((3, 4))
    matrix[0, :3] = source_to_detector_mm * axes[0]
    matrix[1, :3] = -source_to_detector_mm * axes[2]
    matrix[2, :3] = -axes[1]
    matrix[:, 3] = (0.0, 0.0, source_to_isocenter_mm)
    return matrix


def normalised(pixel_from_patient: F64, in_front_lps_mm: F64) -> F64:
    """The same projection, scaled so that w is mm along the central ray and positive at a point known to be in front.

    A projection matrix says nothing about which of its half spaces the X-rays go to: P and -P give the same pixels,
    and the determinant of the left block changes its sign with P's. So the sign must come from outside, from
    something that is certainly between source and detector: the middle of the patient's volume. Only then does the
    determinant tell a mirrored picture; choosing the sign by the determinant would make that check empty.

    Args:
        pixel_from_patient: (3, 4), any scale and sign.
        in_front_lps_mm: (3,) point that is in front of the source.

    Returns:
        (3, 4) float64.

    Raises:
        GeometryError: `not_finite`; `not_a_projection` if no cone beam has this matrix, or the point lies in the
            source's own plane.

    Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., 6.2.3 (depth of points).
    """
    if pixel_from_patient.shape != (3, 4) or not np.isfinite(pixel_from_patient).all():
        raise GeometryError("projection matrix is not 3 x 4 finite numbers", code="not_finite")
    # Largest element first: squares of huge or tiny but legal scales would leave the range of a double.
    largest = float(np.abs(pixel_from_patient).max())
    if largest == 0.0:
        raise GeometryError("projection matrix is all zeros", code="not_a_projection")
    matrix = pixel_from_patient / largest
    a, b, c, d = matrix[2].tolist()
    length = math.sqrt(a * a + b * b + c * c)
    if length <= 1e-15:
        raise GeometryError("projection matrix has no central ray (parallel beam)", code="not_a_projection")
    x, y, z = in_front_lps_mm.tolist()
    depth_mm = (a * x + b * y + c * z + d) / length
    if abs(depth_mm) < 1.0:
        raise GeometryError("the patient's volume lies in the X-ray source's own plane", code="not_a_projection")
    return matrix / math.copysign(length, depth_mm)


def determinant(pixel_from_patient: F64) -> float:
    """Determinant of the left 3x3 block: negative for a picture as seen from the detector, positive for a flipped
    one, once `normalised`; its size is focal_u_px * focal_v_px."""
    (a, b, c, _), (d, e, f, _), (g, h, i, _) = pixel_from_patient.tolist()
    return float(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def decomposed(pixel_from_patient: F64) -> CameraParts:
    """Take a normalised 3x4 matrix apart.

    Args:
        pixel_from_patient: (3, 4), `normalised`.

    Returns:
        Its parts; exact for any invertible left block.

    Raises:
        GeometryError: `not_a_projection` if the left block is singular.

    Source: Hartley & Zisserman, 2nd ed., 6.2.4 (RQ decomposition), with K's diagonal positive so that handedness
        shows in the axes.
    """
    rows = pixel_from_patient[:, :3]
    if not abs(determinant(pixel_from_patient)) > _SMALLEST_FOCAL_PX**2 * float(rows[2] @ rows[2]) ** 1.5:
        raise GeometryError("projection matrix is singular: it has no X-ray source", code="not_a_projection")
    third = rows[2] / math.sqrt(float(rows[2] @ rows[2]))
    v0 = float(rows[1] @ third)
    second = rows[1] - v0 * third
    focal_v = math.sqrt(float(second @ second))
    second = second / focal_v
    skew, u0 = float(rows[0] @ second), float(rows[0] @ third)
    first = rows[0] - skew * second - u0 * third
    focal_u = math.sqrt(float(first @ first))
    axes = np.array((first / focal_u, second, third))
    source = source_of(pixel_from_patient)
    return CameraParts(
        intrinsics_px=np.array(((focal_u, skew, u0), (0.0, focal_v, v0), (0.0, 0.0, 1.0))),
        axes=axes,
        translation_mm=-axes @ source,
        source_lps_mm=source,
        principal_point_px=(u0, v0),
        focal_u_px=focal_u,
        focal_v_px=focal_v,
        handedness=-1 if determinant(pixel_from_patient) < 0.0 else 1,
    )


def check_plausible(parts: CameraParts) -> None:
    """Refuse what no C-arm is.

    Raises:
        GeometryError: `not_a_projection` for pixels far from square or axes far from perpendicular.
    """
    if not 1.0 / _LARGEST_PITCH_RATIO <= parts.pitch_ratio <= _LARGEST_PITCH_RATIO:
        raise GeometryError(f"pixels {parts.pitch_ratio:.3g} times as high as wide", code="not_a_projection")
    if abs(parts.skew_px) > _LARGEST_SKEW * parts.focal_u_px:
        raise GeometryError("rows and columns are not perpendicular", code="not_a_projection")


def project(points_lps_mm: F64, pixel_from_patient: F64) -> F64:
    """Project points.

    Args:
        points_lps_mm: (N, 3) float64.
        pixel_from_patient: (3, 4), `normalised`.

    Returns:
        (N, 3) float64 u, v in px and w in mm from the source along the central ray; u, v NaN where w <= 0.
    """
    homogeneous = points_lps_mm @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    depth = homogeneous[:, 2:]
    if (depth <= 0.0).any():
        homogeneous[:, :2] /= np.where(depth > 0.0, depth, np.nan)
    else:
        homogeneous[:, :2] /= depth
    return homogeneous


def project_polyline(points_lps_mm: F64, pixel_from_patient: F64, *, nearest_mm: float = 1.0) -> list[F64]:
    """Project a line through points, cut where it comes nearer to the source's plane than `nearest_mm`.

    Args:
        points_lps_mm: (N, 3), N >= 2.
        pixel_from_patient: (3, 4), `normalised`.
        nearest_mm: smallest w that is drawn; > 0.

    Returns:
        (M, 2) px for every piece in front, in order; empty if nothing is.
    """
    homogeneous = points_lps_mm @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    pieces: list[list[F64]] = []
    for start, end in itertools.pairwise(homogeneous):
        before, after = start[2] >= nearest_mm, end[2] >= nearest_mm
        if not (before or after):
            continue
        # Linear in homogeneous coordinates, so the cut lies exactly on the line.
        cut = start + (end - start) * ((nearest_mm - start[2]) / (end[2] - start[2])) if before != after else start
        if before and pieces and pieces[-1][-1] is start:
            pieces[-1].append(end if after else cut)
        else:
            pieces.append([start if before else cut, end if after else cut])
    return [np.array([point[:2] / point[2] for point in piece]) for piece in pieces]


def source_of(pixel_from_patient: F64) -> F64:
    """(3,) float64: the X-ray source, where every ray begins.

    Raises:
        GeometryError: `not_a_projection` if the left block is singular.
    """
    (a, b, c, p), (d, e, f, q), (g, h, i, r) = pixel_from_patient.tolist()
    # Cramer's rule: a third of the time of a LAPACK call, and done for every frame.
    x, y, z = e * i - f * h, f * g - d * i, d * h - e * g
    whole = a * x + b * y + c * z
    if whole == 0.0:
        raise GeometryError("projection matrix is singular: it has no X-ray source", code="not_a_projection")
    return np.array(
        (
            (p * x + q * (c * h - b * i) + r * (b * f - c * e)) / -whole,
            (p * y + q * (a * i - c * g) + r * (c * d - a * f)) / -whole,
            (p * z + q * (b * g - a * h) + r * (a * e - b * d)) / -whole,
        )
    )


def ray_through(pixel_uv: tuple[float, float], pixel_from_patient: F64) -> tuple[F64, F64]:
    """The ray that makes a pixel.

    Args:
        pixel_uv: (u, v), centre of the first pixel at (0, 0).
        pixel_from_patient: (3, 4), `normalised`.

    Returns:
        source (3,) mm and unit direction (3,), from the source towards the detector.
    """
    direction = np.linalg.solve(pixel_from_patient[:, :3], np.array((pixel_uv[0], pixel_uv[1], 1.0)))
    return source_of(pixel_from_patient), direction / math.sqrt(float(direction @ direction))
