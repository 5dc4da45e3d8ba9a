"""The benchmark of cement: which cases, one answer that JSON can say, and its charts."""

import json
import math
from dataclasses import replace

from drivers.commands import bench_cement
from drivers.commands.bench_cement import charts_of, quick_cases, run_trials, score_of, tables_of
from drivers.commands.cement_rows import KeptRows
from drivers.commands.cement_trial import failed_row
from simulators.cement.cases import scoring_cases, shots_of, tuning_cases
from tests.drivers.commands.test_cement_figures import ROW

KEYS = (
    "cases dice_median front_error_median_mm front_error_p95_mm volume_error_two_views_median "
    "volume_error_two_views_worst foramen_sensitivity vein_sensitivity false_warnings_per_case lead_median_s"
)


def test_the_answer_is_json_and_has_the_contracts_keys():
    rows = [ROW, replace(ROW, name="two", dose=0.25, outside_frames=math.inf, first_frames=math.inf)]
    answer = score_of(rows, quick=True)
    assert set(KEYS.split()) <= set(answer["figures"])
    assert answer["figures"]["cases"] == 2
    assert answer["figures"]["cases_at_nominal_dose"] == 1
    again = json.loads(json.dumps(answer, allow_nan=False))
    assert again["series"]["cases"][1]["outside_frames"] == "never"
    assert [group["group"] for group in again["series"]["by_dose"]] == [0.25, 1.0]


def test_charts_of_an_answer_and_of_nothing():
    for rows in ([ROW, replace(ROW, dose=4.0)], []):
        charts = charts_of(score_of(rows, quick=True))
        assert {"cement-dose-dice", "cement-rate-front", "cement-volume", "cement-sites", "cement-lead"} <= set(charts)
        assert all(svg.startswith("<svg") for svg in charts.values())


def test_seeds_to_tune_with_are_not_scored_with_and_there_are_enough():
    scoring = scoring_cases(bench_cement.CASES)
    assert len(scoring) >= 200
    assert not {case.seed for case in scoring} & {case.seed for case in tuning_cases(bench_cement.CASES)}
    assert {case.dose for case in scoring} >= {0.25, 1.0, 4.0}
    assert {case.rate_hz for case in scoring} >= {3.0, 30.0}
    kinds = {kind for case in scoring for kind in case.leaks}
    assert {"foramen", "canal", "vein"} <= kinds
    for kind in kinds:
        assert sum(kind in case.leaks for case in scoring if case.dose == 1.0) >= 3
    assert any(not case.leaks for case in scoring)


def test_the_short_form_has_few_pictures_and_the_chief_leaks():
    chosen = quick_cases(scoring_cases(bench_cement.CASES))
    assert len(chosen) == len(set(chosen)) == 3
    assert all(case.dose == 1.0 for case in chosen)
    assert len({case.patient for case in chosen}) == 1
    assert {"foramen", "vein"} <= {kind for case in chosen for kind in case.leaks}
    assert any(not case.leaks for case in chosen)
    assert sum(len(shots_of(case)) for case in chosen) < 1000


def test_a_case_that_crashes_is_one_in_which_everything_was_missed(monkeypatch):
    case = next(case for case in scoring_cases(20) if case.leaks)
    row = failed_row(case, "it broke")
    answer = score_of([replace(row, dose=1.0)], quick=True)
    assert answer["figures"]["failed_cases"] == 1
    assert answer["figures"]["dice_median"] == 0.0
    assert all(not site["found"] for site in answer["series"]["cases"][0]["sites"])


def test_what_was_kept_is_not_made_again(tmp_path):
    cases = scoring_cases(2)
    kept = KeptRows(tmp_path)
    for case in cases:
        kept.keep(replace(ROW, name=str(case.seed), seed=case.seed))
    assert [row.seed for row in run_trials(cases, kept)] == [case.seed for case in cases]


def test_tables_say_which_aims_are_missed():
    tables = tables_of(score_of([ROW], quick=True))
    lines = tables["cement-aims"].splitlines()
    assert "| Dice, median | >= 0.90 | 0.9 | met |" in lines
    assert any("canal" in line and "not known" in line for line in lines)
    assert any("volume error, two views, median" in line and "missed" in line for line in lines)
    assert "| foramen | 1 | 1 | 1 | 1 | 2 | 1 |" in tables["cement-sites"]
    assert all(table.startswith("| ") for table in tables_of(score_of([], quick=True)).values() if table)
