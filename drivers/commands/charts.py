"""Small charts as SVG text: lines, scatter, histogram, bars; readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.commands.chart_canvas import COLORS, Canvas, Reference, axis_over, stroke

__all__ = ["Reference", "Series", "bars_chart", "histogram_chart", "lines_chart", "scatter_chart"]

_NOTHING: Final = "no figures"
_BAR_PX: Final = 17
_LABEL_PX: Final = 6.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one colour shows.

    Attributes:
        name: in the legend; empty: not in it.
        x, y: of equal length; what is None, not finite, or not above 0 on a logarithmic axis is left out, and a line
            is broken there.
    """

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]

    def points(self) -> list[tuple[float, float]]:
        """All places; NaN where there is none."""
        return [(_number(x), _number(y)) for x, y in zip(self.x, self.y, strict=True)]


def lines_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_words: str,
    y_words: str,
    references: Sequence[Reference] = (),
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    marks: bool = False,
) -> str:
    """Lines over an axis.

    Args:
        references: limits and aims.
        x_limits, y_limits: shown range; None: all there is.
        marks: a dot at each value.

    Returns:
        The SVG document.
    """
    canvas = _canvas(series, title, (x_words, y_words), references, (x_limits, y_limits), (log_x, log_y))
    for number, one in enumerate(series):
        for run in _runs(canvas, one.points()):
            places = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            canvas.add(f'<polyline points="{places}" {stroke(number)} stroke-linejoin="round"/>')
            if marks or len(run) == 1:
                _dots(canvas, run, number, 3.0)
    return canvas.text()


def scatter_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_words: str,
    y_words: str,
    references: Sequence[Reference] = (),
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """A dot for each pair of values; arguments as of `lines_chart`."""
    canvas = _canvas(series, title, (x_words, y_words), references, (x_limits, y_limits), (log_x, log_y))
    for number, one in enumerate(series):
        for run in _runs(canvas, one.points()):
            _dots(canvas, run, number, 2.5)
    return canvas.text()


def histogram_chart(
    values: Mapping[str, Sequence[float | None]],
    *,
    title: str,
    x_words: str,
    bins: int = 30,
    x_limits: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
) -> str:
    """How often which value occurs, in percent of each group; several groups as outlines over each other.

    Args:
        values: by name; what is None or not finite is left out of the picture but counted in the legend.
        x_limits: shown range; what lies beyond is counted into the first or last bin, and the axis says so.
    """
    numbers = {name: np.array([_number(value) for value in group]) for name, group in values.items()}
    finite = {name: group[np.isfinite(group)] for name, group in numbers.items()}
    every = [float(value) for group in finite.values() for value in group]
    x = axis_over([*every, *(one.value for one in references if one.axis == "x")], x_words, limits=x_limits)
    edges = np.linspace(x.low, x.high, bins + 1)
    parts = {
        name: 100.0 * np.histogram(np.clip(group, x.low, x.high), edges)[0] / max(len(numbers[name]), 1)
        for name, group in finite.items()
    }
    beyond = sum(int(np.count_nonzero((group < x.low) | (group > x.high))) for group in finite.values())
    if beyond:
        x = axis_over([], f"{x_words} ({beyond} beyond the ends, counted in the last bin)", limits=(x.low, x.high))
    names = [_counted(name, len(group), len(finite[name])) for name, group in numbers.items()]
    highest = max((float(part.max()) for part in parts.values() if part.size), default=0.0)
    y = axis_over([0.0, highest or 1.0], "percent")
    canvas = Canvas(x, y, title=title, names=names)
    _references(canvas, references)
    for number, part in enumerate(parts.values()):
        corners = [canvas.at(float(edges[0]), 0.0)]
        for n, share in enumerate(part):
            corners += [canvas.at(float(edges[n]), float(share)), canvas.at(float(edges[n + 1]), float(share))]
        corners.append(canvas.at(float(edges[-1]), 0.0))
        places = " ".join(f"{x_px:.1f},{y_px:.1f}" for x_px, y_px in corners)
        canvas.add(f'<polygon points="{places}" fill="{COLORS[number % len(COLORS)]}" fill-opacity="0.22"/>')
        canvas.add(f'<polyline points="{places}" {stroke(number, 1.6)}/>')
    if not every:
        _say_nothing(canvas)
    return canvas.text()


