"""The cement as the session knows it: state, figures, sites, conditions; pure, one value per moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from guidance.cement import injector as injector_readings
from guidance.cement.approach import Approach
from guidance.cement.conditions import (
    balloon_conditions,
    injector_conditions,
    is_missing,
    is_outside_bone,
    site_conditions,
    state_conditions,
    view_conditions,
    work_conditions,
)
from guidance.cement.grades import Held
from guidance.cement.injector import InjectorTrack
from guidance.cement.looks import InputProgress, Look, at_most, in_time, is_news, only, with_seen, without_places
from guidance.cement.run_state import at_least, state_of
from guidance.cement.sites import approaches_in_space, site_state, unknown_site
from guidance.config import CementSettings
from guidance.messages import (
    AlertCondition,
    CementBody,
    CementRun,
    CementSeen,
    CementState,
    InjectorReading,
    SiteState,
    Zone,
    ZoneKind,
)

_NS_PER_S: Final = 1e9
_PAIR_FRAMES: Final = 2
_OUTSIDE_NS: Final = 200_000_000  # for two estimates in 3D
_BAD_FRAMES: Final = 5  # a new view needs as many before cement can be told in it
_NO_BODY: Final = CementBody()
REGISTERED: Final = "the registration has changed: the next frame tells it"
_NO_READINGS: Final = InjectorTrack()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementProgress:
    """Everything that is known of the cement now.

    Attributes:
        run: that is followed; None: none is.
        state, reason: of all inputs together; words where it is not plainly tracking.
        zones: every zone of the case.
        inputs: by device.
        body: the newest.
        sites: one for each zone, in the zones' order.
        conditions: what is true now and must be known, most urgent first not promised.
        injector: its readings.
        work_ends_ns: when the cement's working time ends, server's monotonic clock; None: not known.
        balloon_ml: the most contrast that was in a balloon; 0 without one.
        missing_since_ns: since when far less cement is seen than was injected; None: it is not.
        outside_since_ns: since when cement is outside the bone; None: none is.
        held, in_space: what `sites` keeps from frame to frame.
    """

    run: CementRun | None = None
    state: CementState = CementState.IDLE
    reason: str = ""
    zones: tuple[Zone, ...] = ()
    inputs: Mapping[str, InputProgress] = field(default_factory=dict)
    body: CementBody = _NO_BODY
    sites: tuple[SiteState, ...] = ()
    conditions: tuple[AlertCondition, ...] = ()
    injector: InjectorTrack = _NO_READINGS
    work_ends_ns: int | None = None
    balloon_ml: float = 0.0
    missing_since_ns: int | None = None
    outside_since_ns: int | None = None
    held: Mapping[str, Held] = field(default_factory=dict)
    in_space: Mapping[str, Approach] = field(default_factory=dict)

    @property
    def seen(self) -> Mapping[str, CementSeen]:
        """By device, the newest frame."""
        return {device: each.seen for device, each in self.inputs.items()}

    @property
    def newest(self) -> CementSeen | None:
        """The newest frame in which cement could be told; else the newest of all; None before the first."""
        told = [each.look.seen for each in self.inputs.values() if each.look is not None]
        seen = told or [each.seen for each in self.inputs.values()]
        return max(seen, key=lambda each: each.view.received_ns, default=None)

    @property
    def frame_number(self) -> int | None:
        """Of the newest frame; of biplane, the newest that all inputs have sent, where they count alike."""
        newest = self.newest
        if newest is None:
            return None
        numbers = [each.look.seen.view.frame_number for each in self.inputs.values() if each.look is not None]
        known = [number for number in numbers if number is not None]
        alike = len(known) == len(numbers) > 1 and max(known) - min(known) <= _PAIR_FRAMES
        return min(known) if alike else newest.view.frame_number

    @property
    def area_mm2(self) -> float | None:
        """Of the largest shadow in the current views, at the isocentre's depth; None without geometry."""
        areas = [
            view.area_px * view.mm_per_px**2
            for view in (look.seen.view for look in self.looks if look.current)
            if view.mm_per_px is not None
        ]
        return max(areas, default=None)

    @property
    def front_speed_mm_s(self) -> float | None:
        """The fastest part of the front in the current views; None: not known."""
        speeds = [
            view.front_speed_px_s * view.mm_per_px
            for view in (look.seen.view for look in self.looks if look.current)
            if view.mm_per_px is not None and view.front_speed_px_s is not None
        ]
        return max(speeds, default=None)

    @property
    def looks(self) -> tuple[Look, ...]:
        """All directions of this run, current ones first."""
        now = [replace(each.look, current=each.fresh) for each in self.inputs.values() if each.look is not None]
        return (*now, *(look for each in self.inputs.values() for look in each.former))


