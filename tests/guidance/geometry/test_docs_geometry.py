"""docs/geometry.md says what is so: its examples run, its table is read, its codes are those of the code."""

import re
import shlex
from pathlib import Path

import pytest

from drivers.cli import main
from guidance.geometry.calibration import calibration_table_from_text
from guidance.geometry.positioner import PATIENT_POSITIONS, lps_from_equipment, positioner_from_isocenter, wrap_deg

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "geometry.md").read_text(encoding="utf-8")
JUDGED = (
    "metadata",
    "positioner",
    "detector",
    "paired",
    "told",
    "told_patient",
    "camera",
    "trust",
    "calibration_table",
)
# What other callers of the same functions can meet, but no verdict can.
NOT_OF_A_VERDICT = {"bad_picture_size", "bad_principal_point", "bad_calibration_table"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_worked_example_runs():
    code = blocks("python")
    assert len(code) == 5
    exec(compile("\n".join(code), "docs/geometry.md", "exec"), {})


def test_the_calibration_table_is_read():
    (table,) = (calibration_table_from_text(text) for text in blocks("toml"))
    assert len(table.views) == 2


AXES = {"+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1), "-z": (0, 0, -1)}


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_the_table_of_patient_positions(position):
    (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| {position} |"))
    axes, primary, secondary, turn = (cell.strip() for cell in row.strip("|").split("|")[1:])
    expected = [AXES[name] for name in axes.split(", ")]
    assert lps_from_equipment(position).tolist() == [list(map(float, axis)) for axis in expected]
    for p, s in ((0.0, 0.0), (30.0, -20.0), (-100.0, 40.0)):
        found = positioner_from_isocenter(p, s, 0.0, position)
        names = {"P": p, "S": s}
        told = (eval(primary, names), eval(secondary, names), float(turn))
        assert found == pytest.approx((wrap_deg(told[0]), told[1], wrap_deg(told[2])))


def test_every_code_of_a_verdict_is_listed():
    listed = set(re.findall(r"`([a-z_]+)`", TEXT.partition("## The verdict")[2].partition("A foreign matrix")[0]))
    in_code = set()
    for name in JUDGED:
        source = (ROOT / "guidance" / "geometry" / f"{name}.py").read_text(encoding="utf-8")
        in_code |= set(re.findall(r'code="([a-z_]+)"', source))
    assert listed == in_code - NOT_OF_A_VERDICT


def test_the_command_line_example(capsys):
    (console,) = blocks("console")
    command, _, answer = console.replace("\\\n", " ").partition("\n")
    prompt, program, *arguments = shlex.split(command)
    assert (prompt, program) == ("$", "guidance")
    assert main(arguments) == 0
    assert capsys.readouterr().out == answer
