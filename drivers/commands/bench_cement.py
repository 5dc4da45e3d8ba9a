"""`guidance bench cement`: simulated injections followed frame by frame, held against what truly flowed where."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, Final

import cv2

from drivers.commands.bench_report import report
from drivers.commands.cement_charts import charts_of
from drivers.commands.cement_figures import (
    AIMS,
    NOMINAL_DOSE,
    CaseRow,
    disturbance_groups,
    figures_of,
    groups_of,
    site_groups,
)
from drivers.commands.cement_followed import FIELD_MM, SPACING_MM
from drivers.commands.cement_rows import KeptRows
from drivers.commands.cement_tables import tables_of
from drivers.commands.cement_trial import failed_row, run_trial
from drivers.commands.progress import show_progress
from simulators.cement.cases import CementCase, scoring_cases, shots_of

__all__ = ["charts_of", "run_cement", "run_trials", "score_of", "tables_of"]

CASES: Final = 240
_QUICK: Final = (("foramen", "ap_lateral"), ("vein", "ap_lateral"), (None, "biplane"))
_PROCESSES: Final = 2
_ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def run_cement(*, quick: bool) -> dict[str, Any]:
    """All scoring cases; the short form is a few of them at nominal dose. A run that was cut off goes on."""
    cases = scoring_cases(CASES)
    if quick:
        return score_of(run_trials(quick_cases(cases)), quick=True)
    kept = KeptRows()
    rows = run_trials(cases, kept)
    kept.drop()
    return score_of(rows, quick=False)


def quick_cases(cases: Sequence[CementCase]) -> tuple[CementCase, ...]:
    """Of one patient at nominal dose: the fewest pictures that show a foramen, a vein and no leak."""
    nominal = [case for case in cases if case.dose == NOMINAL_DOSE]
    choices = []
    for patient in sorted({case.patient for case in nominal}):
        own = sorted((case for case in nominal if case.patient == patient), key=lambda case: len(shots_of(case)))
        found = [
            case
            for kind, views in _QUICK
            if (case := next((case for case in own if case.views == views and kind in (case.leaks or (None,))), None))
        ]
        chosen = tuple(dict.fromkeys(found))
        choices.append((len(_QUICK) - len(chosen), sum(len(shots_of(case)) for case in chosen), chosen))
    return min(choices, key=lambda choice: choice[:2])[2] if choices else ()


def run_trials(cases: Sequence[CementCase], kept: KeptRows | None = None) -> list[CaseRow]:
    """One row per case, in the cases' order, made by two processes."""
    rows = {str(case.seed): row for case in cases if kept is not None and (row := kept.row(str(case.seed))) is not None}
    missing = [case for case in cases if str(case.seed) not in rows]
    for number, row in enumerate(_made(missing), len(rows) + 1):
        rows[row.name] = row
        if kept is not None:
            kept.keep(row)
        show_progress("cement: case", number, len(cases))
    return [rows[str(case.seed)] for case in cases]


def score_of(rows: Sequence[CaseRow], *, quick: bool) -> dict[str, Any]:
    """The benchmark's answer: aims are for nominal dose, so the figures are of those cases; all are in the series."""
    nominal = [row for row in rows if row.dose == NOMINAL_DOSE]
    figures = figures_of(nominal)
    return report(
        "cement",
        settings={
            "aims": AIMS,
            "figures": f"of the {len(nominal)} cases at nominal dose: 250 photons on a pixel of 0.3 mm behind the body",
            "patients": sorted({row.patient for row in rows}),
            "seeds": [min((row.seed for row in rows), default=0), max((row.seed for row in rows), default=0)],
            "cone_beam_ct": {"field_mm": FIELD_MM, "spacing_mm": SPACING_MM},
            "quick": quick,
        },
        figures={"cases": len(rows), "cases_at_nominal_dose": figures.pop("cases"), **figures},
        series={
            "by_dose": groups_of(rows, lambda row: row.dose),
            "by_rate": groups_of(nominal, lambda row: row.rate_hz),
            "by_views": groups_of(nominal, lambda row: row.views),
            "by_brand": groups_of(nominal, lambda row: row.brand),
            "by_patient": groups_of(nominal, lambda row: row.patient),
            "by_disturbance": disturbance_groups(nominal),
            "by_site": site_groups(nominal),
            "cases": [_plain(row) for row in rows],
        },
    )


def _made(cases: Sequence[CementCase]) -> Iterator[CaseRow]:
    if not cases:
        return
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read by a library as it is loaded: two cores, two processes
    try:
        with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn"), _alone) as pool:
            for done in as_completed([pool.submit(_row, case) for case in cases]):
                yield done.result()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _alone() -> None:
    cv2.setNumThreads(1)


def _row(case: CementCase) -> CaseRow:
    """A case whose following crashes is one in which everything was missed, and it says so."""
    try:
        return run_trial(case)
    except Exception:
        return failed_row(case, traceback.format_exc(limit=-3))


def _plain(row: CaseRow) -> dict[str, Any]:
    """As JSON can say it; the fronts' counts are left out."""
    told = dataclasses.asdict(row)
    del told["front_counts"]
    for site, values in zip(row.sites, told["sites"], strict=True):
        values["found"] = site.found
        values["lead_s"] = site.lead_s if math.isfinite(site.lead_s) else None
    for key in ("outside_frames", "first_frames"):
        if told[key] is not None and math.isinf(told[key]):
            told[key] = "never"
    return told
