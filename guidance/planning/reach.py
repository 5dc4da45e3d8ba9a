"""Whether a C-arm can stand where a view wants it, and in an operator's words why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.geometry.positioner import lps_from_equipment, positioner_from_isocenter, wrap_deg
from guidance.messages import F64
from guidance.planning.c_arms import AngleRange, CArmModel
from guidance.planning.collision import BODIES, Couch, separations_mm

Scores = Callable[[F64], F64]
"""(N, 3) unit vectors towards the detector, LPS -> (N,) score, larger is better."""

_GRID_STEP_DEG: Final = 3.0
_CHUNK: Final = 96
_STARTS: Final = 4
_NEIGHBOUR_COSINE: Final = 0.99  # 8 deg
_MOST_REGAINED: Final = 10.0  # points that refinement within a cell of the grid could add at the very most
_REFINE_STEPS_DEG: Final = (2.0, 1.0, 0.5, 0.25, 0.1, 0.05, 0.02)
_ROUNDING_DEG: Final = 1e-6
_ROUNDING_MM: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """One C-arm about one patient.

    Attributes:
        patient_position: one of DICOM's eight.
        grid: (N, 3) directions within the stand's ranges, LPS, about 3 deg apart.
    """

    model: CArmModel
    couch: Couch
    patient_position: str
    lps_from_equipment: F64
    grid: F64

    @property
    def up_lps(self) -> F64:
        """(3,) where up is in the patient."""
        return -self.lps_from_equipment[:, 1]

    def reachable(self, toward_detector: F64) -> npt.NDArray[np.bool_]:
        """(N,) of (N, 3) unit vectors, LPS."""
        primary, secondary = self.equipment_deg(toward_detector)
        inside = _inside(self.model, primary, secondary)
        if inside.any():
            room = separations_mm(self.model, self.couch, _axes(primary[inside], secondary[inside]))
            inside[inside] = (room >= self.model.safety_mm).all(axis=1)
        return inside

    def equipment_deg(self, toward_detector: F64) -> tuple[F64, F64]:
        """The stand's own primary and secondary angles of (N, 3) unit vectors, LPS."""
        return _angles(toward_detector @ self.lps_from_equipment)

    def why_not(self, toward_detector: F64) -> str:
        """Words for one (3,) direction; "" where it is reachable."""
        primary, secondary = self.equipment_deg(toward_detector[None])
        if not _inside(self.model, primary, secondary)[0]:
            return self._limit_words(float(primary[0]), float(secondary[0]))
        room = separations_mm(self.model, self.couch, _axes(primary, secondary))[0]
        worst = int(np.argmin(room))
        if room[worst] >= self.model.safety_mm - _ROUNDING_MM:
            return ""
        moving, still = BODIES[worst]
        if room[worst] < 0.0:
            return f"{moving} meets the {still}"
        return f"{moving} comes within {room[worst]:.0f} mm of the {still}, less than {self.model.safety_mm:.0f} mm"

    def best(self, scores: Scores, seeds: F64, axis_lps: F64) -> F64 | None:
        """The reachable direction with the highest score; None where nothing can be reached.

        Args:
            seeds: (M, 3) directions looked at besides the grid.
            axis_lps: (3,) unit vector: refinement goes towards it and around it, so that a direction perpendicular
                to it stays so.
        """
        starts = self._starts(scores, np.concatenate((seeds, self.grid)))
        if not starts:
            return None
        return max((self._refined(scores, at, value, axis_lps) for value, at in starts), key=lambda found: found[0])[1]

    def _starts(self, scores: Scores, candidates: F64) -> list[tuple[float, F64]]:
        """The best reachable candidates that are not neighbours; collisions are worked out only as far as needed."""
        values = scores(candidates)
        order = np.argsort(-values, kind="stable")
        starts: list[tuple[float, F64]] = []
        for first in range(0, len(order), _CHUNK):
            chunk = order[first : first + _CHUNK]
            if starts and values[chunk[0]] < starts[0][0] - _MOST_REGAINED:
                break
            for n in chunk[self.reachable(candidates[chunk])].tolist():
                if all(float(candidates[n] @ at) < _NEIGHBOUR_COSINE for _, at in starts):
                    starts.append((float(values[n]), candidates[n]))
                if len(starts) == _STARTS:
                    return starts
        return starts

    def _refined(self, scores: Scores, start: F64, value: float, axis_lps: F64) -> tuple[float, F64]:
        at = start
        for step_deg in _REFINE_STEPS_DEG:
            while True:
                around = _around(at, axis_lps, step_deg)
                tried = scores(around)
                better = np.flatnonzero(tried > value + 1e-9)
                better = better[self.reachable(around[better])]
                if not better.size:
                    break
                chosen = int(better[np.argmax(tried[better])])
                at, value = around[chosen], float(tried[chosen])
        return value, at

    def _limit_words(self, primary_deg: float, secondary_deg: float) -> str:
        angles = min(self.model.ranges_deg, key=lambda one: sum(_excess(one, primary_deg, secondary_deg)))
        over_primary, over_secondary = _excess(angles, primary_deg, secondary_deg)
        words = []
        if over_secondary > 0.0:
            limit = angles.secondary[1] if secondary_deg > angles.secondary[1] else angles.secondary[0]
            _, told, _ = positioner_from_isocenter(primary_deg, secondary_deg, 0.0, self.patient_position)
            _, told_limit, _ = positioner_from_isocenter(primary_deg, limit, 0.0, self.patient_position)
            side = "cranial" if told > told_limit else "caudal"
            words.append(f"secondary {round(told)} beyond {side} limit {round(told_limit)}")
        if over_primary > 0.0:
            low, high = angles.primary
            limit = high if abs(wrap_deg(primary_deg - high)) <= abs(wrap_deg(primary_deg - low)) else low
            told, _, _ = positioner_from_isocenter(primary_deg, 0.0, 0.0, self.patient_position)
            own = "" if told == primary_deg else f" is {round(primary_deg)} on the stand,"
            words.append(f"primary {round(told)}{own} beyond {'its ' if own else ''}limit {round(limit)}")
        return " and ".join(words)


