"""Pictures of a planned path for people: a sheet of slices, and its views as simulated radiographs; PNG files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from drivers.commands.picture_ink import write_png
from drivers.commands.plan_radiographs import RadiographRoom
from drivers.commands.plan_slices import slice_sheet
from guidance.config import OverlaySettings
from guidance.kernels.silhouette import Surface
from guidance.messages import PlannedPath, Vector3, Zone, ZoneSite
from guidance.overlay.zones import PathAid, ZonesOnPicture
from guidance.planning.answers import View, Views
from guidance.planning.c_arms import CArmModel
from guidance.planning.distance import DistanceField
from guidance.planning.instruments import InstrumentLibrary
from guidance.planning.path_solids import used_diameter_mm, widened_by
from guidance.planning.volume import PlanningVolume

OutlinedZone = tuple[Zone, DistanceField, Surface | None]

MOST_EN_FACE: Final = 2
_MOST_ZONES: Final = 10
_NEAR_MM: Final = 60.0
_NEAR_OTHER_MM: Final = 20.0
_AXIS_SAMPLES: Final = 33


def write_path_pictures(
    folder: Path,
    volume: PlanningVolume,
    path: PlannedPath,
    zones: Sequence[OutlinedZone],
    views: Views,
    *,
    c_arm: CArmModel,
    isocenter_lps_mm: Vector3 | None = None,
    others: Sequence[PlannedPath] = (),
    library: InstrumentLibrary | None = None,
    margin_mm: float | None = None,
    settings: OverlaySettings | None = None,
    name: str = "",
) -> list[Path]:
    """Write `<name>_slices.png`, and `<name>_bulls_eye.png`, `_progression_1.png`, ... of the path's best views.

    Args:
        folder: made where it is missing.
        zones: with the surface for the overlay; None: that zone is named as not shown. The radiographs have those
            beside the path, without bone, which is seen anyway.
        views: of this path; the reachable ones are shown, of a kind without any its first.
        isocenter_lps_mm: as given to `path_views`.
        others: more paths, drawn on the radiographs.
        library: names the instrument and says what it reaches beyond its shaft.
        margin_mm: what is left all round it, for the bull's-eye picture; None where it is not known.
        settings: what is drawn; None: as by default.
        name: files' first part; "" takes the path's label or id.

    Returns:
        The files, in the order of the list of views.

    Raises:
        OSError: a file cannot be written.
        GeometryError: `outside_ablation_table`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^0-9a-z]+", "_", (name or path.label or path.id).lower()).strip("_") or "path"
    instrument = library.find(path.instrument) if library else None
    sheet = slice_sheet(
        volume,
        replace(path, diameter_mm=used_diameter_mm(path, instrument)),
        [one[:2] for one in zones],
        instrument=instrument.name if instrument else "",
        widened=widened_by(path, instrument),
    )
    files = [write_png(folder / f"{stem}_slices.png", sheet)]
    room = RadiographRoom(volume, c_arm)
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    middle = (entry + target) / 2
    isocenter = isocenter_lps_mm or (float(middle[0]), float(middle[1]), float(middle[2]))
    shown = _beside(path, zones)
    on_picture = ZonesOnPicture(
        surfaces=tuple((zone, surface) for zone, _, surface in shown if surface is not None),
        missing=tuple(zone.name for zone, _, surface in shown if surface is None and zone.shown),
    )
    holes_mm = instrument.side_hole_depths_mm if instrument else ()
    aids = {path.id: PathAid(margin_mm=margin_mm, side_hole_depths_mm=holes_mm, views=views.views)}
    for suffix, view in _chosen(views):
        sheet = room.sheet(
            view, (path, *others), isocenter, zones=on_picture, aids=aids, settings=settings or OverlaySettings()
        )
        files.append(write_png(folder / f"{stem}_{suffix}.png", sheet))
    return files


def _beside(path: PlannedPath, zones: Sequence[OutlinedZone]) -> list[OutlinedZone]:
    """What a picture of a path shows of a whole body's segmentation: the nearest zones, other than bone and skin."""
    points = np.linspace(path.entry_lps_mm, path.target_lps_mm, _AXIS_SAMPLES)
    near = []
    for zone in zones:
        if zone[0].site in (ZoneSite.BONE, ZoneSite.SKIN):
            continue
        distance_mm = float(zone[1].distance_mm(points).min())
        if distance_mm < (_NEAR_OTHER_MM if zone[0].site is ZoneSite.OTHER else _NEAR_MM):
            near.append((zone[0].site is ZoneSite.OTHER, distance_mm, zone))
    return [zone for _, _, zone in sorted(near, key=lambda one: one[:2])[:_MOST_ZONES]]


def _chosen(views: Views) -> list[tuple[str, View]]:
    """File name endings and views: one bull's-eye, two progression views, the nearest foramina."""
    chosen = []
    for kind, most in (("bulls_eye", 1), ("progression", 2), ("en_face", MOST_EN_FACE)):
        of_kind = [view for view in views.views if view.kind == kind]
        shown = ([view for view in of_kind if view.reachable] or of_kind[:1])[:most]
        several = len(shown) > 1
        chosen += [(f"{kind}_{number}" if several else kind, view) for number, view in enumerate(shown, 1)]
    return chosen
