"""The newest view from each direction, brought to where the patient lay when tracking began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from guidance.messages import F64, CementView

SAME_DIRECTION_DEG: Final = 12.0
"""Views nearer to each other than this are one: the newer replaces the older."""
APART_DEG: Final = 25.0
"""Two views tell depth from here on: a voxel's error along the rays is then 2.4 times that across."""
_SQUARE_DEG: Final = 75.0
_MOST_VIEWS: Final = 4
_HIDDEN: Final = 0.5
_SAME_GANTRY: Final = 5e-4  # of the focal length: 0.03 degrees, a pixel's width


@dataclass(frozen=True, slots=True, eq=False)
class KeptView:
    """A view, and where its rays run in the patient.

    Attributes:
        view: the newest from this direction.
        told: (3, 4) pixel_from_patient as told with the first view of this pose, w in mm.
        reference: (3, 4) of the reference picture's pixels, of that first view's.
        pixel_from_patient: (3, 4) of this view: the patient's motion since that first view is in it.
        direction: (3,) unit vector of the central ray.
    """

    view: CementView
    told: F64
    reference: F64
    pixel_from_patient: F64
    direction: F64

    @property
    def name(self) -> str:
        """Device and line of sight, off the front-back line and up, in degrees: one device may look from several."""
        x, y, z = (abs(float(n)) for n in self.direction)
        return f"{self.view.device} {np.rad2deg(np.arctan2(x, y)):.0f}/{np.rad2deg(np.arcsin(min(z, 1.0))):.0f}"

    def angle_deg(self, other: KeptView) -> float:
        """Between both lines of sight, 0 to 90: from the other side the shadow is the same."""
        return float(np.rad2deg(np.arccos(min(1.0, abs(float(self.direction @ other.direction))))))


class KeptViews:
    """Up to four directions; the newest view is the last."""

    def __init__(self) -> None:
        self._views: list[KeptView] = []

    def __len__(self) -> int:
        return len(self._views)

    @property
    def newest(self) -> KeptView | None:
        return self._views[-1] if self._views else None

    def hidden(self, view: CementView) -> bool:
        """Whether most of the cement that was seen from here before cannot be seen in this view."""
        if view.mask is None or view.blind is None or view.pixel_from_patient is None:
            return False
        axis = np.array(view.pixel_from_patient[8:11])
        length = float(np.linalg.norm(axis))
        if not 0.0 < length < np.inf:
            return False
        nearest = np.cos(np.deg2rad(SAME_DIRECTION_DEG)) * length
        for old in self._views:
            before = old.view.mask
            assert before is not None
            if old.view.device != view.device or before.shape != view.mask.shape:
                continue
            if abs(float(old.direction @ axis)) > nearest:
                # What is still told as cement is no less told for a hand beside it.
                gone = int(np.count_nonzero((before > 0) & (view.blind > 0) & (view.mask == 0)))
                return gone > _HIDDEN * int(np.count_nonzero(before))
        return False

    def add(self, view: CementView) -> bool:
        """Keep a view; False: it has no mask or no geometry and tells nothing in 3D."""
        if not view.seen or view.mask is None or view.pixel_from_patient is None:
            return False
        matrix = np.asarray(view.pixel_from_patient, np.float64).reshape(3, 4)
        length = float(np.linalg.norm(matrix[2, :3]))
        if not np.isfinite(matrix).all() or length < 1e-9 or abs(float(np.linalg.det(matrix[:, :3]))) < 1e-9:
            return False
        matrix = matrix / length
        picture_from_reference = moved(view)
        reference = np.linalg.inv(picture_from_reference) @ matrix
        kept = KeptView(view, matrix, reference, matrix, matrix[2, :3].copy())
        same = [old for old in self._views if old.angle_deg(kept) < SAME_DIRECTION_DEG]
        first = next((old for old in same if _one_pose(old, kept)), None)
        if first is not None:
            now = picture_from_reference @ first.reference
            kept = KeptView(view, first.told, first.reference, now, kept.direction)
        self._views = [old for old in self._views if not any(old is one for one in same)][-(_MOST_VIEWS - 1) :]
        self._views.append(kept)
        return True

    def chosen(self) -> tuple[KeptView, ...]:
        """What a body is made from: the newest view last, before it those that look from elsewhere, older first."""
        newest = self.newest
        if newest is None:
            return ()
        others = [one for one in self._views[:-1] if one.angle_deg(newest) >= APART_DEG]
        return (*others, newest)


def looks_squarely(views: Sequence[KeptView]) -> bool:
    """Whether two of the views look nearly at right angles."""
    return max(one.angle_deg(other) for one, other in combinations(views, 2)) >= _SQUARE_DEG


def moved(view: CementView) -> F64:
    """(3, 3): pixel of the reference to pixel of this frame, as the tracker measured it."""
    du, dv, turn_deg = view.motion
    assert view.mask is not None
    rows, columns = view.mask.shape
    u, v = (columns - 1) / 2.0, (rows - 1) / 2.0
    cosine, sine = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    return np.array(
        [
            [cosine, -sine, u + du - cosine * u + sine * v],
            [sine, cosine, v + dv - sine * u - cosine * v],
            [0.0, 0.0, 1.0],
        ]
    )


def _one_pose(old: KeptView, new: KeptView) -> bool:
    """Whether both frames are of one device and size, so that their motion is against one reference."""
    a, b = old.view, new.view
    assert a.mask is not None
    assert b.mask is not None
    if a.device != b.device or a.mask.shape != b.mask.shape:
        return False
    # A told shift of the table moves the picture against the reference too, and the measured motion has it: the pose
    # is one as long as the gantry's angles and lengths are.
    focal_px = float(np.abs(old.told[:2, :3]).max())
    return bool(np.abs(new.told[:, :3] - old.told[:, :3]).max() <= _SAME_GANTRY * focal_px)
