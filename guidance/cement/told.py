"""What is known of cement in the contract's words (5.4): fills the shapes of `guidance.cement.answers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from guidance.cement.advice import advised
from guidance.cement.alert_answers import utc_text
from guidance.cement.answers import (
    CementAdvice,
    CementAnswer,
    CementBrand,
    CementClock,
    CementCondition,
    CementFront,
    CementInjector,
    CementInput,
    CementSite,
    SiteSeen,
)
from guidance.cement.approach import time_to_contact_s
from guidance.cement.injector import InjectorTrack
from guidance.cement.looks import Look
from guidance.cement.profiles import CementLibrary
from guidance.cement.progress import CementProgress
from guidance.cement.working_time import WorkingTime
from guidance.messages import (
    F32,
    U8,
    AlertCondition,
    CementSeen,
    CementState,
    CementView,
    SiteInView,
    SiteState,
    ZoneKind,
)
from guidance.registration.answers import finite

MAPS: Final = ("mask", "blind", "growth", "thickness_mm", "arrival_s", "speed_px_s")

_FIGURES: Final = ("frame_number", "area_mm2", "volume_ml", "volume_low_ml", "volume_high_ml", "front_speed_mm_s")
_NS_PER_S: Final = 1e9
_HALF_HIDDEN: Final = 0.5  # more of a zone's shadow hidden: no speed is made of what is seen of it
_PAIRED_WITHIN_NS: Final = 1_000_000_000  # an input that has been silent for so long has no part in a pair
_NO_GEOMETRY: Final = "2D only: no geometry that may be used"
_NO_VIEW: Final = "no frame has been followed yet"


def cement_answer(
    known: CementProgress, *, now_ns: int, wall_from_monotonic_ns: int, clock: WorkingTime | None = None
) -> CementAnswer:
    """The state as GET /cement tells it.

    Args:
        known: what is known.
        now_ns: server's monotonic clock.
        wall_from_monotonic_ns: see `alert_answer`.
        clock: of the cement that is followed; None: no brand was told.
    """
    kinds = {zone.id: zone.kind for zone in known.zones}
    sites = tuple(_site(site, kinds.get(site.zone_id, ZoneKind.KEEP_OUT)) for site in known.sites)
    run, injector = known.run, _injector(known.injector, now_ns)
    if run is None:
        told = known.reason or "cement is not followed"
        return CementAnswer(
            state=CementState.IDLE,
            reason=known.reason,
            sites=sites,
            advice=CementAdvice(action=None, text=told),
            injector=injector,
            reasons=dict.fromkeys(_FIGURES, told),
        )
    body, material = known.body, run.material
    views = {device: seen.view for device, seen in sorted(known.seen.items())}
    elapsed_s = (now_ns - run.started_ns) / _NS_PER_S
    advice = advised(known.state, known.reason, known.conditions, known.sites, known.zones)
    answer = CementAnswer(
        state=known.state,
        reason=known.reason,
        frame_number=newest_frame_number(views),
        dimensions="3d" if body.volume_ml is not None else "2d",
        area_mm2=finite(known.area_mm2),
        volume_ml=finite(body.volume_ml),
        volume_low_ml=finite(body.volume_low_ml),
        volume_high_ml=finite(body.volume_high_ml),
        front_speed_mm_s=finite(known.front_speed_mm_s),
        sites=sites,
        conditions=tuple(_condition(condition) for condition in known.conditions),
        advice=CementAdvice(action=advice.action, text=advice.text),
        run=run.number,
        brand=material.brand or None,
        opacity_per_mm=material.opacity_per_mm,
        balloon=material.balloon,
        started_at=utc_text(run.started_ns + wall_from_monotonic_ns),
        elapsed_s=elapsed_s,
        mixed_s=None if material.mixed_s_ago is None else material.mixed_s_ago + elapsed_s,
        working_time=None if clock is None else _clock(clock),
        injected_ml=finite(known.injector.delivered_ml),
        injector=injector,
        balloon_ml=finite(body.balloon_ml),
        outside_ml=finite(body.outside_ml),
        oldest_view_s=finite(body.oldest_s) if body.views else None,
        inputs={device: cement_input(each.seen, each.look) for device, each in sorted(known.inputs.items())},
    )
    return msgspec.structs.replace(answer, reasons=_reasons(answer, known))


def cement_input(seen: CementSeen, look: Look | None = None) -> CementInput:
    """What one frame shows.

    Args:
        seen: the frame.
        look: with each zone's filter, from where the frame looks; None: how fast they come nearer is not known.
    """
    view = seen.view
    area_px = view.area_px if view.seen else None
    grown_px = None if not view.seen or view.grown is None else float(np.count_nonzero(view.grown))
    total = view.thickness_sum_mm_px
    mean_mm = None if total is None or not area_px else total / area_px
    du_px, dv_px, turn_deg = view.motion
    return CementInput(
        seen=view.seen,
        code=view.code,
        reason=view.reason,
        frame_number=view.frame_number,
        time_s=view.time_s,
        area_px=finite(area_px),
        area_mm2=_area_mm2(view) if view.seen else None,
        growth_px=grown_px,
        growth_mm2=_in_mm2(grown_px, view),
        thickness_mean_mm=finite(mean_mm),
        front_speed_px_s=finite(view.front_speed_px_s),
        front_speed_mm_s=_in_mm(view.front_speed_px_s, view),
        mm_per_px=finite(view.mm_per_px),
        shift_px=(float(du_px), float(dv_px)),
        turn_deg=float(turn_deg),
        gain=float(view.gain),
        noise=float(view.noise),
        blind_share=None if view.blind is None else float(np.count_nonzero(view.blind)) / max(view.blind.size, 1),
        unseen_s=float(view.unseen_s),
        out_of_picture=view.out_of_picture,
        sites=tuple(_site_seen(site, view, look) for site in seen.sites),
    )


def cement_front(view: CementView) -> CementFront:
    """The front of one frame, and which maps of it there are."""
    return CementFront(
        input=view.device,
        frame_number=view.frame_number,
        front_px=tuple(tuple(np.round(contour, 2).ravel().tolist()) for contour in view.front_px),
        maps=tuple(name for name in MAPS if map_of(view, name) is not None),
    )


def map_of(view: CementView, name: str) -> F32 | U8 | None:
    """One of `MAPS` with the frame's pixels; None where it is not known, or the name is none of them."""
    return {
        "mask": view.mask,
        "blind": view.blind,
        "growth": view.grown,
        "thickness_mm": view.thickness_mm,
        "arrival_s": view.arrival_s,
        "speed_px_s": view.speed_px_s,
    }.get(name)


