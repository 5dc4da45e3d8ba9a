"""Trans-sacral and iliosacral corridors in a pelvic ring of boxes, known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.messages import ZoneSide
from guidance.planning.corridor import Level, search_corridor
from tests.helpers.bone_phantoms import Ring

USUAL, DYSMORPHIC = Ring(step_mm=2.0), Ring(step_mm=2.0, ala_top_mm=-3.0)


@pytest.mark.parametrize(("ring", "level", "radius_mm"), [
    pytest.param(USUAL, "s1", 12.0, id="s1"),
    pytest.param(USUAL, "s2", 6.5, id="s2"),
    pytest.param(DYSMORPHIC, "s1", 3.0, id="dysmorphic-s1"),
    pytest.param(Ring(step_mm=2.0, turned_deg=12.0), "s2", 6.5, id="patient-askew"),
])  # fmt: skip
def test_trans_sacral(ring: Ring, level: Level, radius_mm: float) -> None:
    answer = search_corridor(ring.volume(), ring.zones(), level=level, diameter_mm=7.3)
    assert answer.exists == (radius_mm > 3.65)
    assert answer.largest_diameter_mm == pytest.approx(2.0 * radius_mm, abs=1.2)  # of voxels of 2 mm
    assert answer.margin_mm == pytest.approx(answer.largest_diameter_mm / 2.0 - 3.65)
    assert answer.entry_lps_mm is not None
    assert answer.target_lps_mm is not None
    entry, target = np.array(answer.entry_lps_mm), np.array(answer.target_lps_mm)
    ends = np.abs(np.stack([ring.hip(1.0)(entry[None]), ring.hip(-1.0)(target[None])]))
    assert ends.max() < 0.8  # on the outer surfaces of left and right ilium
    assert answer.length_mm == pytest.approx(140.0, abs=9.0)
    assert level.upper() in answer.reason


def test_none_without_zones_for_a_dysmorphic_sacrum_and_the_level_is_not_verified() -> None:
    ring = Ring(step_mm=1.5, gap_mm=4.0, ala_top_mm=-3.0)  # wide enough that CT values part the bones
    answer = search_corridor(ring.volume(), (), level="s1", diameter_mm=7.3)
    assert not answer.exists
    assert answer.largest_diameter_mm is None or answer.largest_diameter_mm < 7.3
    assert [finding.code for finding in answer.findings] == ["level_not_verified"]
    assert "not verified" in answer.reason


def test_a_gap_wider_than_a_joint_is_not_crossed() -> None:
    ring = Ring(step_mm=2.0, gap_mm=10.0)
    answer = search_corridor(ring.volume(), ring.zones(), level="s1", diameter_mm=7.3)
    assert not answer.exists
    assert answer.entry_lps_mm is None


def test_iliosacral_ends_in_the_body_of_s1() -> None:
    answer = search_corridor(USUAL.volume(), USUAL.zones(), level="iliosacral", diameter_mm=7.3, side=ZoneSide.RIGHT)
    assert answer.exists
    assert answer.side is ZoneSide.RIGHT
    assert answer.entry_lps_mm is not None
    assert answer.target_lps_mm is not None
    entry, target = np.array(answer.entry_lps_mm), np.array(answer.target_lps_mm)
    assert entry[0] < -40.0
    assert -2.0 <= target[0] <= 25.0
    # Tip and axis keep to the body: in front of the canal, above the foramina; never out of the sacrum again.
    assert answer.margin_mm is not None
    assert -USUAL.sacrum(target[None])[0] >= answer.margin_mm + 3.65 - 0.8
    assert answer.largest_diameter_mm is not None
    assert answer.largest_diameter_mm > 20.0


def test_what_cannot_be_told_is_said() -> None:
    ring = Ring(step_mm=2.0)
    sacrum_only = [zone for zone in ring.zones() if "hip" not in zone[0].name]
    block = ring.volume()
    voxels = np.full_like(block.voxels_hu, 40)
    voxels[10:30, 10:30, 10:30] = 900
    answer = search_corridor(type(block)(voxels, block.affine_lps_from_ijk), sacrum_only, level="s1", diameter_mm=7.3)
    assert not answer.exists
    assert "cannot be told apart" in answer.reason
