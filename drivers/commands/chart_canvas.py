"""The ground of a chart: axes, ticks, legend and colours as SVG text; knows nothing of what is plotted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 400
COLORS: Final = ("#2f81d6", "#d9730d", "#2b9c6a", "#a06bd0", "#cf4466", "#8a8a2a", "#4aa3a8", "#7d7d86")
_DASHES: Final = ("", "7 4", "2 4", "9 3 2 3")
_RIGHT: Final = 18.0
_BOTTOM: Final = 58.0
_CHARACTER_PX: Final = 6.7  # mean width of the 12 px font
_TITLE_CHARACTER_PX: Final = 8.2
_EDGE: Final = 8.0
_LEGEND_LINE_PX: Final = 17.0
# One picture for pages of either kind: the viewer's scheme chooses; without one it is dark on white.
_STYLE: Final = """
svg { background: #ffffff; }
.ground { fill: #ffffff; }
.word { fill: #24292f; font: 12px system-ui, 'DejaVu Sans', Arial, sans-serif; }
.title { font-size: 14px; font-weight: 600; }
.axis { stroke: #57606a; fill: none; }
.grid { stroke: #d8dee4; fill: none; }
.mark { stroke: #57606a; fill: none; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; }
.ground { fill: #0d1117; }
.word { fill: #d6dde4; }
.axis, .mark { stroke: #9aa4ae; }
.grid { stroke: #2b323a; }
}
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """A limit or an aim, drawn across the whole chart.

    Attributes:
        value: where, in the axis' units.
        words: beside it.
        axis: `x`: an upright line, `y`: a level one.
    """

    value: float
    words: str
    axis: str = "x"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis' range on the paper.

    Attributes:
        low, high: shown range; low < high; both > 0 where `log`.
        words: what it shows, with its unit.
        log: decades instead of steps.
    """

    low: float
    high: float
    words: str
    log: bool = False

    def part(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        if self.log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def shows(self, value: float) -> bool:
        """Whether the value is a finite number within the range."""
        return math.isfinite(value) and self.low <= value <= self.high

    def ticks(self) -> list[float]:
        """Round numbers within the range."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            decades = [10.0**power for power in range(first, last + 1)]
            if len(decades) >= 3:
                return decades
            fine = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
            return [value for value in fine if self.low * 0.999 <= value <= self.high * 1.001]
        step = _round_step((self.high - self.low) / 6.0)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def axis_over(
    values: Sequence[float], words: str, *, limits: tuple[float, float] | None = None, log: bool = False
) -> Axis:
    """An axis that shows all finite values; a little wider than they are, and never of no width."""
    if limits is not None:
        return Axis(low=limits[0], high=limits[1], words=words, log=log)
    shown = [value for value in values if math.isfinite(value) and (value > 0.0 or not log)]
    if not shown:
        return Axis(low=0.1 if log else 0.0, high=1.0, words=words, log=log)
    low, high = min(shown), max(shown)
    if log:
        return Axis(low=low / 1.3, high=high * 1.3, words=words, log=True)
    if low >= 0.0 and low <= 0.5 * high:
        low = 0.0  # a chart of lengths begins at nothing
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(low=low if low == 0.0 else low - margin, high=high + margin, words=words)


class Canvas:
    """Collects the pieces of one chart.

    Args:
        x, y: its axes.
        title: over it.
        names: of the legend, in the order of the colours; empty names get no line in it.
        left_px: room for the words left of the y axis.
        height: of the picture; grows with the legend.
    """

    def __init__(
        self, x: Axis, y: Axis, *, title: str, names: Sequence[str] = (), left_px: float = 66.0, height: int = HEIGHT
    ) -> None:
        self.x, self.y, self._title = x, y, title
        self._pieces: list[str] = []
        self._legend = self._legend_pieces(names, left_px)
        self.left, self.right = left_px, WIDTH - _RIGHT
        self.top = 34.0 + self._legend_lines * _LEGEND_LINE_PX
        self._height = height + round(self._legend_lines * _LEGEND_LINE_PX)
        self.bottom = self._height - _BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies on the paper, px."""
        return (
            self.left + self.x.part(x) * (self.right - self.left),
            self.bottom - self.y.part(y) * (self.bottom - self.top),
        )

    def add(self, piece: str) -> None:
        """One SVG element."""
        self._pieces.append(piece)

    def words(self, x_px: float, y_px: float, text: str, *, anchor: str = "start", turn: bool = False) -> None:
        """A line of text."""
        turned = f' transform="rotate(-90 {x_px:.1f} {y_px:.1f})"' if turn else ""
        self.add(
            f'<text class="word" x="{x_px:.1f}" y="{y_px:.1f}" text-anchor="{anchor}"{turned}>{escape(text)}</text>'
        )

    def reference(self, reference: Reference) -> None:
        """A limit's line and its words; nothing where it lies outside."""
        upright = reference.axis == "x"
        if not (self.x if upright else self.y).shows(reference.value):
            return
        if upright:
            x_px, _ = self.at(reference.value, self.y.low)
            self._line("mark", x_px, self.top, x_px, self.bottom)
            fits = x_px + len(reference.words) * _CHARACTER_PX < self.right
            self.words(
                x_px + (4.0 if fits else -4.0), self.top + 12.0, reference.words, anchor="start" if fits else "end"
            )
        else:
            _, y_px = self.at(self.x.low, reference.value)
            self._line("mark", self.left, y_px, self.right, y_px)
            self.words(self.right - 4.0, y_px - 4.0, reference.words, anchor="end")

    def text(self, *, y_ticks: bool = True) -> str:
        """The whole picture.

        Args:
            y_ticks: False where what is plotted names its own places along y.
        """
        ground = f'<rect class="ground" width="{WIDTH}" height="{self._height}"/>'
        # Beside wide names a long title begins at the picture's edge.
        title_px = min(self.left, max(WIDTH - len(self._title) * _TITLE_CHARACTER_PX, _EDGE))
        title = f'<text class="word title" x="{title_px:.1f}" y="21">{escape(self._title)}</text>'
        grid, labels = self._axes(y_ticks)
        frame = (
            f'<rect class="axis" x="{self.left:.1f}" y="{self.top:.1f}" width="{self.right - self.left:.1f}" '
            f'height="{self.bottom - self.top:.1f}"/>'
        )
        parts = [ground, title, *self._legend, *grid, *self._pieces, frame, *labels]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._height}" width="{WIDTH}" '
            f'height="{self._height}" role="img" aria-label="{escape(self._title)}">\n<style>{_STYLE}</style>\n'
            + "\n".join(parts)
            + "\n</svg>\n"
        )

    def _axes(self, y_ticks: bool) -> tuple[list[str], list[str]]:
        kept, self._pieces = self._pieces, []
        for value in self.x.ticks():
            x_px, _ = self.at(value, self.y.low)
            self._line("grid", x_px, self.top, x_px, self.bottom)
        for value in self.y.ticks() if y_ticks else []:
            _, y_px = self.at(self.x.low, value)
            self._line("grid", self.left, y_px, self.right, y_px)
        grid, self._pieces = self._pieces, []
        for value in self.x.ticks():
            self.words(self.at(value, self.y.low)[0], self.bottom + 16.0, f"{value:.6g}", anchor="middle")
        for value in self.y.ticks() if y_ticks else []:
            self.words(self.left - 6.0, self.at(self.x.low, value)[1] + 4.0, f"{value:.6g}", anchor="end")
        half_px = len(self.x.words) * _CHARACTER_PX / 2.0
        middle_px = max(min((self.left + self.right) / 2.0, WIDTH - _EDGE - half_px), _EDGE + half_px)
        self.words(middle_px, self._height - 20.0, self.x.words, anchor="middle")
        if self.y.words:
            self.words(16.0, (self.top + self.bottom) / 2.0, self.y.words, anchor="middle", turn=True)
        labels, self._pieces = self._pieces, kept
        return grid, labels

    def _line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.add(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def _legend_pieces(self, names: Sequence[str], left_px: float) -> list[str]:
        kept, self._pieces = self._pieces, []
        x_px, line = left_px, 0
        for number, name in enumerate(names):
            if not name:
                continue
            wide = 30.0 + len(name) * _CHARACTER_PX
            if x_px > left_px and x_px + wide > WIDTH - _RIGHT:
                x_px, line = left_px, line + 1
            y_px = 38.0 + line * _LEGEND_LINE_PX
            self.add(
                f'<line x1="{x_px:.1f}" y1="{y_px:.1f}" x2="{x_px + 18.0:.1f}" y2="{y_px:.1f}" {stroke(number, 3.0)}/>'
            )
            self.words(x_px + 23.0, y_px + 4.0, name)
            x_px += wide + 10.0
        pieces, self._pieces = self._pieces, kept
        self._legend_lines = line + 1 if pieces else 0
        return pieces


def stroke(number: int, width: float = 2.0) -> str:
    """The n-th line's colour and dashes: told apart without colour too."""
    dash = _DASHES[number % len(_DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'fill="none" stroke="{COLORS[number % len(COLORS)]}" stroke-width="{width:g}"{dashes}'


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * 0.999)
