"""Things that several tests of the simulated suite look at."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.kernels.drr import ProjectionVolume
from simulators.scene import Scene
from simulators.volumes import HuVolume


@pytest.fixture(scope="session")
def water_block() -> HuVolume:
    """12 cm of water with a bone in it, 4 mm voxels, the middle at the LPS origin."""
    voxels = np.full((30, 30, 30), -1000, np.int16)
    voxels[3:27, 3:27, 3:27] = 0
    voxels[12:18, 8:12, 14:20] = 1200
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -58.0
    return HuVolume(voxels, affine, "block")


@pytest.fixture(scope="session")
def block_scene(water_block: HuVolume) -> Scene:
    return Scene(ProjectionVolume(water_block.voxels_hu, water_block.affine_lps_from_ijk))
