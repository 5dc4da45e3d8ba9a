"""What no equipment tells: patients that move, streams out of time, and lies that come together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from drivers.commands.fault_lies import (
    AXES,
    PLANES,
    RATE_HZ,
    SPEED_DEG,
    Lie,
    along,
    always,
    every_second,
    moved,
    table_moved,
)
from simulators.faults import Fault
from simulators.gantry import Gantry

_CLOCK_SOUND: Final = round(12 * RATE_HZ)  # frames until a sender's clock may be read


def patient_lies() -> list[Lie]:
    lies = [
        Lie(name=f"patient moved {mm:g} mm: {axis}", group="patient", seen=moved(along(axis, mm)), views=PLANES)
        for mm in (3.0, 10.0)
        for axis in AXES
    ]
    askew = 10.0 / math.sqrt(3.0)

    def drifting(gantry: Gantry, n: int) -> Gantry:
        return replace(gantry, patient_moved=along("head", 1.0 * n / RATE_HZ))

    def breathing_deeply(gantry: Gantry, n: int) -> Gantry:
        swing_mm = round(4.0 * math.sin(2.0 * math.pi * n / RATE_HZ / 4.0), 2)
        return replace(gantry, patient_moved=(0.0, 0.3 * swing_mm, swing_mm, 0.0, 0.0, 0.0))

    return [
        *lies,
        Lie(
            name="patient moved 10 mm: askew",
            group="patient",
            seen=moved((askew, askew, askew, 0.0, 0.0, 0.0)),
            views=PLANES,
        ),
        Lie(name="patient moved 1.7 mm: head", group="patient", seen=moved(along("head", 1.7)), views=PLANES),
        Lie(name="patient moved 2 mm: left", group="patient", seen=moved(along("left", 2.0)), views=PLANES),
        Lie(name="patient rolls by 5 deg", group="patient", seen=moved((0.0, 0.0, 0.0, 0.0, 0.0, 5.0)), views=PLANES),
        Lie(
            name="patient turned over onto the back",
            group="patient",
            seen=moved((0.0, 0.0, 0.0, 0.0, 0.0, 180.0)),
            views=PLANES,
        ),
        Lie(name="patient drifts 1 mm/s", group="patient", seen=drifting, views=PLANES, lying=60),
        Lie(name="breathing of 8 mm", group="patient", seen=breathing_deeply, views=PLANES, lying=60),
    ]


def time_lies() -> list[Lie]:
    return [
        Lie(
            name="frames repeated",
            group="time",
            faults=always(Fault.REPEATED_MESSAGE),
            views=("AP", "turning"),
            lying=20,
        ),
        Lie(
            name="every second frame repeated",
            group="time",
            faults=every_second(Fault.REPEATED_MESSAGE),
            views=("AP", "turning"),
        ),
        Lie(
            name="pictures repeated with new numbers",
            group="time",
            faults=always(Fault.REPEATED_PIXELS),
            views=("AP", "turning"),
        ),
        Lie(name="a held picture told live", group="time", faults=always(Fault.LYING_HELD), views=("AP", "turning")),
        Lie(
            name="frame numbers repeated",
            group="time",
            faults=always(Fault.REPEATED_FRAME_NUMBER),
            views=("AP", "turning"),
        ),
        Lie(
            name="frozen picture with the geometry of now",
            group="time",
            faults=always(Fault.FROZEN_PICTURE),
            views=("turning", "AP"),
        ),
        Lie(
            name="every second frame late, after its successor",
            group="time",
            faults=every_second(Fault.LATE),
            views=("AP", "turning"),
        ),
        Lie(name="stream 5 s behind", group="time", delay_s=5.0, views=("AP", "turning"), honest=_CLOCK_SOUND),
        Lie(
            name="timestamps 5 s old, pictures new",
            group="time",
            faults=always(Fault.STALE),
            views=("AP",),
            honest=_CLOCK_SOUND,
        ),
        Lie(
            name="clock jumps an hour forwards",
            group="time",
            faults=always(Fault.CLOCK_FORWARD),
            views=("AP", "turning"),
        ),
        Lie(
            name="clock jumps an hour backwards",
            group="time",
            faults=always(Fault.CLOCK_BACKWARD),
            views=("AP", "turning"),
        ),
        Lie(
            name="clock jumps forwards, transforms told",
            group="time",
            faults=always(Fault.CLOCK_FORWARD),
            form="transforms",
            views=("turning",),
        ),
        Lie(
            name="clock jumps backwards, transforms told",
            group="time",
            faults=always(Fault.CLOCK_BACKWARD),
            form="transforms",
            views=("turning",),
        ),
        Lie(
            name="clock jumps back in every second frame",
            group="time",
            faults=every_second(Fault.CLOCK_BACKWARD),
            form="transforms",
            views=("turning",),
        ),
        Lie(
            name="no timestamps any more",
            group="time",
            faults=always(Fault.NO_CLOCK),
            form="transforms",
            views=("turning",),
        ),
        Lie(
            name="clock frozen", group="time", faults=always(Fault.FROZEN_CLOCK), form="transforms", views=("turning",)
        ),
    ]


def lies_together() -> list[Lie]:
    """What came together in recalls, or may well: each alone might be found, one may hide the other."""

    def slid(gantry: Gantry, _: int) -> Gantry:
        # The table goes 10 mm to the head and takes the patient only half of the way.
        return replace(gantry, table_mm=(0.0, 0.0, 10.0), patient_moved=along("head", -5.0))

    def other_plane(gantry: Gantry, _: int) -> Gantry:
        return replace(gantry, primary_deg=gantry.primary_deg - 90.0)

    def held_and_turning(gantry: Gantry, n: int) -> Gantry:
        return replace(gantry, primary_deg=gantry.primary_deg + SPEED_DEG * (n + 1))

    def compensated(gantry: Gantry, _: int) -> Gantry:
        return replace(gantry, source_to_detector_mm=1.1 * gantry.source_to_detector_mm).zoomed(1.0 / 1.1)

    def hidden(gantry: Gantry, _: int) -> Gantry:
        # Table and patient go apart: what is over the isocentre is unmoved, what is not is turned.
        return replace(gantry, table_mm=(0.0, 0.0, 4.0), patient_moved=(0.0, 0.0, -4.0, 0.0, 5.0, 0.0))

    turned = (Fault.TURNED_ABOUT_X, Fault.TURNED_ABOUT_Z)
    return [
        Lie(
            name="flipped and turned by 180 deg",
            group="several",
            faults=always(Fault.MIRRORED_PICTURE, Fault.HALF_TURNED_PICTURE),
        ),
        Lie(name="volume turned about two axes", group="several", faults=always(*turned), views=PLANES),
        Lie(
            name="SID 10 % too long, spacing of another zoom",
            group="several",
            faults=always(Fault.SOURCE_DISTANCE_10_PERCENT, Fault.OTHER_ZOOM),
            views=PLANES,
        ),
        Lie(name="SID and spacing 10 % too large: they cancel", group="control", told=compensated, views=PLANES),
        Lie(name="the other plane's geometry", group="several", told=other_plane, views=PLANES),
        Lie(
            name="old picture with new noise, the C-arm has turned on",
            group="several",
            seen=held_and_turning,
            told=lambda gantry, _: gantry,
            views=("turning",),
        ),
        Lie(name="the patient slides on a table that moves and is told", group="several", seen=slid, views=PLANES),
        Lie(
            name="table not told, patient turned about the isocentre",
            group="several",
            faults=always(Fault.TABLE_NOT_TOLD),
            seen=hidden,
            views=PLANES,
        ),
        Lie(
            name="table told twice",
            group="several",
            faults=always(Fault.TABLE_TOLD_TWICE),
            seen=table_moved("head", 10.0),
            views=PLANES,
        ),
        Lie(
            name="held picture, clock set back",
            group="several",
            faults=always(Fault.FROZEN_PICTURE, Fault.CLOCK_BACKWARD),
            views=("AP", "turning"),
        ),
        Lie(
            name="flipped, patient moved 10 mm",
            group="several",
            faults=always(Fault.MIRRORED_PICTURE),
            seen=moved(along("head", 10.0)),
            views=PLANES,
        ),
    ]
