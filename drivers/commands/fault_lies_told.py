"""Lies about picture and geometry, and the streams in which nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from drivers.commands.fault_lies import ALL_VIEWS, AXES, PLANES, RATE_HZ, SPEED_DEG, Lie, always, table_moved
from simulators.faults import Fault
from simulators.gantry import Gantry
from simulators.scene import Exposure

_OTHER_KVP: Final = 110.0


def controls() -> list[Lie]:
    """Nothing is wrong: nothing may be withheld."""

    def table_in_steps(gantry: Gantry, n: int) -> Gantry:
        return replace(gantry, table_mm=(0.0, 0.0, -1.5 * n))

    def panned_and_zoomed(gantry: Gantry, n: int) -> Gantry:
        return replace(gantry.zoomed(1.4) if n > 5 else gantry, table_mm=(0.8 * n, 0.0, 0.0))

    def breathing(gantry: Gantry, n: int) -> Gantry:
        swing_mm = round(0.6 * math.sin(2.0 * math.pi * n / RATE_HZ / 4.0), 1)
        return replace(gantry, patient_moved=(0.0, 0.4 * swing_mm, swing_mm, 0.0, 0.0, 0.0))

    def collimated(gantry: Gantry, _: int) -> Gantry:
        return replace(gantry, crop_px=(100, 60, 300, 380))

    return [
        Lie(name="nothing", group="control"),
        Lie(name="nothing, 512 x 384 px", group="control", views=("AP 512 x 384",)),
        Lie(name="nothing, matrices told", group="control", form="matrix", views=("AP", "turning")),
        Lie(name="nothing, transforms told", group="control", form="transforms", views=("oblique", "turning")),
        Lie(name="nothing, 110 kV and 8 bit", group="control", exposure=Exposure(kvp=_OTHER_KVP), pixel_type="uint8"),
        Lie(name="nothing, float32", group="control", pixel_type="float32", views=("AP", "lateral")),
        Lie(name="nothing, a fifth of the dose", group="control", exposure=Exposure(dose_photons=50.0)),
        Lie(name="the table moves, and it is told", group="control", seen=table_in_steps),
        Lie(name="table and zoom change, and it is told", group="control", seen=panned_and_zoomed, views=PLANES),
        Lie(name="the picture is cropped, and it is told", group="control", seen=collimated, views=PLANES),
        Lie(name="breathing of 1.2 mm", group="control", seen=breathing, views=PLANES, lying=60),
    ]


def recoveries() -> list[Lie]:
    """One wrong frame, long over: a second later nothing may be withheld."""

    def once(*faults: Fault) -> Callable[[int], tuple[Fault, ...]]:
        return lambda n: faults if n == 0 else ()

    def table_once(gantry: Gantry, n: int) -> Gantry:
        return replace(gantry, table_mm=(0.0, 0.0, 10.0)) if n == 0 else gantry

    wrong: dict[str, tuple[Fault, ...]] = {
        "a flipped picture": (Fault.MIRRORED_PICTURE,),
        "a picture turned by 180 deg": (Fault.HALF_TURNED_PICTURE,),
        "another zoom's spacing": (Fault.OTHER_ZOOM,),
        "a NaN": (Fault.NAN_METADATA,),
        "a repeated frame": (Fault.REPEATED_MESSAGE,),
        "a clock's jump": (Fault.CLOCK_FORWARD,),
    }
    lies = [
        Lie(name=f"a second after {what}", group="control", faults=once(*faults), views=PLANES, lying=24, settles=16)
        for what, faults in wrong.items()
    ]
    name = "a second after a table's move was not told"
    moved = Lie(name=name, group="control", faults=once(Fault.TABLE_NOT_TOLD), seen=table_once, views=PLANES)
    return [*lies, replace(moved, lying=24, settles=16)]


def picture_lies() -> list[Lie]:
    arranged = {
        "flipped left to right": Fault.MIRRORED_PICTURE,
        "flipped top to bottom": Fault.UPSIDE_DOWN_PICTURE,
        "turned by 180 deg": Fault.HALF_TURNED_PICTURE,
        "turned by 90 deg": Fault.QUARTER_TURNED_PICTURE,
        "transposed": Fault.TRANSPOSED_PICTURE,
    }
    views = (*ALL_VIEWS, "AP 512 x 384")
    return [
        *(
            Lie(name=f"picture {name}", group="picture", faults=always(fault), views=views)
            for name, fault in arranged.items()
        ),
        Lie(name="black picture", group="picture", faults=always(Fault.BLACK_PICTURE), views=("AP",)),
        *(
            Lie(
                name=f"{word} pixels",
                group="picture",
                faults=always(fault),
                pixel_type="float32",
                views=("AP", "lateral"),
            )
            for word, fault in (("NaN", Fault.NAN_PIXELS), ("infinite", Fault.INFINITE_PIXELS))
        ),
    ]


def geometry_lies() -> list[Lie]:
    lies = [
        Lie(
            name="geometry of the previous frame",
            group="geometry",
            faults=always(Fault.PREVIOUS_GEOMETRY),
            views=("turning",),
        ),
        Lie(
            name="geometry of five frames ago",
            group="geometry",
            told=lambda gantry, _: replace(gantry, primary_deg=gantry.primary_deg + 5 * SPEED_DEG),
            views=("turning",),
        ),
        Lie(name="SID 2 % too long", group="geometry", faults=always(Fault.SOURCE_DISTANCE_2_PERCENT)),
        Lie(name="SID 10 % too long", group="geometry", faults=always(Fault.SOURCE_DISTANCE_10_PERCENT)),
        Lie(name="pixel spacing of another zoom", group="geometry", faults=always(Fault.OTHER_ZOOM)),
        Lie(
            name="another frame of reference",
            group="geometry",
            faults=always(Fault.WRONG_FRAME_OF_REFERENCE),
            views=("AP",),
        ),
        Lie(name="no frame of reference", group="geometry", faults=always(Fault.NO_FRAME_OF_REFERENCE), views=("AP",)),
        Lie(
            name="another patient position",
            group="geometry",
            faults=always(Fault.WRONG_PATIENT_POSITION),
            views=("AP",),
        ),
        Lie(name="NaN in the geometry", group="geometry", faults=always(Fault.NAN_METADATA), views=("AP",)),
        Lie(
            name="NaN in the matrix", group="geometry", faults=always(Fault.NAN_METADATA), form="matrix", views=("AP",)
        ),
        Lie(name="infinity in the geometry", group="geometry", faults=always(Fault.INFINITE_METADATA), views=("AP",)),
        Lie(
            name="infinity in the matrix",
            group="geometry",
            faults=always(Fault.INFINITE_METADATA),
            form="matrix",
            views=("AP",),
        ),
        Lie(name="no geometry any more", group="geometry", faults=always(Fault.MISSING_KEYS), views=("AP",)),
        Lie(
            name="mirrored matrix",
            group="geometry",
            faults=always(Fault.MIRRORED_MATRIX),
            form="matrix",
            views=("AP",),
        ),
        Lie(
            name="RAO told for LAO",
            group="geometry",
            faults=always(Fault.NEGATED_PRIMARY),
            views=("oblique", "lateral"),
        ),
    ]
    for axis, fault in (
        ("left-right", Fault.TURNED_ABOUT_X),
        ("front-back", Fault.TURNED_ABOUT_Y),
        ("head-feet", Fault.TURNED_ABOUT_Z),
    ):
        name = f"volume turned 5 deg about the isocentre, {axis} axis"
        lies.append(Lie(name=name, group="geometry", faults=always(fault)))
    for axis in AXES:
        name = f"table moved 10 mm, not told: {axis}"
        lies.append(
            Lie(
                name=name,
                group="geometry",
                faults=always(Fault.TABLE_NOT_TOLD),
                seen=table_moved(axis, 10.0),
                views=PLANES,
            )
        )
    return lies
