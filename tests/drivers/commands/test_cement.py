"""`guidance cement`: pictures in, the server's answers out; a ball of known cement, and every wrong file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers.cli import main

SIZE = 128
KEYS = {
    "XRay.PrimaryAngleDeg": 0,
    "XRay.SecondaryAngleDeg": 0,
    "XRay.SourceToDetectorMm": 1200,
    "XRay.SourceToIsocenterMm": 750,
    "XRay.ImagerPixelSpacingMm": [0.8, 0.8],
    "XRay.IsocenterLpsMm": [0, 0, 0],
    "XRay.KVp": 80,
}
MM_PER_PX = 0.8 * 750.0 / 1200.0
OPACITY = 0.06
FRAMES = 20
BLUR_PX = 2.5
"""The tracker's own smoothing: the front lies where half a millimetre is left of the blurred edge."""


def _thickness_mm(number: int) -> np.ndarray:
    """A cylinder along the view, 8 mm thick, that grows; its radius in px."""
    v, u = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    away = np.hypot(u - 70.0, v - 60.0)
    return 8.0 * np.clip(_radius_px(number) - away + 0.5, 0.0, 1.0)


def _radius_px(number: int) -> float:
    return 4.0 + 0.6 * number


def _picture(number: int | None, seed: int) -> np.ndarray:
    """Bones that the motion search can hold on to, photons' noise, and cement from frame 0 on."""
    random = np.random.default_rng(5)
    body = cv2.GaussianBlur(random.normal(0.0, 1.0, (SIZE, SIZE)), (0, 0), 5.0)
    level = 4000.0 * np.exp(-0.3 * body / body.std())
    if number is not None:
        level = level * np.exp(-OPACITY * _thickness_mm(number))
    noise = np.random.default_rng(1000 + seed).normal(0.0, 0.02, level.shape)
    return np.clip(level * (1.0 + noise), 1.0, 65535.0).astype(np.uint16)


def _radius_of(area: float) -> float:
    return float(np.sqrt(area / np.pi))


def _write(path: Path, pixels: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, pixels)
        return
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reference").mkdir()
    (tmp_path / "frames").mkdir()
    for number in range(8):
        _write(tmp_path / "reference" / f"r{number}.png", _picture(None, number))
    for number in range(FRAMES):
        suffix = (".png", ".tif", ".npy")[number % 3]
        _write(tmp_path / "frames" / f"f{number}{suffix}", _picture(number, 100 + number))
    (tmp_path / "g.json").write_text(json.dumps({"geometry": KEYS, "rate_hz": 10}), encoding="utf-8")
    return tmp_path


def _words(folder: Path, *more: str) -> list[str]:
    words = ["cement", "--reference", f"{folder}/reference", "--frames", f"{folder}/frames"]
    return [*words, "--geometry", f"{folder}/g.json", *more]


def _answer(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict:
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)


def test_area_and_thickness_of_a_known_cylinder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = _answer(
        capsys,
        _words(
            folder,
            "--opacity-per-mm",
            str(OPACITY),
            "--mask-dir",
            f"{folder}/masks",
            "--thickness-dir",
            f"{folder}/mm",
            "--json",
        ),
    )
    assert answer["state"] == "tracking"
    assert [frame["file"] for frame in answer["frames"]][:3] == ["f0.png", "f1.tif", "f2.npy"]
    assert len(answer["frames"]) == FRAMES
    assert _radius_of(answer["area_mm2"]) / MM_PER_PX == pytest.approx(_radius_px(FRAMES - 1), abs=BLUR_PX)
    assert answer["volume_ml"] is None
    assert answer["reasons"]["volume_ml"]
    assert answer["front_speed_mm_s"] == pytest.approx(0.6 * MM_PER_PX * 10.0, rel=0.3)
    mask = cv2.imread(str(folder / "masks" / "f19.png"), cv2.IMREAD_UNCHANGED)
    truth = _thickness_mm(FRAMES - 1) > 0.5
    assert 2.0 * np.count_nonzero((mask > 0) & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth)) > 0.9
    thickness = np.load(folder / "mm" / "f19.npy")
    assert thickness.shape == (SIZE, SIZE)
    # There is no scatter in these pictures; without a volume some is supposed: 8 mm read as more, the interval tells.
    assert 7.5 < float(np.median(thickness[_thickness_mm(10) > 7.9])) < 13.0
    true_ml = np.pi * (_radius_px(FRAMES - 1) * MM_PER_PX) ** 2 * 8.0 / 1000.0
    assert answer["volume_low_ml"] < true_ml < answer["volume_high_ml"]


