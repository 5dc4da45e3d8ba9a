"""Injection curves and cannulas: what is told at which time."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.cement.injection import CannulaScript, InjectionCurve

CURVE = InjectionCurve(times_s=(0.0, 1.0, 3.0, 6.0, 8.0, 20.0), volumes_ml=(0.0, 0.0, 1.0, 1.0, 2.0, 2.0), dead_ml=0.25)


@pytest.mark.parametrize(
    ("t_s", "display_ml", "tissue_ml", "flow_ml_s"),
    [
        (-1.0, 0.0, 0.0, 0.0),
        (0.5, 0.0, 0.0, 0.0),
        (1.5, 0.25, 0.0, 0.5),
        (2.0, 0.5, 0.25, 0.5),
        (4.0, 1.0, 0.75, 0.0),
        (7.0, 1.5, 1.25, 0.5),
        (30.0, 2.0, 1.75, 0.0),
    ],
)
def test_values_at_times(t_s, display_ml, tissue_ml, flow_ml_s):
    assert CURVE.injector_ml(t_s) == pytest.approx(display_ml)
    assert CURVE.injected_ml(t_s) == pytest.approx(tissue_ml)
    assert CURVE.flow_ml_s(t_s) == pytest.approx(flow_ml_s)


def test_the_time_of_a_volume_is_the_first():
    assert CURVE.times_of(np.array([0.0, 0.25, 0.75, 1.0, 1.75])) == pytest.approx([1.5, 2.0, 3.0, 6.5, 8.0])
    assert CURVE.times_of(np.array([1.76]))[0] == np.inf


def test_a_cannula_goes_back_along_its_axis():
    script = CannulaScript(
        hub_lps_mm=(0.0, 100.0, 0.0), tip_lps_mm=(0.0, 0.0, 0.0), times_s=(5.0, 7.0), back_mm=(0.0, 12.0)
    )
    assert script.axis == pytest.approx([0.0, -1.0, 0.0])
    assert script.tip_at(0.0) == pytest.approx([0.0, 0.0, 0.0])
    assert script.tip_at(6.0) == pytest.approx([0.0, 6.0, 0.0])
    steel = script.cylinder_at(9.0)
    assert steel.end_lps_mm == pytest.approx((0.0, 12.0, 0.0))
    assert steel.start_lps_mm == pytest.approx((0.0, 112.0, 0.0))
    assert 0.0 < steel.bore_mm < steel.diameter_mm
