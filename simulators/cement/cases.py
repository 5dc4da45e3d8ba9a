"""Seeded cases: those to tune with and those to score with are apart."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulators.cement.case import CementCase, ViewScript
from simulators.cement.course import grown, patient
from simulators.cement.grown import LeakKind
from simulators.cement.looks import imaging_of, shots_of

__all__ = ["CementCase", "grown", "imaging_of", "patient", "scoring_cases", "shots_of", "tuning_cases"]

_TUNING_SEED: Final = 10_000
_SCORING_SEED: Final = 50_000
_DOSES: Final = (1.0, 0.25, 1.0, 4.0, 1.0, 0.5, 1.0, 2.0)
_RATES_HZ: Final = (15.0, 7.5, 30.0, 15.0, 3.0, 15.0, 4.0)
_VIEWS: Final[tuple[ViewScript, ...]] = ("biplane", "ap_lateral", "biplane", "lateral", "lateral_then_ap")
_LEAKS: Final[tuple[tuple[LeakKind, ...], ...]] = (("foramen",), ())
_BRANDS: Final = ("baso4_30", "zro2_45", "baso4_30", "baso4_10")


def tuning_cases(count: int) -> tuple[CementCase, ...]:
    """Cases to tune with."""
    return _cases(_TUNING_SEED, count)


def scoring_cases(count: int) -> tuple[CementCase, ...]:
    """Cases to score with; none has a seed of those to tune with."""
    return _cases(_SCORING_SEED, count)


def _cases(first_seed: int, count: int) -> tuple[CementCase, ...]:
    return tuple(_case(first_seed + n, n) for n in range(count))


def _case(seed: int, n: int) -> CementCase:
    random = np.random.default_rng([seed, 0xCA5E])
    return CementCase(
        seed=seed,
        leaks=_LEAKS[n % len(_LEAKS)],
        dose=_DOSES[n % len(_DOSES)],
        rate_hz=_RATES_HZ[n % len(_RATES_HZ)],
        brand=_BRANDS[n % len(_BRANDS)],
        views=_VIEWS[n % len(_VIEWS)],
        breath_mm=float(random.uniform(0.0, 1.2)),
        scatter=float(random.uniform(0.5, 1.1)),
    )
