"""One cement seen by two views a moment apart: what that tells of each pose's scatter, kept for the rest of the run.

A pose's scatter does not change while it is looked at again and again. Where one view is left and another taken, what
the one showed last and the other shows first is the same cement but for what came between, and how fast it came both
have seen. So a view alone, later, is still held to what the other said of it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from guidance.cement.kept_views import SAME_DIRECTION_DEG, KeptView
from guidance.cement.rays import BinnedView
from guidance.cement.weighed import Agreement, curve_of
from guidance.messages import F64

_NOW_NS: Final = 400_000_000  # records as near as this are of one moment
_RATE_NS: Final = 1_500_000_000  # over which a rate is taken
_LEAST_RATE_NS: Final = 400_000_000  # less tells noise
_LONG_RATE_NS: Final = 1_000_000_000  # a first drop is seen late, and then at once
_LONGEST_NS: Final = 12_000_000_000  # in a longer pause anything may have come
_ALIKE_SIGMA: Final = 0.07  # of what two views tell of the same cement, their scatter aside
_RATE_SIGMA: Final = 0.25  # of what came between, relative
_FASTEST: Final = 2.0  # growth, relative and by the second: a first drop's
_LEAST_ML: Final = 0.15  # less is all rim
_MOST_POSES: Final = 4
_MOST_TURNS: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """One view of a pose.

    Attributes:
        ns: when.
        unit_ml: (NODES,) its volume at a depth of 1 mm, by how far its scatter is off.
    """

    ns: int
    unit_ml: F64


@dataclass(slots=True, eq=False)
class _Pose:
    """A direction.

    Attributes:
        direction: (3,) unit vector.
        axis: (4,) that gives a point's depth.
        records: of the stay that goes on, or of the last one: `_RATE_NS` of them.
        began: the first records of that stay.
    """

    direction: F64
    axis: F64
    records: deque[_Record] = field(default_factory=deque)
    began: list[_Record] = field(default_factory=list)

    @property
    def last_ns(self) -> int:
        return self.records[-1].ns if self.records else -1


@dataclass(slots=True, eq=False)
class _Turn:
    """From one pose to another.

    Attributes:
        left, taken: numbers of poses.
        before: the last records of the pose that was left.
        after: the first of the pose that was taken; one where that pose was seen at that very moment.
    """

    left: int
    taken: int
    before: list[_Record]
    after: list[_Record]


class Turns:
    """What was seen from each direction, and what the changes between them tell."""

    def __init__(self) -> None:
        self._poses: list[_Pose] = []
        self._turns: deque[_Turn] = deque(maxlen=_MOST_TURNS)
        self._ended: set[tuple[int, int, int]] = set()
        self._fastest_ml_s = 0.0

    def pose_of(self, kept: KeptView) -> int | None:
        """The number of a view's pose; None: it is none of those kept."""
        least = math.cos(math.radians(SAME_DIRECTION_DEG))
        for number, pose in enumerate(self._poses):
            if abs(float(pose.direction @ kept.direction)) > least:
                return number
        return None

    def see(self, kept: KeptView, bins: BinnedView) -> None:
        """Take a view in; one that was taken before changes nothing.

        Args:
            kept: as it is kept.
            bins: of it.
        """
        if bins.front_hidden or kept.view.out_of_picture:
            return
        number = self.pose_of(kept)
        if number is not None and self._poses[number].last_ns >= kept.view.received_ns:
            return
        curve = curve_of(bins)
        if curve is None:
            return
        if number is None:
            if len(self._poses) == _MOST_POSES:
                return
            number = len(self._poses)
            self._poses.append(_Pose(kept.direction, kept.pixel_from_patient[2].copy()))
        pose, record = self._poses[number], _Record(kept.view.received_ns, bins.volume_ml(1.0) * np.exp(curve))
        if pose.records and record.ns - pose.records[-1].ns > 2 * _NOW_NS:
            pose.records.clear()
        if not pose.records:
            pose.began = []
        pose.records.append(record)
        while record.ns - pose.records[0].ns > _RATE_NS:
            pose.records.popleft()
        if record.ns - (pose.began[0].ns if pose.began else record.ns) <= _RATE_NS:
            pose.began.append(record)
        rate = _rate(list(pose.records))
        if rate is not None and record.ns - pose.records[0].ns >= _LONG_RATE_NS:
            self._fastest_ml_s = max(self._fastest_ml_s, float(rate[len(rate) // 2]) * bins.depth_mm**2)
        self._look_for_turns(number, record.ns)

    @property
    def fastest_ml_s(self) -> float:
        """The fastest that cement was seen to come in this run, over a second or so; 0: it was not seen to come."""
        return self._fastest_ml_s

    def ahead(self, kept: KeptView, now_ns: int) -> float:
        """By how much cement has grown since a view of just now, as fast as its pose saw it grow: 1 or more."""
        number = self.pose_of(kept)
        age_s = (now_ns - kept.view.received_ns) / 1e9
        if number is None or not 0.0 < age_s * 1e9 <= _NOW_NS:
            return 1.0
        records = self._poses[number].records
        rate = _rate(list(records))
        if rate is None:
            return 1.0
        middle = len(rate) // 2
        return 1.0 + age_s * min(max(float(rate[middle] / records[-1].unit_ml[middle]), 0.0), _FASTEST)

    def agreements(self, middle_lps_mm: F64) -> tuple[Agreement, ...]:
        """What the changes of view tell, for cement around a point."""
        depths = [float(pose.axis @ np.append(middle_lps_mm, 1.0)) for pose in self._poses]
        found = [self._agreement(turn, depths) for turn in self._turns]
        return tuple(one for one in found if one is not None)

    def _look_for_turns(self, taken: int, now_ns: int) -> None:
        new = self._poses[taken]
        for left, old in enumerate(self._poses):
            if left == taken or not old.records:
                continue
            end_ns = old.records[-1].ns
            key = (left, taken, end_ns)
            if not _NOW_NS < now_ns - end_ns <= _LONGEST_NS or key in self._ended:
                continue
            self._ended.add(key)
            beside = min(new.records, key=lambda one: abs(one.ns - end_ns))
            # Seen together until then, or one after the other: then what came between is in it.
            after = [beside] if abs(beside.ns - end_ns) <= _NOW_NS else new.began
            self._turns.append(_Turn(left, taken, list(old.records), after))

    def _agreement(self, turn: _Turn, depths: list[float]) -> Agreement | None:
        before, after = turn.before[-1], turn.after[0]
        first = before.unit_ml * depths[turn.left] ** 2
        second = after.unit_ml * depths[turn.taken] ** 2
        middle = len(first) // 2
        if min(first[middle], second[middle]) < _LEAST_ML:
            return None
        sigma = _ALIKE_SIGMA
        gap_s = max(after.ns - before.ns, 0) / 1e9
        if gap_s > _NOW_NS / 1e9:
            rates = [
                rate * depths[pose] ** 2
                for pose, rate in ((turn.left, _rate(turn.before)), (turn.taken, _rate(turn.after)))
                if rate is not None
            ]
            if not rates:
                return None
            # Half of what came between is added to the one and taken off the other, by the rate that each has seen.
            first = first + 0.5 * gap_s * np.maximum(rates[0], 0.0)
            second = np.maximum(second - 0.5 * gap_s * np.maximum(rates[-1], 0.0), 0.2 * second)
            came = gap_s * max(0.5 * float(rates[0][middle] + rates[-1][middle]), 0.0)
            unlike = 0.25 * gap_s * abs(float(rates[0][middle] - rates[-1][middle]))
            sigma = math.hypot(sigma, max(_RATE_SIGMA * came, unlike) / float(min(first[middle], second[middle])))
        return Agreement(turn.left, turn.taken, np.log(first), np.log(second), sigma)


def _rate(records: list[_Record]) -> F64 | None:
    """(NODES,) of a depth of 1 mm, per second; None where the records are too few or too near in time."""
    if len(records) < 3 or records[-1].ns - records[0].ns < _LEAST_RATE_NS:
        return None
    times = np.array([one.ns - records[0].ns for one in records]) / 1e9
    times -= times.mean()
    rate: F64 = times @ np.array([one.unit_ml for one in records]) / float(times @ times)
    return rate
