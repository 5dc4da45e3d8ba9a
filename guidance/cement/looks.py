"""From where cement is looked at: one input's present view and those it had before, with each zone's filter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from guidance.cement.approach import Approach, Growth, observed
from guidance.cement.backflow import Backflow, backflows_of
from guidance.cement.words import angle_deg, direction_of
from guidance.config import CementSettings
from guidance.messages import CementBody, CementSeen, CementView, SiteInView, Vector3

_NS_PER_S: Final = 1e9
_SAME_VIEW_DEG: Final = 8.0
_FIELD_HIDDEN: Final = 0.3  # of the picture: with more of it hidden, cement may be there
_INTERVALS: Final = 3  # without a frame: a gap
_FORMER_KEPT: Final = 4
_THIN_LASTS_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinRun:
    """Something thin that runs ahead, over frames.

    Attributes:
        frames: in which it was seen.
        last_s: the newest of them, since the start of the run.
        first_px, longest_px: its length when it was first seen, and its greatest.
    """

    frames: int
    last_s: float
    first_px: float
    longest_px: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One direction that cement is or was looked at from.

    Attributes:
        device: of the input.
        direction: unit vector from the source to the detector, patient LPS; None: no geometry.
        seen: the newest frame from there in which cement could be told.
        approaches: by zone id.
        radius: of the cement, were its shadow round; None: no geometry, or no cement yet.
        thin: what thin and fast runs ahead beside all paths; None: nothing does.
        backflows: by path id.
        current: frames come from there now.
    """

    device: str
    direction: Vector3 | None
    seen: CementSeen
    approaches: Mapping[str, Approach]
    radius: Approach | None = None
    thin: ThinRun | None = None
    backflows: Mapping[str, Backflow] = field(default_factory=dict)
    current: bool = True

    @property
    def growth(self) -> Growth | None:
        """How fast the cement grows as a whole; None: not known."""
        return Growth(self.radius.distance_mm, self.radius.speed_mm_s) if self.radius is not None else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputProgress:
    """One input of the run.

    Attributes:
        seen: its newest frame, whether cement could be told in it or not.
        look: from where it looks, with the newest frame in which cement could be told; None: none yet.
        former: where it looked from before, the newest last; without maps.
        interval_ns: time between its frames; 0: not known.
        bad_since_ns: since when no frame could be told; None: the newest could.
        current: frames come.
        fresh: the look's frame is not older than a gap.
    """

    seen: CementSeen
    look: Look | None = None
    former: tuple[Look, ...] = ()
    interval_ns: int = 0
    bad_since_ns: int | None = None
    current: bool = True
    fresh: bool = True


def at_most(body: CementBody, inputs: Iterable[InputProgress]) -> CementBody:
    """The same; where no volume is known (no geometry, display pictures) none, if no picture shows any cement.

    Each picture must show nearly all of its field, and what it shows must not have been there before.
    """
    if body.volume_high_ml is not None or not all(_shows_none(each) for each in inputs):
        return body
    return replace(body, volume_high_ml=0.0)


def _shows_none(each: InputProgress) -> bool:
    view = each.seen.view
    if not each.current or not view.seen or view.growth_only or view.area_px > 0.0:
        return False
    return view.blind is None or float(view.blind.mean()) <= _FIELD_HIDDEN


def in_time(each: InputProgress, now_ns: int, settings: CementSettings) -> InputProgress:
    longest_ns = max(settings.gap_s * _NS_PER_S, _INTERVALS * each.interval_ns)
    current = now_ns - each.seen.view.received_ns <= longest_ns
    fresh = each.look is not None and now_ns - each.look.seen.view.received_ns <= longest_ns
    return each if (current, fresh) == (each.current, each.fresh) else replace(each, current=current, fresh=fresh)


def is_news(known: CementView, view: CementView) -> bool:
    """Whether a frame is newer, or the same one whose geometry has come after it."""
    late = known.pixel_from_patient is None and view.pixel_from_patient is not None and view.seen
    return view.sequence > known.sequence or (late and view.sequence == known.sequence)


