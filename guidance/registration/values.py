"""What registration takes and gives: views, rigid motions with their covariance, the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.messages import F64, Pixels

IDENTITY: Final[F64] = np.eye(4)
IDENTITY.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegistrationView:
    """One picture with the geometry that was told for it.

    Attributes:
        pixels: (rows, columns) as sent, any scalar type; never altered.
        pixel_from_patient: (3, 4) as told, `normalised`: w in mm along the central ray, > 0 in front of the source.
        intensity: `LIN` (proportional to what the detector got), `LOG`, `DISP` (processed for display), as
            DICOM (0028,1040).
        sign: 1: more X-ray gives higher values; -1: lower ones.
        valid: (rows, columns) bool, False where nothing may be compared (collimator, overlay planes, cement); None:
            all of it.
        name: input or file, for words.
    """

    pixels: Pixels
    pixel_from_patient: F64
    intensity: Literal["LIN", "LOG", "DISP"] = "LIN"
    sign: Literal[1, -1] = 1
    valid: npt.NDArray[np.bool_] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RigidEstimate:
    """A rigid motion and how well it is known.

    Attributes:
        seen_lps_from_volume_lps: (4, 4); a volume point x is seen where the told geometry puts M x.
        pivot_lps_mm: (3,), about which the small motions of `covariance` turn, in the frame of M x.
        covariance: (6, 6) of a small motion after M: shift x, y, z in mm, then turns about x, y, z in deg about the
            pivot (`small_motion`).
    """

    seen_lps_from_volume_lps: F64
    pivot_lps_mm: F64
    covariance: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registration:
    """What registration found.

    Attributes:
        accepted: whether it may be used.
        reason: words: why not, or how well.
        code: stable snake_case name of the refusal; "" where accepted.
        estimate: the best found, also where refused, for people to look at; identity where there is none.
        residual_px: median distance, px of the pictures as sent, by which what is seen still lies off after M; None
            where it cannot be told.
        residual_mm: the same at the pivot's depth.
        similarity: mean agreement of pictures and projections after M, 1 = the same.
        captured: share of the perturbed starts that came to the same pose, 0 to 1; None where not tested.
        projections: DRRs computed.
    """

    accepted: bool
    reason: str
    code: str
    estimate: RigidEstimate
    residual_px: float | None
    residual_mm: float | None
    similarity: float | None
    captured: float | None
    projections: int


def small_motion(vector: F64, pivot_lps_mm: F64) -> F64:
    """The rigid motion of six small numbers.

    Args:
        vector: (6,) shift x, y, z in mm, rotation vector x, y, z in deg (its length is the angle).
        pivot_lps_mm: (3,) about which it turns.

    Returns:
        (4, 4): x -> R (x - pivot) + pivot + shift.
    """
    turn = np.radians(vector[3:])
    angle = math.sqrt(float(turn @ turn))
    cross = np.array(((0.0, -turn[2], turn[1]), (turn[2], 0.0, -turn[0]), (-turn[1], turn[0], 0.0)))
    sinc = math.sin(angle) / angle if angle > 1e-12 else 1.0
    cosc = (1.0 - math.cos(angle)) / angle**2 if angle > 1e-6 else 0.5
    motion = np.eye(4)
    motion[:3, :3] += sinc * cross + cosc * cross @ cross
    motion[:3, 3] = pivot_lps_mm - motion[:3, :3] @ pivot_lps_mm + vector[:3]
    return motion


def motion_vector(motion: F64, pivot_lps_mm: F64) -> F64:
    """The six numbers of a rigid motion, inverse of `small_motion` for turns below 180 deg."""
    rotation = motion[:3, :3]
    sine = np.array((rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]))
    length = math.sqrt(float(sine @ sine))
    angle = math.atan2(length, float(np.trace(rotation)) - 1.0)
    turn = sine / 2.0 if length < 1e-12 else sine * (angle / length)
    shift = motion[:3, 3] - pivot_lps_mm + rotation @ pivot_lps_mm
    return np.concatenate((shift, np.degrees(turn)))
