"""The extension itself: its stub, its instruction-set clones, and what is said where it is missing."""

import ast
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nanobind.stubgen import StubGen

from guidance.kernels import _core, instruction_set

STUB = Path(__file__).parents[3] / "guidance" / "kernels" / "_core.pyi"


def test_the_committed_stub_is_the_generated_one():
    generator = StubGen(_core, recursive=False)
    generator.put(_core)
    # Only the layout may differ: the committed one is formatted like the rest of the code.
    assert ast.dump(ast.parse(STUB.read_text())) == ast.dump(ast.parse(generator.get())), (
        "renew it: .venv/bin/python -m nanobind.stubgen -q -m guidance.kernels._core -o guidance/kernels/_core.pyi "
        "&& .venv/bin/ruff format guidance/kernels/_core.pyi"
    )


def test_the_instruction_set_is_named():
    assert instruction_set() in {"x86-64-v4", "x86-64-v3", "x86-64", "aarch64", "generic"}


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="clones are an x86-64 matter")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
@pytest.mark.parametrize("register", ["xmm", "ymm", "zmm"])
def test_the_window_loop_is_vectorised_in_every_clone(register):
    # Converting floats to integers by vectors occurs in the vectorised window loops and in nothing written by hand.
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", _core.__file__], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert re.search(rf"cvttps2dq\s.*%{register}", listing)


def test_without_the_core_the_import_fails_and_names_the_mend():
    code = "import sys; sys.modules['guidance.kernels._core'] = None; import guidance.kernels"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "ImportError" in ended.stderr
    assert "make setup" in ended.stderr
