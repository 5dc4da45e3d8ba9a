"""Makes docs/plots: `make plots` runs benchmarks in their short form and keeps their charts.

The figures that the charts were made from go into docs/geometry-trust.md, those of cement into docs/cement.md, between
their marks. The names of benchmarks may follow; without one, all of geometry trust. `--full` runs them whole.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from drivers.commands.bench import benchmark, write_charts
from drivers.commands.bench_faults import table_of

_DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
_PAGE: Final = _DOCS / "geometry-trust.md"
_PAGES: Final = {"cement": _DOCS / "cement.md"}
_NAMES: Final = ("calibration", "drr", "registration", "consistency", "uncertainty", "instruments", "faults")


def make_plots(names: Sequence[str], folder: Path, page: Path, *, quick: bool = True) -> list[str]:
    """Run benchmarks; write their charts, and their figures into the page.

    Args:
        names: of benchmarks.
        folder: where the charts go.
        page: Markdown; what stands between `<!-- NAME -->` and `<!-- end -->` is written anew.
        quick: their short form.

    Returns:
        What could not be made, in words.
    """
    missing = []
    for name in names:
        module, function = benchmark(name)
        try:
            room = importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing.append(f"{name}: not made, for {error.name} is not installed")
            continue
        answer = getattr(room, function)(quick=quick)
        if not write_charts(room, answer, folder):
            missing.append(f"{name}: offers no charts")
        blocks = {name: figures_text(answer, quick=quick)}
        if name == "faults":
            blocks["faults-table"] = table_of(answer)
        if hasattr(room, "tables_of"):
            blocks |= room.tables_of(answer)
        text = page.read_text(encoding="utf-8")
        missing += [f"{block}: has no place in {page.name}" for block in blocks if f"<!-- {block} -->" not in text]
        page.write_text(filled(text, blocks), encoding="utf-8")
        print(f"{name}: done", flush=True)
    return missing


def figures_text(answer: dict[str, Any], *, quick: bool) -> str:
    """A benchmark's figures in one paragraph, with the command and the machine."""
    machine = answer["machine"]
    figures = ", ".join(f"`{key}` {_word(value)}" for key, value in answer["figures"].items())
    aim = answer["settings"].get("aim") or answer["settings"].get("aims")
    lines = [
        f"`guidance bench {answer['name']}{' --quick' if quick else ''}` on {machine['processor']}, "
        f"{machine['usable_cores']} cores: {figures}."
    ]
    if isinstance(aim, dict):
        aim = ", ".join(f"`{key}` {_word(value)}" for key, value in aim.items())
    if aim:
        lines.append(f"Aim: {aim}.")
    return " ".join(lines)


def filled(page: str, blocks: dict[str, str]) -> str:
    """The page with each block between its marks."""
    for name, text in blocks.items():
        mark = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = mark.sub(lambda found, text=text: f"{found[1]}{text.rstrip()}\n{found[2]}", page)
    return page


def _word(value: Any) -> str:
    return "unknown" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def main(words: Sequence[str]) -> int:
    """Exit code: 0 where everything was made."""
    names = [word for word in words if not word.startswith("-")] or list(_NAMES)
    missing = []
    for name in names:
        missing += make_plots([name], _DOCS / "plots", _PAGES.get(name, _PAGE), quick="--full" not in words)
    for line in missing:
        print(line, file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
