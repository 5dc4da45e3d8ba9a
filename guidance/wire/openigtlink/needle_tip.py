"""TRANSFORM `NeedleTip_<path>`: where an instrument's tip is, z along its axis (contract 5.3)."""

from __future__ import annotations

import math
from typing import Final

from guidance.messages import PlannedPath, Vector3
from guidance.tracking.values import PlacedInstrument
from guidance.wire.openigtlink.bodies import IDENTITY, Transform
from guidance.wire.openigtlink.coordinates import ras_from_lps

PREFIX: Final = "NeedleTip_"


def needle_tip_device(path_id: str) -> str:
    """`P1` -> `NeedleTip_P1`; an id has at most 10 characters, so a device name's 20 suffice."""
    return PREFIX + path_id


def needle_tip_transform(
    path: PlannedPath, placed: PlacedInstrument | None, *, timestamp_igtl: int, input_device: str
) -> Transform:
    """The message of one path, to be sent when the tip is known, and once more when it no longer is.

    Args:
        path: the plan that the instrument follows.
        placed: what two views or more gave; None, refused or without a tip: not known any more, which is told with
            `TransformStatus` `INVALID`, so that no receiver goes on showing the last place as the present one.
        timestamp_igtl: of the newest frame that it was made from, bit for bit.
        input_device: metadata `Guidance.Input`; of several views the newest's.

    Returns:
        Columns x, y, z of a right-handed frame and the tip, RAS mm; z runs along the instrument from hub to tip. x is
        as near to the patient's right as an axis across z can be (for one along left-right: to the front), for the
        turn about the axis is not seen.
    """
    matrix = IDENTITY
    known = False
    if placed is not None and placed.accepted and placed.tip_lps_mm is not None and placed.axis is not None:
        known = True
        z = ras_from_lps(placed.axis)
        x = _across(z)
        y = _cross(z, x)
        matrix = (*x, *y, *z, *ras_from_lps(placed.tip_lps_mm))
    metadata = {
        "TransformStatus": "OK" if known else "INVALID",
        "Guidance.PathLabel": path.label.strip() or path.id,
        "Guidance.Input": input_device,
        "Guidance.TipSigmaMm": "" if placed is None or placed.tip_sigma_mm is None else f"{placed.tip_sigma_mm:.2f}",
        "Guidance.ResidualMm": "" if placed is None or placed.residual_mm is None else f"{placed.residual_mm:.2f}",
    }
    return Transform(device=needle_tip_device(path.id), timestamp_igtl=timestamp_igtl, metadata=metadata, matrix=matrix)


def _across(z: Vector3) -> Vector3:
    # RAS: +x is the patient's right, +y the front.
    start = (1.0, 0.0, 0.0) if abs(z[0]) < 0.9 else (0.0, 1.0, 0.0)
    along = sum(a * b for a, b in zip(start, z, strict=True))
    x, y, w = (a - along * b for a, b in zip(start, z, strict=True))
    length = math.sqrt(x * x + y * y + w * w)
    return x / length, y / length, w / length


def _cross(a: Vector3, b: Vector3) -> Vector3:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
