"""A round drop of cement seen in one view, zones beside it, and a cement API that tests script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from guidance.alerts.book import AlertBook, acknowledged, raised
from guidance.case import Author
from guidance.cement import progress as steps
from guidance.cement.alert_answers import AlertAnswer, AlertList, acknowledged_answer, alert_list
from guidance.cement.answers import CementAnswer, CementBrand
from guidance.cement.profiles import CementLibrary, cement_library
from guidance.cement.progress import CementProgress
from guidance.cement.told import cement_answer, cement_brands
from guidance.cement.working_time import working_time
from guidance.config import CementSettings
from guidance.errors import CaseError
from guidance.messages import (
    AlertCondition,
    CementBody,
    CementMaterial,
    CementRun,
    CementSeen,
    CementView,
    InjectorReading,
    SiteInView,
    SphereShape,
    Zone,
    ZoneKind,
    ZoneSide,
    ZoneSite,
)
from tests.helpers.drawn import view as matrix_of

S = 1_000_000_000
WALL_NS = 1_790_000_000 * S  # 2026-09-21T13:46:40Z at monotonic 0
FORAMEN = Zone(
    id="Z1",
    name="S1 left",
    site=ZoneSite.FORAMEN,
    side=ZoneSide.LEFT,
    kind=ZoneKind.KEEP_OUT,
    shape=SphereShape(center_lps_mm=(20.0, 0.0, 0.0), radius_mm=5.0),
    frame_of_reference_uid="1.2.3",
)


def drop(
    sequence: int,
    *,
    radius_px: float = 20.0,
    size: int = 256,
    now_ns: int | None = None,
    device: str = "Fluoro",
    **members: Any,
) -> CementView:
    """A disk of 1 mm of cement about the middle of a picture; its left half is new."""
    middle = (size - 1) / 2
    v, u = np.mgrid[:size, :size]
    inside = np.hypot(u - middle, v - middle) <= radius_px
    turns = np.linspace(0.0, 2 * np.pi, 181)[:-1]
    circle = np.stack((middle + radius_px * np.cos(turns), middle + radius_px * np.sin(turns)), axis=1)
    values: dict[str, Any] = {
        "device": device,
        "sequence": sequence,
        "frame_number": sequence,
        "received_ns": sequence * S // 10 if now_ns is None else now_ns,
        "time_s": sequence / 10,
        "seen": True,
        "pixel_from_patient": matrix_of(size=size),
        "mm_per_px": 0.75,
        "mask": inside.astype(np.uint8),
        "blind": np.zeros((size, size), np.uint8),
        "thickness_mm": inside.astype(np.float32),
        "front_px": (circle,),
        "area_px": math.pi * radius_px**2,
        "thickness_sum_mm_px": math.pi * radius_px**2,
        "thickness_sigma_mm_px": 10.0,
        "grown": (inside & (u < middle)).astype(np.uint8),
        "arrival_s": np.where(inside, 1.0, np.nan).astype(np.float32),
        "front_speed_px_s": 4.0,
    }
    return CementView(**(values | members))


def near_site(distance_px: float, *, zone_id: str = "Z1", at: tuple[float, float] = (147.5, 127.5)) -> SiteInView:
    """A zone to the right of the drop."""
    return SiteInView(zone_id=zone_id, distance_px=distance_px, sigma_px=0.5, nearest_px=at)


class FakeCementApi:
    """Satisfies `guidance.ports.CementApi` over the real progress and alert book; tests send frames."""

    def __init__(self, zones: Sequence[Zone] = ()) -> None:
        self.library: CementLibrary = cement_library()
        self.zones = tuple(zones)
        self.settings = CementSettings()
        self.known = steps.stopped(CementProgress(zones=self.zones))
        self.book = AlertBook()
        self.now_ns = 0
        self.runs = 0
        self.has_reference = True
        self.asked: list[tuple[str, Author]] = []

    def cement(self) -> CementAnswer:
        clock, run = None, self.known.run
        if run is not None and run.material.brand:
            mixed, passed_s = run.material.mixed_s_ago, (self.now_ns - run.started_ns) / S
            clock = working_time(
                self.library.known(run.material),
                mixed_s=None if mixed is None else mixed + passed_s,
                temperature_c=run.material.temperature_c,
            )
        return cement_answer(self.known, now_ns=self.now_ns, wall_from_monotonic_ns=WALL_NS, clock=clock)

    def cement_view(self, device: str) -> CementView | None:
        seen = self.known.seen.get(device)
        return seen.view if seen is not None else None

    def brands(self) -> Sequence[CementBrand]:
        return cement_brands(self.library)

    def start_cement(self, material: CementMaterial, *, author: Author) -> None:
        self.asked.append(("start", author))
        self.library.known(material)
        if self.known.run is not None:
            raise CaseError("cement is followed already", code="already_tracking", mend="stop it first")
        if not self.has_reference:
            raise CaseError("no live frame to compare with", code="no_reference", mend="expose 5 frames first")
        self.runs += 1
        run = CementRun(number=self.runs, material=material, started_ns=self.now_ns, after_sequence=())
        self.known = steps.started(self.known, run, self.zones)

    def stop_cement(self, *, author: Author) -> None:
        self.asked.append(("stop", author))
        self.known = steps.stopped(self.known)
        self._raise()

    def alerts(self) -> AlertList:
        return alert_list(self.book, wall_from_monotonic_ns=WALL_NS)

    def acknowledge(self, alert_id: str, *, by: str) -> AlertAnswer:
        before, self.book = self.book, acknowledged(self.book, alert_id, by, self.now_ns)
        return acknowledged_answer(
            before, self.book, alert_id, by=by, now_ns=self.now_ns, wall_from_monotonic_ns=WALL_NS
        )

    def frame(self, view: CementView, *sites: SiteInView, body: CementBody | None = None) -> None:
        """A followed frame."""
        self.now_ns = max(self.now_ns, view.received_ns)
        seen = CementSeen(run=self.runs, view=view, sites=sites, body=body or CementBody(reason="one view only"))
        self.known = steps.with_frame(
            self.known, seen, self.zones, interval_ns=S // 10, now_ns=self.now_ns, settings=self.settings
        )
        self._raise()

    def inject(self, reading: InjectorReading) -> None:
        """A reading."""
        self.known = steps.with_injector(self.known, reading, self.now_ns, self.settings)
        self._raise()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now_ns += round(seconds * S)
        self.known = steps.with_time(self.known, self.now_ns, self.settings)
        self._raise()

    def alarm(self, *conditions: AlertCondition) -> None:
        """These are true now."""
        self.book = raised(self.book, conditions, self.now_ns)

    def _raise(self) -> None:
        self.book = raised(self.book, self.known.conditions, self.now_ns)
