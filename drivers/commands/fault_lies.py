"""What the failure drill's streams lie about: the values of a lie, and the words to write one in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from drivers.commands.fault_outcome import Group
from guidance.messages import Vector3
from simulators.carm import PixelType
from simulators.carm_metadata import GeometryForm
from simulators.faults import Fault
from simulators.gantry import Gantry, Motion
from simulators.scene import Exposure

RATE_HZ: Final = 15.0
HONEST: Final = 12  # frames before the lie
LYING: Final = 15
SPEED_DEG: Final = 2.0  # a frame: 30 deg/s, as fast as C-arms turn under fluoroscopy
PLANES: Final = ("AP", "lateral", "oblique")
ALL_VIEWS: Final = (*PLANES, "turning")
AXES: Final[dict[str, Vector3]] = {"left": (1.0, 0.0, 0.0), "back": (0.0, 1.0, 0.0), "head": (0.0, 0.0, 1.0)}

Change = Callable[[Gantry, int], Gantry]
"""(where the C-arm stands, number of the wrong frame) -> what is exposed, or told, instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """What goes wrong from one frame on.

    Attributes:
        name, group: as of a case.
        views: in which it is told, the most telling first.
        faults: of the wrong frames, by their number.
        seen: what is exposed instead.
        told: what is told instead.
        form, table: of the geometry.
        exposure: of all frames.
        pixel_type: of all frames.
        delay_s, honest, lying: as of a case.
        settles: of the lying frames, how many are over when the case counts: it is about what comes after a lie.
    """

    name: str
    group: Group
    views: tuple[str, ...] = ALL_VIEWS
    faults: Callable[[int], tuple[Fault, ...]] = lambda _: ()
    seen: Change | None = None
    told: Change | None = None
    form: GeometryForm = "angles"
    exposure: Exposure = field(default_factory=Exposure)
    pixel_type: PixelType = "uint16"
    delay_s: float = 0.0
    honest: int = HONEST
    lying: int = LYING
    settles: int = 0


def always(*faults: Fault) -> Callable[[int], tuple[Fault, ...]]:
    return lambda _: faults


def every_second(*faults: Fault) -> Callable[[int], tuple[Fault, ...]]:
    return lambda n: faults if n % 2 else ()


def moved(motion: Motion) -> Change:
    return lambda gantry, _: replace(gantry, patient_moved=motion)


def along(name: str, mm: float) -> Motion:
    x, y, z = (mm * part for part in AXES[name])
    return (x, y, z, 0.0, 0.0, 0.0)


def table_moved(name: str, mm: float) -> Change:
    x, y, z = (mm * part for part in AXES[name])
    return lambda gantry, _: replace(gantry, table_mm=(x, y, z))