def bars_chart(
    names: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    *,
    title: str,
    x_words: str,
    references: Sequence[Reference] = (),
    x_limits: tuple[float, float] | None = None,
    log_x: bool = False,
) -> str:
    """Level bars, one group per name from the top down, with their figures at the end; "none" where there is none.

    Args:
        names: of the groups.
        values: by series: one value per group.
    """
    every = [_number(value) for group in values.values() for value in group]
    marks = [one.value for one in references if one.axis == "x"]
    x = axis_over([*([] if log_x else [0.0]), *every, *marks], x_words, limits=x_limits, log=log_x)
    y = axis_over([], "", limits=(0.0, max(len(names), 1)))
    left_px = min(24.0 + max((len(name) for name in names), default=0) * _LABEL_PX, 400.0)
    thick = _BAR_PX / (1.0 if len(values) <= 1 else 0.62 * len(values))
    height = round(len(names) * (len(values) * thick + 7.0)) + 92
    legend = list(values) if len(values) > 1 else []
    canvas = Canvas(x, y, title=title, names=legend, left_px=left_px, height=height)
    _references(canvas, references)
    start = x.low if log_x or x.low > 0.0 else min(max(0.0, x.low), x.high)
    for row, name in enumerate(names):
        _, top = canvas.at(start, len(names) - row)
        canvas.words(canvas.left - 8.0, top + (len(values) * thick + 7.0) / 2.0 + 4.0, name, anchor="end")
        for number, group in enumerate(values.values()):
            y_px = top + 3.5 + number * thick
            value = _number(group[row])
            x0, _ = canvas.at(start, 0.0)
            x1 = x0
            if math.isfinite(value) and (value > 0.0 or not log_x):
                x1, _ = canvas.at(min(max(value, x.low), x.high), 0.0)
                canvas.add(
                    f'<rect x="{min(x0, x1):.1f}" y="{y_px:.1f}" width="{abs(x1 - x0):.1f}" height="{thick - 2.0:.1f}" '
                    f'fill="{COLORS[number % len(COLORS)]}"/>'
                )
            said = f"{value:.3g}" if math.isfinite(value) else "none"
            inside = x1 + len(said) * _LABEL_PX + 4.0 > canvas.right
            canvas.words(
                x1 + (-4.0 if inside else 4.0), y_px + thick / 2.0 + 3.0, said, anchor="end" if inside else "start"
            )
    if not names:
        _say_nothing(canvas)
    return canvas.text(y_ticks=False)


def _canvas(
    series: Sequence[Series],
    title: str,
    words: tuple[str, str],
    references: Sequence[Reference],
    limits: tuple[tuple[float, float] | None, tuple[float, float] | None],
    log: tuple[bool, bool],
) -> Canvas:
    points = [point for one in series for point in one.points()]
    x, y = (
        axis_over(
            [*(point[n] for point in points), *(one.value for one in references if one.axis == "xy"[n])],
            words[n],
            limits=limits[n],
            log=log[n],
        )
        for n in (0, 1)
    )
    canvas = Canvas(x, y, title=title, names=[one.name for one in series])
    _references(canvas, references)
    if not any(x.shows(u) and y.shows(v) for u, v in points):
        _say_nothing(canvas)
    return canvas


def _references(canvas: Canvas, references: Sequence[Reference]) -> None:
    for reference in references:
        canvas.reference(reference)


def _say_nothing(canvas: Canvas) -> None:
    canvas.words((canvas.left + canvas.right) / 2.0, (canvas.top + canvas.bottom) / 2.0, _NOTHING, anchor="middle")


def _runs(canvas: Canvas, points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Unbroken rows of places on the paper."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if canvas.x.shows(x) and canvas.y.shows(y):
            runs[-1].append(canvas.at(x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _dots(canvas: Canvas, run: Sequence[tuple[float, float]], number: int, radius: float) -> None:
    for x_px, y_px in run:
        canvas.add(
            f'<circle cx="{x_px:.1f}" cy="{y_px:.1f}" r="{radius:g}" fill="{COLORS[number % len(COLORS)]}" '
            f'fill-opacity="0.75"/>'
        )


def _counted(name: str, values: int, known: int) -> str:
    return f"{name} (n = {values}{f', {values - known} unknown' if known < values else ''})"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
