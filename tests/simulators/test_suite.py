"""The suite's plan: views of paths, the script's order, CBCT and stream that name one frame of reference."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import ConfigError
from guidance.planning.instruments import instrument_library
from simulators.demo_paths import demo_paths
from simulators.gantry import PATIENT_POSITIONS, Gantry
from simulators.suite import SimulatedSuite, SuitePlan, path_views
from simulators.volumes import HuVolume

VOLUME = HuVolume(np.zeros((4, 4, 4), np.int16), np.eye(4), "nothing")


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
@pytest.mark.parametrize(
    ("entry", "target"), [((60, 0, 0), (-60, 0, 0)), ((70, 20, -15), (5, -10, 8)), ((0, 80, 5), (0, -10, 20))]
)
def test_a_bulls_eye_is_a_point_and_a_progression_view_shows_the_whole_length(position, entry, target):
    middle = np.mean([entry, target], axis=0)
    length = np.linalg.norm(np.subtract(entry, target))
    (bulls_eye, progression) = path_views(entry, target, position)
    for (primary, secondary), expected in ((bulls_eye, 0.0), (progression, length)):
        gantry = Gantry(primary_deg=primary, secondary_deg=secondary, isocenter_lps_mm=tuple(middle))
        along = gantry.axes_lps()[2]
        seen = np.subtract(target, entry) - (np.subtract(target, entry) @ along) * along
        assert np.linalg.norm(seen) == pytest.approx(expected, abs=1e-6)


def test_a_prone_patients_progression_view_has_the_detector_above_the_table():
    _, (primary, secondary) = path_views((60, 0, 0), (-60, 0, 0), "HFP")
    assert (abs(primary), secondary) == pytest.approx((180.0, 0.0))
    _, (primary, secondary) = path_views((60, 0, 0), (-60, 0, 0), "HFS")
    assert (primary, secondary) == pytest.approx((0.0, 0.0))


def test_the_script_stands_at_every_view_and_moves_between():
    suite = SimulatedSuite(SuitePlan(volume=VOLUME, paths=demo_paths("other", np.zeros(3))))
    script = suite.script()
    still = [stop for stop in script.stops if stop.frames > 10]
    assert len(still) == 8
    assert len(script.stops) == 8 * 9
    for before, after in zip(script.stops, script.stops[1:], strict=False):
        assert np.linalg.norm(before.gantry.axes_lps()[2] - after.gantry.axes_lps()[2]) < 0.4
    assert script.telling.frame_of_reference_uid == suite.cbct_run.frame_of_reference_uid
    assert suite.cbct_run.isocenter_lps_mm == pytest.approx(suite.center_lps_mm)


@pytest.mark.parametrize("which", ["real", "procedural", "other"])
def test_demo_paths_are_four_bodies_of_post_requests(which):
    paths = demo_paths(which, np.array([1.0, 2.0, 3.0]))
    assert len(paths) == 4
    assert len({path["color"] for path in paths}) == 4
    for path in paths:
        assert set(path) == {
            "label",
            "entry_lps_mm",
            "target_lps_mm",
            "diameter_mm",
            "color",
            "instrument",
        }
        found = instrument_library().find(path["instrument"])
        assert found is not None
        assert found.diameter_mm == path["diameter_mm"]


def test_without_paths_there_is_no_plan():
    with pytest.raises(ConfigError, match="no path"):
        SimulatedSuite(SuitePlan(volume=VOLUME, paths=[]))
