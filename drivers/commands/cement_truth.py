"""What a simulated case truly shows: fronts in its pictures, shadows of its zones, when what was reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from drivers.commands.cement_scoring import Bool, ZoneTruth, crossings_px
from guidance.messages import F32, F64, SphereShape, Zone, ZoneKind
from guidance.planning.surface import ZoneSurface
from simulators.cement.grown import GrownCement, Leak

_CELL_PX: Final = 4  # shadows are compared on cells of so many pixels, about 1 mm at the isocentre


class Shadows:
    """The zones' true shadows in one view, drawn as filled triangles; nothing of the server's own silhouettes.

    Args:
        surfaces: of the zones, triangles outwards or not.
        matrix: (3, 4) pixel from patient.
        size: (rows, columns).
    """

    def __init__(self, surfaces: Sequence[tuple[Zone, ZoneSurface]], matrix: F64, size: tuple[int, int]) -> None:
        self._masks = {zone.id: _shadow(surface, matrix, size) for zone, surface in surfaces}

    def overlapping(self, true_mask: Bool) -> list[str]:
        """Zones whose shadow has at least a cell in common with that of the cement."""
        cells = _cells(true_mask.astype(np.uint8))
        return [zone_id for zone_id, mask in self._masks.items() if bool(np.any(mask & cells))]


def true_front_px(thickness_mm: F32, threshold_mm: float, open_field: Bool) -> F64:
    """(N, 2) of the true front, of what lies in the open field."""
    points = crossings_px(thickness_mm, threshold_mm)
    if len(points) == 0:
        return points
    u, v = np.rint(points).astype(np.intp).T
    shown: F64 = points[open_field[v, u]]
    return shown


def open_field(size: tuple[int, int], box: tuple[int, int, int, int] | None, margin_px: int = 3) -> Bool:
    """(rows, columns): what the blades let through, their soft edge aside."""
    field = np.zeros(size, np.bool_)
    left, top, right, bottom = box if box is not None else (0, 0, size[1] - 1, size[0] - 1)
    if box is None:
        margin_px = 0
    field[top + margin_px : bottom + 1 - margin_px, left + margin_px : right + 1 - margin_px] = True
    return field


def zone_truths(grown: GrownCement, until_s: float, overlaps_s: dict[str, float]) -> tuple[ZoneTruth, ...]:
    """What became of each keep-out zone by the end of what was shown."""
    found = []
    for zone in grown.zones:
        if zone.kind.value != "keep_out":
            continue
        truth = grown.zone_truth[zone.id]
        contact_s = float(truth.contact_s)
        found.append(
            ZoneTruth(
                zone_id=zone.id,
                site=zone.site,
                first_contact_s=contact_s if contact_s <= until_s else None,
                nearest_mm=max(0.0, grown.zone_distance_mm(zone.id, until_s)),
                overlaps_s=overlaps_s.get(zone.id),
            )
        )
    return tuple(found)


def outside_targets_ml(share: F32, affine_lps_from_ijk: F64, zones: Sequence[Zone]) -> float:
    """Cement outside of every planned region, which in these cases is a ball; 0 where none is marked.

    Args:
        share: (K, J, I) of each voxel that is cement.
        affine_lps_from_ijk: (4, 4).
        zones: all of the case.
    """
    balls = [zone.shape for zone in zones if zone.kind is ZoneKind.TARGET and isinstance(zone.shape, SphereShape)]
    if not balls:
        return 0.0
    kji = np.nonzero(share)
    points = np.stack(kji[::-1], axis=1) @ affine_lps_from_ijk[:3, :3].T + affine_lps_from_ijk[:3, 3]
    inside = np.zeros(len(points), np.bool_)
    for ball in balls:
        inside |= np.linalg.norm(points - np.asarray(ball.center_lps_mm), axis=1) <= ball.radius_mm
    voxel_ml = float(abs(np.linalg.det(affine_lps_from_ijk[:3, :3]))) / 1000.0
    return float(share[kji][~inside].sum(dtype=np.float64)) * voxel_ml


def leaked_kinds(leaks: Sequence[Leak], until_s: float) -> frozenset[str]:
    """Kinds of leaks that began; what comes to the skin has come back along the cannula's way."""
    kinds: set[str] = {leak.kind for leak in leaks if leak.onset_s <= until_s}
    return frozenset(kinds | ({"needle_track"} if "skin" in kinds else set()))


def first_time_s(times_s: Sequence[float], amounts: Sequence[float], least: float) -> float | None:
    """The first time at which so much is reached; None: never."""
    return next((time for time, amount in zip(times_s, amounts, strict=True) if amount >= least), None)


def frames_between(start_s: float, end_s: float | None, frame_times_s: Sequence[float]) -> float:
    """How many frames after the first one at or after `start_s` something came; 0: by then. Infinite: never."""
    if end_s is None:
        return math.inf
    first = next((n for n, time in enumerate(frame_times_s) if time >= start_s), len(frame_times_s))
    then = next((n for n, time in enumerate(frame_times_s) if time >= end_s), len(frame_times_s))
    return float(max(0, then - first))


def _shadow(surface: ZoneSurface, matrix: F64, size: tuple[int, int]) -> Bool:
    seen = surface.vertices_lps_mm.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3]
    picture = np.zeros((-(-size[0] // _CELL_PX), -(-size[1] // _CELL_PX)), np.uint8)
    if bool((seen[:, 2] <= 0.0).any()):
        return picture.astype(np.bool_)
    corners = (seen[:, :2] / seen[:, 2:] + 0.5) / _CELL_PX - 0.5
    placed = np.clip(np.rint(corners * 16.0), -(2**20), 2**20).astype(np.int32)
    for triangle in surface.triangles:
        cv2.fillConvexPoly(picture, placed[triangle].reshape(1, 3, 2), (1,), lineType=cv2.LINE_8, shift=4)
    return picture.astype(np.bool_)


def _cells(mask: npt.NDArray[np.uint8]) -> Bool:
    rows, columns = (-(-n // _CELL_PX) * _CELL_PX for n in mask.shape)
    padded = np.zeros((rows, columns), np.uint8)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    blocks = padded.reshape(rows // _CELL_PX, _CELL_PX, columns // _CELL_PX, _CELL_PX)
    found: Bool = blocks.mean(axis=(1, 3)) >= 0.5
    return found
