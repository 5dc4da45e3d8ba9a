"""The failure drill: it counts what is wrong by its own truth, honest streams pass it, and no lie gets by."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from drivers.commands import bench_faults
from drivers.commands.fault_cases import drill_cases, stream_case, stream_lies
from drivers.commands.fault_cbct import CbctLie, cbct_lies
from drivers.commands.fault_drill import run_case
from drivers.commands.fault_lies import HONEST, LYING, Lie, along, always, moved
from drivers.commands.fault_outcome import LIMIT_MM, DrillCase, Outcome
from drivers.commands.fault_scene import (
    Patient,
    Pictures,
    Received,
    own_cbct,
    procedural_patient,
    real_patient,
    received,
)
from guidance.config import ConsistencySettings
from guidance.messages import GeometryState, VolumeState
from simulators.cbct_objects import CbctRun
from simulators.faults import Fault

RUN = CbctRun(patient_position="HFP")
BLIND = ConsistencySettings(enabled=False)
LIES = {lie.name: lie for lie in stream_lies()}
CONTROLS = [lie for lie in LIES.values() if lie.group == "control" and not lie.settles]
RECOVERIES = [lie for lie in LIES.values() if lie.settles]
PICTURES = Pictures()


@pytest.fixture(scope="module")
def patient() -> Patient:
    return procedural_patient(3.0)


@pytest.fixture(scope="module")
def own(patient: Patient) -> Received:
    return received(own_cbct(patient), RUN)


def drilled(lie: Lie, view: str, patient: Patient, cbct: Received, **changes: Any) -> Outcome:
    return run_case(stream_case(lie, view, patient, cbct, RUN), PICTURES, **changes)


def test_every_lie_of_the_issue_is_in_the_table() -> None:
    names = " | ".join(LIES)
    for words in (
        "frames repeated",
        "late",
        "previous frame",
        "flipped",
        "180 deg",
        "transposed",
        "SID 2 %",
        "SID 10 %",
        "another zoom",
        "another frame of reference",
        "turned 5 deg about the isocentre",
        "not told",
        "moved 3 mm",
        "moved 10 mm",
        "NaN",
        "infin",
        "forwards",
        "backwards",
        "5 s behind",
    ):
        assert words in names, words
    assert len(LIES) == len(stream_lies())  # no name twice: the table is read by name


def test_without_a_look_at_the_picture_a_flip_is_a_wrong_overlay_in_every_frame(
    patient: Patient, own: Received
) -> None:
    outcome = drilled(LIES["picture flipped left to right"], "AP", patient, own, consistency=BLIND)
    assert len(outcome.wrong) == LYING
    assert not outcome.noticed
    assert outcome.frames_to_notice == LYING
    # The targets lie to the side of the middle; flipped they lie as far to the other one.
    isocentre = np.asarray(patient.middle_lps_mm)
    aside_mm = max(abs(path["target_lps_mm"][0] - isocentre[0]) for path in patient.paths)
    assert outcome.error_mm(GeometryState.TRUSTED) == pytest.approx(2.0 * aside_mm, rel=0.02)


@pytest.mark.parametrize(
    ("view", "axis", "seen_mm"), [("AP", "left", 10.0), ("AP", "head", 10.0), ("lateral", "back", 10.0)]
)
def test_the_true_error_is_what_the_patient_moved(
    patient: Patient, own: Received, view: str, axis: str, seen_mm: float
) -> None:
    lie = Lie(name="moved", group="patient", seen=moved(along(axis, 10.0)), lying=2)
    outcome = drilled(lie, view, patient, own, consistency=BLIND)
    assert outcome.error_mm(GeometryState.TRUSTED) == pytest.approx(seen_mm, rel=1e-6)
    assert [frame.told_mm for frame in outcome.shown] == [None, None]  # nothing was measured, so nothing is known


def test_an_old_picture_shown_as_trusted_is_wrong_however_well_it_fits(patient: Patient, own: Received) -> None:
    lie = Lie(name="behind", group="time", delay_s=5.0)  # before the sender's clock can be read
    outcome = drilled(lie, "AP", patient, own, consistency=BLIND)
    assert outcome.error_mm(GeometryState.TRUSTED) == pytest.approx(0.0, abs=1e-9)
    assert len(outcome.wrong) == sum(frame.state is GeometryState.TRUSTED for frame in outcome.shown) > 0
    assert min(frame.age_s for frame in outcome.wrong) == pytest.approx(5.0)


@pytest.mark.parametrize("lie", CONTROLS, ids=lambda lie: lie.name)
def test_honest_streams_are_trusted_in_every_frame(patient: Patient, own: Received, lie: Lie) -> None:
    outcome = drilled(replace(lie, lying=min(lie.lying, 30)), lie.views[-1], patient, own)
    frames = (*outcome.before, *outcome.shown)
    assert {frame.state for frame in frames} == {GeometryState.TRUSTED}, [frame.reason for frame in frames]
    assert all(frame.drawn for frame in frames)
    limit_mm = LIMIT_MM if "breathing" in lie.name else 1e-4  # transforms go as float32
    assert max(frame.error_mm or 0.0 for frame in frames) < limit_mm


@pytest.mark.parametrize("lie", RECOVERIES, ids=lambda lie: lie.name)
def test_a_lie_that_is_over_is_over(patient: Patient, own: Received, lie: Lie) -> None:
    outcome = drilled(lie, "oblique", patient, own)
    assert {frame.state for frame in outcome.shown} == {GeometryState.TRUSTED}, outcome.reason


NOTICED_AT_ONCE = [
    # From the front the procedural pelvis is nearly its own mirror image: see the real one below.
    ("picture flipped left to right", "lateral"),
    ("picture flipped left to right", "oblique"),
    ("picture turned by 180 deg", "AP"),
    ("picture turned by 180 deg", "oblique"),
    ("picture turned by 90 deg", "AP"),
    ("picture transposed", "AP 512 x 384"),
    ("SID 10 % too long", "AP"),
    ("pixel spacing of another zoom", "AP"),
    ("another frame of reference", "AP"),
    ("NaN in the geometry", "AP"),
    ("infinity in the matrix", "AP"),
    ("mirrored matrix", "AP"),
    ("volume turned 5 deg about the isocentre, front-back axis", "AP"),
    ("volume turned 5 deg about the isocentre, head-feet axis", "lateral"),
    ("table moved 10 mm, not told: head", "AP"),
    ("patient moved 3 mm: left", "AP"),
    ("patient moved 3 mm: head", "lateral"),
    ("patient moved 10 mm: left", "AP"),
    ("patient moved 10 mm: askew", "lateral"),
    ("patient turned over onto the back", "oblique"),
    ("frames repeated", "turning"),
    ("frozen picture with the geometry of now", "turning"),
    ("a held picture told live", "AP"),
    ("the other plane's geometry", "AP"),
    ("flipped and turned by 180 deg", "AP"),
    ("flipped, patient moved 10 mm", "AP"),
]


@pytest.mark.parametrize(("name", "view"), NOTICED_AT_ONCE)
def test_a_lie_is_noticed_in_its_first_frame(patient: Patient, own: Received, name: str, view: str) -> None:
    outcome = drilled(replace(LIES[name], lying=4), view, patient, own)
    assert {frame.state for frame in outcome.before} == {GeometryState.TRUSTED}
    assert outcome.noticed
    assert not outcome.wrong, [(frame.state, frame.error_mm, frame.residual_mm) for frame in outcome.shown]
    assert outcome.code
    assert outcome.reason


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("picture flipped left to right", "AP"),
        ("picture flipped top to bottom", "lateral"),
        ("patient turned over onto the back", "AP"),
        ("volume turned 5 deg about the isocentre, front-back axis", "AP"),
        ("patient moved 10 mm: head", "oblique"),
    ],
)
def test_a_lie_about_a_real_patient_is_noticed_in_its_first_frame(name: str, view: str) -> None:
    real = real_patient()
    if real is None:
        pytest.skip("the real pelvis CT is not here (../shared, or `guidance demo` once)")
    outcome = drilled(replace(LIES[name], lying=4), view, real, received(own_cbct(real), RUN))
    assert {frame.state for frame in outcome.before} == {GeometryState.TRUSTED}
    assert not outcome.wrong, [(frame.state, frame.error_mm, frame.residual_mm) for frame in outcome.shown]


def test_a_cbct_of_nobody_on_the_table_carries_no_overlay() -> None:
    real = real_patient()
    if real is None:
        pytest.skip("the real pelvis CT is not here (../shared, or `guidance demo` once)")
    strangers = [lie for lie in cbct_lies(real, RUN, of_real=True) if lie.is_anothers]
    assert sum("another patient" in lie.name for lie in strangers) == 2
    for lie in strangers:
        case = stream_case(Lie(name=lie.name, group="volume", honest=0, lying=4), "AP", real, lie.cbct, RUN)
        outcome = run_case(replace(case, is_anothers=True), PICTURES)
        assert not outcome.wrong, lie.name


@pytest.mark.parametrize(
    "name",
    [
        "clock jumps an hour forwards",
        "clock jumps an hour backwards",
        "clock jumps back in every second frame",
        "no timestamps any more",
        "every second frame late, after its successor",
    ],
)
def test_time_alone_moves_no_path(patient: Patient, own: Received, name: str) -> None:
    outcome = drilled(LIES[name], "turning", patient, own)
    assert not outcome.wrong
    assert all((frame.error_mm or 0.0) < 0.1 for frame in outcome.shown)


def test_the_same_drill_gives_the_same_answer(patient: Patient, own: Received) -> None:
    lie = LIES["breathing of 8 mm"]
    first, second = (drilled(replace(lie, lying=8), "AP", patient, own).shown for _ in range(2))
    assert first == second


@pytest.fixture(scope="module")
def series(patient: Patient) -> dict[str, CbctLie]:
    return {lie.name: lie for lie in cbct_lies(patient, RUN, of_real=False)}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("half a series, its count told", "missing_slices"),
        ("a series with a gap, no count told", "missing_slices"),
        ("a series with another patient's slices", "mixed_patients"),
    ],
)
def test_a_damaged_series_carries_no_overlay(
    series: dict[str, CbctLie], patient: Patient, name: str, code: str
) -> None:
    volume = series[name].cbct.volume
    assert volume.state is VolumeState.REFUSED
    assert code in {finding.code for finding in volume.findings}
    outcome = run_case(
        replace(stream_case(Lie(name=name, group="volume"), "AP", patient, series[name].cbct, RUN), begins=0), PICTURES
    )
    assert not any(frame.drawn for frame in outcome.shown)
    assert {frame.code for frame in outcome.shown} == {"no_active_volume"}


def test_a_whole_half_is_right_where_it_is(series: dict[str, CbctLie], patient: Patient) -> None:
    [lie] = [lie for lie in series.values() if lie.group == "control"]
    assert lie.cbct.volume.state is VolumeState.READY
    outcome = run_case(stream_case(Lie(name=lie.name, group="control"), "AP", patient, lie.cbct, RUN), PICTURES)
    assert outcome.error_mm(GeometryState.TRUSTED) == pytest.approx(0.0, abs=1e-6)


def test_the_bench_tells_all_that_the_drill_found(monkeypatch: pytest.MonkeyPatch, patient: Patient) -> None:
    def few(patient: Patient, *, quick: bool, seed: int, of_real: bool) -> list[DrillCase]:
        chosen = ("nothing", "NaN in the geometry", "frames repeated", "breathing of 1.2 mm", "clock frozen")
        found: dict[str, DrillCase] = {}
        for case in drill_cases(patient, quick=True, seed=seed, of_real=of_real):
            if case.name in chosen and case.name not in found:
                found[case.name] = replace(case, frames=case.begins + 3)
            if len(found) == len(chosen):
                break
        return list(found.values())

    monkeypatch.setattr(bench_faults, "drill_cases", few)
    monkeypatch.setattr(bench_faults, "real_patient", lambda: None)
    monkeypatch.setattr(bench_faults, "procedural_patient", lambda: patient)
    answer = bench_faults.run_faults(quick=True)
    figures, table = answer["figures"], answer["series"]["table"]
    assert (figures["cases"], figures["controls"], len(table)) == (5, 2, 5)
    assert figures["wrong_overlays"] == figures["worst_frames_to_notice"] == 0
    rows = {row["fault"]: row for row in table}
    assert rows["NaN in the geometry"]["shown"] == "3 withheld"
    assert rows["NaN in the geometry"]["code"] == "not_finite"
    assert rows["frames repeated"]["code"] == "held"
    assert rows["nothing"]["noticed"] is False
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    text = bench_faults.table_of(answer)
    assert "| NaN in the geometry | AP | 0 | 0.00 | none shown | 0 | `not_finite` | 3 withheld |" in text
    assert text.count("\n") == 4 + len(table)
    charts = bench_faults.charts_of(answer)
    assert {"faults-frames", "faults-error", "faults-trace-breathing-of-1_2-mm"} == set(charts)
    for text in charts.values():
        assert ET.fromstring(text).tag.endswith("svg")


def test_a_lie_that_is_never_noticed_is_told_as_such(patient: Patient, own: Received) -> None:
    lie = Lie(name="flip", group="picture", faults=always(Fault.MIRRORED_PICTURE), lying=3, honest=HONEST)
    outcome = drilled(lie, "AP", patient, own, consistency=BLIND)
    figures = bench_faults._figures([outcome])
    assert figures["wrong_overlays"] == figures["worst_frames_to_notice"] == 3
    assert figures["cases_never_noticed"] == 1
    row = bench_faults._row(patient, 1, replace(outcome, case=replace(outcome.case, is_anothers=True)))
    assert row["noticed"] is False
    anothers = replace(outcome, shown=tuple(replace(frame, error_mm=math.inf) for frame in outcome.shown))
    assert bench_faults._row(patient, 1, anothers)["error_trusted_mm"] == "another patient's"
