"""The 95 % band around each path: a thin line about the tube in a tint that is no path's, and its number in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.tube import Tubes
from guidance.kernels import F32, STROKE_NUMBERS
from guidance.messages import F64
from guidance.overlay.colors import CALM, Rgb, apart_from, mixed
from guidance.overlay.pieces import Line
from guidance.uncertainty.band import PathBands, path_bands
from guidance.uncertainty.values import PoseUncertainty

_WIDTH_PART: Final = 0.6  # of the line width
_TINT_PART: Final = 0.45  # of the path's colour, the rest white
_PLANE_FACTOR: Final = 1.248878  # sqrt(5.991465) / 1.959964: 95 % of a plane's distribution lie in the ellipse
# A dot and its gap, px of a picture of 1024 px, of which half is drawn; long paths have longer ones.
_DOT_PX: Final = 12.0
_FEWEST_DOTS: Final = 8
_MOST_DOTS: Final = 48  # each is a vector on the page
_PLACES: Final = np.arange(2 * _MOST_DOTS) / 2.0
_CAP_CORNERS: Final = 9
_CAP: Final = np.linspace(0.0, np.pi, _CAP_CORNERS)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnBands:
    """Bands of the drawn paths in one view; N paths.

    Attributes:
        bands: all their numbers.
        outlines_px: (N, C, 2) closed polygons around the tubes.
        told_mm: of each path, the largest half-width across it, from entry to target; where it is seen end on, what
            `ring_mm` is. None where it is not known.
        ring_mm: of each path, at its deeper end, the radius of the disc that counts where it is seen end on.
    """

    bands: PathBands
    outlines_px: F64
    told_mm: tuple[float | None, ...]
    ring_mm: tuple[float | None, ...]


def band_color(color: Rgb, taken: frozenset[Rgb]) -> Rgb:
    """A path's colour, darker; no path's own."""
    return apart_from(mixed(CALM, color, _TINT_PART), taken)


def drawn_bands(tubes: Tubes, pixel_from_patient: F64, uncertainty: PoseUncertainty) -> DrawnBands:
    """Where each path may lie with 95 %, around its tube of true diameter.

    Along the sides the line keeps the tube's half-width and the half-width of the band across the path from the
    centreline. Beyond the ends it bows out by the band along the path. Where the path is seen end on it is the
    ellipse of the plane's 95 %.

    Args:
        tubes: N paths.
        pixel_from_patient: (3, 4) as trusted.
    """
    axis = tubes.frames[:, 0]
    entries, targets = tubes.entry_lps_mm, tubes.entry_lps_mm + tubes.length_mm[:, None] * axis
    bands = path_bands(entries, targets, pixel_from_patient, uncertainty)
    radius_px = tubes.radius_mm[:, None] * bands.focal_px / bands.depth_mm
    center, way = bands.center_px, bands.way[:, None]
    normal = np.stack((-way[..., 1], way[..., 0]), axis=-1)
    seen_px = ((center[:, -1] - center[:, 0]) * bands.way).sum(axis=1)
    end_on = seen_px < 2.0 * radius_px.max(axis=1)
    plane = np.where(end_on, _PLANE_FACTOR, 1.0)[:, None]
    across = radius_px + plane * bands.across_px
    # An end's disc is seen as an ellipse: along the path it reaches as far as the ray runs along the axis.
    ends = [0, -1]
    rays = np.stack((entries, targets), axis=1) - bands.source_lps_mm
    cosine = np.abs((rays * axis[:, None]).sum(axis=2)) / np.sqrt((rays * rays).sum(axis=2))
    along = radius_px[:, ends] * cosine + plane * bands.along_px[:, ends]
    side = across[:, :, None] * normal
    cap = across[:, ends, None, None] * np.cos(_CAP)[:, None] * normal[:, None]
    bow = along[:, :, None, None] * np.sin(_CAP)[:, None] * way[:, None]
    outlines = np.concatenate(
        (
            center[:, :1] - cap[:, 0] - bow[:, 0],  # from one side round the entry to the other
            center[:, 1:-1] + side[:, 1:-1],
            center[:, -1:] + cap[:, 1] + bow[:, 1],
            (center - side)[:, -2:0:-1],
        ),
        axis=1,
    )
    deeper = np.where(bands.depth_mm[:, 0] > bands.depth_mm[:, -1], bands.disc_mm[:, 0], bands.disc_mm[:, -1])
    return DrawnBands(
        bands=bands,
        outlines_px=outlines,
        told_mm=_known(np.where(end_on, deeper, bands.across_mm.max(axis=1)), bands),
        ring_mm=_known(deeper, bands),
    )


def band_lines(
    drawn: DrawnBands, shown: Sequence[bool], colors: Sequence[Rgb], *, line_width_px: float, scale: float
) -> list[Line]:
    """The bands as dotted lines, for the page; the specification of `band_strokes`.

    Args:
        shown: of each path, whether its band is to be drawn.
        colors: of each band, from `band_color`.
        line_width_px: of the paths' outlines, at this picture's size.
        scale: picture size over 1024.
    """
    kept = _drawn(drawn, shown)
    dots, ends = _dots(drawn.outlines_px[kept], scale)
    width_px = _WIDTH_PART * line_width_px
    each = zip(kept, np.split(dots, ends[:-1]), strict=True) if kept else ()
    return [Line(own.reshape(-1, 2), colors[index], width_px, apart=True) for index, own in each]


def band_strokes(
    drawn: DrawnBands, shown: Sequence[bool], colors: Sequence[Rgb], *, line_width_px: float, scale: float
) -> F32:
    """(S, 8) strokes of `band_lines`, all paths at once."""
    kept = _drawn(drawn, shown)
    dots, ends = _dots(drawn.outlines_px[kept], scale)
    strokes = np.empty((len(dots), STROKE_NUMBERS), np.float32)
    strokes[:, :4] = dots
    strokes[:, 4] = _WIDTH_PART * line_width_px / 2.0
    begin = 0
    for index, end in zip(kept, ends, strict=True):
        strokes[begin:end, 5:] = colors[index]
        begin = end
    return strokes


def _drawn(drawn: DrawnBands, shown: Sequence[bool]) -> list[int]:
    return [index for index, both in enumerate(zip(shown, drawn.bands.known, strict=True)) if all(both)]


def _dots(polygons: F64, scale: float) -> tuple[F64, list[int]]:
    """Dots of closed polygons: (D, 4) their ends, and behind which of them each polygon's end."""
    count = len(polygons)
    corners = np.empty((count, polygons.shape[1] + 1), np.complex128)
    corners.real[:, :-1], corners.imag[:, :-1] = polygons[:, :, 0], polygons[:, :, 1]
    corners[:, -1] = corners[:, 0]
    # One run of lengths through all polygons, so that one interpolation does for all.
    steps = np.zeros(corners.shape)
    np.abs(corners[:, 1:] - corners[:, :-1], out=steps[:, 1:])
    at = steps.ravel().cumsum()
    ends: list[int] = []
    places: list[F64] = []
    begin = 0.0
    for whole in at[corners.shape[1] - 1 :: corners.shape[1]].tolist():
        number = min(max(round((whole - begin) / (_DOT_PX * scale)), _FEWEST_DOTS), _MOST_DOTS)
        places.append(_PLACES[: 2 * number] * ((whole - begin) / number) + begin)
        ends.append(number + (ends[-1] if ends else 0))
        begin = whole
    points = np.interp(np.concatenate(places or [np.zeros(0)]), at, corners.ravel()) if count else np.zeros(0, complex)
    dots: F64 = points.view(np.float64).reshape(-1, 4)
    return dots, ends


def _known(numbers: F64, bands: PathBands) -> tuple[float | None, ...]:
    return tuple([number if known else None for number, known in zip(numbers.tolist(), bands.known, strict=True)])