def with_seen(known: InputProgress | None, seen: CementSeen, interval_ns: int) -> InputProgress:
    view = seen.view
    if not view.seen:
        since = known.bad_since_ns if known is not None else None
        since = since if since is not None else view.received_ns
        base = known or InputProgress(seen=seen)
        return replace(base, seen=seen, interval_ns=interval_ns, bad_since_ns=since, current=True)
    direction = direction_of(view.pixel_from_patient)
    look, former = (known.look, known.former) if known is not None else (None, ())
    if look is not None and look.seen.view.sequence == view.sequence:
        look = None  # its geometry came after it
    if look is not None and not _same_view(look.direction, direction):
        if look.direction is not None:  # what was seen from nobody knows where tells nothing of where zones lie
            left = replace(look, current=False, seen=_without_maps(look.seen))
            former = (*former, left)[-_FORMER_KEPT:]
        look = None
    again = next((each for each in former if _same_view(each.direction, direction)), None)
    former = tuple(each for each in former if each is not again)
    before = look or again
    approaches = approaches_of(before.approaches if before is not None else {}, seen)
    radius = radius_of(before.radius if before is not None else None, seen)
    return InputProgress(
        seen=seen,
        look=Look(
            device=view.device,
            direction=direction,
            seen=seen,
            approaches=approaches,
            radius=radius,
            thin=_thin_run(before.thin if before is not None else None, seen),
            backflows=backflows_of(before.backflows if before is not None else {}, seen),
        ),
        former=former,
        interval_ns=interval_ns,
    )


def _without_maps(seen: CementSeen) -> CementSeen:
    """Of a view that was left the figures are kept: its maps are tens of MB of a large picture."""
    view = replace(seen.view, mask=None, blind=None, thickness_mm=None, grown=None, arrival_s=None, speed_px_s=None)
    return replace(seen, view=view)


def _thin_run(before: ThinRun | None, seen: CementSeen) -> ThinRun | None:
    """With the newest frame; one that is not seen for half a second has gone."""
    time_s = seen.view.time_s
    longest = max((each.length_px for each in seen.extensions if not each.path_id), default=None)
    lasts = before is not None and time_s - before.last_s <= _THIN_LASTS_S
    if longest is None:
        return before if lasts else None
    if before is None or not lasts:
        return ThinRun(frames=1, last_s=time_s, first_px=longest, longest_px=longest)
    return ThinRun(
        frames=before.frames + 1,
        last_s=time_s,
        first_px=before.first_px,
        longest_px=max(before.longest_px, longest),
    )


def _same_view(one: Vector3 | None, other: Vector3 | None) -> bool:
    if one is None or other is None:
        return one is other
    return angle_deg(one, other) <= _SAME_VIEW_DEG


def only(each: InputProgress, zone_ids: set[str]) -> InputProgress:
    def kept(look: Look) -> Look:
        return replace(
            look, approaches={zone_id: found for zone_id, found in look.approaches.items() if zone_id in zone_ids}
        )

    return replace(
        each,
        look=kept(each.look) if each.look is not None else None,
        former=tuple(kept(look) for look in each.former),
    )


def without_places(each: InputProgress, reason: str) -> InputProgress:
    """The input without anything that is measured to a zone or path; `reason` says why. Its front is what it was."""
    look = each.look
    if look is not None:
        look = replace(look, seen=_unplaced(look.seen, reason), approaches={}, thin=None, backflows={})
    return replace(each, seen=_unplaced(each.seen, reason), look=look, former=())


def _unplaced(seen: CementSeen, reason: str) -> CementSeen:
    sites = tuple(SiteInView(zone_id=site.zone_id, distance_px=None, reason=reason) for site in seen.sites)
    body = CementBody(reason=reason)
    return replace(seen, sites=sites, extensions=(), tracks=(), outside_px=None, body=body)


def approaches_of(before: Mapping[str, Approach], seen: CementSeen) -> Mapping[str, Approach]:
    """The filters of one look with its newest frame; those of zones that the frame says nothing of stay as they are."""
    mm_per_px = seen.view.mm_per_px
    if mm_per_px is None or not math.isfinite(mm_per_px):
        return before
    after = dict(before)
    for site in seen.sites:
        if site.distance_px is None or not math.isfinite(site.distance_px):
            continue
        after[site.zone_id] = observed(
            before.get(site.zone_id), site.distance_px * mm_per_px, site.sigma_px * mm_per_px, seen.view.time_s
        )
    return after


def radius_of(before: Approach | None, seen: CementSeen) -> Approach | None:
    """The radius's filter with the newest frame."""
    mm_per_px, area_px = seen.view.mm_per_px, seen.view.area_px
    if mm_per_px is None or not (math.isfinite(mm_per_px) and math.isfinite(area_px)) or area_px <= 0.0:
        return before
    return observed(before, math.sqrt(area_px / math.pi) * mm_per_px, 0.0, seen.view.time_s)
