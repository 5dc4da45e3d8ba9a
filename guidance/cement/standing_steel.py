"""Where a pose's reference may show straight steel: along the instruments that are seen, and along planned paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.messages import F64, PlannedPath
from guidance.tracking.values import SeenInstrument

_OUTSIDE_MM: Final = 40.0  # before a path's entry: the shaft goes on outside of the bone


def steel_lines(
    seen: Sequence[SeenInstrument], paths: Sequence[PlannedPath], pixel_from_patient: F64 | None
) -> list[tuple[str, F64]]:
    """Lines on which a picture may show a shaft; whether it does, the picture tells.

    Args:
        seen: in the picture; bent ones are left out.
        paths: along which instruments may stand that were not found.
        pixel_from_patient: (3, 4); None: paths tell nothing.

    Returns:
        of each, its path, and (5,) u0, v0, u1, v1, radius in px, from outside to the tip.
    """
    lines = [
        (
            one.path_id,
            np.array([*one.centreline_px[0], *one.centreline_px[-1], 0.5 * one.diameter_px], np.float64),
        )
        for one in seen
        if not one.bent
    ]
    found = {one.path_id for one in seen}
    if pixel_from_patient is None:
        return lines
    for path in paths:
        line = None if path.id in found else _projected(path, pixel_from_patient)
        if line is not None:
            lines.append((path.id, line))
    return lines


def _projected(path: PlannedPath, pixel_from_patient: F64) -> F64 | None:
    entry, target = np.asarray(path.entry_lps_mm, np.float64), np.asarray(path.target_lps_mm, np.float64)
    length = float(np.linalg.norm(target - entry))
    if length <= 0.0:
        return None
    points = np.array([entry - (target - entry) * (_OUTSIDE_MM / length), target])
    u, v, w = pixel_from_patient[:, :3] @ points.T + pixel_from_patient[:, 3:]
    if not (w > 1.0).all():
        return None
    # Pixels per mm across the line of sight, at the middle of the path.
    focal_px = float(np.linalg.norm(np.cross(pixel_from_patient[0, :3], pixel_from_patient[2, :3])))
    size = focal_px / (float(np.linalg.norm(pixel_from_patient[2, :3])) * float(w.mean()))
    return np.array([u[0] / w[0], v[0] / w[0], u[1] / w[1], v[1] / w[1], 0.5 * path.diameter_mm * size], np.float64)
