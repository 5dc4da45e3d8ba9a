"""What is known of cement, fed frame by frame, for tests."""

from guidance.cement.progress import (
    CementProgress,
    started,
    with_frame,
)
from guidance.config import CementSettings
from guidance.messages import (
    AlertPriority,
    SiteInView,
    SiteStatus,
    ZoneKind,
    ZoneSide,
    ZoneSite,
)
from tests.helpers.cement_views import NS, RUN, seen_at, zone

SETTINGS = CementSettings()
FORAMEN = zone("Z1", ZoneSite.FORAMEN, side=ZoneSide.LEFT, name="S1 foramen left")
DISC = zone("Z2", ZoneSite.DISC, name="L5/S1 disc")
TARGET = zone("Z3", ZoneSite.LESION, kind=ZoneKind.TARGET, name="lesion")
ZONES = (FORAMEN, DISC, TARGET)
CLEAR, APPROACHING = SiteStatus.CLEAR, SiteStatus.APPROACHING
POSSIBLE, CONTACT = SiteStatus.CONTACT_POSSIBLE, SiteStatus.CONTACT
NONE, LOW, MEDIUM, HIGH = AlertPriority.NONE, AlertPriority.LOW, AlertPriority.MEDIUM, AlertPriority.HIGH


def px(distance_mm, zone_id="Z1", **fields):
    """A site in the view; the helper's frames have half a millimetre to the pixel."""
    return SiteInView(zone_id=zone_id, distance_px=2.0 * distance_mm, sigma_px=0.4, **fields)


def running(zones=ZONES, **fields):
    return started(CementProgress(), RUN, zones, **fields)


def frame(progress, seen, zones=ZONES, *, rate_hz=15.0, now_ns=None, settings=SETTINGS):
    now_ns = seen.view.received_ns if now_ns is None else now_ns
    return with_frame(progress, seen, zones, interval_ns=round(NS / rate_hz), now_ns=now_ns, settings=settings)


def followed(distances_mm, *, progress=None, start_s=0.0, zone_id="Z1", **fields):
    """Frames at 15/s with these distances."""
    progress = progress or running()
    for number, distance in enumerate(distances_mm):
        time_s = start_s + number / 15
        progress = frame(progress, seen_at(time_s, (px(distance, zone_id),), **fields))
    return progress


def site_of(progress, zone_id="Z1"):
    return next(site for site in progress.sites if site.zone_id == zone_id)


def kinds(progress):
    return {condition.kind for condition in progress.conditions}
