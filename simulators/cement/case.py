"""One injection and how it is looked at, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulators.cement.grown import LeakKind

ViewScript = Literal["biplane", "ap_lateral", "lateral_then_ap", "ap", "lateral"]
"""Both planes at once; one plane that goes forth and back, with a reference of both; one that begins lateral and goes
to AP with no reference of it; one place only."""


PixelWord = Literal["16 bits", "12 bits and overlay", "inverted", "display"]
"""How pixels are told: linear; linear with overlay planes above; more X-ray is lower; ready for a display."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CementCase:
    """One injection; everything random in it comes from its seed. Times are seconds from the start, None: never.

    Attributes:
        seed: of growth, scene and noise.
        patient: of `patients.PATIENTS`.
        place: of `places.PLACES`.
        leaks: the ways that are open; whether cement gets there is the growth's to say.
        vein_marked: a vein has a zone.
        target_marked: the planned region has a zone.
        rate_ml_s, total_ml: of the injector.
        dead_ml: the cannula's, empty at the start.
        pause_s: injection stops for 3 s.
        withdraw_s: the cannula is pulled back 12 mm within 2 s, while cement still flows.
        balloon_s: a balloon is inflated from 0 to then, emptied within 2 s; cement comes 3 s after.
        metal: a screw beside the cement.
        old_cement: some from an earlier time.
        brand: of the library of cements.
        dose: photons over nominal.
        rate_hz: pulses.
        duration_s: of the scene.
        views: how it is looked at.
        kvp: at first; kvp_step_s: it rises by 6 kV.
        breath_mm: at the pelvis.
        move_s: the patient moves by some mm.
        pan_s: the table goes some mm, told.
        blades_s: the collimator closes in; blades: it is in the picture from the start.
        shutter: a round display shutter.
        hand_s: an assistant's hand is in the beam for 2 s.
        scatter: over primary behind 200 mm of water.
        pixels: how they are told.
        size_px: of the square picture; the field is 154 mm at the detector.
    """

    seed: int
    patient: str = "usual"
    place: str = "sacral ala left"
    leaks: tuple[LeakKind, ...] = ()
    vein_marked: bool = True
    target_marked: bool = False
    rate_ml_s: float = 0.15
    total_ml: float = 3.0
    dead_ml: float = 0.0
    pause_s: float | None = None
    withdraw_s: float | None = None
    balloon_s: float | None = None
    metal: bool = False
    old_cement: bool = False
    brand: str = "baso4_30"
    dose: float = 1.0
    rate_hz: float = 15.0
    duration_s: float = 24.0
    views: ViewScript = "biplane"
    kvp: float = 80.0
    kvp_step_s: float | None = None
    breath_mm: float = 0.5
    move_s: float | None = None
    pan_s: float | None = None
    blades: bool = False
    blades_s: float | None = None
    shutter: bool = False
    hand_s: float | None = None
    scatter: float = 0.8
    pixels: PixelWord = "16 bits"
    size_px: int = 512

    @property
    def name(self) -> str:
        """For people."""
        what = "+".join(self.leaks) if self.leaks else "tight"
        return f"{self.seed} {self.place}, {what}, dose {self.dose:g}, {self.rate_hz:g}/s, {self.views}"