def started(
    before: CementProgress, run: CementRun, zones: Sequence[Zone], *, work_ends_ns: int | None = None
) -> CementProgress:
    """Cement begins to be followed; only the injector's readings are known from before."""
    fresh = CementProgress(
        run=run,
        state=CementState.TRACKING,
        reason="no frame yet",
        zones=tuple(zones),
        injector=injector_readings.restarted(before.injector),
        work_ends_ns=work_ends_ns,
    )
    return replace(fresh, sites=tuple(unknown_site(zone, "no frame yet") for zone in fresh.zones))


def stopped(before: CementProgress) -> CementProgress:
    """Nothing is followed any more; the alert book keeps what must be acknowledged."""
    idle = CementProgress(zones=before.zones, injector=before.injector)
    return replace(idle, sites=tuple(unknown_site(zone) for zone in idle.zones))


def with_zones(
    before: CementProgress, zones: Sequence[Zone], *, now_ns: int, settings: CementSettings
) -> CementProgress:
    """Zones came, went or changed; what was known of a changed one is forgotten."""
    zones = tuple(zones)
    if zones == before.zones:
        return before
    if before.run is None:
        return replace(before, zones=zones, sites=tuple(unknown_site(zone) for zone in zones))
    known = {zone.id: zone for zone in before.zones}
    same = {zone.id for zone in zones if zone.id in known and known[zone.id].shape == zone.shape}
    inputs = {device: only(each, same) for device, each in before.inputs.items()}
    held = {zone_id: each for zone_id, each in before.held.items() if zone_id in same}
    in_space = {zone_id: each for zone_id, each in before.in_space.items() if zone_id in same}
    return _judged(replace(before, zones=zones, inputs=inputs, held=held, in_space=in_space), now_ns, settings)


def registered_anew(before: CementProgress, now_ns: int, settings: CementSettings) -> CementProgress:
    """Another registration holds: where zones and cement lie to each other is not known until the next frame."""
    inputs = {device: without_places(each, REGISTERED) for device, each in before.inputs.items()}
    body = CementBody(reason=REGISTERED)
    return _judged(replace(before, inputs=inputs, body=body, held={}, in_space={}), now_ns, settings)


def with_frame(
    before: CementProgress,
    seen: CementSeen,
    zones: Sequence[Zone],
    *,
    interval_ns: int,
    now_ns: int,
    settings: CementSettings,
) -> CementProgress:
    """Take in what one frame says; one of another run, or that is no news of its input, changes nothing.

    Args:
        zones: of the case as it is now.
        interval_ns: smoothed time between the input's frames; 0: not known.
        now_ns: server's monotonic clock.
    """
    view = seen.view
    if before.run is None or seen.run != before.run.number:
        return before
    known = before.inputs.get(view.device)
    if known is not None and not is_news(known.seen.view, view):
        return before
    progress = with_zones(before, zones, now_ns=now_ns, settings=settings)
    known = progress.inputs.get(view.device)
    inputs = {**progress.inputs, view.device: with_seen(known, seen, interval_ns)}
    progress = replace(progress, inputs=inputs)
    if view.seen:
        in_space = approaches_in_space(progress.in_space, seen.body, view.time_s)
        balloon_ml = max(progress.balloon_ml, seen.body.balloon_ml or 0.0)
        progress = replace(progress, body=seen.body, in_space=in_space, balloon_ml=balloon_ml)
    return _judged(progress, now_ns, settings)


