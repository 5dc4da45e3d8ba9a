"""`guidance calibrate` from pictures in files to a table that the server takes its geometry from."""

import json

import cv2
import numpy as np
import pytest

from drivers.cli import main
from drivers.commands.calibrate_simulated import simulated_set, write_views
from guidance.calibration.phantom import built_in_phantom
from guidance.geometry.calibration import calibration_table_from_text
from guidance.geometry.camera import project
from guidance.geometry.metadata import read_metadata
from guidance.geometry.positioner import lps_from_equipment
from guidance.geometry.told import told_geometry

POSES = [(p, s) for p in (-10.0, 0.0, 10.0) for s in (-8.0, 0.0, 8.0)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Nine views as a site would have them, and the truth."""
    folder = tmp_path_factory.mktemp("views")
    made = simulated_set(built_in_phantom(), seed=3, poses_deg=POSES)
    write_views(made, folder)
    return folder, made


@pytest.fixture(scope="module")
def table_file(site, tmp_path_factory):
    folder, _ = site
    file = tmp_path_factory.mktemp("table") / "room3.toml"
    pose = folder / "pose" / "equipment_from_phantom.json"
    assert main(["calibrate", str(folder), "--phantom-pose", str(pose), "--out", str(file), "--suite", "Room 3"]) == 0
    return file


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFP"])
@pytest.mark.parametrize("pose", [(0.0, 0.0), (5.0, -4.0), (-7.0, 3.0)])
def test_pictures_to_the_servers_geometry(site, table_file, position, pose):
    """Contract form (c): a stream that tells angles, distance and isocentre, and a target in the patient."""
    _, made = site
    table = calibration_table_from_text(table_file.read_text(encoding="utf-8"))
    isocenter_lps = np.array((12.0, -30.0, 41.0))
    told = told_geometry(
        read_metadata(
            {
                "XRay.IsocenterPrimaryAngleDeg": str(pose[0]),
                "XRay.IsocenterSecondaryAngleDeg": str(pose[1]),
                "XRay.PatientPosition": position,
                "XRay.SourceToDetectorMm": "1195",
                "XRay.ImagerPixelSpacingMm": "0.3 0.3",
                "XRay.IsocenterLpsMm": "12 -30 41",
            }
        ),
        1024,
        1024,
        calibration=table,
    )
    assert told.source == "table"
    in_room = np.array([(x, y, z) for x in (-40.0, 40.0) for y in (-40.0, 40.0) for z in (-40.0, 40.0)])
    in_patient = in_room @ lps_from_equipment(position).T + isocenter_lps
    truth = project(in_room, made.gantry.pixel_from_equipment(*pose, approach=5))
    off_px = np.linalg.norm((project(in_patient, told.pixel_from_patient) - truth)[:, :2], axis=1)
    assert off_px.max() * 750.0 / 3983.0 < 0.1
    # The classic assumption, on the same pose, for the same points.
    ideal = read_metadata(
        {
            "XRay.IsocenterPrimaryAngleDeg": str(pose[0]),
            "XRay.IsocenterSecondaryAngleDeg": str(pose[1]),
            "XRay.PatientPosition": position,
            "XRay.SourceToDetectorMm": "1195",
            "XRay.SourceToIsocenterMm": "750",
            "XRay.ImagerPixelSpacingMm": "0.3 0.3",
            "XRay.IsocenterLpsMm": "12 -30 41",
        }
    )
    classic = project(in_patient, told_geometry(ideal, 1024, 1024).pixel_from_patient)
    assert np.linalg.norm((classic - truth)[:, :2], axis=1).min() * 750.0 / 3983.0 > 0.5


def test_the_table_tells_its_covariance(table_file):
    table = calibration_table_from_text(table_file.read_text(encoding="utf-8"))
    covariance = table.covariance_at(
        primary_deg=3.0, secondary_deg=2.0, detector_rotation_deg=0.0, source_to_detector_mm=1195.0
    )
    assert covariance.shape == (9, 9)
    assert table.suite == "Room 3"
    assert sorted((view.primary_deg, view.secondary_deg) for view in table.views) == sorted(POSES)


def test_check_knows_the_table(table_file, tmp_path, capsys):
    config = tmp_path / "guidance.toml"
    config.write_text(
        f'[data]\ndir = "{tmp_path / "data"}"\n[geometry]\ncalibration_table = "{table_file}"\n'
        "[http]\nport = 0\n[openigtlink]\ninput_port = 0\noutput_port = 0\n[dicom]\nenabled = false\n",
        encoding="utf-8",
    )
    main(["check", "--config", str(config), "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    (table,) = (check for check in checks if check["name"] == "calibration table")
    assert table["ok"]
    assert table["detail"].startswith("9 views")


def copied(folder, target) -> None:
    for file in folder.glob("*.*"):
        (target / file.name).write_bytes(file.read_bytes())


def geometry_of(folder, name, **changed) -> None:
    file = folder / f"{name}.json"
    view = json.loads(file.read_text(encoding="utf-8"))
    view["geometry"].update({f"XRay.{key}": value for key, value in changed.items()})
    file.write_text(json.dumps(view), encoding="utf-8")


def test_bad_views_are_named_with_code_and_mend(site, tmp_path, capsys):
    folder, _ = site
    copied(folder, tmp_path)
    picture = cv2.imread(str(tmp_path / "P+0_S+0.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(tmp_path / "P+0_S+0.png"), picture[:, ::-1])
    zoomed = cv2.resize(picture[112:912, 112:912], (1024, 1024), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(tmp_path / "P+10_S+0.png"), zoomed)
    cv2.imwrite(str(tmp_path / "P-10_S+0.png"), np.full((1024, 1024), 20000, np.uint16))
    geometry_of(tmp_path, "P+10_S+8", IsocenterSecondaryAngleDeg=-8.0)
    geometry_of(tmp_path, "P-10_S-8", SourceToDetectorMm=None)
    (tmp_path / "P-10_S+8.png").unlink()
    assert main(["calibrate", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    left_out = {one["name"]: one["code"] for one in answer["left_out"]}
    assert left_out == {
        "P+0_S+0": "mirrored_picture",
        "P+10_S+0": "another_zoom",
        "P-10_S+0": "too_few_beads",
        "P+10_S+8": "angle_sign",
        "P-10_S-8": "incomplete_geometry",
        "P-10_S+8": "no_file",
    }
    assert all(one["reason"] and one["mend"] for one in answer["left_out"])
    assert len(answer["views"]) == 3
    assert answer["isocenter"] == "views"


def test_an_existing_table_is_not_lost(site, table_file, capsys):
    folder, _ = site
    before = table_file.read_bytes()
    assert main(["calibrate", str(folder), "--out", str(table_file)]) == 2
    assert "--force" in capsys.readouterr().err
    assert table_file.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        pytest.param([], "--simulate", 2, id="nothing"),
        pytest.param(["nowhere"], "nowhere", 1, id="no-such-file"),
        pytest.param(["{empty}"], "no view file", 2, id="empty-folder"),
        pytest.param(["{site}", "--hold-out", "P9"], "'P9'", 2, id="unknown-view"),
        pytest.param(["{site}", "--hold-out-every", "1"], "leaves no view", 2, id="hold-out-all"),
        pytest.param(["{site}", "--phantom", "{site}/P+0_S+0.json"], "TOML", 2, id="phantom-no-toml"),
        pytest.param(["{site}", "--phantom-pose", "{site}/P+0_S+0.json"], "4x4", 2, id="pose-no-matrix"),
    ],
)
def test_wrong_use_is_one_line(site, tmp_path, capsys, words, said, code):
    named = [word.format(site=site[0], empty=tmp_path) for word in words]
    assert main(["calibrate", *named]) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert error.startswith("guidance calibrate: ")


def test_the_demonstration_needs_no_suite(capsys):
    assert main(["calibrate", "--simulate", "--step-deg", "50", "--seed", "2"]) == 0
    captured = capsys.readouterr()
    assert "a simulated suite, 3 views" in captured.err
    assert "view 3 of 3" in captured.err
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["P-50_S+0", "P+0_S+0", "P+50_S+0"]
    assert any("classic XA assumes" in line for line in lines)
    assert any("worst bead B" in line for line in lines)
    assert any(line.startswith("warning: ") for line in lines)
