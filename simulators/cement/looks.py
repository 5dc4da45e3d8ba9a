"""How a case is looked at: planes, pulses, movement, and everything else that gets into the beam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64, Vector3
from simulators.cement.case import CementCase, PixelWord
from simulators.cement.detector import NOMINAL_PHOTONS_PER_MM2, Detector
from simulators.cement.field import Box, Hand
from simulators.cement.grown import GrownCement
from simulators.cement.imaging import CementImaging, CementTechnique, ImagedView
from simulators.cement.motion import PatientMotion
from simulators.cement.pixel_form import PixelForm
from simulators.cement.scatter import ScatterModel
from simulators.gantry import Gantry, Motion
from simulators.volumes import HuVolume

FIELD_MM: Final = 153.6  # of the detector: 512 pixels of 0.3 mm
REFERENCE_FRAMES: Final = 12  # before the start, of each place
_FORMS: Final[Mapping[PixelWord, PixelForm]] = {
    "16 bits": PixelForm(),
    "12 bits and overlay": PixelForm(bits=12, overlay=True),
    "inverted": PixelForm(sign=-1),
    "display": PixelForm(relationship="DISP"),
}
_KV_STEP: Final = 6.0
_TURN_S: Final = 2.0  # the C-arm goes from one place to the other
_STAY_S: Final = 5.0
_HAND_S: Final = 2.0
_MOVE_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One frame to be taken.

    Attributes:
        view_index: of the views.
        t_s: since the start of tracking; negative: before.
        frame_index: counts the frames of this view.
    """

    view_index: int
    t_s: float
    frame_index: int


def imaging_of(case: CementCase, grown: GrownCement, patient: HuVolume | ProjectionVolume) -> CementImaging:
    """The C-arm that looks at a case."""
    return CementImaging(patient, grown, technique_of(case), views_of(case, grown), motion=motion_of(case))


def shots_of(case: CementCase) -> tuple[Shot, ...]:
    """All frames in order of time, the reference before 0.

    Both planes of a biplane are pulsed in turn, half a period apart. A single plane that goes from place to place takes
    no picture on its way.
    """
    period_s = 1.0 / case.rate_hz
    before_s = REFERENCE_FRAMES * period_s
    if case.views == "biplane":
        spans = [(0, -before_s, case.duration_s, 0.0), (1, -before_s, case.duration_s, 0.5 * period_s)]
    elif case.views in ("ap", "lateral"):
        spans = [(0, -before_s, case.duration_s, 0.0)]
    else:
        spans = [(0, -before_s, _STAY_S, 0.0)]
        if case.views == "ap_lateral":
            spans.insert(0, (1, -2.0 * before_s - _TURN_S, -before_s - _TURN_S, 0.0))
        start_s, index = _STAY_S + _TURN_S, 1
        while start_s < case.duration_s:
            spans.append((index, start_s, min(start_s + _STAY_S, case.duration_s), 0.0))
            start_s, index = start_s + _STAY_S + _TURN_S, 1 - index
    shots, taken = [], [0, 0]
    for index, begin_s, end_s, shift_s in spans:
        for n in range(int(np.ceil((end_s - begin_s) * case.rate_hz - 1e-9))):
            shots.append((begin_s + n * period_s + shift_s, index))
    found = []
    for t_s, index in sorted(shots):
        found.append(Shot(view_index=index, t_s=round(t_s, 6), frame_index=taken[index]))
        taken[index] += 1
    return tuple(found)


def views_of(case: CementCase, grown: GrownCement) -> tuple[ImagedView, ...]:
    """One or two places of the C-arm; a biplane has two devices."""
    random = np.random.default_rng([case.seed, 0x71E5])
    # Prone: the detector above the table stands behind the patient. A little off each, as in life.
    ap = (180.0 - random.uniform(0.0, 8.0), random.uniform(-12.0, 12.0))
    lateral = (random.choice([-1.0, 1.0]) * random.uniform(84.0, 96.0), random.uniform(-4.0, 4.0))
    places = {
        "biplane": (ap, lateral),
        "ap_lateral": (ap, lateral),
        "lateral_then_ap": (lateral, ap),
        "ap": (ap,),
        "lateral": (lateral,),
    }[case.views]
    tip = grown.cannula.tip_lps_mm
    off = random.uniform(-8.0, 8.0, 3)
    isocenter = (float(tip[0] + off[0]), float(tip[1] + off[1]), float(tip[2] + off[2]))
    names = ("FluoroA", "FluoroB") if case.views == "biplane" else ("Fluoro", "Fluoro")
    return tuple(
        _view(case, primary, secondary, isocenter, name, random)
        for (primary, secondary), name in zip(places, names, strict=False)
    )