def newest_frame_number(views: Mapping[str, CementView]) -> int | None:
    """Of one input its newest frame's, of two planes the newest that both have been followed at."""
    if not views:
        return None
    newest = max(views.values(), key=lambda view: view.received_ns)
    paired = [
        view.frame_number for view in views.values() if newest.received_ns - view.received_ns <= _PAIRED_WITHIN_NS
    ]
    numbers = [number for number in paired if number is not None]
    return min(numbers) if len(numbers) == len(paired) else newest.frame_number


def _reasons(answer: CementAnswer, known: CementProgress) -> dict[str, str]:
    views = [seen.view for seen in known.seen.values() if seen.view.seen]
    no_view = known.reason or next((told.reason for told in answer.inputs.values() if told.reason), "") or _NO_VIEW
    in_mm = _NO_GEOMETRY if views else no_view
    steady = "the front has not moved for long enough" if any(view.mm_per_px for view in views) else in_mm
    why = {
        "frame_number": "the stream does not number its frames" if answer.inputs else no_view,
        "area_mm2": in_mm,
        "volume_ml": known.body.reason or ("one view only: an interval" if answer.volume_low_ml is not None else in_mm),
        "volume_low_ml": known.body.reason or in_mm,
        "volume_high_ml": known.body.reason or in_mm,
        "front_speed_mm_s": steady,
        "mixed_s": "when it was mixed was not told",
        "injected_ml": known.injector.refused or "no injector reading",
    }
    return {name: words for name, words in why.items() if getattr(answer, name) is None}


def _condition(condition: AlertCondition) -> CementCondition:
    return CementCondition(
        kind=condition.kind,
        zone_id=condition.zone_id or None,
        priority=condition.priority,
        text=condition.text,
    )


def _clock(clock: WorkingTime) -> CementClock:
    return CementClock(
        phase=clock.phase,
        mixed_s=finite(clock.mixed_s),
        dough_s=finite(clock.dough_s),
        end_s=finite(clock.end_s),
        set_s=finite(clock.set_s),
        left_s=finite(clock.left_s),
        reason=clock.reason,
    )


def _site(site: SiteState, kind: ZoneKind) -> CementSite:
    return CementSite(
        zone_id=site.zone_id,
        name=site.name,
        site=site.site,
        side=site.side,
        kind=kind,
        distance_mm=finite(site.distance_mm),
        time_to_contact_s=finite(site.time_to_contact_s),
        status=site.status,
        priority=site.priority,
        clearance_left_mm=finite(site.clearance_left_mm),
        in_space=site.in_space,
        view_to_check=site.view_to_check or None,
        reason=site.reason,
        text=site.text,
    )


def _site_seen(site: SiteInView, view: CementView, look: Look | None) -> SiteSeen:
    approach = look.approaches.get(site.zone_id) if look is not None and look.current else None
    hidden = site.distance_px is None or site.hidden > _HALF_HIDDEN
    time_s = None if approach is None or look is None or hidden else time_to_contact_s(approach, look.growth)
    return SiteSeen(
        zone_id=site.zone_id,
        distance_px=finite(site.distance_px),
        distance_mm=_in_mm(site.distance_px, view),
        time_to_contact_s=finite(time_s),
        sigma_px=site.sigma_px,
        overlap_px=site.overlap_px,
        nearest_px=site.nearest_px,
        hidden_share=site.hidden,
        reason=site.reason,
    )


def _injector(track: InjectorTrack, now_ns: int) -> CementInjector | None:
    reading = track.reading
    if reading is None and not track.refused:
        return None
    return CementInjector(
        running=reading.running if reading is not None else None,
        volume_ml=None if reading is None else finite(reading.volume_ml),
        flow_ml_s=None if reading is None else finite(reading.flow_ml_s),
        pressure_bar=None if reading is None else finite(reading.pressure_bar),
        elapsed_s=None if reading is None else finite(reading.elapsed_s),
        age_s=None if reading is None else (now_ns - reading.received_ns) / _NS_PER_S,
        refused=track.refused,
    )


def _area_mm2(view: CementView) -> float | None:
    return _in_mm2(view.area_px, view)


def _in_mm(value_px: float | None, view: CementView) -> float | None:
    return None if value_px is None or view.mm_per_px is None else finite(value_px * view.mm_per_px)


def _in_mm2(value_px: float | None, view: CementView) -> float | None:
    return None if value_px is None or view.mm_per_px is None else finite(value_px * view.mm_per_px**2)


def cement_brands(library: CementLibrary) -> tuple[CementBrand, ...]:
    """The cements that /cement/start may name."""
    return tuple(
        CementBrand(brand=cement.id, name=cement.name, parts=dict(cement.parts), working_time_known=bool(cement.phases))
        for cement in library.cements
    )
