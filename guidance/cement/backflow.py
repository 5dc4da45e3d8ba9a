"""Cement on its way out along a path, and the cannula drawn back along it while cement flows: how near to what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from guidance.cement.approach import Approach, observed
from guidance.messages import CementSeen, SiteInView

_EARLY: Final = 1.645  # one-sided 95 %
# Cement hides a shaft's end, which then goes back as cement comes, by 1 to 2 mm/s; one that is drawn goes faster.
_DRAWN_MM_S: Final = 3.0
_DRAWN_MM: Final = 5.0
_BARE_MM: Final = 3.0  # beyond the cement
_OUT_SOON_S: Final = 1.0  # then it leaves the bone, at its speed
_GOES_ON_S: Final = 0.5  # a drawn cannula whose end is not seen any more, at its speed
_UNSEEN_MM_S: Final = 2.0  # what a column may have grown by in a view that was left
_COLUMN_SIGMA_MM: Final = 1.0  # it is looked for in steps of so much


@dataclass(frozen=True, slots=True, kw_only=True)
class Backflow:
    """One path in one view, over its frames. Distances are to the path's target, and negative on the way out.

    Attributes:
        column: of cement along the path by this view's shadow, as its filter has it; None: not seen.
        shown_s: when the view last showed where it ends.
        cloud: the shadow lies to both sides of the path as well.
        tip: the end of the instrument; None: not seen.
        deepest_mm: where it was deepest, as a distance of the same kind.
        drawn: the instrument has been drawn back since.
        exit_mm: how far from its target the path leaves the bone; None: not known.
    """

    column: Approach | None = None
    shown_s: float = -math.inf
    cloud: bool = False
    tip: Approach | None = None
    deepest_mm: float = -math.inf
    drawn: bool = False
    exit_mm: float | None = None

    def column_left_mm(self, mm: float, time_s: float) -> float | None:
        """How far cement is from a place so far out on the path at least, by this view; None: it does not tell."""
        if self.column is None:
            return None
        return mm + self.column.distance_mm - _UNSEEN_MM_S * max(time_s - self.shown_s, 0.0)

    def tip_left(self, mm: float, time_s: float) -> tuple[float, float | None] | None:
        """How far the drawn tip is from a place so far out on the path, mm, and the seconds until it is there.

        Returns:
            None where nothing is drawn; seconds None where it does not move, is not seen any more, or stays in the bone
            for some time: who places it anew draws it back a little.
        """
        if not self.drawn or self.tip is None:
            return None
        speed, unseen_s = _closing_mm_s(self.tip), time_s - self.tip.at_s
        if speed < _DRAWN_MM_S:
            return mm + self.tip.distance_mm, None
        way_mm = -self.tip.distance_mm + speed * min(unseen_s, _GOES_ON_S)
        goes_out = self.exit_mm is None or self.exit_mm - way_mm <= _OUT_SOON_S * speed
        known = goes_out and unseen_s <= _GOES_ON_S
        return mm - way_mm, (max(mm - way_mm, 0.0) / speed if known else None)


@dataclass(frozen=True, slots=True)
class OnTheWay:
    """How near cement is to a zone along a path.

    Attributes:
        distance_mm: along the path, at least 0.
        seconds: until it is there; None: not known. A column of cement is told in steps of a millimetre, and grows by
            more where steel moves beside it: it has no time.
        drawn: told by the cannula that is drawn back, and not by cement that is seen.
    """

    distance_mm: float
    seconds: float | None
    drawn: bool


def backflows_of(before: Mapping[str, Backflow], seen: CementSeen) -> Mapping[str, Backflow]:
    """Those of one view with its newest frame."""
    after, time_s = dict(before), seen.view.time_s
    for track in seen.tracks:
        known = replace(after.get(track.path_id, Backflow()), exit_mm=track.exit_mm)
        if track.shown_mm is not None and track.shown_mm > 0.0:
            column = observed(known.column, -track.shown_mm, _COLUMN_SIGMA_MM, time_s)
            known = replace(known, column=column, shown_s=time_s, cloud=track.cloud)
        if track.tip_mm is not None:
            tip = observed(known.tip, -track.tip_mm, 0.0, time_s)
            deepest_mm = max(known.deepest_mm, tip.distance_mm)
            away = deepest_mm - tip.distance_mm >= _DRAWN_MM
            # A first drop hides the end as fast; it then lies in the cement that is seen.
            bare = known.column is None or tip.distance_mm <= known.column.distance_mm - _BARE_MM
            drawn = known.drawn or (away and bare and _closing_mm_s(tip) >= _DRAWN_MM_S)
            known = replace(known, tip=tip, deepest_mm=deepest_mm, drawn=drawn)
        after[track.path_id] = known
    return after


def on_the_way(
    sites: Sequence[SiteInView],
    current: Sequence[Mapping[str, Backflow]],
    former: Sequence[Mapping[str, Backflow]],
    *,
    time_s: float,
    flowing: bool,
) -> OnTheWay | None:
    """How near cement is to a zone that a path's way out goes into; None: it is on no path, or not known.

    No more cement is on a path than any view shows. Of a cannula that was drawn back while cement flows, cement
    is as far as its end.

    Args:
        sites: the zone as the views have it.
        current: of each current view.
        former: of the others.
        time_s: now.
        flowing: cement comes, as far as is known.
    """
    path_id, path_mm = next(((one.path_id, one.path_mm) for one in sites if one.path_mm is not None), ("", None))
    if path_mm is None:
        return None
    found = []
    shown = [one[path_id] for one in current if path_id in one and one[path_id].shown_s >= time_s - _GOES_ON_S]
    # Cement does not flow back: what a view showed that was left is there still.
    shown += [one[path_id] for one in former if path_id in one]
    columns = [one.column for one in shown if one.column is not None]
    # One view alone shows a shadow: the cement may lie before or behind the path.
    if len(columns) > 1 and not all(one.cloud for one in shown):
        least = max(columns, key=lambda column: column.distance_mm)
        found.append(OnTheWay(max(path_mm + least.distance_mm, 0.0), None, drawn=False))
    if flowing:
        for one in (*current, *former):
            tip = one[path_id].tip_left(path_mm, time_s) if path_id in one else None
            if tip is not None:
                found.append(OnTheWay(max(tip[0], 0.0), tip[1], drawn=True))
    return min(found, key=lambda one: (one.distance_mm, one.drawn), default=None)


def _closing_mm_s(approach: Approach) -> float:
    """How fast it surely goes outwards; 0 where that is no more than noise."""
    closing = -approach.speed_mm_s
    return closing if approach.count > 1 and closing > _EARLY * math.sqrt(approach.variance_mm2_s2) else 0.0
