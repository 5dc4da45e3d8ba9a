"""On which lines of a picture steel is looked for: instruments that are seen, and planned paths without one."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.standing_steel import steel_lines
from guidance.messages import PlannedPath
from tests.helpers.cement_bodies import camera, rod_along

PATH = PlannedPath(id="P1", entry_lps_mm=(0.0, 60.0, 0.0), target_lps_mm=(0.0, 10.0, 5.0), diameter_mm=3.0)
LATERAL = camera(90.0, 0.0).pixel_from_patient


def test_a_path_without_an_instrument_is_a_line_that_ends_at_its_target_and_begins_outside_of_its_entry() -> None:
    ((path_id, line),) = steel_lines((), (PATH,), LATERAL)
    planned = rod_along(PATH, LATERAL, diameter_px=1.0).centreline_px
    assert path_id == "P1"
    assert np.allclose(line[2:4], planned[1])
    along = (planned[0] - planned[1]) / np.linalg.norm(planned[0] - planned[1])
    beyond_px = (line[:2] - planned[0]) @ along
    length_mm = float(np.linalg.norm(np.subtract(PATH.entry_lps_mm, PATH.target_lps_mm)))
    px_per_mm = float(np.linalg.norm(planned[0] - planned[1])) / length_mm  # both ends are about as deep
    assert beyond_px == pytest.approx(40.0 * px_per_mm, rel=0.05)
    assert line[4] == pytest.approx(1.5 * px_per_mm, rel=0.1)


def test_an_instrument_that_is_seen_stands_for_its_path() -> None:
    seen = rod_along(PATH, LATERAL, diameter_px=8.0)
    ((path_id, line),) = steel_lines((seen,), (PATH,), LATERAL)
    assert path_id == "P1"
    assert np.allclose(line, [*seen.centreline_px[0], *seen.centreline_px[1], 4.0])


def test_a_bent_one_is_no_line_and_its_path_is_none_either() -> None:
    straight = rod_along(PATH, LATERAL, diameter_px=8.0)
    first, last = straight.centreline_px
    bent = replace(straight, centreline_px=np.array([first, (first + last) / 2.0 + 20.0, last]), bend_px=28.0)
    assert steel_lines((bent,), (PATH,), LATERAL) == []


def test_paths_tell_nothing_without_geometry_without_length_or_behind_the_source() -> None:
    nowhere = replace(PATH, entry_lps_mm=PATH.target_lps_mm)
    assert steel_lines((), (PATH,), None) == []
    assert steel_lines((), (nowhere,), LATERAL) == []
    assert steel_lines((), (PATH,), -LATERAL) == []
