"""Charts are well-formed SVG, put values where the axis says, and say when there is nothing to show."""

from __future__ import annotations

import json
import math
import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from drivers.cli import main
from drivers.commands import bench
from drivers.commands.chart_canvas import Axis, axis_over
from drivers.commands.charts import Reference, Series, bars_chart, histogram_chart, lines_chart, scatter_chart

_SVG = "{http://www.w3.org/2000/svg}"


def _parsed(text: str) -> ET.Element:
    root = ET.fromstring(text)
    assert root.tag == f"{_SVG}svg"
    left, top, width, height = (float(number) for number in root.attrib["viewBox"].split())
    assert (left, top) == (0.0, 0.0)
    for element in root.iter():
        for key in ("x", "x1", "x2", "cx"):
            assert -1.0 <= float(element.get(key, "0")) <= width + 1.0, (element.tag, element.attrib)
        for key in ("y", "y1", "y2", "cy"):
            assert -1.0 <= float(element.get(key, "0")) <= height + 1.0, (element.tag, element.attrib)
    assert "nan" not in text
    assert "prefers-color-scheme: dark" in text
    return root


def _words(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{_SVG}text")]


def _frame(root: ET.Element) -> tuple[float, float, float, float]:
    """left, top, right, bottom of the plotted field."""
    frame = next(one for one in root.iter(f"{_SVG}rect") if one.get("class") == "axis")
    x, y, width, height = (float(frame.attrib[key]) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def test_a_line_lies_where_its_axes_say() -> None:
    root = _parsed(
        lines_chart(
            [Series(name="one", x=[0.0, 5.0, 10.0], y=[0.0, 1.0, 2.0])],
            title="A & B <test>",
            x_words="time [s]",
            y_words="error [mm]",
            x_limits=(0.0, 10.0),
            y_limits=(0.0, 2.0),
        )
    )
    left, top, right, bottom = _frame(root)
    places = next(root.iter(f"{_SVG}polyline")).attrib["points"].split()
    corners = [tuple(float(number) for number in place.split(",")) for place in places]
    assert corners[0] == pytest.approx((left, bottom), abs=0.1)
    assert corners[1] == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.1)
    assert corners[2] == pytest.approx((right, top), abs=0.1)
    assert {"A & B <test>", "one", "time [s]", "error [mm]", "10"} <= set(_words(root))


def test_a_line_breaks_at_what_is_unknown() -> None:
    text = lines_chart(
        [Series(name="", x=[0, 1, 2, 3, 4, 5], y=[1.0, 2.0, None, math.nan, 3.0, math.inf])],
        title="t",
        x_words="x",
        y_words="y",
    )
    root = _parsed(text)
    runs = [one.attrib["points"].split() for one in root.iter(f"{_SVG}polyline")]
    assert [len(run) for run in runs] == [2, 1]
    assert len(list(root.iter(f"{_SVG}circle"))) == 1  # a single value is a dot, or it would not be seen


@pytest.mark.parametrize("log", [False, True])
def test_scatter_leaves_out_what_is_no_number(log: bool) -> None:
    series = [Series(name="a", x=[1.0, 2.0, None], y=[0.1, 10.0, 3.0]), Series(name="b", x=[-1.0], y=[-2.0])]
    root = _parsed(scatter_chart(series, title="t", x_words="x", y_words="y", log_x=log, log_y=log))
    assert len(list(root.iter(f"{_SVG}circle"))) == (2 if log else 3)


def test_histogram_counts_every_value_once() -> None:
    values = [0.5] * 3 + [1.5] * 6 + [99.0]
    root = _parsed(histogram_chart({"a": [*values, None]}, title="t", x_words="mm", bins=4, x_limits=(0.0, 2.0)))
    assert "a (n = 11, 1 unknown)" in _words(root)
    assert any("1 beyond the ends" in word for word in _words(root))
    _, top, _, bottom = _frame(root)
    corners = [place.split(",") for place in next(root.iter(f"{_SVG}polygon")).attrib["points"].split()]
    heights = [bottom - float(corner[1]) for corner in corners[1:-1:2]]
    assert heights[0] == pytest.approx(0.0, abs=0.1)
    # 0.5 falls on the edge of two bins of 0.5 and counts into the upper one; 99 into the last.
    assert heights[1] / heights[3] == pytest.approx(3 / 7, abs=0.01)
    assert heights[3] > 0.9 * (bottom - top)


def test_bars_are_as_long_as_their_values_and_say_them() -> None:
    root = _parsed(
        bars_chart(
            ["flip", "clock jump", "never noticed"],
            {"frames": [1.0, 2.0, None]},
            title="t",
            x_words="frames to notice",
            references=[Reference(value=1.5, words="limit")],
        )
    )
    bars = [float(one.attrib["width"]) for one in root.iter(f"{_SVG}rect") if one.get("class") is None]
    assert len(bars) == 2
    assert bars[1] == pytest.approx(2 * bars[0], rel=0.01)
    assert {"flip", "clock jump", "never noticed", "1", "2", "none", "limit"} <= set(_words(root))


@pytest.mark.parametrize(
    "text",
    [
        lines_chart([], title="t", x_words="x", y_words="y"),
        lines_chart([Series(name="a", x=[None], y=[1.0])], title="t", x_words="x", y_words="y", log_y=True),
        scatter_chart([], title="t", x_words="x", y_words="y"),
        histogram_chart({}, title="t", x_words="x"),
        histogram_chart({"a": [None]}, title="t", x_words="x"),
        bars_chart([], {}, title="t", x_words="x"),
    ],
)
def test_nothing_to_show_is_said(text: str) -> None:
    assert "no figures" in _words(_parsed(text))


def test_one_value_and_equal_values_have_an_axis() -> None:
    for values in ([3.0, 3.0], [0.0], [-2.0, -2.0]):
        axis = axis_over(values, "x")
        assert axis.low < axis.high
        assert all(axis.shows(value) for value in values)
    _parsed(histogram_chart({"a": [1.0, 1.0, 1.0]}, title="t", x_words="x"))


def test_ticks_are_round_and_inside() -> None:
    assert Axis(low=0.0, high=1.05, words="").ticks() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert Axis(low=0.05, high=200.0, words="", log=True).ticks() == pytest.approx([0.1, 1.0, 10.0, 100.0])
    assert Axis(low=0.9, high=6.0, words="", log=True).ticks() == pytest.approx([1.0, 2.0, 5.0])


def test_bench_writes_the_charts_of_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = types.ModuleType("fake_bench")
    vars(room)["run_fake"] = lambda *, quick: {"name": "fake", "figures": {"cases": 3 if quick else 30}}
    vars(room)["charts_of"] = lambda answer: {"fake-errors": f"<svg>{answer['figures']['cases']}</svg>"}
    monkeypatch.setattr(bench, "_BENCHMARKS", {"fake": ("fake_bench", "run_fake", "nothing")})
    monkeypatch.setitem(sys.modules, "fake_bench", room)
    folder = tmp_path / "new" / "plots"
    assert main(["bench", "fake", "--quick", "--json", "--plots", str(folder)]) == 0
    assert (folder / "fake-errors.svg").read_text() == "<svg>3</svg>"


def test_a_bench_without_charts_writes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room = types.ModuleType("fake_bench")
    vars(room)["run_fake"] = lambda *, quick: {"name": "fake"}
    monkeypatch.setattr(bench, "_BENCHMARKS", {"fake": ("fake_bench", "run_fake", "nothing")})
    monkeypatch.setitem(sys.modules, "fake_bench", room)
    assert main(["bench", "fake", "--json", "--plots", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "fake"}
    assert list(tmp_path.iterdir()) == []
