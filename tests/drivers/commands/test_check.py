"""`guidance check`: what a start would find is told before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drivers.cli import main as run


def checked(folder: Path, planning: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    config = folder / "guidance.toml"
    ports = "[dicom]\nport = 0\n[openigtlink]\ninput_port = 0\noutput_port = 0\n[http]\nport = 0\n"
    config.write_text(f'[data]\ndir = "{folder / "data"}"\n{ports}[planning]\n{planning}\n', encoding="utf-8")
    code = run(["check", "--config", str(config), "--json"])
    return code, {
        each["name"]: each["detail"] for each in json.loads(capsys.readouterr().out)["checks"] if not each["ok"]
    }


def test_built_in_libraries_are_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, "", capsys) == (0, {})


def test_a_site_s_files_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pins.toml").write_text('[[instrument]]\nid = "x"\n', encoding="utf-8")
    planning = f'instruments = "{tmp_path / "pins.toml"}"\nc_arm = "nobody_s"\n'
    code, failed = checked(tmp_path, planning, capsys)
    assert code == 1
    assert set(failed) == {"instruments", "C-arm models"}
    assert "pins.toml" in failed["instruments"]
    assert "nobody_s" in failed["C-arm models"]
    code, failed = checked(tmp_path, f'c_arms = "{tmp_path / "none.toml"}"', capsys)
    assert (code, set(failed)) == (1, {"C-arm models"})
