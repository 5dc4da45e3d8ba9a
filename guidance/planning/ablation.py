"""The zone that a probe is expected to freeze or burn, by power and time; never beyond what its table holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import msgspec

from guidance.errors import GeometryError
from guidance.messages import AblationSetting, PlannedPath
from guidance.planning.solid import Spheroid


class AblationRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured or told zone: an ellipsoid of revolution about the probe.

    Attributes:
        power_w: of the generator; 0 for a cryoprobe, which has none.
        time_s: of freezing or heating, all cycles' freezes as the table's source counts them.
        length_mm, width_mm: full axes along and across the probe.
        center_from_tip_mm: from the tip towards the hub to the zone's middle.
    """

    power_w: float
    time_s: float
    length_mm: float
    width_mm: float
    center_from_tip_mm: float


class AblationTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Zones by power and time: every power with every time, so that it can be interpolated.

    Attributes:
        edge: what the zone's edge is, such as the 0 degree edge of the ice.
        source: where the numbers are from.
        quality: `published` (measured, in `source`) or `typical` (no publication behind them).
    """

    edge: str
    source: str
    quality: Literal["published", "typical"]
    rows: tuple[AblationRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationZone:
    """The ellipsoid expected of one setting; full axes, mm."""

    length_mm: float
    width_mm: float
    center_from_tip_mm: float


def table_fault(table: AblationTable) -> tuple[str, str]:
    """The field at fault and what it must be; two empty texts where a table is sound."""
    if not table.rows:
        return "rows", "at least one row"
    for row in table.rows:
        if not 0.0 <= row.power_w < math.inf:
            return "power_w", "0 or more, and finite"
        for name in ("time_s", "length_mm", "width_mm"):
            if not 0.0 < getattr(row, name) < math.inf:
                return name, "greater than 0, and finite"
        if not 0.0 <= row.center_from_tip_mm < math.inf:
            return "center_from_tip_mm", "0 or more, and finite"
    settings = [(row.power_w, row.time_s) for row in table.rows]
    powers, times = {power for power, _ in settings}, {time for _, time in settings}
    if len(set(settings)) != len(settings) or len(settings) != len(powers) * len(times):
        return "rows", "each power_w once with each time_s"
    return "", ""


def ablation_zone(table: AblationTable, setting: AblationSetting) -> AblationZone:
    """The zone expected of a setting, linear between the table's rows.

    Raises:
        GeometryError: `outside_ablation_table`: power or time is beyond the table; nothing is guessed there.
    """
    powers = sorted({row.power_w for row in table.rows})
    times = sorted({row.time_s for row in table.rows})
    power = _between(powers, setting.power_w, "ablation.power_w", "W")
    time = _between(times, setting.time_s, "ablation.time_s", "s")
    rows = {(row.power_w, row.time_s): row for row in table.rows}
    length_mm = width_mm = center_mm = 0.0
    for power_w, power_part in power:
        for time_s, time_part in time:
            row, part = rows[power_w, time_s], power_part * time_part
            length_mm += part * row.length_mm
            width_mm += part * row.width_mm
            center_mm += part * row.center_from_tip_mm
    return AblationZone(length_mm=length_mm, width_mm=width_mm, center_from_tip_mm=center_mm)


def ablation_solid(path: PlannedPath, zone: AblationZone) -> Spheroid:
    """The zone where the path puts it; entry and target must differ."""
    length_mm = math.dist(path.entry_lps_mm, path.target_lps_mm)
    pairs = tuple(zip(path.entry_lps_mm, path.target_lps_mm, strict=True))
    x, y, z = ((target - entry) / length_mm for entry, target in pairs)
    target = path.target_lps_mm
    back_mm = zone.center_from_tip_mm
    return Spheroid(
        (target[0] - back_mm * x, target[1] - back_mm * y, target[2] - back_mm * z),
        (x, y, z),
        0.5 * zone.length_mm,
        0.5 * zone.width_mm,
    )


def _between(values: list[float], value: float, field: str, unit: str) -> list[tuple[float, float]]:
    """The neighbours of `value` with their weights."""
    if not values[0] <= value <= values[-1]:  # also false for NaN
        told = f"{values[0]:g} {unit}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g} {unit}"
        raise GeometryError(
            f"{field}: {value:g} {unit} is outside the probe's ablation table ({told})",
            code="outside_ablation_table",
            mend="stay within the table or extend it in the site's instrument file",
        )
    if len(values) == 1:
        return [(values[0], 1.0)]
    low, high = next(pair for pair in pairwise(values) if value <= pair[1])
    part = (value - low) / (high - low)
    return [(low, 1.0 - part), (high, part)]