def technique_of(case: CementCase) -> CementTechnique:
    """Tube, detector and scatter."""
    steps = () if case.kvp_step_s is None else ((case.kvp_step_s, case.kvp + _KV_STEP),)
    return CementTechnique(
        kvp=case.kvp,
        kvp_steps=steps,
        detector=Detector(photons_per_mm2=case.dose * NOMINAL_PHOTONS_PER_MM2, seed=case.seed),
        scatter=ScatterModel(ratio_at_200_mm=case.scatter),
        rate_hz=case.rate_hz,
    )


def motion_of(case: CementCase) -> PatientMotion:
    """Breath, and one movement."""
    random = np.random.default_rng([case.seed, 0x307E])
    breath = case.breath_mm * random.uniform(0.6, 1.0)
    shift, turn = random.uniform(-2.5, 2.5, 3), random.uniform(-1.0, 1.0, 3)
    moves: tuple[tuple[float, float, Motion], ...] = ()
    if case.move_s is not None:
        x, y, z, a, b, c = (float(value) for value in (*shift, *turn))
        moves = ((case.move_s, _MOVE_S, (x, y, z, a, b, c)),)
    return PatientMotion(
        breath=(0.0, float(0.5 * breath), float(breath), float(0.2 * breath), 0.0, 0.0),
        breath_s=float(random.uniform(3.2, 5.5)),
        moves=moves,
    )


def _view(
    case: CementCase, primary: float, secondary: float, isocenter: Vector3, name: str, random: np.random.Generator
) -> ImagedView:
    size, pitch_mm = case.size_px, FIELD_MM / case.size_px
    wide: Box = _box(size, random.uniform(0.02, 0.10, 4))
    narrow: Box = _box(size, random.uniform(0.12, 0.20, 4))
    blades: list[tuple[float, Box | None]] = [(-1e6, wide)] if case.blades else []
    if case.blades_s is not None:
        blades.append((case.blades_s, narrow))
    table: tuple[tuple[float, Vector3], ...] = ()
    if case.pan_s is not None:
        x, y, z = (float(value) for value in random.uniform(-7.0, 7.0, 3))
        table = ((-1e6, (0.0, 0.0, 0.0)), (case.pan_s, (x, y, z)))
    hand = None
    if case.hand_s is not None:
        begin, corner = case.hand_s, size * random.uniform(0.75, 0.95, 2)
        out = (float(1.3 * size), float(-0.3 * size))
        reach = (float(corner[0]), float(size - corner[1]))
        times = (begin, begin + 0.25 * _HAND_S, begin + 0.75 * _HAND_S, begin + _HAND_S)
        hand = Hand(times_s=times, places_px=(out, reach, reach, out), turn_deg=float(random.uniform(20.0, 70.0)))
    return ImagedView(
        gantry=Gantry(
            primary_deg=float(primary),
            secondary_deg=float(secondary),
            detector_rows=size,
            detector_columns=size,
            pitch_row_mm=pitch_mm,
            pitch_column_mm=pitch_mm,
            isocenter_lps_mm=isocenter,
            patient_position="HFP",
        ),
        device=name,
        blades=tuple(blades),
        blades_told=bool(random.random() < 0.6),
        table=table,
        shutter=1.0 if case.shutter else None,
        hand=hand,
        pixels=_FORMS[case.pixels],
    )


def _box(size: int, shares: F64) -> Box:
    left, top, right, bottom = (float(value) for value in shares * size)
    return (round(left), round(top), round(size - 1 - right), round(size - 1 - bottom))
