"""One plan's working memory: what it tells where a volume shows no bone."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.config import PlanningSettings
from guidance.messages import PlannedPath, SphereShape, Zone, ZoneKind, ZoneSite
from guidance.planning.c_arms import c_arm_library
from guidance.planning.instruments import instrument_library
from guidance.planning.model import PlanningModel, ZoneFields
from guidance.planning.volume import PlanningVolume

PATH = PlannedPath(id="P1", entry_lps_mm=(-30, 0, 0), target_lps_mm=(30, 0, 0), diameter_mm=4.0)
VEIN = Zone(
    id="Z1",
    name="vein",
    site=ZoneSite.VEIN,
    kind=ZoneKind.KEEP_OUT,
    shape=SphereShape(center_lps_mm=(10, 15, 0), radius_mm=5),
)
BONE = Zone(
    id="Z2",
    name="sacrum",
    site=ZoneSite.BONE,
    kind=ZoneKind.TARGET,
    shape=SphereShape(center_lps_mm=(0, 0, 0), radius_mm=20),
)


def model_of(fill_hu: int) -> PlanningModel:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -63.0
    volume = PlanningVolume(voxels_hu=np.full((64, 64, 64), fill_hu, np.int16), affine_lps_from_ijk=affine)
    return PlanningModel(
        volume,
        ZoneFields(lambda mask_id: pytest.fail(f"no mask {mask_id}")),
        library=instrument_library(),
        c_arm=c_arm_library().models[0],
        settings=PlanningSettings(),
    )


@pytest.mark.parametrize("fill_hu", [0, 40, -1000])
def test_distances_to_zones_are_told_where_the_volume_shows_no_bone(fill_hu: int) -> None:
    model = model_of(fill_hu)
    assert not model.bone_is_worked_out([VEIN])
    bone = model.bone([VEIN])
    assert bone is None
    assert model.bone_is_worked_out([VEIN])
    told = model.clearance(PATH, [VEIN], [], bone=bone)
    assert told.zones[0].min_distance_mm == pytest.approx(15 - 5 - 2, abs=1e-3)
    assert told.margin_mm is None  # room in bone is not known
    assert (told.bone_margin_mm, told.skin_to_bone_mm) == (None, None)
    assert "bone_unknown" in {finding.code for finding in told.findings}


def test_a_bone_zone_drawn_later_is_bone() -> None:
    model = model_of(40)
    assert model.bone([VEIN]) is None
    assert not model.bone_is_worked_out([VEIN, BONE])
    assert model.bone([VEIN, BONE]) is not None
