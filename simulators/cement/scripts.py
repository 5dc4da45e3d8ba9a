"""What a case's script puts into the patient: injection, cannula, balloon, a screw, the planned path."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.messages import F64, PlannedPath, Vector3
from simulators.cement.case import CementCase
from simulators.cement.grown import Balloon
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.cement.places import Place
from simulators.instruments import Cylinder

_UNDER_SKIN_MM: Final = 4.0
_START_S: Final = 1.0  # cement begins to flow a second after tracking has begun
_PAUSE_S: Final = 3.0
_BACK_MM: Final = 12.0
_BACK_S: Final = 2.0
_STEPS: Final = 4  # in which the track opens behind the tip, for the short way
_DRIPPING_STEPS: Final = 14
_DRIPPING_S: Final = 4.0
_BEFORE_TIP_MM: Final = 1.5  # cement comes out before the tip
_BALLOON_MM: Final = 7.5


def injection_of(case: CementCase) -> InjectionCurve:
    """At one rate, with its pause."""
    start = _START_S if case.balloon_s is None else case.balloon_s + _BACK_S + _PAUSE_S
    whole = case.total_ml + case.dead_ml
    corners = [(0.0, 0.0), (start, 0.0)]
    if case.pause_s is not None and start < case.pause_s < start + whole / case.rate_ml_s:
        so_far = (case.pause_s - start) * case.rate_ml_s
        corners += [(case.pause_s, so_far), (case.pause_s + _PAUSE_S, so_far)]
    last_s, last_ml = corners[-1]
    stop = last_s + (whole - last_ml) / case.rate_ml_s
    corners += [(stop, whole), (max(stop, case.duration_s) + 1.0, whole)]
    return InjectionCurve(
        times_s=tuple(time for time, _ in corners),
        volumes_ml=tuple(volume for _, volume in corners),
        dead_ml=case.dead_ml,
    )


def cannula_of(case: CementCase, where: Place) -> CannulaScript:
    """Standing still, pulled back a little, or pulled out while cement comes."""
    back: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,), (0.0,))
    if "skin" in case.leaks and case.withdraw_s is not None:
        back = ((case.withdraw_s, case.withdraw_s + _DRIPPING_S), (0.0, where.depth_mm + drip_mm(where)))
    elif case.withdraw_s is not None:
        back = ((case.withdraw_s, case.withdraw_s + _BACK_S), (0.0, _BACK_MM))
    return CannulaScript(hub_lps_mm=where.hub_lps_mm, tip_lps_mm=where.tip_lps_mm, times_s=back[0], back_mm=back[1])


def balloon_of(where: Place, full_s: float) -> Balloon:
    """Before the tip; full at that time, then emptied."""
    return Balloon(
        center_lps_mm=triple(np.asarray(where.tip_lps_mm) + (_BALLOON_MM - 1.0) * np.asarray(where.axis)),
        times_s=(0.3, full_s - 0.5, full_s, full_s + _BACK_S),
        radii_mm=(0.0, _BALLOON_MM, _BALLOON_MM, 0.0),
    )


def metal_of(case: CementCase, where: Place, random: np.random.Generator) -> tuple[Cylinder, ...]:
    """A screw across, past the place."""
    if not case.metal:
        return ()
    middle = np.asarray(where.tip_lps_mm) + np.array([0.0, 0.0, random.choice([-1.0, 1.0]) * 14.0])
    half = np.array([30.0, 0.0, 0.0])
    return (
        Cylinder(
            start_lps_mm=triple(middle - half),
            end_lps_mm=triple(middle + half),
            diameter_mm=7.3,
            material="titanium",
        ),
    )


def path_of(where: Place, cannula: CannulaScript) -> PlannedPath:
    """The cannula's way as planned."""
    return PlannedPath(
        id="P1",
        entry_lps_mm=where.entry_lps_mm,
        target_lps_mm=where.tip_lps_mm,
        diameter_mm=cannula.diameter_mm,
        label=where.name,
    )


def withdrawal_steps(cannula: CannulaScript) -> list[tuple[float, float]]:
    """When it has been pulled back by another step."""
    if len(cannula.times_s) < 2:
        return []
    farthest = max(cannula.back_mm)
    depths = np.linspace(0.0, farthest, 1 + (_STEPS if farthest <= _BACK_MM else _DRIPPING_STEPS))[1:]
    return [(float(np.interp(depth, cannula.back_mm, cannula.times_s)), float(depth)) for depth in depths]


def drip_mm(where: Place) -> float:
    """How far outside the bone the tip stops in a withdrawal under pressure: under the skin."""
    skin = next(body for body in where.zone_bodies if body["site"] == "skin")
    return float(np.linalg.norm(np.subtract(skin["shape"]["center_lps_mm"], where.entry_lps_mm))) - _UNDER_SKIN_MM


def source_of(where: Place) -> Vector3:
    """Where cement comes out."""
    return triple(np.asarray(where.tip_lps_mm) + _BEFORE_TIP_MM * np.asarray(where.axis))


def aside_of(where: Place, random: np.random.Generator, apart_mm: float) -> Vector3:
    """A place beside the tip, at right angles to the cannula."""
    axis = np.asarray(where.axis)
    across = np.cross(axis, random.normal(size=3))
    return triple(np.asarray(where.tip_lps_mm) + apart_mm * across / np.linalg.norm(across))


def triple(values: F64) -> Vector3:
    """(3,) as plain numbers."""
    x, y, z = (float(value) for value in values)
    return (x, y, z)
