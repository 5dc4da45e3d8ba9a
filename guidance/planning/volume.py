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


class HuProbe:
    """Looks up single voxels of a volume that may be taken away: errors and callers hold the probe, not the voxels.

    Args:
        volume: looked into until `close`.
    """

    def __init__(self, volume: PlanningVolume) -> None:
        self._voxels_hu: I16 | None = volume.voxels_hu
        self._ijk_from_lps: F64 = np.asarray(np.linalg.inv(volume.affine_lps_from_ijk), np.float64)
        self.affine_lps_from_ijk = volume.affine_lps_from_ijk
        self.shape_kji: tuple[int, ...] = volume.voxels_hu.shape

    def ijk_of(self, points_lps_mm: F64) -> F64:
        """(N, 3) voxel indices, not rounded, of (N, 3) points."""
        indices: F64 = points_lps_mm @ self._ijk_from_lps[:3, :3].T + self._ijk_from_lps[:3, 3]
        return indices

    def hu_at(self, points_lps_mm: F64) -> F64:
        """(N,) HU of the nearest voxels; NaN outside the volume and after `close`."""
        index = np.rint(self.ijk_of(points_lps_mm)).astype(np.int64)
        values = np.full(len(index), np.nan)
        if self._voxels_hu is not None:
            inside = ((index >= 0) & (index < np.array(self.shape_kji[::-1]))).all(axis=1)
            i, j, k = index[inside].T
            values[inside] = self._voxels_hu[k, j, i]
        return values

    def close(self) -> None:
        """Let the voxels go."""
        self._voxels_hu = None