def test_without_opacity_the_front_is_followed_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = _answer(capsys, _words(folder, "--json"))
    assert answer["area_mm2"] > 10.0
    assert answer["volume_low_ml"] is None
    assert answer["inputs"]["Fluoro"]["thickness_mean_mm"] is None


def test_without_geometry_it_is_pixels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cement", "--reference", f"{folder}/reference", "--frames", f"{folder}/frames", "--json"]
    answer = _answer(capsys, words)
    assert answer["area_mm2"] is None
    radius_px = _radius_of(answer["inputs"]["Fluoro"]["area_px"])
    assert radius_px == pytest.approx(_radius_px(FRAMES - 1), abs=BLUR_PX)
    assert {finding["code"] for finding in answer["findings"]} >= {"no_pose", "rate_assumed"}
    assert answer["inputs"]["Fluoro"]["front_speed_px_s"] is None


def test_a_projection_matrix_gives_the_same_area(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_angles = _answer(capsys, _words(folder, "--json"))["area_mm2"]
    focal, middle = 1200.0 / 0.8, (SIZE - 1) / 2.0
    # 0/0, the detector in front of the chest: u along L, v against H, the source 750 mm behind the isocentre.
    matrix = [[focal, -middle, 0, middle * 750], [0, -middle, -focal, middle * 750], [0, -1, 0, 750]]
    flat = [value for row in matrix for value in row]
    for sign in (1.0, -3.0):
        keys = {"XRay.ProjectionMatrix": [sign * value for value in flat], "XRay.IsocenterLpsMm": [0, 0, 0]}
        (folder / "g.json").write_text(json.dumps(keys), encoding="utf-8")
        assert _answer(capsys, _words(folder, "--json"))["area_mm2"] == pytest.approx(by_angles, rel=0.02)


def test_one_picture_is_reference_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = _words(folder, "--json")
    words[2] = f"{folder}/reference/r0.png"
    answer = _answer(capsys, words)
    assert _radius_of(answer["area_mm2"]) / MM_PER_PX == pytest.approx(_radius_px(FRAMES - 1), abs=1.5 * BLUR_PX)


def test_a_zone_in_the_way_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The cylinder's middle is 6.5 px to the right of the picture's: L +3.25 mm, and 3.5 px above: H +1.75 mm.
    zones = [
        {
            "name": "foramen",
            "site": "foramen",
            "side": "left",
            "kind": "keep_out",
            "shape": {"type": "sphere", "center_lps_mm": [18.0, 0, 1.75], "radius_mm": 4.0},
        }
    ]
    (folder / "zones.json").write_text(json.dumps(zones), encoding="utf-8")
    answer = _answer(capsys, _words(folder, "--zones", f"{folder}/zones.json", "--json"))
    (site,) = answer["sites"]
    edge_mm = 3.25 + _radius_px(FRAMES - 1) * MM_PER_PX
    assert site["distance_mm"] == pytest.approx(14.0 - edge_mm, abs=(BLUR_PX + 0.5) * MM_PER_PX)
    assert answer["frames"][-1]["sites"][0]["zone_id"] == site["zone_id"]


def test_lines_are_one_object_per_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_words(folder, "--lines")) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == FRAMES
    assert lines[-1]["state"] == "tracking"


def test_a_broken_picture_is_told_and_the_next_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "frames" / "f3.png").write_bytes(b"no picture")
    answer = _answer(capsys, _words(folder, "--json"))
    assert "no PNG" in answer["frames"][3]["reason"]
    assert "state" not in answer["frames"][3]
    assert answer["frames"][4]["state"] == "tracking"
    assert any("f3.png" in finding["message"] for finding in answer["findings"])


