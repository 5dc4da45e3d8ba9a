"""The demonstration's zones are what the server takes, and lie where the pelvis has its foramina."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.case import Case, create_zone
from simulators.demo_paths import Which
from simulators.demo_zones import demo_zones
from simulators.pelvis import ProceduralPelvis


@pytest.mark.parametrize(("which", "count"), [("real", 5), ("procedural", 5), ("other", 0)])
def test_every_body_makes_a_zone(which: Which, count: int) -> None:
    case = Case()
    for body in demo_zones(which):
        case, _ = create_zone(case, body)
    assert len(case.zones) == count
    assert sorted({zone.site.value for zone in case.zones}) == (["canal", "foramen"] if count else [])
    sides = [(zone.side, np.mean([point[0] for point in zone.shape.points_lps_mm])) for zone in case.zones]
    assert all(x > 5.0 for side, x in sides if side == "left")
    assert all(x < -5.0 for side, x in sides if side == "right")


def test_procedural_zones_hold_the_tunnels() -> None:
    pelvis = ProceduralPelvis()
    for body in demo_zones("procedural"):
        tube = pelvis.canal if body["site"] == "canal" else pelvis.foramina[body["name"]]
        np.testing.assert_allclose(body["shape"]["points_lps_mm"], tube.points_lps_mm, atol=0.01)
        assert body["shape"]["radius_mm"] == pytest.approx(max(tube.radii_mm), abs=0.01)
