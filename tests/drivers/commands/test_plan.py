"""`guidance plan check|corridor|views`: the contract's answers on cases known in closed form, and what is wrong use."""

from __future__ import annotations

import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from drivers.cli import main as run
from simulators.cbct import write_cbct
from simulators.cbct_objects import CbctRun
from simulators.volumes import HuVolume

EDGE, SPACING_MM = 64, 2.0
RADIUS_MM = 9.0  # of the bone: a cylinder along x
PATH = ["--entry-lps-mm=-30,0,0", "--target-lps-mm", "30,0,0", "--diameter-mm", "4"]
ZONES = [
    {
        "name": "S1 left",
        "site": "foramen",
        "side": "left",
        "kind": "keep_out",
        "shape": {"type": "sphere", "center_lps_mm": [10, 15, 0], "radius_mm": 5},
    },
    {
        "name": "vein",
        "site": "vein",
        "kind": "keep_out",
        "shape": {"type": "tube", "points_lps_mm": [[0, -20, -30], [0, -20, 30]], "radius_mm": 3},
    },
]


def affine() -> np.ndarray:
    at = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    at[:3, 3] = -(EDGE - 1) / 2.0 * SPACING_MM
    return at


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, y, x of every voxel's centre."""
    line = (np.arange(EDGE) - (EDGE - 1) / 2.0) * SPACING_MM
    return tuple(np.meshgrid(line, line, line, indexing="ij"))


def body() -> HuVolume:
    """Soft tissue of 110 mm with a cylinder of bone, 80 mm long, in air; its edge as partial volume has it."""
    z, y, x = points()
    part = np.clip((RADIUS_MM - np.hypot(y, z)) / SPACING_MM + 0.5, 0.0, 1.0) * (np.abs(x) < 40.0)
    tissue = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(z)) < 55.0
    return HuVolume(np.where(tissue, 40 + 960 * part, -1000).astype(np.int16), affine(), "a cylinder")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """ct.nii.gz, labels.nii.gz (labels 25 and 79), names.json, zones.json, dicom/."""
    folder = tmp_path_factory.mktemp("plan")
    volume = body()
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine_lps_from_ijk
    nibabel.save(nibabel.Nifti1Image(volume.voxels_hu.transpose(2, 1, 0), ras), folder / "ct.nii.gz")
    z, y, x = points()
    labels = np.zeros(volume.voxels_hu.shape, np.uint8)
    labels[(np.hypot(y, z) < RADIUS_MM) & (np.abs(x) < 40.0)] = 25
    labels[np.sqrt((x - 10.0) ** 2 + (y - 15.0) ** 2 + z**2) < 5.0] = 79
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), ras), folder / "labels.nii.gz")
    (folder / "names.json").write_text(json.dumps({"25": "sacrum", "79": {"name": "ball", "site": "foramen"}}))
    (folder / "zones.json").write_text(json.dumps(ZONES))
    write_cbct(volume, CbctRun(patient_position="HFP", isocenter_lps_mm=(1.0, 2.0, 3.0)), folder / "dicom")
    return folder


def plan(files: Path, command: str, *words: str, volume: str = "ct.nii.gz") -> list[str]:
    return ["plan", command, "--volume", str(files / volume), *words]


def answer(capsys, words: list[str]) -> dict:
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def codes(told: dict) -> list[str]:
    return [finding["code"] for finding in told["findings"]]


def test_check_answers_as_http_does(files, capsys):
    told = answer(capsys, plan(files, "check", "--zones", str(files / "zones.json"), *PATH))
    assert told["length_mm"] == pytest.approx(60.0)
    ball, vein = told["zones"]
    assert (ball["name"], ball["zone_id"], ball["site"], ball["side"]) == ("S1 left", "Z1", "foramen", "left")
    # From the instrument's surface: 15 mm to the ball's middle, less both radii.
    assert ball["min_distance_mm"] == pytest.approx(8.0, abs=0.01)
    assert ball["at_depth_mm"] == pytest.approx(40.0, abs=0.5)
    assert ball["point_lps_mm"] == pytest.approx([10.0, 10.0, 0.0], abs=0.2)
    assert vein["min_distance_mm"] == pytest.approx(15.0, abs=0.01)
    # Where bone ends is told by CT values of whole voxels: up to one of them less, never more than there is.
    assert RADIUS_MM - 2.0 - SPACING_MM < told["bone_margin_mm"] < RADIUS_MM - 2.0 + 0.1
    assert told["mediolateral_deg"] == pytest.approx(90.0)


