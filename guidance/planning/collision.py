"""Whether a C-arm's housings meet the table or the patient: convex bodies, endless along the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.positioner import lps_from_equipment
from guidance.messages import F64
from guidance.planning.c_arms import CArmModel, Housing

# A large adult lying flat: half of the body's width and depth, used where no skin is known.
ASSUMED_HALF_WIDTH_MM: Final = 190.0
ASSUMED_HALF_DEPTH_MM: Final = 120.0
_DIRECTIONS: Final = 120  # in which two bodies are looked at, besides the housings' own faces

BODIES: Final = (
    ("detector", "table"),
    ("detector", "patient"),
    ("X-ray tube", "table"),
    ("X-ray tube", "patient"),
)
"""Columns of `separations_mm`."""


@dataclass(frozen=True, slots=True)
class Couch:
    """Patient and table across the body, in equipment axes from the isocentre (x, y down).

    Attributes:
        patient_center_mm: (x, y).
        patient_half_mm: half axes of an ellipse along x and y.
        assumed: no skin told where the patient is; then the isocentre is in the middle.
    """

    patient_center_mm: tuple[float, float]
    patient_half_mm: tuple[float, float]
    assumed: bool

    @property
    def table_top_mm(self) -> float:
        """y of the table's top: the patient lies on it."""
        return self.patient_center_mm[1] + self.patient_half_mm[1]


def couch_of(body_lps_mm: F64 | None, isocenter_lps_mm: F64, patient_position: str) -> Couch:
    """Where patient and table are.

    Args:
        body_lps_mm: (2, 3) least and largest corner of the patient's skin; None: a large adult about the isocentre.
        isocenter_lps_mm: (3,).
        patient_position: one of DICOM's eight.
    """
    if body_lps_mm is None:
        half_lps = np.array((ASSUMED_HALF_WIDTH_MM, ASSUMED_HALF_DEPTH_MM, 0.0))
        center_lps = np.zeros(3)
    else:
        half_lps = (body_lps_mm[1] - body_lps_mm[0]) / 2
        center_lps = body_lps_mm.mean(axis=0) - isocenter_lps_mm
    equipment_from_lps = lps_from_equipment(patient_position).T
    center, half = equipment_from_lps @ center_lps, np.abs(equipment_from_lps) @ half_lps
    return Couch((float(center[0]), float(center[1])), (float(half[0]), float(half[1])), body_lps_mm is None)


def separations_mm(model: CArmModel, couch: Couch, axes: F64) -> F64:
    """Room between each housing and each thing it may hit.

    Two convex bodies are apart by the largest gap that any direction shows. Directions are sampled, so the answer is
    never too large.

    Args:
        axes: (N, 3, 3) rows Xp, Yp (to the source), Zp in equipment axes, as `positioner_axes` gives them.

    Returns:
        (N, 4) mm, columns as `BODIES`; negative where they meet.
    """
    ellipse, table = _patient_support(couch), _table_support(couch, model)
    answer = np.empty((len(axes), len(BODIES)))
    for pair, (housing, beam_sign) in enumerate(((model.detector, -1.0), (model.source, 1.0))):
        center, halves = _projected(housing, axes, beam_sign)
        answer[:, 2 * pair] = _gap(center, halves, table)
        answer[:, 2 * pair + 1] = _gap(center, halves, ellipse)
    return answer


@dataclass(frozen=True, slots=True, eq=False)
class _Support:
    """How far a body reaches in a direction: n . center + h(n)."""

    center: F64
    half: F64
    round_: bool

    def reach(self, directions: F64) -> F64:
        scaled = directions * self.half
        extent = np.sqrt((scaled**2).sum(axis=-1)) if self.round_ else np.abs(scaled).sum(axis=-1)
        total: F64 = directions @ self.center + extent
        return total


def _patient_support(couch: Couch) -> _Support:
    return _Support(np.array(couch.patient_center_mm), np.array(couch.patient_half_mm), True)


def _table_support(couch: Couch, model: CArmModel) -> _Support:
    width_mm, thickness_mm = model.table_mm
    center = np.array((couch.patient_center_mm[0], couch.table_top_mm + thickness_mm / 2))
    return _Support(center, np.array((width_mm / 2, thickness_mm / 2)), False)


def _projected(housing: Housing, axes: F64, beam_sign: float) -> tuple[F64, F64]:
    """Centre (N, 2) and half edges (N, 3, 2) of a housing, seen along the patient."""
    along_rows, along_columns, along_beam = housing.size_mm
    center = beam_sign * (housing.front_mm + along_beam / 2) * axes[:, 1, :2]
    halves = axes[:, (0, 2, 1), :2] * (np.array((along_rows, along_columns, along_beam)) / 2)[:, None]
    return center, halves


def _gap(center: F64, halves: F64, body: _Support) -> F64:
    """(N,) largest gap over the sampled directions and the housing's own faces."""
    angles = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
    sampled = np.column_stack((np.cos(angles), np.sin(angles)))
    near = center @ sampled.T - np.abs(halves @ sampled.T).sum(axis=1)
    best: F64 = (near - body.reach(sampled)).max(axis=1)
    for edge in range(halves.shape[1]):
        normals = halves[:, edge] @ np.array(((0.0, 1.0), (-1.0, 0.0)))
        lengths = np.sqrt((normals**2).sum(axis=1))
        flat = lengths > 1e-9  # an edge along the patient has no face seen from there
        unit = normals[flat] / lengths[flat, None]
        for sign in (1.0, -1.0):
            face = sign * unit
            near_face = (center[flat] * face).sum(axis=1) - np.abs((halves[flat] * face[:, None]).sum(axis=2)).sum(
                axis=1
            )
            best[flat] = np.maximum(best[flat], near_face - body.reach(face))
    return best
