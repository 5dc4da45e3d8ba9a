"""What is said of cement in 3D where there is no body to measure: nothing seen, one direction, a balloon."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from guidance.cement.interval import Volume
from guidance.cement.rays import BinnedView
from guidance.cement.touching import all_unknown, nothing_yet
from guidance.cement.zone_fields import ZoneDistances
from guidance.messages import CementBody

NO_VIEW: Final = "no view yet"
_ONE_DIRECTION: Final = "one direction shows no depth: look from another, 25 degrees or more away"
NO_GEOMETRY: Final = "no geometry: cement is followed in the picture only"
NO_THICKNESS: Final = "no thickness: a display-processed or logarithmic picture, or a cement of unknown opacity"
NO_PLACE: Final = "the views contradict each other: nothing lies in both shadows"
_ONE_SHOWS: Final = "cement is seen from one direction only"
_BALLOON: Final = "a balloon is followed, which is not cement"
HIDDEN: Final = "where cement ends is hidden in the newest views, there may be more"
_START_HIDDEN: Final = "where cement comes from is hidden in every view"
CUT_OFF: Final = "cement leaves the picture, there may be more"
_NOT_SEEN_SINCE: Final = "the newest view that counts is {:.1f} s old, cement may have come since"
_OLD_S: Final = 0.4  # cement flows 1 to 5 mm/s at most: what is as old as this is of now
_FASTER: Final = 1.5  # than it was seen to come
_USUAL_ML_S: Final = 0.5  # where it was not seen to come: by hand


def unknown(distances: ZoneDistances, reason: str, *, views: tuple[str, ...] = (), oldest_s: float = 0.0) -> CementBody:
    """Nothing in 3D."""
    return CementBody(views=views, sites=all_unknown(distances, reason), oldest_s=oldest_s, reason=reason)


def without_cement(
    distances: ZoneDistances, views: tuple[str, ...], oldest_s: float, *, hidden_ml: float, hidden: bool
) -> CementBody:
    """No view shows cement.

    Args:
        distances: whose zones are told of.
        views, oldest_s: as of a `CementBody`.
        hidden_ml: what is too thin to be seen.
        hidden: no view sees where cement comes from.
    """
    two = len(views) > 1
    return CementBody(
        views=views,
        volume_ml=0.0 if two and not hidden else None,
        volume_low_ml=0.0,
        volume_high_ml=None if hidden else hidden_ml,
        sites=nothing_yet(distances),
        oldest_s=oldest_s,
        reason=_START_HIDDEN if hidden else "" if two else _ONE_DIRECTION,
    )


def one_view(
    distances: ZoneDistances, view: BinnedView, name: str, volume: Volume | None, *, seen_from: int, oldest_s: float
) -> CementBody:
    """One view shows cement: an interval.

    Args:
        distances: whose zones are told of.
        view, name: which shows it.
        volume: None: display-processed.
        seen_from: how many directions there are; others show none.
        oldest_s: as of a `CementBody`.
    """
    why = _ONE_DIRECTION if seen_from == 1 else _ONE_SHOWS
    sites = all_unknown(distances, why)
    if volume is None:
        return CementBody(views=(name,), sites=sites, oldest_s=oldest_s, reason=NO_THICKNESS)
    limit = CUT_OFF if view.view.out_of_picture else HIDDEN if view.front_hidden else ""
    return CementBody(
        views=(name,),
        volume_low_ml=volume.low_ml,
        volume_high_ml=None if limit else volume.high_ml,
        sites=sites,
        oldest_s=oldest_s,
        reason=f"{why}; {limit}" if limit else why,
    )


def of_balloon(
    distances: ZoneDistances, found: CementBody, balloon_ml: float | None, *, hidden_ml: float, emptying: bool
) -> CementBody:
    """What was found is a balloon's contrast: no cement yet.

    Args:
        distances: whose zones are told of.
        found: as if it were cement.
        balloon_ml: of its outlines; None: one direction, the middle of what its thickness leaves open is taken.
        hidden_ml: cement that is too thin to be seen.
        emptying: what is there may be its rest, or cement already.
    """
    ends = found.volume_low_ml, found.volume_high_ml
    measured = found.reason != NO_THICKNESS  # else what lies in the balloon's shadow may as well be cement
    middle_ml = None if ends[0] is None or ends[1] is None else 0.5 * (ends[0] + ends[1])
    return CementBody(
        views=found.views,
        volume_ml=0.0 if measured and not emptying else None,
        volume_low_ml=0.0 if measured else None,
        volume_high_ml=None if not measured else found.volume_high_ml if emptying else hidden_ml,
        sites=all_unknown(distances, _BALLOON),
        oldest_s=found.oldest_s,
        balloon_ml=middle_ml if balloon_ml is None else balloon_ml,
        reason=_BALLOON,
    )


def aged(body: CementBody, age_s: float, fastest_ml_s: float) -> CementBody:
    """A body while no newer view of it counts: there is as much as was seen, and what may have come since.

    Args:
        body: as it was told.
        age_s: of its newest view.
        fastest_ml_s: that cement was seen to come; 0: it was not.
    """
    if age_s <= _OLD_S or not body.views or body.balloon_ml is not None or body.volume_low_ml is None:
        return body
    since_ml = age_s * _FASTER * (fastest_ml_s or _USUAL_ML_S)
    high_ml = None if body.volume_high_ml is None else body.volume_high_ml + since_ml
    reason = "; ".join(filter(None, (_NOT_SEEN_SINCE.format(age_s), body.reason)))
    return replace(body, volume_ml=None, volume_high_ml=high_ml, oldest_s=max(body.oldest_s, age_s), reason=reason)
