"""Findings and depths made up from known lines in space."""

import numpy as np

from guidance.tracking.values import InstrumentDepth, InstrumentView, SeenInstrument
from tests.helpers.rods import path, projected, view

PLAN = path(label="S1 left")
TIP = np.array((5.0, -4.0, 2.0))
AXIS = np.array((-0.88, -0.42, 0.12)) / np.linalg.norm((-0.88, -0.42, 0.12))
SIDE = np.cross(AXIS, (0.0, 0.0, 1.0)) / np.linalg.norm(np.cross(AXIS, (0.0, 0.0, 1.0)))
VIEWS = (view(180.0, 25.0), view(180.0, -25.0), view(150.0, 0.0))


def points_of(tip=TIP, axis=AXIS, *, length_mm=90.0, bend_mm=0.0, count=2):
    back = np.linspace(length_mm, 0.0, count)[:, None]
    return tip - back * axis + 4.0 * bend_mm / length_mm**2 * back * back * SIDE


def seen_in(gantry, points, *, tip=True, noise_px=0.0, seed=0, along_px=0.0):
    rng = np.random.default_rng(seed)
    line = np.array([projected(gantry, point) for point in points]) + rng.normal(0.0, noise_px, (len(points), 2))
    heading = line[-1] - line[-2]
    line[-1] += along_px * heading / np.linalg.norm(heading)
    seen = SeenInstrument(
        path_id="P1",
        centreline_px=line,
        tip_px=(float(line[-1, 0]), float(line[-1, 1])) if tip else None,
        tip_sigma_px=0.3 if tip else None,
        tip_unknown="" if tip else "its tip is outside the picture",
        sigma_px=0.05,
        diameter_px=14.0,
        contrast=1.0,
        score=0.99,
        bend_px=0.0,
    )
    return InstrumentView(seen=seen, pixel_from_patient=gantry.pixel_from_patient())


def straight_steel(entry_px, tip_px, diameter_px):
    """As the search for instruments finds steel: one straight line."""
    return SeenInstrument(
        path_id="P1",
        centreline_px=np.array([entry_px, tip_px], np.float64),
        tip_px=(float(tip_px[0]), float(tip_px[1])),
        tip_sigma_px=1.0,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=float(diameter_px),
        contrast=1.0,
        score=0.9,
        bend_px=0.0,
    )


def told(**changes):
    fields = {
        "path_id": "P1",
        "depth_mm": 10.0,
        "to_target_mm": 23.4,
        "off_axis_mm": 0.0,
        "angle_deg": 0.0,
        "sigma_mm": 0.1,
        "views": 2,
    }
    return InstrumentDepth(**(fields | changes))
