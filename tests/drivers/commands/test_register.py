"""`guidance register`: known motions found from files of every kind, and what is wrong use, unusable or refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers.cli import main as run
from guidance.registration.values import small_motion
from simulators.cbct import write_cbct
from simulators.cbct_objects import CbctRun
from simulators.pelvis import ProceduralPelvis
from simulators.volumes import HuVolume
from tests.helpers.view_pictures import SIZE, geometry, matrix_of, radiograph, write_nifti, write_view

PIVOT = np.array([0.0, 0.0, -20.0])
MOTION = small_motion(np.array([4.0, -3.0, 5.0, 3.0, -2.0, 2.5]), PIVOT)
TARGETS = np.array([[x, y, z] for x in (-40.0, 0.0, 40.0) for y in (-20.0, 20.0) for z in (-50.0, 10.0)])


@pytest.fixture(scope="module")
def pelvis() -> HuVolume:
    return ProceduralPelvis().volume(2.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory, pelvis) -> Path:
    """ct.nii.gz, and ap.json, lat.json with their pictures of the moved patient."""
    folder = tmp_path_factory.mktemp("register")
    write_nifti(pelvis, folder / "ct.nii.gz")
    for name, primary, secondary in (("ap", 0.0, 0.0), ("lat", 80.0, 5.0)):
        told = geometry(primary, secondary)
        cv2.imwrite(str(folder / f"{name}.png"), radiograph(pelvis, MOTION, told))
        write_view(folder, name, f"{name}.png", told)
    return folder


def words(files: Path, *views: str | Path, volume: str = "ct.nii.gz") -> list[str]:
    given = ["register", "--volume", str(files / volume), "--threads", "2"]
    for view in views:
        given += ["--view", str(files / view)]
    return given


def answer(capsys, given: list[str]) -> dict:
    assert run([*given, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def error(capsys, given: list[str], code: int) -> str:
    """The one line that says what is wrong."""
    assert run(given) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("guidance register: ")]
    assert len(lines) == 1
    return lines[0]


def target_error_mm(told: dict, key: str = "seen_lps_from_volume_lps", motion: np.ndarray = MOTION) -> float:
    found = np.array(told[key])
    return float(np.linalg.norm((TARGETS @ (found - motion)[:3, :3].T) + (found - motion)[:3, 3], axis=1).max())


def test_two_views_find_a_known_motion(files, capsys):
    told = answer(capsys, words(files, "ap.json", "lat.json"))
    assert told["accepted"], told["reason"]
    assert target_error_mm(told) < 0.5
    assert np.array(told["covariance"]).shape == (6, 6)
    assert set(told) >= {"reason", "residual_px", "time_s", "pivot_lps_mm", "captured", "code"}
    assert [finding["code"] for finding in told["findings"]].count("frame_assumed") == 2


def test_one_view_is_right_where_it_can_see(files, capsys):
    told = answer(capsys, words(files, "ap.json"))
    assert told["accepted"], told["reason"]
    matrix = matrix_of(geometry(0.0))

    def pixels(motion: np.ndarray) -> np.ndarray:
        homogeneous = (TARGETS @ motion[:3, :3].T + motion[:3, 3]) @ matrix[:, :3].T + matrix[:, 3]
        return homogeneous[:, :2] / homogeneous[:, 2:]

    # 1.2 mm pixels are 0.75 mm at the isocentre.
    apart_mm = np.linalg.norm(pixels(np.array(told["seen_lps_from_volume_lps"])) - pixels(MOTION), axis=1) * 0.75
    assert apart_mm.max() < 0.7


def test_people_are_told_in_words(files, capsys):
    assert run(words(files, "ap.json", "lat.json")) == 0
    out = capsys.readouterr().out
    assert out.startswith("ACCEPTED: ")
    assert "a volume point x is seen at M x" in out
    assert "warning: " in out


@pytest.mark.parametrize("kind", ["npy", "tiff", "matrix", "turned", "log", "texts"])
def test_every_form_tells_the_same(kind, files, tmp_path, pelvis, capsys):
    views = []
    for name, primary, secondary in (("ap", 0.0, 0.0), ("lat", 80.0, 5.0)):
        told = geometry(primary, secondary)
        pixels = cv2.imread(str(files / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        image = f"{name}.{kind if kind in ('npy', 'tiff') else 'npy'}"
        if kind == "matrix":
            # Any scale and sign; rows as lists.
            told = {"XRay.ProjectionMatrix": (-3.7 * matrix_of(told)).tolist()}
        elif kind == "turned":
            told |= {"XRay.FovRotationDeg": 90, "XRay.FovFlip": True}
            pixels = np.fliplr(np.rot90(pixels, -1))
        elif kind == "log":
            told |= {"XRay.PixelIntensityRelationship": "LOG", "XRay.PixelIntensityRelationshipSign": -1}
            pixels = np.float32(10.0) - np.log(np.maximum(pixels, 1).astype(np.float32))
        elif kind == "texts":
            told = {key: " ".join(map(str, v)) if isinstance(v, list) else f"{v}" for key, v in told.items()}
        if image.endswith("npy"):
            np.save(tmp_path / image, pixels)
        else:
            cv2.imwrite(str(tmp_path / image), pixels)
        views.append(write_view(tmp_path, name, image, told))
    told = answer(capsys, words(files, *views))
    assert told["accepted"], told["reason"]
    assert target_error_mm(told) < 0.5


def test_a_dicom_volume_and_its_frame_of_reference(files, tmp_path, pelvis, capsys):
    cbct = CbctRun(patient_position="HFS")
    write_cbct(pelvis, cbct, tmp_path / "dicom")
    given = ["register", "--volume", str(tmp_path / "dicom"), "--threads", "2"]

    def view(name: str, *angles: float, **other: object) -> list[str]:
        image = str(files / f"{name}.png")
        return ["--view", str(write_view(tmp_path, f"{name}{len(other)}", image, geometry(*angles, **other)))]

    uid = cbct.frame_of_reference_uid
    same = [*view("ap", 0.0, FrameOfReferenceUID=uid), *view("lat", 80.0, 5.0, FrameOfReferenceUID=uid)]
    told = answer(capsys, [*given, *same])
    assert told["accepted"], told["reason"]
    assert target_error_mm(told) < 0.5
    assert "frame_assumed" not in [finding["code"] for finding in told["findings"]]
    line = error(capsys, [*given, *view("ap", 0.0, FrameOfReferenceUID="1.2.3")], 1)
    assert "another frame of reference (1.2.3)" in line
    assert "take the volume of that frame" in line
    assert "contradicts" in error(capsys, [*given, *view("ap", 0.0, PatientPosition="HFP", Live=1)], 1)


@pytest.mark.parametrize(
    ("told", "part"),
    [
        pytest.param({"ProjectionMatrix": [1, 2, 3]}, "XRay.ProjectionMatrix has 3 values", id="matrix-of-3"),
        pytest.param({"SourceToDetectorMm": None}, "missing XRay.SourceToDetectorMm", id="missing-key"),
        pytest.param({"PrimaryAngleDeg": float("nan")}, "XRay.PrimaryAngleDeg holds 'nan'", id="nan"),
        pytest.param({"SourceToDetectorMm": float("inf")}, "XRay.SourceToDetectorMm holds 'inf'", id="infinite"),
        pytest.param({"PrimaryAngleDeg": 200}, "from -180 to 180", id="out-of-range"),
        pytest.param({"PrimaryAngle": 0}, "nearest is XRay.PrimaryAngleDeg", id="misspelt"),
        pytest.param({"PrimaryAngleDeg": {"a": 1}}, "a text, a number", id="object"),
        pytest.param({"SourceToDetectorMm": 3000}, "source to detector 3000 mm", id="long-distance"),
        pytest.param({"IsocenterLpsMm": [0, 0, 2000]}, "outside the picture", id="isocentre-elsewhere"),
        pytest.param({"CollimatorPx": [0, 0, 900, 900]}, "the picture was cropped", id="another-size"),
        pytest.param({"CollimatorPx": [0, 0, 5]}, "has 3 values", id="blades-of-3"),
        pytest.param({"FovFlip": 2}, "XRay.FovFlip", id="flip-2"),
        pytest.param({"FovRotationDeg": 45}, "0, 90, 180 or 270", id="turn-45"),
        pytest.param({"Live": False}, "HELD", id="held"),
        pytest.param({"PixelIntensityRelationship": "lin"}, "LIN, LOG or DISP", id="relationship"),
        pytest.param({"PixelIntensityRelationshipSign": 0}, "1 or -1", id="sign"),
        pytest.param({"TableMm": [0, 0, 10]}, "table reference unknown", id="table"),
    ],
)
def test_what_a_live_frame_would_not_be_drawn_on_is_not_registered(told, part, files, tmp_path, capsys):
    view = write_view(tmp_path, "view", str(files / "ap.png"), geometry(0.0, **told))
    assert part in error(capsys, words(files, view), 1)


def test_a_mirrored_matrix_is_refused_unless_it_says_so(files, tmp_path, capsys):
    matrix = np.array([[-1.0, 0.0, SIZE - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ matrix_of(geometry(0.0))
    told = {"XRay.ProjectionMatrix": matrix.ravel().tolist()}
    view = write_view(tmp_path, "flipped", str(files / "ap.png"), told)
    assert "mirrored" in error(capsys, words(files, view), 1)
    flipped = tmp_path / "flipped.npy"
    np.save(flipped, np.fliplr(cv2.imread(str(files / "ap.png"), cv2.IMREAD_UNCHANGED)))
    view = write_view(tmp_path, "told", "flipped.npy", told | {"XRay.FovFlip": "1"})
    assert answer(capsys, words(files, view))["accepted"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is no JSON"),
        ("[]", "holds no view"),
        ('{"image": "ap.png"}', "has no geometry"),
        ('{"geometry": {}}', "names no image"),
        ('{"image": "ap.png", "geometry": {}, "geomtry": 1}', "members of a view are"),
        ('{"image": "ap.png", "geometry": {"XRay.Live": 1, "XRay.Live": 0}}', "stands in it twice"),
        ('{"image": "ap.png", "geometry": {}, "frame": 0}', "count from 1"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_no_view_file(text, part, files, tmp_path, capsys):
    path = tmp_path / "view.json"
    path.write_text(text)
    assert part in error(capsys, words(files, path), 1)


def test_wrong_use(files, tmp_path, capsys):
    assert "there is no file" in error(capsys, words(files, "nothing.json"), 2)
    nowhere = write_view(tmp_path, "nowhere", "nothing.png", geometry(0.0))
    assert "its place is relative to" in error(capsys, words(files, nowhere), 2)
    assert "given twice" in error(capsys, words(files, "ap.json", "ap.json"), 2)
    assert "at most 8" in error(capsys, words(files, *["ap.json"] * 9), 2)
    line = error(capsys, words(files, "ap.json", volume="ap.png"), 1)
    assert "is not read: it does not begin as a NIfTI file" in line
    for given in (words(files), [*words(files, "ap.json"), "--moving", str(files / "ct.nii.gz")]):
        with pytest.raises(SystemExit) as ended:
            run(given)
        assert ended.value.code == 2


def test_a_picture_that_shows_something_else_is_an_answer(files, tmp_path, capsys):
    noise = np.random.default_rng(3).integers(0, 60000, (SIZE, SIZE)).astype(np.uint16)
    np.save(tmp_path / "noise.npy", noise)
    view = write_view(tmp_path, "noise", "noise.npy", geometry(0.0))
    told = answer(capsys, words(files, view))
    assert told["accepted"] is False
    assert told["code"]
    assert told["reason"]
    assert run(words(files, view)) == 0
    assert capsys.readouterr().out.startswith(f"REFUSED ({told['code']}): ")


def test_a_second_volume_says_where_its_points_are_in_the_first(files, tmp_path, pelvis, capsys):
    # The patient lies elsewhere in the second scan: what was at x in the first is at MOTION x there.
    moved = HuVolume(pelvis.voxels_hu, MOTION @ pelvis.affine_lps_from_ijk, "second")
    write_nifti(moved, tmp_path / "second.nii.gz")
    given = ["register", "--volume", str(files / "ct.nii.gz"), "--moving", str(tmp_path / "second.nii.gz")]
    told = answer(capsys, given)
    assert told["accepted"], told["reason"]
    assert target_error_mm(told, "fixed_lps_from_moving_lps", np.linalg.inv(MOTION)) < 0.1
    assert "no_shared_frame" in [finding["code"] for finding in told["findings"]]
    assert run(given) == 0
    assert "--moving's point x is --volume's M x" in capsys.readouterr().out


def test_volumes_of_two_patient_ids(tmp_path, pelvis, capsys):
    thin = HuVolume(np.ascontiguousarray(pelvis.voxels_hu[60:110]), pelvis.affine_lps_from_ijk, "thin")
    for name, patient in (("a", "P1"), ("b", "P2")):
        write_cbct(thin, CbctRun(patient_id=patient), tmp_path / name)
    given = ["register", "--volume", str(tmp_path / "a"), "--moving", str(tmp_path / "b")]
    line = error(capsys, given, 1)
    assert "'P1'" in line
    assert "--other-patient-id" in line
    told = answer(capsys, [*given, "--other-patient-id"])
    assert told["accepted"], told["reason"]
    assert np.abs(np.array(told["fixed_lps_from_moving_lps"]) - np.eye(4)).max() < 0.01
