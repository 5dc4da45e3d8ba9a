"""The steps between ordered slices: regular, truly uneven, or with slices lost. Numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64

PLACE_TOLERANCE: Final = 0.05  # of the step, within the two limits below: how far off the even grid is still even
PLACE_TOLERANCE_MM: Final = (0.02, 0.1)  # Image Position is often rounded to 0.01 mm, thin slices step by 0.3 mm
STEP_TOLERANCE: Final = 0.05  # of the step: what counts as the same step
MULTIPLE_TOLERANCE: Final = 0.12  # how near a gap must be to a whole multiple of the step to look like lost slices
LARGEST_GAP: Final = 4.5  # steps; nothing is interpolated over more
MINIMUM_RUN_WITHOUT_NUMBERS: Final = 4  # equal wide gaps in a row that look meant although nothing says so


class GapKind(Enum):
    REGULAR = "regular"
    NONUNIFORM = "nonuniform"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class GapVerdict:
    """What the steps say.

    Attributes:
        kind: see `GapKind`.
        step_mm: the series' step: the mean, and the finest frequent one where steps differ.
        missing: estimate of lost slices; 0 unless `MISSING`.
        first_gap: index of the slice before the first hole.
    """

    kind: GapKind
    step_mm: float
    missing: int = 0
    first_gap: int = 0


def judge_gaps(places_mm: F64, instance_numbers: Sequence[int | None]) -> GapVerdict:
    """Tell lost slices from a series that was made with uneven steps.

    A gap of a whole multiple of the step is a hole, unless two or more such gaps stand in a row and the instance
    numbers run on through them (a protocol with two step widths). Without instance numbers four in a row are needed.

    Args:
        places_mm: (N,) places along the normal, ascending, N >= 2.
        instance_numbers: (N,) of the ordered slices, None where absent.
    """
    gaps_mm = np.diff(places_mm)
    even_mm = np.linspace(places_mm[0], places_mm[-1], len(places_mm))
    step_mm = float(gaps_mm.mean())
    if np.max(np.abs(places_mm - even_mm)) <= np.clip(PLACE_TOLERANCE * step_mm, *PLACE_TOLERANCE_MM):
        return GapVerdict(GapKind.REGULAR, step_mm)
    fine_mm = _finest_frequent(gaps_mm)
    multiples = np.round(gaps_mm / fine_mm)
    near = np.abs(gaps_mm / fine_mm - multiples) <= MULTIPLE_TOLERANCE * np.minimum(multiples, 2)
    wide = (near & (multiples >= 2)) | (gaps_mm > LARGEST_GAP * fine_mm)
    holes = [index for index in np.flatnonzero(wide) if not _is_meant(int(index), multiples, wide, instance_numbers)]
    if holes:
        missing = int(sum(max(multiples[index] - 1, 1) for index in holes))
        return GapVerdict(GapKind.MISSING, fine_mm, missing, int(holes[0]))
    return GapVerdict(GapKind.NONUNIFORM, fine_mm)


def _finest_frequent(gaps_mm: F64) -> float:
    """The smallest step that at least a tenth of the gaps (and two, if there are three or more) have."""
    ordered = np.sort(gaps_mm)
    needed = max(min(2, len(ordered) - 1), len(ordered) // 10, 1)
    for candidate in ordered:
        alike = ordered[np.abs(ordered - candidate) <= max(STEP_TOLERANCE * candidate, 0.011)]
        if len(alike) >= needed:
            return float(np.median(alike))
    return float(np.median(ordered))


def _is_meant(index: int, multiples: F64, wide: npt.NDArray[np.bool_], numbers: Sequence[int | None]) -> bool:
    if multiples[index] > LARGEST_GAP:
        return False
    first = last = index
    while first > 0 and wide[first - 1] and multiples[first - 1] == multiples[index]:
        first -= 1
    while last + 1 < len(multiples) and wide[last + 1] and multiples[last + 1] == multiples[index]:
        last += 1
    run = last - first + 1
    inside = list(numbers[first : last + 2])
    if any(number is None for number in inside):
        return run >= MINIMUM_RUN_WITHOUT_NUMBERS
    steps = {abs(b - a) for a, b in pairwise(inside) if a is not None and b is not None}
    return run >= 2 and steps == {1}
