"""`make plots`: what benchmarks offer is written; one that cannot run here is named and stops nothing."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from drivers.commands import bench
from guidance.errors import ConfigError
from tests.make_plots import filled, make_plots


def test_charts_and_figures_are_written_and_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = {"processor": "Fast", "usable_cores": 2}
    answer = {"name": "room_with_charts", "figures": {"cases": 3, "error_mm": 0.123456}, "machine": machine}
    room, bare = types.ModuleType("room_with_charts"), types.ModuleType("room_without")
    for module in (room, bare):
        vars(module)["run"] = lambda *, quick: answer | {"settings": {"aim": f"few, {quick}"}, "series": {}}
        monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(room)["charts_of"] = lambda answer: {"room-errors": "<svg/>"}
    registry = {name: (name, "run", "") for name in ("room_with_charts", "room_without", "room_that_is_not_here")}
    monkeypatch.setattr(bench, "_BENCHMARKS", registry)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- room_with_charts -->\nold\nfigures\n<!-- end -->\nafter\n")
    missing = make_plots(list(registry), tmp_path / "plots", page)
    assert (tmp_path / "plots" / "room-errors.svg").read_text() == "<svg/>"
    words = "`guidance bench room_with_charts --quick` on Fast, 2 cores: `cases` 3, `error_mm` 0.1235. Aim: few, True."
    assert page.read_text() == f"before\n<!-- room_with_charts -->\n{words}\n<!-- end -->\nafter\n"
    assert [line.partition(":")[0] for line in missing] == ["room_without", "room_without", "room_that_is_not_here"]
    with pytest.raises(ConfigError, match="no benchmark"):
        make_plots(["gremlin"], tmp_path, page)


def test_a_block_ends_at_its_own_mark() -> None:
    page = "<!-- a -->\n<!-- end -->\nkept\n<!-- b -->\nold\n<!-- end -->\n"
    assert filled(page, {"b": "new"}) == "<!-- a -->\n<!-- end -->\nkept\n<!-- b -->\nnew\n<!-- end -->\n"
    assert filled(page, {"a": r"\1 and {b}"}).startswith("<!-- a -->\n\\1 and {b}\n<!-- end -->\nkept")
