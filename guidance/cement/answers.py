"""The JSON shapes of cement as HTTP, MQTT and the page tell it (contract 5.4); `guidance.cement.told` fills them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from guidance.cement.working_time import WorkingPhase
from guidance.messages import AlertKind, AlertPriority, CementState, SiteStatus, ZoneKind, ZoneSide, ZoneSite

PixelUv = Annotated[tuple[float, float], msgspec.Meta(description="u, v in px of the frame as sent")]


class CementSite(msgspec.Struct, frozen=True, kw_only=True):
    """One zone now (`status` does not latch, alerts do); null is "not known", and `reason` says why.

    Attributes:
        distance_mm: from the cement's front to the zone, negative inside; the 3D distance where `in_space`, else the
            least in any view, at the isocentre's depth.
        time_to_contact_s: early: 95 times of 100 contact comes later.
        clearance_left_mm: the good news: so much is left, uncertainty taken off.
    """

    zone_id: str
    name: str
    site: ZoneSite
    side: ZoneSide | None
    kind: ZoneKind
    distance_mm: float | None
    time_to_contact_s: float | None
    status: SiteStatus | None
    priority: AlertPriority
    clearance_left_mm: float | None
    in_space: bool
    view_to_check: str | None
    reason: str
    text: str


class SiteSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One zone's outline in one view; px of the frame, mm at the isocentre's depth.

    Attributes:
        time_to_contact_s: of the shadows in this view; early, as in `sites`; null while the front does not come nearer.
        hidden_share: of the zone's shadow, where new cement could not be seen.
    """

    zone_id: str
    distance_px: float | None
    distance_mm: float | None
    time_to_contact_s: float | None
    sigma_px: float
    overlap_px: float
    nearest_px: PixelUv | None
    hidden_share: float
    reason: str


class CementInput(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest frame of one input shows; null is "not known".

    Attributes:
        seen: false: cement cannot be told in this frame, `code` and `reason` say why.
        time_s: of the frame, since the start, by the sender's clock where that is sound.
        area_px, area_mm2: of the cement's shadow.
        growth_px, growth_mm2: of what came within the last frames.
        thickness_mean_mm: along the rays, over the shadow.
        front_speed_px_s, front_speed_mm_s: the fastest part of the front.
        shift_px, turn_deg: motion of this frame against the reference, taken out.
        gain: exposure of this frame over the reference's, taken out.
        blind_share: of the picture, where cement could not be seen.
        unseen_s: how long nothing was seen of this view before this frame.
        out_of_picture: cement reaches the border of what can be seen.
    """

    seen: bool
    code: str
    reason: str
    frame_number: int | None
    time_s: float
    area_px: float | None
    area_mm2: float | None
    growth_px: float | None
    growth_mm2: float | None
    thickness_mean_mm: float | None
    front_speed_px_s: float | None
    front_speed_mm_s: float | None
    mm_per_px: float | None
    shift_px: PixelUv
    turn_deg: float
    gain: float
    noise: float
    blind_share: float | None
    unseen_s: float
    out_of_picture: bool
    sites: tuple[SiteSeen, ...]


class CementFront(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /cement/inputs/{device}: the front of the input's newest frame.

    `front_px` holds closed contours as u, v, u, v, ... in px of the frame, to a hundredth; outer ones run
    anticlockwise as (u, v) are drawn in a right-handed plane, holes clockwise.
    """

    input: str
    frame_number: int | None
    front_px: tuple[tuple[float, ...], ...]
    maps: tuple[str, ...]


class CementInjector(msgspec.Struct, frozen=True, kw_only=True):
    """The injector's newest reading that can be believed; null is "not told", `refused` why the newest can't be."""

    running: bool | None
    volume_ml: float | None
    flow_ml_s: float | None
    pressure_bar: float | None
    elapsed_s: float | None
    age_s: float | None
    refused: str


class CementClock(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cement is on its way from liquid to hard; seconds from mixing, null is "not known" for `reason`.

    `left_s`: until injecting must end, 95 times of 100 it lasts longer.
    """

    phase: WorkingPhase
    mixed_s: float | None
    dough_s: float | None
    end_s: float | None
    set_s: float | None
    left_s: float | None
    reason: str


class CementCondition(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is true now and that the operator must know; what latches is its alert."""

    kind: AlertKind
    zone_id: str | None
    priority: AlertPriority
    text: str


class CementAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """What the server recommends; it never drives.

    Attributes:
        action: `stop` injecting, `caution`, `clear` (surely room left to every zone); null: not known, `text` says why.
        text: one line, of what matters most.
    """

    action: Literal["stop", "caution", "clear"] | None
    text: str


class CementBrand(msgspec.Struct, frozen=True, kw_only=True):
    """A cement that the server knows; `parts` are its radiopacifiers, weight per cent."""

    brand: str
    name: str
    parts: dict[str, float] = {}
    working_time_known: bool = False


class CementBrandList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /cement/brands."""

    items: tuple[CementBrand, ...]


class CementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /cement; null is "not known", and `reasons` says why, by member.

    Attributes:
        reason: of the state, in words; "" while tracking.
        frame_number: of the newest frame; of two planes, of the newest pair.
        dimensions: `3d` where two views or slices give a body, `2d` where only shadows are known; null while idle.
        area_mm2: of the cement's shadow at the isocentre's depth, of several views the largest.
        volume_ml: of two views or more; with one, `volume_low_ml` and `volume_high_ml` are a 95 % interval.
        front_speed_mm_s: the fastest part of the front, of several views the largest.
        sites: every zone, always.
        conditions: what is true now; `/alerts` holds what was.
        advice: what to do now.
        balloon: what flows is contrast in a balloon, as it was told.
        elapsed_s: since the start.
        mixed_s: since mixing; null where that was not told.
        working_time: the cement's clock; null where no brand was told.
        injected_ml: since the start, as the injector tells it.
        balloon_ml: contrast in a balloon, which is no cement.
        outside_ml: cement outside the planned region.
        oldest_view_s: age of the oldest view that the body is made from.
        inputs: per view figures by device.
    """

    state: CementState
    reason: str = ""
    frame_number: int | None = None
    dimensions: Literal["2d", "3d"] | None = None
    area_mm2: float | None = None
    volume_ml: float | None = None
    volume_low_ml: float | None = None
    volume_high_ml: float | None = None
    front_speed_mm_s: float | None = None
    sites: tuple[CementSite, ...] = ()
    conditions: tuple[CementCondition, ...] = ()
    advice: CementAdvice = CementAdvice(action=None, text="cement is not followed")
    run: int | None = None
    brand: str | None = None
    opacity_per_mm: float | None = None
    balloon: bool = False
    started_at: str | None = None
    elapsed_s: float | None = None
    mixed_s: float | None = None
    working_time: CementClock | None = None
    injected_ml: float | None = None
    injector: CementInjector | None = None
    balloon_ml: float | None = None
    outside_ml: float | None = None
    oldest_view_s: float | None = None
    inputs: dict[str, CementInput] = {}
    reasons: dict[str, str] = {}
