"""Figures of `guidance bench cement` from the rows of its cases; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from drivers.commands.bench_report import percentile
from drivers.commands.cement_scoring import in_time, relative_error
from guidance.messages import F64

BIN_MM: Final = 0.05  # of a case's front distances
BINS: Final = 400  # what is beyond 20 mm is in the last
NOMINAL_DOSE: Final = 1.0
LEAST_ML: Final = 0.3  # errors of a smaller volume are not told in percent
LEAD_S: Final = 1.0
LEAD_MM: Final = 2.0
AIMS: Final = {
    "dice_median": ">= 0.90",
    "front_error_median_mm": "<= 0.5",
    "front_error_p95_mm": "<= 1.5",
    "volume_error_two_views_median": "<= 0.05",
    "volume_error_two_views_worst": "<= 0.15",
    "foramen_sensitivity": ">= 0.98",
    "canal_sensitivity": ">= 0.98",
    "vein_sensitivity": ">= 0.90",
    "false_warnings_per_case": "<= 1",
    "lead_1s_or_2mm_share": ">= 1",
    "frames_after_0_1_ml_outside_p95": "<= 2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeTold:
    """What was told of the volume at one time.

    Attributes:
        true_ml: in the patient and in what the views show, outside the cannula.
        told_ml, low_ml, high_ml: None where not told.
        views: that it was told from.
    """

    t_s: float
    true_ml: float
    told_ml: float | None
    low_ml: float | None
    high_ml: float | None
    views: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScore:
    """One true contact of cement with a site, and what was said of it.

    Attributes:
        site: word of the contract.
        contact_s: when cement was first there.
        amount_s: two frames after 0.1 ml was there; None: never.
        warned_s: first warning; None: never.
        distance_mm: of the cement to the zone at that warning; 0 in contact; None without one, or before the cement.
    """

    site: str
    zone_id: str
    contact_s: float
    amount_s: float | None
    warned_s: float | None
    distance_mm: float | None

    @property
    def found(self) -> bool:
        """Whether the warning came, and in time."""
        return in_time(self.warned_s, self.contact_s, self.amount_s)

    @property
    def lead_s(self) -> float:
        """Seconds from the warning to the contact; minus infinity without a warning."""
        return -math.inf if self.warned_s is None else self.contact_s - self.warned_s

    @property
    def led(self) -> bool:
        """Whether there was a second, or 2 mm, left."""
        return self.lead_s >= LEAD_S or (
            self.lead_s > 0.0 and self.distance_mm is not None and self.distance_mm >= LEAD_MM
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """Everything scored of one case; plain values only.

    Attributes:
        disturbances: what else happens in it: the patient moves, blades, a pan, ...
        dice: of each scored picture, worst to best.
        front_counts: (BINS,) distances of both fronts, each picture with the same weight.
        warnings: (kind, zone id or "", verdict) of each alert.
        outside_frames: frames from 0.1 ml outside of where cement belongs until the first warning; 0: before. None:
            nothing was outside; infinite: no warning.
        first_frames: frames from 0.1 ml in the patient until cement is seen; infinite: never.
        unseen: how many frames told nothing, by code.
        failed: words of an error that ended the case; "" where none did.
    """

    name: str
    seed: int
    patient: str
    leaks: tuple[str, ...]
    dose: float
    rate_hz: float
    brand: str
    views: str
    disturbances: tuple[str, ...]
    frames: int
    duration_s: float
    dice: tuple[float, ...]
    front_counts: tuple[float, ...]
    volumes: tuple[VolumeTold, ...]
    sites: tuple[SiteScore, ...]
    warnings: tuple[tuple[str, str, str], ...]
    outside_frames: float | None
    first_frames: float | None
    unseen: dict[str, int]
    ms_per_frame: float
    failed: str = ""


def figures_of(rows: Sequence[CaseRow]) -> dict[str, Any]:
    """All figures of some cases; None where there is nothing to say it of."""
    two = [told for row in rows for told in row.volumes if told.views >= 2 and told.true_ml >= LEAST_ML]
    one = [told for row in rows for told in row.volumes if told.views == 1 and told.true_ml >= LEAST_ML]
    errors = [error for told in two if (error := relative_error(told.told_ml, told.true_ml)) is not None]
    contacts = [site for row in rows for site in row.sites]
    counts = np.sum([row.front_counts for row in rows], axis=0) if rows else np.zeros(BINS)
    outside = [row.outside_frames for row in rows if row.outside_frames is not None]
    first = [row.first_frames for row in rows if row.first_frames is not None]
    return {
        "cases": len(rows),
        "failed_cases": sum(bool(row.failed) for row in rows),
        "dice_median": percentile([value for row in rows for value in row.dice], 50.0),
        "dice_p10": percentile([value for row in rows for value in row.dice], 10.0),
        "front_error_median_mm": _of_counts(counts, 0.5),
        "front_error_p95_mm": _of_counts(counts, 0.95),
        "volume_error_two_views_median": percentile(errors, 50.0),
        "volume_error_two_views_worst": max(errors, default=None),
        "volume_bias_two_views": percentile([told.told_ml / told.true_ml - 1.0 for told in two if told.told_ml], 50.0),
        "volume_told_two_views": _share(told.told_ml is not None for told in two),
        "volume_interval_two_views": _share(_held(told) for told in two),
        "volume_error_one_view": percentile([_miss(told) for told in one if told.low_ml is not None], 50.0),
        "volume_interval_one_view": _share(_held(told) for told in one),
        "volume_interval_one_view_width": percentile(
            [width for told in one if (width := _width(told)) is not None], 50.0
        ),
        **{
            f"{site}_sensitivity": _share(contact.found for contact in contacts if contact.site == site)
            for site in _SITES
        },
        "contacts": len(contacts),
        "false_warnings_per_case": _warnings(rows, "false"),
        "projected_warnings_per_case": _warnings(rows, "projected"),
        "lead_median_s": _finite(float(np.median([site.lead_s for site in contacts])) if contacts else None),
        "lead_1s_or_2mm_share": _share(site.led for site in contacts),
        # Where no zone marks what leaks, no warning before the leak begins counts, so there is no lead to be had.
        "lead_1s_or_2mm_share_of_zones": _share(site.led for site in contacts if site.zone_id),
        "first_detection_frames": _finite(percentile_with_inf(first, 0.5)),
        "first_detection_frames_p95": _finite(percentile_with_inf(first, 0.95)),
        "frames_after_0_1_ml_outside": _finite(percentile_with_inf(outside, 0.5)),
        "frames_after_0_1_ml_outside_p95": _finite(percentile_with_inf(outside, 0.95)),
        "warned_after_0_1_ml_outside_share": _share(math.isfinite(value) for value in outside),
        "unseen_share": _ratio(sum(sum(row.unseen.values()) for row in rows), sum(row.frames for row in rows)),
        "ms_per_frame": percentile([row.ms_per_frame for row in rows], 50.0),
    }


def groups_of(rows: Sequence[CaseRow], key: Callable[[CaseRow], Any]) -> list[dict[str, Any]]:
    """Figures of each group of cases, in the order of its key."""
    return [
        {"group": group, **figures_of([row for row in rows if key(row) == group])}
        for group in sorted({key(row) for row in rows})
    ]


def disturbance_groups(rows: Sequence[CaseRow]) -> list[dict[str, Any]]:
    """Figures of the cases in which each thing happens, those with nothing first; a case may be in several."""
    found = [{"group": "nothing", **figures_of([row for row in rows if not row.disturbances])}]
    for name in sorted({name for row in rows for name in row.disturbances}):
        found.append({"group": name, **figures_of([row for row in rows if name in row.disturbances])})
    return found


def site_groups(rows: Sequence[CaseRow]) -> list[dict[str, Any]]:
    """What was said of each kind of site."""
    contacts = [site for row in rows for site in row.sites]
    found = []
    for name in sorted({site.site for site in contacts}):
        own = [site for site in contacts if site.site == name]
        found.append(
            {
                "group": name,
                "contacts": len(own),
                "sensitivity": _share(site.found for site in own),
                "ever": _share(site.warned_s is not None for site in own),
                "before_contact": _share(site.lead_s > 0.0 for site in own),
                "lead_median_s": _finite(float(np.median([site.lead_s for site in own]))),
                "lead_1s_or_2mm_share": _share(site.led for site in own),
            }
        )
    return found


def counts_of(distances_mm: F64) -> F64:
    """(BINS,) how often which distance occurs."""
    places = np.minimum((distances_mm / BIN_MM).astype(np.intp), BINS - 1)
    counted: F64 = np.bincount(places, minlength=BINS).astype(np.float64)
    return counted


def percentile_with_inf(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so many are not above; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


_SITES: Final = (
    "foramen",
    "canal",
    "vein",
    "ventral_surface",
    "si_joint",
    "disc",
    "needle_track",
    "skin",
)


def _of_counts(counts: F64, share: float) -> float | None:
    total = float(counts.sum())
    if total == 0.0:
        return None
    sums = np.cumsum(counts) / total
    place = int(np.searchsorted(sums, share))
    before = float(sums[place - 1]) if place else 0.0
    return BIN_MM * (place + (share - before) / (float(sums[place]) - before))


def _width(told: VolumeTold) -> float | None:
    """Of the interval, as a share."""
    return None if told.low_ml is None or told.high_ml is None else (told.high_ml - told.low_ml) / told.true_ml


def _held(told: VolumeTold) -> bool:
    if told.low_ml is None or told.high_ml is None:
        return False
    return told.low_ml <= told.true_ml <= told.high_ml


def _miss(told: VolumeTold) -> float:
    """How far the interval misses, as a share; 0 where it holds."""
    low, high = told.low_ml or 0.0, told.high_ml if told.high_ml is not None else math.inf
    return max(low - told.true_ml, told.true_ml - high, 0.0) / told.true_ml


def _warnings(rows: Sequence[CaseRow], verdict: str) -> float | None:
    return _ratio(sum(one == verdict for row in rows for _, _, one in row.warnings), len(rows))


def _share(facts: Iterable[bool]) -> float | None:
    known = list(facts)
    return _ratio(sum(known), len(known))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
