"""Cement outside the bone, where no zone is marked."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.outside import outside_bone_ml
from guidance.cement.space import OpenSpace, Tissue
from guidance.messages import CementBody
from guidance.planning.working_grid import WorkingGrid


def half_bone():
    """Bone below x = 30 mm, soft tissue to 60 mm, nothing known beyond."""
    tissue = np.full((40, 40, 60), Tissue.SOFT, np.uint8)
    tissue[:, :, :30] = Tissue.CANCELLOUS
    return OpenSpace(tissue=tissue, hu_code=np.zeros_like(tissue), grid=WorkingGrid((0.0, 0.0, 0.0), 1.0, tissue.shape))


def body_of(first_mm, last_mm):
    """A bar of 100 mm^2 along x, full."""
    occupancy = np.zeros((40, 40, 90), np.float32)
    occupancy[15:25, 15:25, first_mm:last_mm] = 1.0
    return CementBody(occupancy=occupancy, affine_lps_from_ijk=np.eye(4))


def test_cement_that_leaves_the_bone_is_told():
    space = half_bone()
    assert outside_bone_ml(body_of(10, 30), space) == 0.0
    assert outside_bone_ml(body_of(10, 31), space) == 0.0  # a voxel on the border may be in it
    assert outside_bone_ml(body_of(10, 40), space) == pytest.approx(0.9)
    assert outside_bone_ml(body_of(45, 50), space) == pytest.approx(0.5)


def test_what_is_not_known_is_not_told():
    space, body = half_bone(), body_of(10, 40)
    assert outside_bone_ml(body, None) is None
    assert outside_bone_ml(CementBody(), space) is None
    assert outside_bone_ml(body_of(70, 80), space) == 0.0  # off the CT
    assert outside_bone_ml(replace(body, occupancy=np.zeros((3, 3, 3), np.float32)), space) == 0.0
