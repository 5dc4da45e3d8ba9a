"""What of a plan stays from frame to frame: tubes, colours, labels and aids, ready for pictures of one size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.config import OverlaySettings
from guidance.geometry.tube import Tubes, tubes_of_paths
from guidance.kernels import I32
from guidance.kernels.tubes import TubePlan
from guidance.messages import PlannedPath
from guidance.overlay.bands import band_color
from guidance.overlay.bulls_eye import Aids, aids_of
from guidance.overlay.colors import Rgb, rgb_of
from guidance.overlay.layout import Sheet, sheet_of
from guidance.overlay.stage_lines import Instrument, instrument_of
from guidance.overlay.text import text_bitmap
from guidance.overlay.zones import PathAid

NO_AID: Final = PathAid()
_FRAMES_KEPT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """What stays from frame to frame while plan, picture size and settings do; N drawn paths.

    Attributes:
        tubes, plan: the paths for the page's lines and for the kernel.
        colors, labels: of each.
        label_sizes: (N, 2) rows and columns.
        instruments: what each path's is.
        aids: of all paths, empty ones where planning told nothing; None without any, or switched off.
        band_colors: of each path's band.
        zone_labels: the setting.
    """

    sheet: Sheet
    drawn: tuple[PlannedPath, ...]
    drawn_ids: tuple[str, ...]
    tubes: Tubes
    plan: TubePlan
    colors: tuple[Rgb, ...]
    labels: tuple[str, ...]
    label_sizes: I32
    instruments: tuple[Instrument, ...]
    aids: Aids | None
    band_colors: tuple[Rgb, ...]
    zone_labels: bool

    @property
    def unmarked(self) -> bool:
        """Whether the kernel draws all paths; circles of a bull's-eye view aside."""
        return all(instrument.plain for instrument in self.instruments)

    @property
    def plain(self) -> bool:
        """Whether the kernel draws all of it."""
        return self.aids is None and self.unmarked


@lru_cache(maxsize=_FRAMES_KEPT)
def drawing_of(
    paths: tuple[PlannedPath, ...],
    known: tuple[PathAid | None, ...],
    placed: tuple[str, ...],
    rows: int,
    columns: int,
    settings: OverlaySettings,
) -> Drawing:
    """Make a plan ready to be drawn on pictures of one size.

    Args:
        paths: all of them; their colours are taken.
        known: of each path, its aid or None; () where there are no aids at all.
        placed: ids of the paths that are on the picture.
        rows, columns: of the picture.
    """
    sheet = sheet_of((rows, columns), settings, frozenset(rgb_of(path.color) for path in paths))
    drawn = tuple(path for path in paths if path.id in placed)
    aid_of = {path.id: aid for path, aid in zip(paths, known, strict=True) if aid} if known else {}
    tubes = tubes_of_paths(drawn, settings.depth_tick_mm)
    colors = tuple(rgb_of(path.color) for path in drawn)
    labels = tuple(path.label.strip() or path.id for path in drawn)
    sizes = [text_bitmap(label, sheet.size_px).coverage.shape for label in labels]
    return Drawing(
        sheet=sheet,
        drawn=drawn,
        drawn_ids=tuple(path.id for path in drawn),
        tubes=tubes,
        plan=TubePlan(
            tubes=tubes.numbers,
            tick_depth_mm=tubes.tick_depth_mm,
            tick_ends=np.array(tubes.tick_ends, np.int64),
            colors=np.array(colors, np.uint8).reshape(-1, 3),
        ),
        colors=colors,
        labels=labels,
        label_sizes=np.array(sizes, np.int32).reshape(-1, 2),
        instruments=tuple(instrument_of(path, aid_of.get(path.id, NO_AID).side_hole_depths_mm) for path in drawn),
        aids=aids_of(tuple((path, aid_of.get(path.id, NO_AID)) for path in drawn))
        if aid_of and settings.view_aids
        else None,
        band_colors=tuple(band_color(color, sheet.taken) for color in colors),
        zone_labels=settings.zone_labels,
    )