def test_check_of_a_label_map(files, capsys):
    words = ["--zones", str(files / "labels.nii.gz"), "--zone-names", str(files / "names.json"), *PATH]
    told = answer(capsys, plan(files, "check", *words))
    by_name = {zone["name"]: zone for zone in told["zones"]}
    assert by_name["ball"]["min_distance_mm"] == pytest.approx(8.0, abs=0.7)
    assert by_name["sacrum"]["min_distance_mm"] < 0.0
    assert (by_name["sacrum"]["site"], by_name["ball"]["site"]) == ("bone", "foramen")
    assert "label_names_assumed" not in codes(told)


def test_label_numbers_without_names_are_taken_for_totalsegmentators_and_that_is_said(files, capsys):
    told = answer(capsys, plan(files, "check", "--zones", str(files / "labels.nii.gz"), *PATH))
    assert {zone["name"] for zone in told["zones"]} == {"sacrum", "spinal_cord"}
    assert "label_names_assumed" in codes(told)
    named = plan(files, "check", "--zones", str(files / "labels.nii.gz"), "--zone-names", "totalsegmentator", *PATH)
    assert "label_names_assumed" not in codes(answer(capsys, named))


def test_a_path_that_hits_a_zone_is_an_answer(files, capsys):
    words = ["--zones", str(files / "zones.json"), "--entry-lps-mm", "10,50,0", "--target-lps-mm", "10,0,0"]
    words += ["--diameter-mm", "2"]
    told = answer(capsys, plan(files, "check", *words))
    assert told["zones"][0]["min_distance_mm"] == pytest.approx(-6.0, abs=0.1)
    assert run(plan(files, "check", *words)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("S1 left" in line and line.endswith("HIT") for line in lines)
    assert run(plan(files, "check", *words, "--permit", "S1 left")) == 0
    assert any("S1 left" in line and "permitted" in line for line in capsys.readouterr().out.splitlines())


def test_an_instrument_gives_its_diameter(files, capsys):
    words = ["--entry-lps-mm=-30,0,0", "--target-lps-mm", "30,0,0", "--instrument", "screw_7_3_full"]
    assert answer(capsys, plan(files, "check", *words))["diameter_mm"] == 7.3
    assert answer(capsys, plan(files, "check", *words, "--diameter-mm", "7.5"))["diameter_mm"] == 7.5


def test_views_of_a_dicom_volume(files, capsys):
    told = answer(capsys, plan(files, "views", "--zones", str(files / "zones.json"), *PATH, volume="dicom"))
    assert told["patient_position"] == "HFP"
    kinds = [view["kind"] for view in told["views"]]
    assert {"bulls_eye", "progression"} <= set(kinds)
    for view in told["views"]:
        assert -180.0 <= view["primary_deg"] <= 180.0
        assert -90.0 <= view["secondary_deg"] <= 90.0
        assert view["reason"]
    across = next(view for view in told["views"] if view["kind"] == "progression")
    # Perpendicular to the path, which runs along x: d = (sin P cos S, -cos P cos S, sin S).
    primary, secondary = math.radians(across["primary_deg"]), math.radians(across["secondary_deg"])
    assert math.sin(primary) * math.cos(secondary) == pytest.approx(0.0, abs=math.sin(math.radians(25.0)))


def test_a_nifti_volume_knows_no_patient_position_so_it_is_asked_for(files, capsys):
    told = answer(capsys, plan(files, "views", *PATH))
    assert told["views"]
    assert not any(view["reachable"] for view in told["views"])
    assert any("--patient-position" in finding["message"] for finding in told["findings"])
    placed = answer(capsys, plan(files, "views", *PATH, "--patient-position", "HFP"))
    assert placed["patient_position"] == "HFP"
    assert any(view["reachable"] for view in placed["views"])


def test_corridor_of_a_rod(files, tmp_path, capsys):
    # A search takes seconds where much bone has many lines of equal room: a thin rod has one.
    z, y, x = (axis[12:-12, 12:-12, 12:-12] for axis in points())
    part = np.clip((6.0 - np.hypot(y, z)) / SPACING_MM + 0.5, 0.0, 1.0) * (np.abs(x) < 30.0)
    at = affine()
    at[:3, 3] += 12 * SPACING_MM
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ at
    voxels = (40 + 960 * part).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), ras), tmp_path / "rod.nii.gz")
    words = ["plan", "corridor", "--volume", str(tmp_path / "rod.nii.gz"), "--level", "free", "--diameter-mm"]
    told = answer(capsys, [*words, "6", "--margin-mm", "1"])
    assert set(told) >= {"exists", "reason", "entry_lps_mm", "target_lps_mm", "margin_mm", "largest_diameter_mm"}
    assert told["exists"] is True
    assert abs(told["margin_mm"] - 3.0) < told["uncertainty_mm"] + 0.5
    assert told["largest_diameter_mm"] == pytest.approx(told["margin_mm"] * 2.0 + 6.0 - 2.0, abs=0.01)
    for end in ("entry_lps_mm", "target_lps_mm"):
        assert math.hypot(told[end][1], told[end][2]) < 2.0


