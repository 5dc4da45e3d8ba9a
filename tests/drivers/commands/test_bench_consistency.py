"""The frame check's benchmark: its charts, and that its clean streams are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.commands.bench_consistency import charts_of
from drivers.commands.consistency_scenes import VIEWS, Patient, across, clean_streams
from guidance.consistency import FrameMeasurer
from guidance.geometry.camera import project
from tests.helpers.watched_scene import MIDDLE_LPS_MM, scene, watched


@pytest.fixture(scope="module")
def patient() -> Patient:
    watch = watched()
    return Patient("textured", scene(), watch, np.array(MIDDLE_LPS_MM), FrameMeasurer(watch).pivot_lps_mm)


def test_charts_are_drawn_of_what_is_known_and_of_gaps() -> None:
    answer = {
        "settings": {"warning_mm": 1.0, "limit_mm": 2.0},
        "series": {
            "detection": {"true_mm": [0.0, 3.0], "marked": [0.0, 1.0], "withheld": [0.0, 0.5]},
            "breathing": {
                "seconds": [0.0, 0.1, 0.2],
                "true_mm": [0.0, 0.5, 1.0],
                "raw_mm": [0.1, None, 1.1],
                "smoothed_mm": [0.1, None, 0.3],
            },
        },
    }
    charts = charts_of(answer)
    assert set(charts) == {"consistency-detection", "consistency-breathing"}
    assert all(text.lstrip().startswith("<svg") and "mm" in text for text in charts.values())


@pytest.mark.parametrize("along_deg", [0.0, 90.0, 213.0])
def test_a_motion_across_the_view_is_across_it(patient: Patient, along_deg: float) -> None:
    gantry = patient.gantry(VIEWS[1])
    motion = across(gantry, along_deg, 3.0, patient.pivot_lps_mm)
    told = gantry.pixel_from_patient()
    before = project(patient.pivot_lps_mm[None], told)[0]
    after = project((motion[:3, :3] @ patient.pivot_lps_mm + motion[:3, 3])[None], told)[0]
    per_px = before[2] / (1200.0 / (0.37 * 1024 / 384))
    assert np.hypot(*(after - before)[:2]) * per_px == pytest.approx(3.0, rel=1e-3)
    assert after[2] == pytest.approx(before[2], abs=1e-6)


def test_clean_streams_tell_the_truth_about_every_frame(patient: Patient) -> None:
    names = []
    for name, shots in clean_streams(patient, 2):
        names.append(name)
        assert len(shots) >= 2
        assert all(shot.true_mm == 0.0 and np.isfinite(shot.told).all() for shot in shots)
        if len(names) == 7:
            break
    assert {"still", "needle comes in", "hand comes in", "C-arm turns", "table pans"} <= set(names)
