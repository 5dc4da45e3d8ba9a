"""Cement outside the bone of the CT, with or without a zone there: soft tissue, joints, vessels."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.cement.space import OpenSpace, Tissue
from guidance.messages import CementBody

_HAZE: Final = 0.05  # of a voxel: less is blur of the estimate
# What lies within a voxel of bone may be in it: the CT's border, the registration and the estimate are no sharper.
_NEIGHBOURS: Final = np.concatenate((np.zeros((1, 3)), np.eye(3), -np.eye(3)))


def outside_bone_ml(body: CementBody, space: OpenSpace | None) -> float | None:
    """Cement more than a voxel outside all bone; None: no 3D estimate, no CT, or what is off the CT's grid.

    Args:
        body: the 3D estimate; instruments' lumens are not in it.
        space: of the active volume; a joint's gap, soft tissue and vessels are no bone.
    """
    occupancy, affine = body.occupancy, body.affine_lps_from_ijk
    if occupancy is None or affine is None or space is None:
        return None
    k, j, i = np.nonzero(occupancy > _HAZE)
    points = np.stack((i, j, k), axis=1) @ affine[:3, :3].T + affine[:3, 3]
    soft = np.flatnonzero((space.at(points) == Tissue.SOFT) | (space.at(points) == Tissue.AIR))
    around = points[soft, None] + space.grid.spacing_mm * _NEIGHBOURS
    tissue = space.at(around.reshape(-1, 3)).reshape(len(soft), len(_NEIGHBOURS))
    free = soft[((tissue == Tissue.SOFT) | (tissue == Tissue.AIR)).all(axis=1)]
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0
    return float(occupancy[k[free], j[free], i[free]].sum(dtype=np.float64)) * voxel_ml
