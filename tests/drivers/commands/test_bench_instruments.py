"""The instruments' benchmark: one case from volume to figures, and its charts from an answer."""

import numpy as np
import pytest

from drivers.commands.bench_instruments import charts_of
from drivers.commands.instrument_scene import KINDS, Patient, gantry_at, random_instrument
from guidance.messages import PlannedPath
from guidance.tracking.find import find_instruments
from simulators.scene import Exposure
from simulators.volumes import HuVolume

PLAN = PlannedPath(id="P1", entry_lps_mm=(40.0, 10.0, 0.0), target_lps_mm=(-20.0, 0.0, 5.0), diameter_mm=2.8)


@pytest.fixture(scope="module")
def patient():
    voxels = np.full((30, 24, 40), -1000, np.int16)
    voxels[2:28, 2:22, 2:38] = 40
    voxels[10:20, 8:16, 10:30] = 300
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = (-117.0, -69.0, -87.0)
    return Patient("block", HuVolume(voxels, affine, "block"), [PLAN])


def test_an_instrument_costs_only_its_box_and_is_where_it_is_put(patient):
    gantry = gantry_at(180.0, 25.0, np.zeros(3), 512)
    placed = random_instrument(PLAN, KINDS[3], 0.0, np.random.default_rng(4))
    empty = patient.picture(gantry, [], Exposure(), 1)
    shown = patient.picture(gantry, [placed], Exposure(), 1)
    assert empty.shape == shown.shape == (512, 512)
    assert np.median(shown) < np.median(empty) * 1.2
    matrix = gantry.pixel_from_patient()
    (seen,) = find_instruments(shown, matrix, [PLAN])
    tip = matrix[:, :3] @ placed.tip_lps_mm + matrix[:, 3]
    assert np.linalg.norm(np.array(seen.tip_px) - tip[:2] / tip[2]) < 2.0
    assert find_instruments(empty, matrix, [PLAN]) == ()


def test_a_bent_one_ends_at_its_tip_along_its_axis():
    placed = random_instrument(PLAN, KINDS[0], 4.0, np.random.default_rng(5))
    pieces = placed.cylinders()
    assert len(pieces) > 8
    assert pieces[0].end_lps_mm == pytest.approx(placed.tip_lps_mm)
    last = pieces[0].axis_mm() / np.linalg.norm(pieces[0].axis_mm())
    assert np.degrees(np.arccos(min(1.0, last @ placed.axis))) < 0.3
    middle = np.array(pieces[len(pieces) // 2 - 1].start_lps_mm)
    chord = 0.5 * (np.array(placed.tip_lps_mm) + np.array(pieces[-1].start_lps_mm))
    assert np.linalg.norm(middle - chord) == pytest.approx(4.0 * 1.0, rel=0.05)


def test_charts_of_an_answer_and_of_nothing():
    group = {"group": "K-wire", "tip_median_mm": 0.05, "tip_p95_mm": None}
    case = {"patient": "block", "tip_mm": 0.1, "axis_deg": None}
    for cases, groups in (([case], [group]), ([], [])):
        series = {"cases": cases, "by_kind": groups, "by_dose": groups, "by_bend": groups}
        charts = charts_of({"settings": {"patients": ["block"]}, "series": series})
        assert {"instruments-tip", "instruments-axis"} <= set(charts)
        assert all(svg.startswith("<svg") for svg in charts.values())
