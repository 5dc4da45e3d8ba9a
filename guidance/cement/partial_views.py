"""Views that show but a part of the cement: older ones, those with the front hidden, those without a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.cement.kept_views import KeptView
from guidance.cement.rays import BinnedView, focal_px
from guidance.kernels.cement_body import BodyFit
from guidance.messages import PlannedPath

_START_MM: Final = 5.0  # around a path's target
_HIDDEN: Final = 0.5
_LEAST_MM: Final = 1.0
_MOST_MM: Final = 15.0
_GROWTH: Final = 2.0  # leaks run ahead of the middle front
_PLACED: Final = 0.75  # of a view's cement that the others must leave room for


def start_hidden(kept: KeptView, paths: Sequence[PlannedPath]) -> bool:
    """Whether a view without cement could not see where cement comes from: most of its picture, or of what lies
    around a path's target, is blind."""
    blind, matrix = kept.view.blind, kept.pixel_from_patient
    if blind is None:
        return False
    rows, columns = blind.shape
    for path in paths:
        u, v, w = matrix[:, :3] @ np.asarray(path.target_lps_mm) + matrix[:, 3]
        if not w > 1.0:
            continue
        reach = _START_MM * focal_px(matrix) / w
        left, right = (int(np.clip(u / w + side, 0, columns)) for side in (-reach, reach))
        top, bottom = (int(np.clip(v / w + side, 0, rows)) for side in (-reach, reach))
        around = blind[top:bottom, left:right]
        if around.size == 0 or np.count_nonzero(around) > _HIDDEN * around.size:
            return True
    return bool(np.count_nonzero(blind) > _HIDDEN * blind.size)


def front_ahead_mm(views: Sequence[BinnedView], partly: Sequence[bool]) -> list[float | None]:
    """How far beyond what a view shows the front may be, by how much more another shows; None: it is as shown.

    Args:
        views: with cement.
        partly: which of them show but a part.
    """
    alone = [bins.volume_ml(bins.depth_mm) for bins in views]
    most = max(alone)
    radius = (3000.0 * most / (4.0 * np.pi)) ** (1.0 / 3.0)
    found: list[float | None] = []
    for bins, own, part in zip(views, alone, partly, strict=True):
        if not part:
            found.append(None)
        elif own <= 0.0 or bins.front_hidden:
            found.append(_MOST_MM)
        else:
            ahead = _LEAST_MM + _GROWTH * radius * (1.0 - (own / most) ** (1.0 / 3.0))
            found.append(float(np.clip(ahead, _LEAST_MM, _MOST_MM)))
    return found


def incomplete_views(fit: BodyFit, views: Sequence[BinnedView], partly: Sequence[bool]) -> list[bool] | None:
    """Which views show but a part, where one shows much that finds no place in the others' shadows; else None.

    Args:
        fit: to the views.
        partly: which of them were taken for parts.
    """
    alone = [bins.volume_ml(bins.depth_mm) for bins in views]
    placed = [float(mm3) / 1000.0 / ml if ml > 0.0 else 1.0 for mm3, ml in zip(fit.volumes_mm3, alone, strict=True)]
    worst = int(np.argmin(placed))
    if placed[worst] >= _PLACED:
        return None
    found = [n != worst for n in range(len(views))]
    return None if found == list(partly) else found