def test_no_corridor_is_said_and_not_bent(files, capsys):
    words = plan(files, "corridor", "--level", "s1", "--diameter-mm", "7.3")
    told = answer(capsys, words)
    assert (told["exists"], told["entry_lps_mm"], told["margin_mm"]) == (False, None, None)
    assert told["reason"]
    assert told["search_s"] > 0.0
    assert run(words) == 0
    assert "NO corridor" in capsys.readouterr().out


def test_several_paths_of_a_markups_file(files, tmp_path, capsys):
    lines = [
        {
            "type": "Line",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "controlPoints": [
                {"id": "1", "label": f"{name}-1", "position": [-30.0, y, 0.0]},
                {"id": "2", "label": f"{name}-2", "position": [30.0, y, 0.0]},
            ],
        }
        for name, y in (("one", 0.0), ("two", 6.0))
    ]
    file = tmp_path / "two.mrk.json"
    file.write_text(json.dumps({"markups": lines}))
    told = answer(capsys, plan(files, "check", "--plan", str(file), "--diameter-mm", "4"))
    assert len(told["items"]) == 2
    other = told["items"][0]["paths"]
    assert [path["min_distance_mm"] for path in other] == [pytest.approx(2.0, abs=0.01)]


@pytest.mark.parametrize("command", ["check", "views"])
def test_readable_tables(files, capsys, command):
    assert run(plan(files, command, "--zones", str(files / "zones.json"), *PATH, volume="dicom")) == 0
    out = capsys.readouterr().out
    assert ("distance mm" if command == "check" else "primary") in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "no path", id="no path"),
        pytest.param(["--entry-lps-mm", "0,0,0", "--diameter-mm", "4"], "--target-lps-mm", id="half a path"),
        pytest.param(["--entry-lps-mm=-30,0,0", "--target-lps-mm", "30,0,0"], "--diameter-mm", id="no diameter"),
        pytest.param([*PATH[:1], "--target-lps-mm=-30,0,0", *PATH[3:]], "--target-lps-mm", id="no length"),
        pytest.param(["--entry-lps-mm", "900,0,0", "--target-lps-mm", "950,0,0", *PATH[3:]], "volume", id="elsewhere"),
        pytest.param(["--entry-lps-mm", "0,0,0", "--target-lps-mm", "0,59,0", *PATH[3:]], "swap", id="swapped"),
        pytest.param([*PATH, "--instrument", "a spoon"], "spoon", id="unknown instrument"),
        pytest.param([*PATH, "--permit", "nobody"], "nobody", id="unknown zone"),
        pytest.param([*PATH, "--zones", "missing.nii"], r"missing.nii", id="no such zones"),
        pytest.param([*PATH, "--zone-names", "missing.txt"], "missing.txt", id="no such names"),
        pytest.param([*PATH, "--config", "missing.toml"], "missing.toml", id="no such configuration"),
        pytest.param([*PATH, "--volume", "missing"], "missing", id="no such volume"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(files, capsys, words, said):
    assert run(plan(files, "check", *words)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("guidance plan: ")
    assert said in captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["check", *PATH, "--diameter-mm", "nan"],
        ["check", "--entry-lps-mm", "0,0", *PATH[1:]],
        ["corridor", "--level", "s3", "--diameter-mm", "7"],
        ["corridor", "--level", "s1", "--diameter-mm", "0"],
        ["corridor", "--level", "s1", "--diameter-mm", "7", "--margin-mm=-1"],
        ["views", *PATH, "--patient-position", "PRONE"],
        ["turn"],
    ],
)
def test_words_that_mean_nothing(files, capsys, words):
    with pytest.raises(SystemExit) as stopped:
        run(plan(files, *words))
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("zones.json", b'[{"name": "x"}]', "site", id="zone without a site"),
        pytest.param("zones.json", b'{"markups": []}', "--plan", id="markups as zones"),
        pytest.param("zones.json", b"[1", "JSON", id="broken JSON"),
        pytest.param("labels.nii.gz", b"\x1f\x8bnothing", "labels.nii.gz", id="broken label map"),
    ],
)
def test_a_bad_file_is_a_failure_named_in_one_line(files, tmp_path, capsys, name, content, said):
    (tmp_path / name).write_bytes(content)
    assert run(plan(files, "check", *PATH, "--zones", str(tmp_path / name))) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert name in captured.err
    assert said in captured.err


def test_zones_of_another_place_are_refused(files, tmp_path, capsys):
    image = nibabel.load(files / "labels.nii.gz")
    shifted = image.affine.copy()
    shifted[0, 3] += 5000.0
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), shifted), tmp_path / "far.nii.gz")
    assert run(plan(files, "check", *PATH, "--zones", str(tmp_path / "far.nii.gz"))) == 1
    assert "far.nii.gz" in capsys.readouterr().err
