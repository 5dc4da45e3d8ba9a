"""docs/calibration.md says what is so: its codes are the code's, its view file and its command are read."""

import json
import re
import tomllib
from pathlib import Path

import msgspec

from guidance.calibration.phantom import Bead
from guidance.calibration.told_view import told_view
from guidance.geometry.metadata import read_metadata
from guidance.wire.view_files import read_view

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
# Of the matrix within, never of a view; and what is said of the whole set.
NOT_OF_A_VIEW = {"not_a_projection", "no_usable_view", "pose_disagrees"}


def test_every_code_of_a_left_out_view_is_listed():
    in_code = set()
    for name in ("picture", "frame", "suite"):
        source = (ROOT / "guidance" / "calibration" / f"{name}.py").read_text(encoding="utf-8")
        in_code |= set(re.findall(r'code="([a-z_]+)"', source))
    assert in_code - NOT_OF_A_VIEW <= set(re.findall(r"`([a-z_]+)`", TEXT))


def test_the_view_file_is_read():
    (example,) = re.findall(r"```json\n(.*?)```", TEXT, flags=re.DOTALL)
    json.loads(example)
    view = read_view(example.encode(), origin="view.json")
    assert not view.ignored
    told = told_view("P", read_metadata(view.metadata), 1024, 1024)
    assert (told.primary_deg, told.source_to_detector_mm, told.pitch_mm) == (10.0, 1195.0, (0.3, 0.3))


def test_the_phantom_is_written_as_it_is_read():
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (bead,) = tomllib.loads(example)["bead"]
    assert msgspec.convert(bead, Bead, strict=True).name == "A1"