def reach_of(model: CArmModel, couch: Couch, patient_position: str) -> Reach:
    """What a C-arm can reach about a patient.

    Raises:
        GeometryError: `unknown_patient_position`.
    """
    rotation = lps_from_equipment(patient_position)
    grid = np.concatenate([_range_grid(angles) for angles in model.ranges_deg]) @ rotation.T
    return Reach(model, couch, patient_position, rotation, grid)


def _range_grid(angles: AngleRange) -> F64:
    """(N, 3) directions towards the detector in equipment axes; the range's edges are in it."""
    primary, secondary = (
        np.linspace(low, high, int(np.ceil((high - low) / _GRID_STEP_DEG)) + 1)
        for low, high in (angles.primary, angles.secondary)
    )
    grid = np.stack(np.meshgrid(primary, secondary, indexing="ij"), axis=-1).reshape(-1, 2)
    return directions_of(grid[:, 0], grid[:, 1])


def directions_of(primary_deg: F64, secondary_deg: F64) -> F64:
    """(N, 3) unit vectors from isocentre to detector of (N,) angles; design section 3."""
    p, s = np.radians(primary_deg), np.radians(secondary_deg)
    return np.stack((np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)), axis=-1)


def _angles(toward_detector: F64) -> tuple[F64, F64]:
    x, y, z = toward_detector.T
    across = np.hypot(x, y)
    primary = np.where(across > 1e-9, np.degrees(np.arctan2(x, -y)), 0.0)
    return primary, np.degrees(np.arctan2(z, across))


def _axes(primary_deg: F64, secondary_deg: F64) -> F64:
    """(N, 3, 3) `positioner_axes` of many poses, detector not turned."""
    p, s = np.radians(primary_deg), np.radians(secondary_deg)
    sin_p, cos_p, sin_s, cos_s = np.sin(p), np.cos(p), np.sin(s), np.cos(s)
    rows = ((cos_p, sin_p, 0 * p), (-sin_p * cos_s, cos_p * cos_s, -sin_s), (-sin_p * sin_s, cos_p * sin_s, cos_s))
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=1)


def _inside(model: CArmModel, primary_deg: F64, secondary_deg: F64) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(primary_deg), np.bool_)
    for angles in model.ranges_deg:
        (low, high), (caudal, cranial) = angles.primary, angles.secondary
        turned = (primary_deg - low + _ROUNDING_DEG) % 360.0 - _ROUNDING_DEG  # -180 and 180 are one
        inside |= (
            (turned <= high - low + _ROUNDING_DEG)
            & (secondary_deg >= caudal - _ROUNDING_DEG)
            & (secondary_deg <= cranial + _ROUNDING_DEG)
        )
    return inside


def _excess(angles: AngleRange, primary_deg: float, secondary_deg: float) -> tuple[float, float]:
    """How far each angle lies outside a range; 0 inside."""
    (low, high), (caudal, cranial) = angles.primary, angles.secondary
    over = 0.0
    if (primary_deg - low) % 360.0 > high - low:
        over = min(abs(wrap_deg(primary_deg - low)), abs(wrap_deg(primary_deg - high)))
    return over, max(caudal - secondary_deg, secondary_deg - cranial, 0.0)


def _around(direction: F64, axis: F64, step_deg: float) -> F64:
    """(12, 3) unit vectors `step_deg` away, two of them about the axis."""
    about = np.cross(axis, direction)
    if float(about @ about) < 1e-12:
        about = np.cross(np.eye(3)[int(np.argmin(np.abs(direction)))], direction)
    about /= np.linalg.norm(about)
    other = np.cross(direction, about)
    angles = np.arange(12) * (np.pi / 6)
    tangents = np.cos(angles)[:, None] * about + np.sin(angles)[:, None] * other
    step = np.radians(step_deg)
    around: F64 = np.cos(step) * direction + np.sin(step) * tangents
    return around
