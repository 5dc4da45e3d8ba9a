"""The calibration bench's parts: truth over seeds holds together, OpenCV is given the same beads, charts are SVG."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from drivers.commands.bench_calibration import charts_of, opencv_camera
from drivers.commands.calibration_cases import CUBE_MM, measured_without_picture, nine_between
from guidance.calibration.phantom import built_in_phantom
from guidance.calibration.report import perturbed
from guidance.geometry.camera import project
from simulators.bead_phantom import placed
from simulators.flexing_gantry import FlexingGantry


def test_nine_between_is_what_perturbed_did():
    matrix = FlexingGantry().pixel_from_equipment(20.0, 10.0)
    nine = np.array((0.3, -0.2, 0.1, 0.05, -0.03, 0.02, 2.0, -1.0, 0.001))
    np.testing.assert_allclose(nine_between(perturbed(matrix, nine), matrix), nine, atol=1e-6)


def test_opencv_sees_the_same_view():
    phantom, gantry = built_in_phantom(), FlexingGantry()
    laid = placed(phantom)
    rng = np.random.default_rng(0)
    (view,) = measured_without_picture(phantom, gantry, laid, [(20.0, 10.0)], noise_px=0.013, rng=rng)
    rms, matrix = opencv_camera(view, phantom)
    assert rms < 0.2
    in_phantom = (CUBE_MM - laid.equipment_from_phantom[:3, 3]) @ laid.equipment_from_phantom[:3, :3]
    truth = project(CUBE_MM, gantry.pixel_from_equipment(20.0, 10.0))
    assert np.abs(project(in_phantom, matrix) - truth)[:, :2].max() < 0.3


@pytest.mark.parametrize("values", [[], [0.02, 0.4, 1.9]])
def test_charts_are_svg(values):
    series = {f"held_out_{method}_mm": values for method in ("classic_xa", "nearest_view", "interpolated")}
    told = [0.0, 0.5, 0.95, 1.0]
    series |= {"told_probability": told, "found_of_views": told, "found_between_views": told}
    series["isocenter_off_middle"] = {"-12": {"primary_deg": [-10.0, 10.0], "off_mm": [1.0, 2.0]}}
    charts = charts_of({"series": series})
    assert set(charts) == {"calibration-held-out", "calibration-covariance", "calibration-classic-xa"}
    for text in charts.values():
        assert ElementTree.fromstring(text).tag.endswith("svg")
