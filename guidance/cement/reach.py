"""What one view cannot tell of depth, judged by what it shows: cement goes about as far along the rays as across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from guidance.cement.zone_fields import zone_fields
from guidance.messages import CementView, PlannedPath
from guidance.overlay.zones import ZonesOnPicture

_FARTHEST: Final = 0.97  # of the cement, from where it comes out
_IN_DEPTH: Final = 1.3  # times as far as across: a leak runs ahead of the rest
_AT_TARGET_MM: Final = 5.0  # from the mask: cement that comes out elsewhere is another path's


class Reach:
    """How near cement may be to zones where one view's shadows overlap.

    Args:
        zones: all of the case.
        paths: planned; cement comes out at a target.
    """

    def __init__(self, zones: ZonesOnPicture, paths: Sequence[PlannedPath]) -> None:
        self._targets = np.array([path.target_lps_mm for path in paths], np.float64).reshape(-1, 3)
        fields = [one for one in zone_fields(zones) if one.field is not None] if len(self._targets) else []
        self._away_mm = {one.zone.id: one.field.distance_mm(self._targets) for one in fields if one.field is not None}

    def left_mm(self, view: CementView) -> Mapping[str, float]:
        """By zone id: its distance from where cement comes out, less how far that may have gone by now.

        Nothing without geometry, and where no path's target lies in the cement.
        """
        mask, matrix, mm_per_px = view.mask, view.pixel_from_patient, view.mm_per_px
        if mask is None or matrix is None or mm_per_px is None or not self._away_mm:
            return {}
        pixel_from_patient = np.array(matrix, np.float64).reshape(3, 4)
        seen = self._targets @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
        rows, columns = np.nonzero(mask[::2, ::2])
        if len(rows) == 0 or not bool((seen[:, 2] > 1.0).all()):
            return {}
        places = seen[:, :2] / seen[:, 2:]
        apart_mm = np.hypot(2 * columns[None] - places[:, :1], 2 * rows[None] - places[:, 1:]) * mm_per_px
        nearest = int(np.argmin(apart_mm.min(axis=1)))
        if apart_mm[nearest].min() > _AT_TARGET_MM:
            return {}
        across_mm = float(np.quantile(apart_mm[nearest], _FARTHEST))
        reach_mm = max(_IN_DEPTH * across_mm, _thickest_mm(view) - across_mm)
        return {zone_id: float(away[nearest]) - reach_mm for zone_id, away in self._away_mm.items()}


def _thickest_mm(view: CementView) -> float:
    """How thick the cement is along the rays where it is thickest; 0 where that is not known.

    What is thicker than twice as far as it reaches across has gone along the rays, to one side if the worst is true.
    """
    mask, thickness = view.mask, view.thickness_mm
    if mask is None or thickness is None:
        return 0.0
    told = thickness[::2, ::2][mask[::2, ::2] != 0]
    told = told[np.isfinite(told)]
    return float(np.quantile(told, _FARTHEST)) if len(told) else 0.0
