"""What is known of cement while it flows: one view, the body in 3D, the sites, and the alerts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from guidance.messages.basics import F32, F64, U8, Matrix34
from guidance.messages.zones import ZoneSide, ZoneSite


class CementState(StrEnum):
    """Contract 5.4; `LOST`: pictures come, and cement cannot be told in them."""

    IDLE = "idle"
    TRACKING = "tracking"
    PAUSED = "paused"
    LOST = "lost"


class SiteStatus(StrEnum):
    """What is true of a site now (contract 5.4); what was true once is kept by its alert."""

    CLEAR = "clear"
    APPROACHING = "approaching"
    CONTACT_POSSIBLE = "contact_possible"
    CONTACT = "contact"


class AlertPriority(StrEnum):
    """After IEC 60601-1-8, table 1; `NONE` is no alarm condition."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class CementMaterial:
    """What cement is followed.

    Attributes:
        brand: of the library of cements; "" where only an opacity was told.
        opacity_per_mm: told effective linear attenuation; None: from the brand's profile and the frame's beam.
        mixed_s_ago: seconds from mixing to the start of tracking; None: not told, the working time is not known.
        temperature_c: of the room.
        balloon: what flows is contrast in a balloon, which is not cement.
    """

    brand: str = ""
    opacity_per_mm: float | None = None
    mixed_s_ago: float | None = None
    temperature_c: float = 20.0
    balloon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CementRun:
    """One start of tracking.

    Attributes:
        number: 1, 2, ... since the server began.
        material: what flows.
        started_ns: server's monotonic clock.
        after_sequence: by device, the newest frame before the start: it and those before it are the reference.
    """

    number: int
    material: CementMaterial
    started_ns: int
    after_sequence: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementView:
    """What one frame of one input shows of new cement; arrays are read-only and have the frame's pixels.

    Attributes:
        device, sequence, frame_number, received_ns: of the frame.
        time_s: since the start of the run, by the sender's clock where that is sound.
        seen: False: cement cannot be told in this frame; `reason` says why and everything else is unknown.
        code, reason: stable name and words of what limits this view; "" where nothing does.
        pixel_from_patient: (3, 4) row-major, of trusted or degraded geometry; None: pixels only.
        mm_per_px: at the isocentre's depth; None without geometry.
        mask: 1 where new cement is.
        blind: 1 where new cement could not be seen (blades, saturation, hands, instruments, out of the reference).
        thickness_mm: along the ray; None with display-processed pictures.
        front_px: closed contours (N, 2) u, v of the mask, sub-pixel; outer ones anticlockwise in (u, v), holes not.
        area_px: of the mask, sub-pixel.
        thickness_sum_mm_px: sum of thickness over the mask, and
        thickness_sigma_mm_px: its standard deviation, with opacity, scatter and noise in it; None like thickness.
        opacity_per_mm: log contrast of a millimetre of the cement, mean over its thickness; None like thickness.
        opacity_sigma: standard deviation of the opacity, relative, and
        scatter_sigma: that of ln(1 - scatter's share), which makes a thin thickness wrong by as much, a thick one more.
        grown: 1 where cement came within the last frames (settings).
        arrival_s: time of arrival, s since the start; NaN where none is.
        front_speed_px_s: the fastest part of the front (robust maximum); None until it is known.
        speed_px_s: at each arrival, normal speed of the front; NaN elsewhere. None until it is known.
        motion: (du px, dv px, turn deg about the picture's middle) of this frame against the reference.
        gain: exposure of this frame over the reference's.
        noise: standard deviation of one pixel's log contrast in this frame, after temporal filtering; median.
        unseen_s: how long nothing was seen of this pose before this frame (a pause, another view); 0 in a stream.
        out_of_picture: cement reaches the border of what can be seen.
        growth_only: the view was first looked at with cement in it, and what that was cannot be told: only what came
            since is in it.
    """

    device: str
    sequence: int
    frame_number: int | None
    received_ns: int
    time_s: float
    seen: bool
    code: str = ""
    reason: str = ""
    pixel_from_patient: Matrix34 | None = None
    mm_per_px: float | None = None
    mask: U8 | None = None
    blind: U8 | None = None
    thickness_mm: F32 | None = None
    front_px: tuple[F64, ...] = ()
    area_px: float = 0.0
    thickness_sum_mm_px: float | None = None
    thickness_sigma_mm_px: float | None = None
    grown: U8 | None = None
    arrival_s: F32 | None = None
    front_speed_px_s: float | None = None
    speed_px_s: F32 | None = None
    motion: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gain: float = 1.0
    noise: float = 0.0
    unseen_s: float = 0.0
    out_of_picture: bool = False
    growth_only: bool = False
    opacity_per_mm: float | None = None
    opacity_sigma: float = 0.0
    scatter_sigma: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInView:
    """One zone's outline against the front in one view.

    Attributes:
        zone_id: whose.
        distance_px: from the front to the outline, negative where the shadows overlap; None: `reason`.
        sigma_px: of it, geometry and front together.
        overlap_px: area of the common shadow.
        nearest_px: point of the front that is nearest.
        speed_px_s: of the front at that point towards the zone; None: not known.
        hidden: share of the zone's shadow where new cement could not be seen: off the picture, or blind.
        reach_left_mm: from the zone to cement, had it gone 1.3 times as far along the rays as across; None: not known.
        path_id, path_mm: the path whose way out goes into the zone, and how far from its target; "", None: none does.
        reason: why the distance is not known.
    """

    zone_id: str
    distance_px: float | None
    sigma_px: float = 0.0
    overlap_px: float = 0.0
    nearest_px: tuple[float, float] | None = None
    speed_px_s: float | None = None
    hidden: float = 0.0
    reach_left_mm: float | None = None
    path_id: str = ""
    path_mm: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinExtension:
    """A thin part of new cement that ran ahead of the rest: what a filled vein looks like.

    Attributes:
        tip_px: its newest point.
        length_px, width_px: along it, and across.
        speed_px_s: how fast its tip runs.
        path_id: of the planned path that it lies along; "" where it lies along none.
    """

    tip_px: tuple[float, float]
    length_px: float
    width_px: float
    speed_px_s: float
    path_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackInView:
    """Cement back along one planned path.

    Attributes:
        path_id: whose.
        back_mm: how far cement lies along the path without a gap, from its target back towards its entry.
        left_mm: from there to where the path leaves the bone, negative beyond it; None: where that is, is not known.
        shown_mm: the same as `back_mm` by this view's shadow alone, which lies over more than the path: no more cement
            is on it than so much; None: this view does not show it.
        exit_mm: how far from its target the path leaves the bone; None: not known.
        cloud: what the shadow shows lies to both sides of the path as well.
        tip_mm: how far the end of the instrument on the path is back from the target, as seen in this frame; negative:
            beyond it. None: not seen.
    """

    path_id: str
    back_mm: float
    left_mm: float | None = None
    exit_mm: float | None = None
    shown_mm: float | None = None
    cloud: bool = False
    tip_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInSpace:
    """One zone against the cement in 3D.

    Attributes:
        distance_mm: least distance of the cement's surface to the zone's, negative inside; None: `reason`.
        sigma_mm: of it.
        inside_ml: cement within the zone.
        touches: the estimate reaches the zone, by more than what its uncertainty explains.
    """

    zone_id: str
    distance_mm: float | None
    sigma_mm: float = 0.0
    inside_ml: float = 0.0
    touches: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementBody:
    """What all views (and slices) say of the cement in 3D.

    Attributes:
        views: devices or poses that it is made from; one: only an interval is known.
        volume_ml: None with one view.
        volume_low_ml, volume_high_ml: 95 % interval; None: `reason`.
        sites: by zone; empty with one view.
        occupancy, affine_lps_from_ijk: `[k, j, i]` float32 share of each voxel, and where; None with one view.
        oldest_s: age of the oldest view in it.
        balloon_ml: contrast in a balloon, which is not cement; None: none is followed.
        outside_ml: cement outside the planned region; None: no target zone, or not known.
        reason: why something is not known.
    """

    views: tuple[str, ...] = ()
    volume_ml: float | None = None
    volume_low_ml: float | None = None
    volume_high_ml: float | None = None
    sites: tuple[SiteInSpace, ...] = ()
    occupancy: F32 | None = None
    affine_lps_from_ijk: F64 | None = None
    oldest_s: float = 0.0
    balloon_ml: float | None = None
    outside_ml: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementSeen:
    """What one frame says, put together.

    Attributes:
        run: which it is of.
        view: the frame's.
        sites: the zones in it.
        extensions, tracks: what runs ahead, what comes back along the paths; worst first.
        outside_px: area of new cement outside every target zone's shadow; None: no target zone, or not known.
        outside_bone_ml: cement in 3D outside all bone of the CT; None: not known.
        leaves_along_path: what of it reaches the border of what is seen lies along a path: in its cannula or track.
        body: with this frame in it.
    """

    run: int
    view: CementView
    sites: tuple[SiteInView, ...] = ()
    extensions: tuple[ThinExtension, ...] = ()
    tracks: tuple[TrackInView, ...] = ()
    outside_px: float | None = None
    outside_bone_ml: float | None = None
    leaves_along_path: bool = False
    body: CementBody = CementBody()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """What is said of one zone now (contract 5.4).

    Attributes:
        distance_mm: the 3D distance where it is known, else the least in any view; negative inside.
        time_to_contact_s: 95 % early; None: the front does not come nearer, or `reason`.
        clearance_left_mm: distance less its uncertainty: what may be said as good news; None: not known.
        likely_mm: what is likely left by now, where a view that showed it has not been looked at; None: the distance.
        in_space: whether the distance is of the 3D estimate.
        view_to_check: which view would tell more, in words; "" where none.
        way: by which way cement comes nearer, where that is not plain; "" where it is.
        text: one line for people.
    """

    zone_id: str
    name: str
    site: ZoneSite
    side: ZoneSide | None
    distance_mm: float | None
    time_to_contact_s: float | None
    status: SiteStatus | None
    priority: AlertPriority
    clearance_left_mm: float | None = None
    likely_mm: float | None = None
    in_space: bool = False
    view_to_check: str = ""
    reason: str = ""
    way: str = ""
    text: str = ""


