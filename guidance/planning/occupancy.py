"""How much of each voxel belongs to a zone; distances and surfaces are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guidance.messages import F64, U8

SURFACE_LEVEL: Final = 127.5  # of 255: the surface lies where half of a voxel belongs to the zone


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """A zone as voxels.

    Attributes:
        values: `[k, j, i]` uint8, C order, 0 (outside) to 255 (inside); binary segmentations hold only these two.
            Outside the array is 0, so a crop with an empty rim of one voxel loses nothing.
        affine_lps_from_ijk: (4, 4) float64, voxel centres at integers; may be sheared (gantry tilt).
    """

    values: U8
    affine_lps_from_ijk: F64
