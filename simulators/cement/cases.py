"""Seeded cases: those to tune with and those to score with are apart, and each is told by its seed alone."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from simulators.cement.case import CementCase, PixelWord, ViewScript
from simulators.cement.course import grown, patient
from simulators.cement.grown import LeakKind
from simulators.cement.looks import imaging_of, shots_of
from simulators.cement.patients import PATIENTS

__all__ = ["CementCase", "grown", "imaging_of", "patient", "scoring_cases", "shots_of", "tuning_cases"]

_TUNING_SEED: Final = 10_000
_SCORING_SEED: Final = 50_000
_MOST: Final = _SCORING_SEED - _TUNING_SEED

_ALA, _BODY, _L5, _ROOF = "sacral ala", "S1 body", "L5 body", "acetabular roof"
# One round of them: what leaks, and where it can.
_ROUND: Final[tuple[tuple[tuple[LeakKind, ...], tuple[str, ...]], ...]] = (
    (("foramen",), (_ALA, _BODY)),
    ((), (_ALA, _BODY, _L5, _ROOF)),
    (("vein",), (_ALA, _L5)),
    (("canal",), (_BODY, _L5)),
    (("foramen",), (_ALA,)),
    (("ventral_surface",), (_ALA, _BODY)),
    ((), (_ALA, _BODY)),
    (("vein",), (_ALA, _BODY, _L5)),
    (("foramen", "vein"), (_ALA,)),
    (("disc",), (_BODY, _L5)),
    (("needle_track",), (_ALA, _BODY, _L5, _ROOF)),
    (("canal",), (_BODY, _L5)),
    ((), (_ALA, _BODY, _L5, _ROOF)),
    (("foramen",), (_ALA, _BODY, _L5)),
    (("si_joint",), (_ALA,)),
    (("vein",), (_L5,)),
    (("soft_tissue",), (_ALA, _ROOF)),
    ((), (_ALA, _BODY)),
    (("canal", "vein"), (_BODY, _L5)),
    ((), (_ALA, _BODY, _L5)),
    (("foramen",), (_ALA, _BODY)),
    (("needle_track",), (_ALA, _ROOF)),
    ((), (_BODY, _L5, _ROOF)),
    (("skin",), (_ALA, _BODY)),
    (("disc",), (_BODY, _L5)),
    (("canal",), (_BODY,)),
    ((), (_ALA, _L5)),
    (("si_joint",), (_ALA,)),
    (("foramen", "needle_track"), (_ALA,)),
    (("joint",), (_ROOF,)),
)
# Value and weight.
_DOSES: Final = ((1.0, 5), (0.25, 1), (0.5, 1), (2.0, 1), (4.0, 1))
_RATES_HZ: Final = ((15.0, 4), (7.5, 3), (30.0, 1), (3.0, 1), (4.0, 1))
_VIEWS: Final[tuple[tuple[ViewScript, int], ...]] = (
    ("biplane", 8),
    ("ap_lateral", 6),
    ("lateral_then_ap", 3),
    ("lateral", 2),
    ("ap", 1),
)
_BRANDS: Final = (("baso4_30", 3), ("zro2_45", 2), ("baso4_10", 1))
_KVP: Final = ((80.0, 3), (72.0, 1), (90.0, 1))
_FAST_HZ: Final = 20.0
_PIXELS: Final[tuple[tuple[PixelWord, int], ...]] = (
    ("16 bits", 20),
    ("12 bits and overlay", 3),
    ("inverted", 1),
    ("display", 1),
)
_AFTER_S: Final = 2.5  # the scene goes on when cement has stopped


def tuning_cases(count: int) -> tuple[CementCase, ...]:
    """Cases to tune with, sorted by patient."""
    return _cases(_TUNING_SEED, count)


def scoring_cases(count: int) -> tuple[CementCase, ...]:
    """Cases to score with, sorted by patient; none has a seed of those to tune with."""
    return _cases(_SCORING_SEED, count)


def case_of(seed: int) -> CementCase:
    """The case that a seed tells."""
    random = np.random.default_rng([seed, 0xCA5E])
    leaks, places = _ROUND[seed % len(_ROUND)]
    skin, balloon = "skin" in leaks, bool(random.random() < 0.06)
    rate_hz = float(_chosen(random, _RATES_HZ))
    # A fast stream makes many pictures, so its scene is short.
    rate_ml_s = float(random.uniform(0.12, 0.28)) * (1.5 if rate_hz > _FAST_HZ else 1.0)
    total_ml = float(random.uniform(2.0, 3.0 if rate_hz > _FAST_HZ else 4.2))
    start_s = 11.0 if balloon else 1.0
    stop_s = start_s + total_ml / rate_ml_s

    def sometimes(chance: float, earliest: float = 0.2, latest: float = 0.8) -> float | None:
        """A time within the injection, or never; what it is not is drawn all the same."""
        drawn, part = random.random(), random.uniform(earliest, latest)
        return round(float(start_s + part * (stop_s - start_s)), 2) if drawn < chance else None

    withdraw_s = sometimes(1.0, 0.35, 0.5) if skin else sometimes(0.15, 0.5, 0.7)
    pause_s = sometimes(0.15)
    duration_s = stop_s + (3.0 if pause_s is not None else 0.0) + _AFTER_S
    return CementCase(
        seed=seed,
        patient=str(random.choice(list(PATIENTS))),
        place=f"{random.choice(places)} {random.choice(['left', 'right'])}",
        leaks=leaks,
        vein_marked=bool(random.random() < 0.75),
        target_marked=bool(random.random() < 0.4),
        rate_ml_s=rate_ml_s,
        total_ml=total_ml,
        dead_ml=float(random.choice([0.0, 0.0, 0.3])),
        pause_s=pause_s,
        withdraw_s=withdraw_s,
        balloon_s=6.0 if balloon else None,
        metal=bool(random.random() < 0.15),
        old_cement=bool(random.random() < 0.1),
        brand=_chosen(random, _BRANDS),
        dose=_chosen(random, _DOSES),
        rate_hz=rate_hz,
        duration_s=round(duration_s, 1),
        views=_chosen(random, _VIEWS),
        kvp=_chosen(random, _KVP),
        kvp_step_s=sometimes(0.12),
        breath_mm=float(random.choice([0.0, 0.3, 0.6, 1.2])),
        move_s=sometimes(0.2),
        pan_s=sometimes(0.1),
        blades=bool(random.random() < 0.35),
        blades_s=sometimes(0.1),
        shutter=bool(random.random() < 0.1),
        hand_s=sometimes(0.12),
        scatter=float(random.uniform(0.5, 1.1)),
        pixels=_chosen(random, _PIXELS),
    )


def _cases(first_seed: int, count: int) -> tuple[CementCase, ...]:
    if count > _MOST:
        raise ValueError(f"there are {_MOST} seeds of each kind, not {count}")
    made = (case_of(first_seed + n) for n in range(count))
    # A patient's CT takes seconds to make and only some are kept.
    return tuple(sorted(made, key=lambda case: (case.patient, case.seed)))


def _chosen(random: np.random.Generator, table: tuple[tuple[Any, int], ...]) -> Any:
    weights = np.array([weight for _, weight in table], np.float64)
    return table[int(random.choice(len(table), p=weights / weights.sum()))][0]
