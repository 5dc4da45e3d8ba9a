"""A case as files: what is told lies beside the pictures, the truth of each frame by itself, and both fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.cli import main
from simulators.cement.cases import case_of, grown, imaging_of, patient
from simulators.cement.files import write_case

SEED = 10_002
SIZE_PX = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    words = ["--seed", str(SEED), "--views", "ap", "--rate-hz", "2", "--duration-s", "9", "--size-px", str(SIZE_PX)]
    assert main(["simulate", "cement", str(folder), *words, "--json"]) == 0
    return folder


@pytest.fixture(scope="module")
def truth(folder: Path) -> Any:
    return json.loads((folder / "truth" / "truth.json").read_text())


def test_every_frame_has_its_truth(folder: Path, truth: Any) -> None:
    names = sorted(path.name for path in (folder / "Fluoro" / "frames").iterdir())
    assert [frame["file"] for frame in truth["frames"]] == names
    assert len(names) >= 18
    volumes = [frame["volume_ml"] for frame in truth["frames"]]
    assert volumes == sorted(volumes)
    assert volumes[-1] > 0.3
    grown_s = np.load(folder / "truth" / "growth.npz")
    voxel_ml = abs(np.linalg.det(grown_s["affine_lps_from_ijk"][:3, :3])) / 1000.0
    last = truth["frames"][-1]
    there = grown_s["capacity"][grown_s["arrival_s"] <= last["t_s"]].sum() * voxel_ml
    assert there == pytest.approx(last["volume_ml"], rel=0.1)
    assert sum(last["site_ml"].values()) == pytest.approx(last["volume_ml"], rel=1e-3)
    with np.load(folder / "truth" / "thickness" / "Fluoro" / names[-1].replace(".npy", ".npz")) as file:
        thickness_mm = file["thickness_mm"]
    assert thickness_mm.shape == (SIZE_PX, SIZE_PX)
    assert thickness_mm.max() > 3.0
    assert all(zone_id in {zone["id"] for zone in truth["zones"]} for zone_id in truth["first_contact_s"])


def test_the_pictures_are_those_of_the_case(folder: Path, truth: Any) -> None:
    case = replace(case_of(SEED), views="ap", rate_hz=2.0, duration_s=9.0, size_px=SIZE_PX)
    imaging = imaging_of(case, grown(case), patient(case))
    told = json.loads((folder / "Fluoro" / "geometry.json").read_text())
    before = len(told["reference"])
    pictures = [imaging.picture(0, (number - before) / case.rate_hz, number) for number in range(before + 1)]
    np.testing.assert_array_equal(np.load(folder / "Fluoro" / "reference" / "00000.npy"), pictures[0].pixels)
    np.testing.assert_array_equal(np.load(folder / "Fluoro" / "frames" / "00000.npy"), pictures[-1].pixels)
    assert told["frames"][0]["time_s"] == truth["frames"][0]["t_s"]
    assert told["frames"][0]["geometry"]["XRay.FrameOfReferenceUID"]
    assert not any("truth" in key or "Thickness" in key for key in told["frames"][0]["geometry"])


def test_the_offline_command_follows_it(folder: Path, truth: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "cement",
        "--reference",
        str(folder / "Fluoro" / "reference"),
        "--frames",
        str(folder / "Fluoro" / "frames"),
    ]
    words += ["--geometry", str(folder / "Fluoro" / "geometry.json"), "--brand", truth["brand"], "--json"]
    words += ["--zones", str(folder / "zones.json")]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["state"] == "tracking"
    assert [site["zone_id"] for site in answer["sites"]] == [zone["id"] for zone in truth["zones"]]
    with np.load(folder / "truth" / "thickness" / "Fluoro" / truth["frames"][-1]["file"].replace("npy", "npz")) as file:
        shadow_px = int(np.count_nonzero(file["thickness_mm"] > 0.5))
    assert answer["inputs"]["Fluoro"]["area_px"] == pytest.approx(shadow_px, rel=0.25)


def test_words_out_of_range_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--size-px", "1"], ["--rate-hz", "0"], ["--seed", "-1"], ["--dose", "nan"], ["--duration-s", "1"]):
        assert main(["simulate", "cement", str(tmp_path / "x"), *words]) == 2
        assert "out of its range" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["simulate", "cement", str(tmp_path / "file"), "--duration-s", "2", "--size-px", "64"]) == 2


def test_it_can_be_written_from_code(tmp_path: Path) -> None:
    case = replace(case_of(SEED), views="biplane", rate_hz=1.0, duration_s=2.0, size_px=64)
    written = write_case(case, tmp_path)
    assert written.inputs == ("FluoroA", "FluoroB")
    assert written.frames == len(list(tmp_path.glob("Fluoro*/frames/*.npy")))
    assert written.reference == len(list(tmp_path.glob("Fluoro*/reference/*.npy")))