def with_injector(
    before: CementProgress, reading: InjectorReading, now_ns: int, settings: CementSettings
) -> CementProgress:
    """Take a reading in, also while nothing is followed."""
    started_ns = before.run.started_ns if before.run is not None else None
    track = injector_readings.observed(before.injector, reading, started_ns=started_ns)
    return _judged(replace(before, injector=track), now_ns, settings)


def with_time(before: CementProgress, now_ns: int, settings: CementSettings) -> CementProgress:
    """Time has passed: gaps, silence, working time."""
    return _judged(before, now_ns, settings)


def _judged(progress: CementProgress, now_ns: int, settings: CementSettings) -> CementProgress:
    """State, sites and conditions as of now."""
    run = progress.run
    if run is None:
        return progress
    inputs = {device: in_time(each, now_ns, settings) for device, each in progress.inputs.items()}
    progress = replace(progress, inputs=inputs)
    state, reason = state_of(run, inputs, now_ns, settings)
    looks, newest = progress.looks, progress.newest
    time_s = max((each.seen.view.time_s for each in inputs.values()), default=0.0)
    flowing = progress.injector.running or progress.injector.reading is None
    sites, held = [], {}
    for zone in progress.zones:
        site, held[zone.id] = site_state(
            zone,
            looks,
            progress.body,
            progress.in_space,
            progress.held.get(zone.id, Held()),
            time_s=time_s,
            settings=settings,
            flowing=flowing,
        )
        sites.append(site)
    bad_s = max(
        (
            (now_ns - each.bad_since_ns - _BAD_FRAMES * each.interval_ns) / _NS_PER_S
            for each in inputs.values()
            if each.bad_since_ns is not None
        ),
        default=0.0,
    )
    if state is CementState.LOST and flowing and bad_s >= settings.gap_s:
        progress = replace(progress, body=at_least(progress.body))
    left_s = (progress.work_ends_ns - now_ns) / _NS_PER_S if progress.work_ends_ns is not None else None
    device = newest.view.device if newest is not None else ""
    # Of a balloon no cement is missing, and while nothing is seen nothing can be told.
    missing = state is CementState.TRACKING and not run.material.balloon
    amount = at_most(progress.body, inputs.values()) if missing else progress.body
    missing = missing and is_missing(progress.injector, amount, settings)
    since_ns = progress.missing_since_ns if progress.missing_since_ns is not None else now_ns
    missing_since_ns = since_ns if missing else None
    outside_ml = newest.outside_bone_ml if newest is not None else None
    outside = is_outside_bone(outside_ml)
    keep_out = {zone.id for zone in progress.zones if zone.kind is ZoneKind.KEEP_OUT}
    began_ns = progress.outside_since_ns if progress.outside_since_ns is not None else now_ns
    conditions = (
        *site_conditions(sites, {zone.id: zone for zone in progress.zones}, progress.frame_number, device),
        *view_conditions(
            looks,
            progress.body,
            settings,
            balloon=run.material.balloon,
            flowing=flowing,
            outside_bone_ml=outside_ml if outside and now_ns - began_ns >= _OUTSIDE_NS else None,
            in_zones_ml=sum(site.inside_ml for site in progress.body.sites if site.zone_id in keep_out),
            target_id=next((zone.id for zone in progress.zones if zone.kind is ZoneKind.TARGET), ""),
        ),
        *injector_conditions(progress.injector, amount, state, now_ns, settings, missing_since_ns=missing_since_ns),
        *balloon_conditions(progress.body, progress.balloon_ml),
        *state_conditions(state, reason, bad_s, progress.injector.running, settings),
        *work_conditions(left_s),
    )
    return replace(
        progress,
        state=state,
        reason=reason,
        sites=tuple(sites),
        held=held,
        conditions=conditions,
        missing_since_ns=missing_since_ns,
        outside_since_ns=began_ns if outside else None,
    )