AlertKind = Literal[
    "site",
    "vein",
    "needle_track",
    "outside_plan",
    "out_of_picture",
    "volume_missing",
    "no_reading",
    "tracking_lost",
    "balloon",
    "working_time",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCondition:
    """Something that is true now and that the operator must know; what latches and speaks is its alert.

    Attributes:
        kind, zone_id: what it is of; `zone_id` "" where it is of no zone.
        status: of a site; None for the others.
        view_to_check: in words; "" where none.
        text: one line: site, side, mm, seconds, which view to check.
    """

    kind: AlertKind
    priority: AlertPriority
    text: str
    zone_id: str = ""
    site: ZoneSite | None = None
    side: ZoneSide | None = None
    status: SiteStatus | None = None
    distance_mm: float | None = None
    time_to_contact_s: float | None = None
    view_to_check: str = ""
    frame_number: int | None = None
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A latched alert (contract 5.4): stays until it is acknowledged and its condition is gone.

    Attributes:
        id: `A1`, `A2`, ...
        condition: the worst that it was since it was raised or, after an acknowledgement, rose again.
        present: the condition is true now.
        raised_ns: server's monotonic clock.
        acknowledged_by, acknowledged_ns: None until then.
    """

    id: str
    condition: AlertCondition
    present: bool
    raised_ns: int
    acknowledged_by: str | None = None
    acknowledged_ns: int | None = None
