"""How far what is said of cement in a simulated case is off the truth: masks, fronts, volumes, warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from guidance.messages import F32, F64, AlertCondition, AlertKind, AlertPriority, SiteStatus, ZoneSite

Bool = npt.NDArray[np.bool_]

LATE_S: Final = 1.0  # a warning later than this after the true contact has not been given ...
AMOUNT_ML: Final = 0.1  # ... nor one that comes more than so many frames after so much cement is there
AMOUNT_FRAMES: Final = 2
# What the words "never comes near" mean: the distance of the first warning and the error a front may have.
BEYOND_NEAR_MM: Final = 1.5
_STEP_PX: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """One alert as an operator heard it.

    Attributes:
        at_s: when it was first raised, s of the case.
        kind, zone_id, site: what it is of; `zone_id` "" where it is of no zone.
        priority, status: the highest that it came to.
        warned_s: when it first was a warning, see `warns`; None: never.
        text: its words now.
    """

    at_s: float
    kind: AlertKind
    zone_id: str
    site: ZoneSite | None
    priority: AlertPriority
    status: SiteStatus | None
    warned_s: float | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTruth:
    """What truly became of one keep-out zone.

    Attributes:
        first_contact_s: when cement first was inside; None: never.
        nearest_mm: least distance of cement to it in the whole case; 0 in contact.
        overlaps_s: when the shadows of cement and zone first overlapped in a picture that was taken; None: never.
    """

    zone_id: str
    site: ZoneSite
    first_contact_s: float | None
    nearest_mm: float
    overlaps_s: float | None


Verdict = Literal["true", "projected", "false", "not judged"]


def dice(found: npt.NDArray[np.generic], true: npt.NDArray[np.generic]) -> float:
    """2 |A and B| / (|A| + |B|); 1 where both are empty."""
    a, b = found.astype(bool), true.astype(bool)
    both = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if both == 0 else 2.0 * int(np.count_nonzero(a & b)) / both


def crossings_px(field: F32, level: float) -> F64:
    """Where a field passes through a level along its rows and columns.

    Args:
        field: (rows, columns), finite.
        level: what lies at it or above is inside.

    Returns:
        (N, 2) u, v, sub-pixel: the corners that marching squares would join; none at the picture's border.
    """
    found = []
    inside = field >= level
    for axis in (0, 1):
        first, second = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
        if axis == 1:
            first, second = first[::-1], second[::-1]
        v, u = np.nonzero(inside[first] != inside[second])
        a, b = field[first][v, u].astype(np.float64), field[second][v, u].astype(np.float64)
        share = np.clip((level - a) / np.where(a == b, 1.0, b - a), 0.0, 1.0)
        points = np.stack((u.astype(np.float64), v.astype(np.float64)), axis=1)
        points[:, 1 - axis] += share
        found.append(points)
    every: F64 = np.concatenate(found)
    return every


def along_contours_px(contours: Sequence[F64]) -> F64:
    """(N, 2) points at most half a pixel apart on closed contours."""
    parts = [np.zeros((0, 2))]
    for contour in contours:
        if len(contour) == 0:
            continue
        ends = np.roll(contour, -1, axis=0)
        steps = np.maximum(1, np.ceil(np.linalg.norm(ends - contour, axis=1) / _STEP_PX)).astype(int)
        which = np.repeat(np.arange(len(contour)), steps)
        share = np.concatenate([np.arange(n) / n for n in steps])[:, None]
        parts.append(contour[which] * (1.0 - share) + ends[which] * share)
    return np.concatenate(parts)


def front_distances_mm(found_px: F64, true_px: F64, mm_per_px: float) -> F64:
    """Each point of either front to the nearest of the other, both ways, mm at the isocentre.

    Each direction counts for half, however many points it has: quantiles of either are taken, 100 of each.

    Returns:
        (200,) ascending within each half; empty where either front is empty.
    """
    if len(found_px) == 0 or len(true_px) == 0:
        return np.zeros(0)
    ways = (cKDTree(true_px).query(found_px)[0], cKDTree(found_px).query(true_px)[0])
    at = (np.arange(100) + 0.5) / 100.0
    distances: F64 = np.concatenate([np.quantile(way, at) for way in ways]) * mm_per_px
    return distances


def warns(condition: AlertCondition) -> bool:
    """Whether an alert asks for attention: not the hint that one view's shadows overlap, and it cannot tell more."""
    return not (condition.priority is AlertPriority.LOW and condition.status is SiteStatus.CONTACT_POSSIBLE)


def warned(alerts: Sequence[Raised], zone: ZoneTruth) -> float | None:
    """When a zone was first warned of; None: never."""
    times = [one.warned_s for one in alerts if one.zone_id == zone.zone_id and one.warned_s is not None]
    return min(times, default=None)


def leak_warned(alerts: Sequence[Raised], kind: AlertKind, onset_s: float) -> float | None:
    """When a leak that no zone marks was first warned of by its look, from its onset on; None: never.

    A warning before anything flows there is of something else.
    """
    times = [
        one.warned_s
        for one in alerts
        if one.kind == kind and not one.zone_id and one.warned_s is not None and one.warned_s >= onset_s
    ]
    return min(times, default=None)


def in_time(warned_s: float | None, contact_s: float, amount_s: float | None = None) -> bool:
    """Whether a warning of this contact counts as given.

    Args:
        warned_s: None: never.
        contact_s: when cement was first there.
        amount_s: two frames after 0.1 ml is there: a warning until then counts too. None: it never is so much.
    """
    return warned_s is not None and warned_s <= max(contact_s + LATE_S, amount_s or 0.0)


def site_verdict(alert: Raised, zone: ZoneTruth | None, *, near_mm: float) -> Verdict:
    """Whether an alert on a zone had a reason.

    Args:
        zone: the truth of its zone; None: there is no such zone, which is false.
        near_mm: from how near on the server warns.

    Returns:
        `true`: cement came near. `projected`: it never did, but the shadows truly overlap in a picture, and the alert
        said no more than that contact is possible. `false`: neither.
    """
    if zone is None:
        return "false"
    if zone.first_contact_s is not None or zone.nearest_mm <= near_mm + BEYOND_NEAR_MM:
        return "true"
    if zone.overlaps_s is not None and alert.status is not SiteStatus.CONTACT:
        return "projected"
    return "false"


def relative_error(found: float | None, true: float) -> float | None:
    """|found - true| / true; None where nothing was told, or there is nothing."""
    if found is None or not true > 0.0 or not math.isfinite(found):
        return None
    return abs(found - true) / true
