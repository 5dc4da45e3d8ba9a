"""A gantry whose true geometry is not what its angles say: it sags, its focal spot wanders, its detector is askew.

Written from source, detector plane and rays alone; it shares no code with `guidance.geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F64, Vector3

# How far source and detector go with gravity and lever, mm for each mm of `sag_mm`, per axis of the room: of the order
# of 1 and sin, cos of the angles and their products, as flexmaps of C-arms show it.
_ORDERS: Final = 6
_RIPPLES: Final = 6.0  # in a whole turn


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexingGantry:
    """The suite as it stands, in equipment axes with the isocentre as origin.

    Attributes:
        source_to_detector_mm, source_to_isocenter_mm: as told.
        rows, columns, pitch_mm: of the detector.
        detector_shift_mm: how far the picture's centre lies off the nominal axis, along u and v: it is not the
            isocentre's projection.
        detector_tilt_deg: of the detector about u, about v, and its roll.
        sag_mm: size of the departures that vary smoothly with the angles.
        ripple_mm: of departures with a period of 60 deg of the primary angle, as of a bearing: no low order has them.
        wobble_mm: standard deviation of what varies from one approach of a pose to the next, of the source.
        seed: of the sag's shape and of the wobble.
    """

    source_to_detector_mm: float = 1195.0
    source_to_isocenter_mm: float = 750.0
    rows: int = 1024
    columns: int = 1024
    pitch_mm: float = 0.3
    detector_shift_mm: tuple[float, float] = (2.4, -1.7)
    detector_tilt_deg: Vector3 = (0.4, -0.3, 0.25)
    sag_mm: float = 1.0
    ripple_mm: float = 0.0
    wobble_mm: float = 0.03
    seed: int = 1

    def pixel_from_equipment(self, primary_deg: float, secondary_deg: float, *, approach: int = 0) -> F64:
        """(3, 4) of the truth: a ray from the true source cuts the true detector.

        Args:
            primary_deg, secondary_deg: equipment-related, as shown.
            approach: another one is another wobble.
        """
        p, s = np.radians((primary_deg, secondary_deg))
        toward_detector = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
        along_u = np.array([np.cos(p), np.sin(p), 0.0])
        along_v = np.cross(along_u, toward_detector)
        source_sag, detector_sag, turn_deg = self._sag(p, s)
        wobble = np.random.default_rng([self.seed, approach, *_ticks(primary_deg, secondary_deg)]).normal(size=3)
        source = -self.source_to_isocenter_mm * toward_detector + source_sag + self.wobble_mm * wobble
        middle = (self.source_to_detector_mm - self.source_to_isocenter_mm) * toward_detector + detector_sag
        tilt = np.radians(np.array(self.detector_tilt_deg) + turn_deg)
        basis = np.column_stack((along_u, along_v, toward_detector)) @ _turned(tilt)
        step_u, step_v = self.pitch_mm * basis[:, 0], self.pitch_mm * basis[:, 1]
        shift_u, shift_v = self.detector_shift_mm
        middle = middle + shift_u * basis[:, 0] + shift_v * basis[:, 1]
        first = middle - step_u * (self.columns - 1) / 2.0 - step_v * (self.rows - 1) / 2.0
        # A point of the detector is first + u step_u + v step_v; on the ray through x it is source + (x - source) / w.
        to_pixel = np.linalg.inv(np.column_stack((step_u, step_v, first - source)))
        matrix = to_pixel @ np.column_stack((np.eye(3), -source))
        scaled: F64 = matrix / np.linalg.norm(matrix[2, :3])
        return scaled

    def _sag(self, p: float, s: float) -> tuple[F64, F64, F64]:
        """Displacement of source and detector in mm, turn of the detector in deg, smooth over the angles."""
        rng = np.random.default_rng([self.seed, 0x5A6])
        terms = np.array(
            [np.sin(p), 1.0 - np.cos(p), np.sin(s), 1.0 - np.cos(s), np.sin(p) * np.sin(s), np.sin(2.0 * p)]
        )
        sizes = np.array([1.0, 1.0, 0.8, 0.6, 0.5, 0.25])
        source = (rng.normal(size=(3, _ORDERS)) * sizes) @ terms
        detector = (rng.normal(size=(3, _ORDERS)) * sizes) @ terms
        turn = (rng.normal(size=(3, _ORDERS)) * sizes) @ terms
        phases = rng.uniform(0.0, 2.0 * np.pi, (2, 3))
        ripple = self.ripple_mm * np.sin(_RIPPLES * p + phases)
        return self.sag_mm * source + ripple[0], self.sag_mm * detector + ripple[1], 0.08 * self.sag_mm * turn


def _ticks(primary_deg: float, secondary_deg: float) -> tuple[int, int]:
    """Whole numbers of 0.01 deg, for a seed."""
    return round(primary_deg * 100.0) % (1 << 32), round(secondary_deg * 100.0) % (1 << 32)


def _turned(angles_rad: F64) -> F64:
    """(3, 3): turns about the first, second and third axis, in this order."""
    result = np.eye(3)
    for axis, angle in enumerate(angles_rad.tolist()):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        result = step @ result
    return result
