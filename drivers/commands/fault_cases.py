"""The failure drill's table: each lie of a stream or of a CBCT, in the views in which it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from drivers.commands.fault_cbct import cbct_lies
from drivers.commands.fault_lies import LYING, RATE_HZ, SPEED_DEG, Lie
from drivers.commands.fault_lies_lived import lies_together, patient_lies, time_lies
from drivers.commands.fault_lies_told import controls, geometry_lies, picture_lies, recoveries
from drivers.commands.fault_outcome import DrillCase
from drivers.commands.fault_scene import Patient, Received, own_cbct, received
from simulators.carm import CArmScript, Stop
from simulators.carm_metadata import Telling
from simulators.cbct_objects import CbctRun
from simulators.gantry import Gantry

_SIDE_PX: Final = 512
_PITCH_MM: Final = 0.74  # a detector of 38 cm
_POSITION: Final = "HFP"


def drill_cases(patient: Patient, *, quick: bool, seed: int = 1, of_real: bool = True) -> Iterator[DrillCase]:
    """Every lie in its views; quick: each in one or two of them.

    Args:
        seed: of the noise.
        of_real: the patient is the real CT, not the procedural one.
    """
    run = CbctRun(patient_position=_POSITION)
    own = received(own_cbct(patient), run)
    for number, lie in enumerate(stream_lies()):
        views = lie.views
        if quick:
            once = lie.lying > 2 * LYING or lie.group in ("control", "time", "several")
            views = _some(views, number, 1 if once else 2)
        for view in views:
            yield stream_case(lie, view, patient, own, run, seed=seed)
    for volume in cbct_lies(patient, run, of_real=of_real):
        for view in ("AP",) if quick else ("AP", "lateral"):
            lie = Lie(name=volume.name, group=volume.group)
            case = stream_case(lie, view, patient, volume.cbct, run, seed=seed)
            yield replace(case, is_anothers=volume.is_anothers, begins=0)


def _some(views: tuple[str, ...], number: int, count: int) -> tuple[str, ...]:
    """The first views and others in turn, so that a short drill still comes to all of them."""
    first, rest = views[: count - 1], views[count - 1 :]
    return (*first, rest[number % len(rest)]) if rest else first


def stream_lies() -> list[Lie]:
    """All that a stream may get wrong, the honest streams first."""
    return [
        *controls(),
        *recoveries(),
        *picture_lies(),
        *geometry_lies(),
        *patient_lies(),
        *time_lies(),
        *lies_together(),
    ]


def stream_case(lie: Lie, view: str, patient: Patient, cbct: Received, run: CbctRun, *, seed: int = 1) -> DrillCase:
    """One lie in one view."""
    stops = []
    for index in range(lie.honest + lie.lying):
        gantry, wrong = _stands(view, patient, index), index - lie.honest
        told = None if lie.told is None or wrong < 0 else lie.told(gantry, wrong)
        seen = gantry if lie.seen is None or wrong < 0 else lie.seen(gantry, wrong)
        stops.append(Stop(gantry=seen, frames=1, pixel_type=lie.pixel_type, told=told))
    faults = {lie.honest + n: faults for n in range(lie.lying) if (faults := lie.faults(n))}
    script = CArmScript(
        stops=tuple(stops),
        telling=Telling(geometry=lie.form, frame_of_reference_uid=run.frame_of_reference_uid),
        exposure=lie.exposure,
        rate_hz=RATE_HZ,
        faults=faults,
        seed=seed,
        loop=False,
    )
    return DrillCase(
        name=lie.name,
        group=lie.group,
        view=view,
        script=script,
        begins=lie.honest + lie.settles,
        settles=lie.settles,
        frames=lie.honest + lie.lying,
        cbct=cbct,
        patient=patient,
        delay_s=lie.delay_s,
    )


def _stands(view: str, patient: Patient, index: int) -> Gantry:
    gantry = Gantry(
        isocenter_lps_mm=patient.middle_lps_mm,
        patient_position=_POSITION,
        detector_rows=_SIDE_PX,
        detector_columns=_SIDE_PX,
        pitch_row_mm=_PITCH_MM,
        pitch_column_mm=_PITCH_MM,
        primary_deg=180.0,
    )
    match view:
        case "lateral":
            return replace(gantry, primary_deg=90.0)
        case "oblique":
            return replace(gantry, primary_deg=150.0, secondary_deg=20.0)
        case "turning":
            return replace(gantry, primary_deg=180.0 - (SPEED_DEG * index) % 360.0)
        case "AP 512 x 384":
            return replace(gantry, crop_px=(0, 64, _SIDE_PX, 384))
        case _:
            return gantry