def test_a_black_and_a_smaller_frame_are_lost_and_the_next_is_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(folder / "frames" / "f3.png", np.zeros((SIZE, SIZE), np.uint16))
    _write(folder / "frames" / "f4.tif", _picture(4, 1)[: SIZE // 2])
    answer = _answer(capsys, _words(folder, "--json"))
    states = [frame["state"] for frame in answer["frames"]]
    assert states[3] == states[4] == "lost"
    assert states[5] == "tracking"
    assert answer["frames"][4]["reason"]


def test_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_words(folder, "--brand", "baso4_30")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("mm2" in line for line in lines) >= FRAMES - 1


def test_the_installed_command(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drivers.cli", *_words(folder, "--opacity-per-mm", str(OPACITY), "--json")],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["state"] == "tracking"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        pytest.param(["--brand", "plaster"], 2, "baso4_30", id="brand"),
        pytest.param(["--opacity-per-mm", "9"], 2, "per mm", id="opacity"),
        pytest.param(["--opacity-per-mm", "nan"], 2, "not finite", id="nan"),
        pytest.param(["--frames", "elsewhere"], 2, "one of each", id="two-frames"),
        pytest.param(["--volume", "nowhere.nii"], 2, "nowhere.nii", id="no-volume"),
        pytest.param(["--zones", "nowhere.json"], 2, "nowhere.json", id="no-zones"),
    ],
)
def test_wrong_use(folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, words: str) -> None:
    try:
        returned = main(_words(folder, *more))
    except SystemExit as left:
        returned = int(str(left.code))
    assert returned == code
    told = capsys.readouterr().err
    assert words in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        pytest.param(lambda one: (one / "g.json").unlink(), 2, "g.json", id="no-geometry-file"),
        pytest.param(lambda one: (one / "g.json").write_text("{"), 1, "JSON", id="no-json"),
        pytest.param(
            lambda one: (one / "g.json").write_text(json.dumps([KEYS] * 5)), 2, "5 frames", id="another-number"
        ),
        pytest.param(
            lambda one: [file.unlink() for file in (one / "frames").iterdir()], 2, "no picture", id="no-frames"
        ),
        pytest.param(
            lambda one: [file.write_bytes(b"x") for file in (one / "reference").iterdir()],
            1,
            "reference",
            id="bad-reference",
        ),
        pytest.param(
            lambda one: [file.write_bytes(b"x") for file in (one / "frames").iterdir()], 1, "none of", id="bad-frames"
        ),
    ],
)
def test_wrong_files(folder: Path, capsys: pytest.CaptureFixture[str], spoil, code: int, words: str) -> None:
    spoil(folder)
    assert main(_words(folder, "--json")) == code
    told = capsys.readouterr().err
    assert words in told
    assert len(told.splitlines()) == 1


def test_zones_need_to_know_where_the_isocentre_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {key: value for key, value in KEYS.items() if key != "XRay.IsocenterLpsMm"}
    (folder / "g.json").write_text(json.dumps(keys), encoding="utf-8")
    answer = _answer(capsys, _words(folder, "--json"))
    assert answer["area_mm2"] is not None
    assert any("isocentre" in finding["message"] for finding in answer["findings"])
    sphere = {"type": "sphere", "center_lps_mm": [0, 0, 0], "radius_mm": 4.0}
    zones = [{"name": "z", "site": "foramen", "side": "left", "kind": "keep_out", "shape": sphere}]
    (folder / "zones.json").write_text(json.dumps(zones), encoding="utf-8")
    assert main(_words(folder, "--zones", f"{folder}/zones.json", "--json")) == 1
    assert "XRay.IsocenterLpsMm" in capsys.readouterr().err


def test_display_processed_pictures_have_a_front_and_no_thickness(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {**KEYS, "XRay.PixelIntensityRelationship": "DISP"}
    (folder / "g.json").write_text(json.dumps({"geometry": keys, "rate_hz": 10}), encoding="utf-8")
    answer = _answer(capsys, _words(folder, "--brand", "baso4_30", "--thickness-dir", f"{folder}/mm", "--json"))
    assert answer["area_mm2"] is not None
    assert answer["volume_ml"] is answer["volume_low_ml"] is answer["volume_high_ml"] is None
    assert answer["reasons"]["volume_ml"]
    assert not list((folder / "mm").iterdir())


def test_a_held_picture_is_not_followed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [{"XRay.Live": int(number != 5)} for number in range(FRAMES)]
    told = {"geometry": KEYS, "frames": frames, "rate_hz": 10}
    (folder / "g.json").write_text(json.dumps(told), encoding="utf-8")
    answer = _answer(capsys, _words(folder, "--json"))
    assert answer["frames"][5]["reason"] == "the picture is not live"
    assert answer["frames"][6]["state"] == "tracking"


def test_two_planes_are_followed_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = _answer(capsys, [*_words(folder), *_words(folder, "--json")[1:]])
    assert set(answer["inputs"]) == {"FluoroA", "FluoroB"}
    assert len(answer["frames"]) == 2 * FRAMES
    assert [frame["input"] for frame in answer["frames"][:4]] == ["FluoroA", "FluoroB", "FluoroA", "FluoroB"]


def test_the_reference_may_lie_among_the_frames(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        _write(folder / "frames" / f"a{number}.png", _picture(None, 50 + number))
    words = _words(folder, "--json")
    words[2] = f"{folder}/frames/a0.png"
    answer = _answer(capsys, words)
    assert [frame["file"] for frame in answer["frames"]][:2] == ["a1.png", "f0.png"]
    assert any(finding["code"] == "reference_taken_out" for finding in answer["findings"])
    words[2] = words[4]
    assert main(words) == 2
