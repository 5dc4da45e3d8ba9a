"""What goes out under which name, and texts with a limit: the contract's naming of OpenIGTLink outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from guidance.wire.openigtlink.bodies import Message, Point, Points, Trajectories, Trajectory

STATUS_DEVICE: Final = "Guidance"
ALERT_DEVICE: Final = "Alert"
THICKNESS_DEVICE: Final = "CementThickness"  # of every input; metadata `Guidance.Input` names it
CAPABILITIES: Final = ("IMAGE", "TRANSFORM", "POSITION", "POINT", "TRAJ", "POLYDATA", "STRING", "STATUS", "CAPABILITY")
STREAMED: Final = frozenset({"IMAGE", "POLYDATA", "TRANSFORM", "TRAJ"})  # what STT_ and STP_ start and stop
UNASKED: Final = frozenset({"IMAGE", "POLYDATA", "TRANSFORM", "POINT", "STRING", "STATUS"})  # 3D Slicer can't read TRAJ
NO_ALERTS: Final = "[]"
MAXIMUM_TEXT_BYTES: Final = 65_535  # STRING's length field
# A query that names one of these is answered with that or not at all; any other name is the client's own.
_OUTPUT_PREFIXES: Final = ("Overlay", "CementThickness", "Paths", "Zones", "Targets", "NeedleTip_")
_ANSWER_DEVICES: Final[Mapping[str, tuple[str, ...]]] = {
    "IMAGE": ("Overlay", "OverlayA", "OverlayB"),
    "POINT": ("Targets",),
    "TRAJ": ("Paths",),
    "POLYDATA": ("Paths", "Zones"),
    "TRANSFORM": (),
}
_NOWHERE: Final = (0.0, 0.0, 0.0)
_INVISIBLE: Final = (0, 0, 0, 0)


def overlay_device(input_device: str) -> str:
    """`Fluoro` -> `Overlay`, `FluoroA` -> `OverlayA`."""
    return "Overlay" + input_device.removeprefix("Fluoro")


def overlay_layer_device(input_device: str) -> str:
    """`Fluoro` -> `OverlayLayer`, `FluoroA` -> `OverlayLayerA`."""
    return "OverlayLayer" + input_device.removeprefix("Fluoro")


def answering_devices(subject: str, asked: str, published: Sequence[str]) -> tuple[str, ...]:
    """Which published devices may answer a GET_ of a type, the best first.

    A device that is asked for by name and not there is not answered with another one's picture.
    """
    if asked in published:
        return (asked,)
    if asked.startswith(_OUTPUT_PREFIXES):
        return ()
    return tuple(name for name in _ANSWER_DEVICES.get(subject, ()) if name in published)


def alert_text(alerts: Sequence[Mapping[str, Any]]) -> str:
    """All latched alerts as JSON, non-ASCII escaped; as many from the front as STRING holds.

    Put the most important first: at 65,535 bytes the rest is cut, whole alerts only.
    """
    parts: list[str] = []
    size = 2
    for alert in alerts:
        part = json.dumps(alert, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        size += len(part) + 1
        if size > MAXIMUM_TEXT_BYTES:
            break
        parts.append(part)
    return f"[{','.join(parts)}]"


def without_empty_body(message: Message) -> Message:
    """The same for header version 1, where an empty list would be an empty body, which is never sent.

    One invisible element (alpha 0 hides a point in 3D Slicer) replaces what the client still shows.
    """
    if isinstance(message, Points) and not message.points:
        return Points(
            device=message.device,
            timestamp_igtl=message.timestamp_igtl,
            points=(Point(rgba=_INVISIBLE, position_ras_mm=_NOWHERE),),
        )
    if isinstance(message, Trajectories) and not message.trajectories:
        nothing = Trajectory(rgba=_INVISIBLE, entry_ras_mm=_NOWHERE, target_ras_mm=_NOWHERE)
        return Trajectories(device=message.device, timestamp_igtl=message.timestamp_igtl, trajectories=(nothing,))
    return message
