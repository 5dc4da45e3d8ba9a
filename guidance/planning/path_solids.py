"""A planned path as solids: the shaft at its true diameter, and what it freezes, burns or fills beyond it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from guidance.errors import GeometryError
from guidance.messages import PlannedPath
from guidance.planning.ablation import AblationZone, ablation_solid, ablation_zone
from guidance.planning.along import Axis, axis_of
from guidance.planning.instruments import Instrument, InstrumentLibrary
from guidance.planning.medial import Balls, balls_of
from guidance.planning.solid import Cylinder, Solid, Spheroid

_LEAST_LENGTH_MM: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """The path's solids, ready to be measured: its shaft, and what ablates (its own and the other probes').

    Attributes:
        widened: None where the instrument reaches nothing beyond its shaft.
        union, unknown: labels of the other probes whose zones are in it, and of those whose zones cannot be told.
    """

    axis: Axis
    shaft: Balls
    shaft_radius_mm: float
    widened: Balls | None
    union: tuple[str, ...]
    unknown: tuple[str, ...]


def instrument_solids(path: PlannedPath, library: InstrumentLibrary) -> tuple[Solid, ...]:
    """An instrument as solids: its shaft at true diameter, and its ablation zone or full balloon where it has one.

    Raises:
        GeometryError: as `check_path`; `outside_ablation_table`.
    """
    check_path(path)
    instrument = library.find(path.instrument)
    shaft = Cylinder(path.entry_lps_mm, path.target_lps_mm, 0.5 * used_diameter_mm(path, instrument))
    widened = widened_by(path, instrument)
    return (shaft,) if widened is None else (shaft, widened)


def check_path(path: PlannedPath) -> None:
    """Refuse what has no geometry.

    Raises:
        GeometryError: `bad_path`, naming the field.
    """
    for name in ("entry_lps_mm", "target_lps_mm"):
        if not all(math.isfinite(part) for part in getattr(path, name)):
            raise GeometryError(f"{name}: must be three finite numbers", code="bad_path", mend="give mm, patient LPS")
    if not 0.0 < path.diameter_mm < math.inf:
        raise GeometryError("diameter_mm: must be greater than 0", code="bad_path", mend="give the outer diameter")
    if not math.dist(path.entry_lps_mm, path.target_lps_mm) >= _LEAST_LENGTH_MM:
        raise GeometryError(
            f"target_lps_mm: is less than {_LEAST_LENGTH_MM} mm from entry_lps_mm",
            code="zero_length",
            mend="move one of the two ends",
        )


def has_geometry(path: PlannedPath) -> bool:
    """Whether `check_path` lets it through."""
    try:
        check_path(path)
    except GeometryError:
        return False
    return True


def used_diameter_mm(path: PlannedPath, instrument: Instrument | None) -> float:
    """The diameter that distances are told for: the larger of the path's and its instrument's."""
    return max(path.diameter_mm, instrument.diameter_mm) if instrument else path.diameter_mm


def widened_by(path: PlannedPath, instrument: Instrument | None) -> Spheroid | None:
    """What an instrument reaches beyond its shaft: its ablation zone or its full balloon; None for neither.

    Args:
        path: with entry and target apart; its `ablation` says how a probe is run.

    Raises:
        GeometryError: `outside_ablation_table`.
    """
    length_mm = instrument.inflated_length_mm if instrument else None
    width_mm = instrument.inflated_diameter_mm if instrument else None
    if instrument and instrument.ablation and path.ablation:
        return ablation_solid(path, ablation_zone(instrument.ablation, path.ablation))
    if length_mm and width_mm:
        full = AblationZone(length_mm=length_mm, width_mm=width_mm, center_from_tip_mm=0.5 * length_mm)
        return ablation_solid(path, full)
    return None


def reach_of(
    path: PlannedPath,
    instrument: Instrument | None,
    fellows: Sequence[PlannedPath],
    library: InstrumentLibrary,
) -> Reach:
    """The path's solids; where it ablates, the other probes' zones are one with its own."""
    radius_mm = 0.5 * used_diameter_mm(path, instrument)
    own = widened_by(path, instrument)
    widened = [own] if own else []
    union: list[str] = []
    unknown: list[str] = []
    for other in fellows if own and path.ablation else ():
        item = library.find(other.instrument)
        if other.ablation is None and (item is None or item.ablation is None):
            continue
        zone = _ablation_of(other, item)
        (unknown if zone is None else union).append(other.label or other.id)
        widened += [] if zone is None else [zone]
    shaft = balls_of([Cylinder(path.entry_lps_mm, path.target_lps_mm, radius_mm)])
    return Reach(axis_of(path), shaft, radius_mm, balls_of(widened) if widened else None, tuple(union), tuple(unknown))


def _ablation_of(path: PlannedPath, instrument: Instrument | None) -> Spheroid | None:
    """Another probe's zone; None where its setting is missing or has a fault that its own answer tells."""
    if path.ablation is None or instrument is None or instrument.ablation is None:
        return None
    try:
        check_path(path)
        return widened_by(path, instrument)
    except GeometryError:
        return None
