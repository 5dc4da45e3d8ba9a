"""Views of cement drawn for tests: masks, fronts and what else a frame tells, without a tracker."""

from __future__ import annotations

import math

import cv2
import numpy as np

from guidance.messages import CementBody, CementRun, CementSeen, CementView, Zone, ZoneKind, ZoneSite
from guidance.messages.cement import CementMaterial
from guidance.messages.zones import SphereShape

RUN = CementRun(number=1, material=CementMaterial(brand="PMMA"), started_ns=0, after_sequence=())
NS = 1_000_000_000


def disc(size, centre_px, radius_px):
    """A round mask and its exact front."""
    v, u = np.mgrid[:size, :size]
    mask = (np.hypot(u - centre_px[0], v - centre_px[1]) <= radius_px).astype(np.uint8)
    turn = np.linspace(0.0, 2 * np.pi, max(int(7 * radius_px), 12), endpoint=False)
    front = np.column_stack((centre_px[0] + radius_px * np.cos(turn), centre_px[1] + radius_px * np.sin(turn)))
    return mask, (front,)


def front_of(mask):
    """Contours of a mask as OpenCV finds them: half a pixel inside."""
    found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return tuple(contour[:, 0].astype(np.float64) for contour in found)


def cement_view(mask=None, front=None, **fields):
    """One frame; what is not given is as in a good frame without cement."""
    size = fields.pop("size", 512)
    mask = np.zeros((size, size), np.uint8) if mask is None else mask
    given = {
        "device": "Fluoro",
        "sequence": 1,
        "frame_number": 1,
        "received_ns": 0,
        "time_s": 0.0,
        "seen": True,
        "mm_per_px": 0.375,
        "mask": mask,
        "blind": np.zeros(mask.shape, np.uint8),
        "front_px": front_of(mask) if front is None else front,
        "area_px": float(mask.sum()),
    }
    return CementView(**{**given, **fields})


def seen_at(time_s, sites=(), *, sequence=None, device="Fluoro", run=1, body=None, extensions=(), tracks=(), **view):
    """What a frame taken at a time says; frames come 15 to the second unless a sequence is given."""
    sequence = round(time_s * 15) + 1 if sequence is None else sequence
    front = cement_view(
        size=8,
        device=device,
        sequence=sequence,
        frame_number=view.pop("frame_number", sequence),
        received_ns=view.pop("received_ns", round(time_s * NS)),
        time_s=time_s,
        area_px=view.pop("area_px", 100.0),
        **{"pixel_from_patient": AP, "mm_per_px": 0.5, **view},
    )
    return CementSeen(
        run=run,
        view=front,
        sites=tuple(sites),
        extensions=tuple(extensions),
        tracks=tuple(tracks),
        body=body or CementBody(),
    )


def looking(direction):
    """A matrix whose central ray has a direction; nothing else of it is used."""
    length = math.sqrt(sum(part * part for part in direction))
    return (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, *(part / length for part in direction), 700.0)


AP = looking((0.0, -1.0, 0.0))
LATERAL = looking((1.0, 0.0, 0.0))


def zone(zone_id="Z1", site=ZoneSite.FORAMEN, *, side=None, kind=ZoneKind.KEEP_OUT, name=None, x_mm=0.0):
    return Zone(
        id=zone_id,
        name=f"zone {zone_id}" if name is None else name,
        site=site,
        kind=kind,
        side=side,
        shape=SphereShape(center_lps_mm=(x_mm, 0.0, 0.0), radius_mm=5.0),
    )
