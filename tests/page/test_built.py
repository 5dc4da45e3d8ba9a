"""The committed scripts of the page are those of its TypeScript sources; needs no Node.js."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "drivers" / "page"
SOURCES = sorted(path.stem for path in (PAGE / "src").glob("*.ts") if path.stem != "types")


@pytest.mark.parametrize("name", SOURCES)
def test_script_is_built_from_the_present_source(name: str) -> None:
    script = (PAGE / "built" / f"{name}.js").read_text(encoding="utf-8")
    digest = hashlib.sha256((PAGE / "src" / f"{name}.ts").read_bytes()).hexdigest()
    assert f"sha256 {digest};" in script.partition("\n")[0], "run `make page`"


def test_no_script_is_left_without_a_source() -> None:
    assert sorted(path.stem for path in (PAGE / "built").glob("*.js")) == SOURCES
