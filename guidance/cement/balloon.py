"""A balloon full of contrast: followed until it is empty again; it is not cement, and cement will fill what it leaves.

By its shape alone a balloon is never told from a round lump of cement, for to take cement for a balloon would hide a
leak. It is one where the operator says so, or once it has gone away again: cement does not flow back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from guidance.cement.kept_views import SAME_DIRECTION_DEG
from guidance.cement.projection import body_thickness
from guidance.messages import F32, F64, U8, CementView

_FALLEN: Final = 0.7  # of the most that was there: no noise does that
_GONE: Final = 0.15
_FRAMES: Final = 3  # in a row
_GONE_S: Final = 0.7  # a tracker that finds its way back into a view needs less
_LEAST_PX_MM: Final = 400.0  # of thickness summed: a balloon of a millilitre has thousands
_HIDDEN: Final = 0.1  # of the balloon's shadow behind a hand or a blade: what is missing says nothing
_EDGE_MM: Final = 0.5
_HELD: Final = 0.95  # above this it is full, though it may breathe
_COMES: Final = 0.1  # of the most: what comes again after it has fallen is cement
_COMES_S: Final = 0.4


class BalloonState(StrEnum):
    """`NONE`: nothing says that there is one."""

    NONE = "none"
    FILLED = "filled"
    EMPTYING = "emptying"
    GONE = "gone"


@dataclass(frozen=True, slots=True, eq=False)
class Cavity:
    """What a balloon filled at its largest.

    Attributes:
        share: `[k, j, i]` float32 of each voxel.
        first_lps_mm: (3,) of the first voxel's centre.
        spacing_mm: edge of a voxel.
        ml: its volume.
    """

    share: F32
    first_lps_mm: F64
    spacing_mm: float
    ml: float


@dataclass(slots=True, eq=False)
class _Direction:
    """One line of sight: the most that it showed; for how many frames it has shown less, nearly none, more again."""

    axis: F64
    device: str
    most: float
    mask: U8
    now: float
    low_frames: int = 0
    gone_frames: int = 0
    gone_from_s: float = 0.0
    least: float = np.inf
    comes_frames: int = 0
    comes_from_s: float = 0.0


class BalloonFollower:
    """Watches the sum of what is new for its going away; one thread.

    Args:
        told: the operator says that it is a balloon.
    """

    def __init__(self, *, told: bool = False) -> None:
        self.told = told
        self.cavity: Cavity | None = None
        self._directions: list[_Direction] = []
        self._gone = False

    @property
    def state(self) -> BalloonState:
        """What is known; `GONE` stays."""
        if self._gone:
            return BalloonState.GONE
        if not self.told or not self._directions:
            return BalloonState.NONE
        falls = any(one.low_frames >= _FRAMES for one in self._directions)
        return BalloonState.EMPTYING if falls else BalloonState.FILLED

    def follow(self, view: CementView) -> BalloonState:
        """Take a frame in; one that does not see, or not all of the balloon's shadow, changes nothing."""
        if self._gone or not view.seen or view.mask is None:
            return self.state
        amount = view.area_px if view.thickness_sum_mm_px is None else view.thickness_sum_mm_px
        axis = _axis(view)
        known = next((one for one in self._directions if _same(one, axis, view)), None)
        if known is None:
            most = self._shown_elsewhere(view)
            if max(amount, most) >= _LEAST_PX_MM and not view.growth_only:
                self._directions.append(_Direction(axis, view.device, max(amount, most), view.mask.copy(), amount))
            return self.state
        if view.blind is not None and _hidden(known.mask, view.blind) > _HIDDEN:
            return self.state
        known.now = amount
        if amount >= known.most:
            known.most, known.mask = amount, view.mask.copy()
        known.low_frames = known.low_frames + 1 if amount < _FALLEN * known.most else 0
        known.gone_frames = known.gone_frames + 1 if amount < _GONE * known.most else 0
        if known.gone_frames <= 1:
            known.gone_from_s = view.time_s
        self._gone = known.gone_frames >= _FRAMES and view.time_s - known.gone_from_s >= _GONE_S
        self._gone |= self.told and _comes_again(known, amount, view.time_s)
        return self.state

    def _shown_elsewhere(self, view: CementView) -> float:
        """The most that another view of as many pixels showed: a full balloon shows as much from all sides."""
        assert view.mask is not None
        if not self.told or view.thickness_sum_mm_px is None:
            return 0.0
        return max((one.most for one in self._directions if one.mask.shape == view.mask.shape), default=0.0)

    def filled(self, share: F32, first_lps_mm: F64, spacing_mm: float, ml: float) -> None:
        """Remember the largest body; while it empties, smaller ones come and are not looked at."""
        if self.cavity is None or ml > self.cavity.ml * _HELD:
            ml = max(ml, self.cavity.ml if self.cavity is not None else 0.0)
            self.cavity = Cavity(share, first_lps_mm, spacing_mm, ml)

    def expected(self, view: CementView) -> U8 | None:
        """Where cement is expected in a picture like this one: 1 in the cavity's shadow; None without a cavity."""
        if view.mask is None or self.state is BalloonState.NONE:
            return None
        axis = _axis(view)
        for one in self._directions:
            if _same(one, axis, view):
                return one.mask
        if self.cavity is None or view.pixel_from_patient is None:
            return None
        matrix = np.asarray(view.pixel_from_patient, np.float64).reshape(3, 4)
        matrix = matrix / np.linalg.norm(matrix[2, :3])
        rows, columns = view.mask.shape
        cavity = self.cavity
        shadow = body_thickness(cavity.share, cavity.first_lps_mm, cavity.spacing_mm, matrix, rows, columns)
        return (shadow > _EDGE_MM).astype(np.uint8)


def _comes_again(known: _Direction, amount: float, time_s: float) -> bool:
    """Whether more is there than what a balloon that empties has left for some time: a balloon is not filled twice."""
    known.least = min(known.least, amount) if known.low_frames >= _FRAMES else np.inf
    comes = amount > known.least + max(_COMES * known.most, _LEAST_PX_MM)
    known.comes_frames = known.comes_frames + 1 if comes else 0
    if known.comes_frames <= 1:
        known.comes_from_s = time_s
    return known.comes_frames >= _FRAMES and time_s - known.comes_from_s >= _COMES_S


def _axis(view: CementView) -> F64:
    """(3,) of the central ray; zeros without geometry."""
    axis = np.zeros(3) if view.pixel_from_patient is None else np.array(view.pixel_from_patient[8:11])
    length = float(np.linalg.norm(axis))
    return np.asarray(axis / length) if 0.0 < length < np.inf else np.zeros(3)


def _same(one: _Direction, axis: F64, view: CementView) -> bool:
    assert view.mask is not None
    if one.mask.shape != view.mask.shape or one.device != view.device:
        return False
    if not one.axis.any() or not axis.any():
        return not one.axis.any() and not axis.any()
    return bool(one.axis @ axis > np.cos(np.deg2rad(SAME_DIRECTION_DEG)))


def _hidden(mask: U8, blind: U8) -> float:
    there = int(np.count_nonzero(mask))
    return float(np.count_nonzero(mask & (blind > 0))) / there if there else 0.0
