"""What makes one view better than another: penalties in points, the same for the list and for the search.

A view starts with 100 points. It loses
  2 per degree off the path's axis (bull's-eye) or the channel's (en face),
  10 where a bull's-eye view has its detector on the far side of the entry,
  1 per degree off perpendicular (progression),
  0.1 per degree that a progression view tilts out of the transverse plane: the way through the body grows,
  0.1 per degree that the nearest keep-out zone's gap is seen off its true size (progression),
  0.2 per degree short of 90 that the second progression view is apart from the first, and 3 more per degree short
  of 30: nearer than that it shows nothing new,
  10, and 1 per mm between instrument axis and foramen up to 20, for en face views,
  5 with the X-ray tube straight above the patient, 0 below: scatter goes back to where the beam enters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F64

FULL: Final = 100.0
OFF_AXIS_PER_DEG: Final = 2.0
FAR_SIDE: Final = 10.0
OFF_PERPENDICULAR_PER_DEG: Final = 1.0
TILT_PER_DEG: Final = 0.1
GAP_PER_DEG: Final = 0.1
APART_PER_DEG: Final = 0.2
EN_FACE: Final = 10.0
EN_FACE_FARTHEST: Final = 20.0
TUBE_ABOVE: Final = 5.0
LEAST_APART_DEG: Final = 30.0
TOO_NEAR_PER_DEG: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathRays:
    """A path as rays meet it.

    Attributes:
        middle_lps_mm: (3,) of the path.
        axis: (3,) unit vector, entry to target.
        isocenter_lps_mm: (3,).
        source_to_isocenter_mm: > 0.
        gap: (3,) unit vector from the axis to the nearest keep-out zone; None without one near.
        up_lps: (3,) where up is in the patient; None where the patient position is not known.
    """

    middle_lps_mm: F64
    axis: F64
    isocenter_lps_mm: F64
    source_to_isocenter_mm: float
    gap: F64 | None
    up_lps: F64 | None

    def off_perpendicular_deg(self, toward_detector: F64) -> F64:
        """(N,) between the ray through the path's middle and the plane across the path, of (N, 3) unit vectors."""
        rays = self.middle_lps_mm - self.isocenter_lps_mm + self.source_to_isocenter_mm * toward_detector
        rays /= np.linalg.norm(rays, axis=1)[:, None]
        off: F64 = np.degrees(np.arcsin(np.clip(np.abs(rays @ self.axis), 0.0, 1.0)))
        return off

    def tube_above(self, toward_detector: F64) -> F64:
        """(N,) penalty; 0 where up is not known."""
        if self.up_lps is None:
            return np.zeros(len(toward_detector))
        lost: F64 = TUBE_ABOVE * (1.0 - toward_detector @ self.up_lps) / 2.0
        return lost

    def tilt_deg(self, toward_detector: F64) -> F64:
        """(N,) out of the transverse plane, either way."""
        tilt: F64 = np.degrees(np.arcsin(np.clip(np.abs(toward_detector[:, 2]), 0.0, 1.0)))
        return tilt

    def gap_off_deg(self, toward_detector: F64) -> F64:
        """(N,) how far the gap to the nearest keep-out zone is from being seen in true size; 0 without one."""
        if self.gap is None:
            return np.zeros(len(toward_detector))
        off: F64 = np.degrees(np.arcsin(np.clip(np.abs(toward_detector @ self.gap), 0.0, 1.0)))
        return off

    def progression(self, toward_detector: F64, first: F64 | None = None) -> F64:
        """(N,) score of a progression view; of the second one where `first` is given."""
        score = (
            FULL
            - OFF_PERPENDICULAR_PER_DEG * self.off_perpendicular_deg(toward_detector)
            - TILT_PER_DEG * self.tilt_deg(toward_detector)
            - GAP_PER_DEG * self.gap_off_deg(toward_detector)
            - self.tube_above(toward_detector)
        )
        if first is not None:
            apart = apart_deg(toward_detector, first)
            score -= APART_PER_DEG * (90.0 - apart) + TOO_NEAR_PER_DEG * np.maximum(LEAST_APART_DEG - apart, 0.0)
        return score

    def bulls_eye(self, toward_detector: F64) -> float:
        """Score of a (3,) view straight down the path."""
        far = FAR_SIDE if float(toward_detector @ self.axis) > 0.0 else 0.0
        return FULL - far - float(self.tube_above(toward_detector[None])[0])

    def en_face(self, toward_detector: F64, distance_mm: float) -> float:
        """Score of a (3,) view straight through a foramen `distance_mm` from the instrument's axis."""
        lost = EN_FACE + min(max(distance_mm, 0.0), EN_FACE_FARTHEST)
        return FULL - lost - float(self.tube_above(toward_detector[None])[0])


def off_deg(toward_detector: F64, ideal: F64) -> F64:
    """(N,) angle between (N, 3) unit vectors and one (3,)."""
    across = np.linalg.norm(np.cross(toward_detector, ideal), axis=1)
    angle: F64 = np.degrees(np.arctan2(across, toward_detector @ ideal))
    return angle


def apart_deg(toward_detector: F64, other: F64) -> F64:
    """(N,) angle between two rays whichever way they run, [0, 90]."""
    angle = off_deg(toward_detector, other)
    return np.minimum(angle, 180.0 - angle)
