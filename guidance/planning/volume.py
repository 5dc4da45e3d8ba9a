"""The volume as planning sees it: voxels with their grid, whoever holds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guidance.messages import F64

I16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class PlanningVolume:
    """A CT or CBCT to plan in.

    Attributes:
        voxels_hu: `[k, j, i]` int16, C order, HU; read-only.
        affine_lps_from_ijk: (4, 4) float64, voxel centres at integers; may be sheared (gantry tilt).
        frame_of_reference_uid: "" where the source has none (NIfTI).
        patient_position: `HFS` ... `FFDR`; "" where not known.
    """

    voxels_hu: I16
    affine_lps_from_ijk: F64
    frame_of_reference_uid: str = ""
    patient_position: str = ""
