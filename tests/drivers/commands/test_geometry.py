"""`guidance geometry project`: the contract's words, the golden table, and one line for what is wrong."""

import json

import pytest

from drivers.cli import main as run

BASE = [
    *("geometry", "project", "--source-to-detector-mm", "1200", "--source-to-isocenter-mm", "750"),
    *("--pixel-spacing-mm", "0.3", "--size", "1024", "1024"),
]
AT_30_20 = ((735.43, 555.72), (594.19, 462.51), (511.50, 412.17))
POINTS = ["--point-lps-mm", "50,0,0", "0,30,0", "--point-lps-mm", "0,0,20"]


def answer(arguments, capsys):
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["points"]


def test_golden_row(capsys):
    points = answer([*BASE, "--primary-deg", "30", "--secondary-deg", "20", *POINTS], capsys)
    assert [point["lps_mm"] for point in points] == [[50.0, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 20.0]]
    for point, expected in zip(points, AT_30_20, strict=True):
        assert point["pixel_uv"] == pytest.approx(expected, abs=0.0051)
    assert points[0]["depth_mm"] == pytest.approx(773.49, abs=0.01)


def test_negative_numbers(capsys):
    arguments = [*BASE, "--primary-deg", "-30", "--secondary-deg", "-0.5", "--detector-rotation-deg", "-90"]
    points = answer([*arguments, "--isocenter-lps-mm=-5,0,0", "--point-lps-mm=-5,0,0"], capsys)
    assert points[0]["lps_mm"] == [-5.0, 0.0, 0.0]
    assert points[0]["pixel_uv"] == pytest.approx((511.5, 511.5))
    assert points[0]["depth_mm"] == pytest.approx(750.0)


def test_detector_rotation(capsys):
    arguments = [*BASE, "--primary-deg", "0", "--secondary-deg", "0", "--detector-rotation-deg", "90", *POINTS]
    points = answer(arguments, capsys)
    assert points[0]["pixel_uv"] == pytest.approx((511.50, 778.17), abs=0.0051)
    assert points[2]["pixel_uv"] == pytest.approx((618.17, 511.50), abs=0.0051)


def test_size_is_width_then_height_and_spacing_row_then_column(capsys):
    arguments = [
        *("geometry", "project", "--source-to-detector-mm", "1200", "--source-to-isocenter-mm", "750"),
        *("--pixel-spacing-mm", "0.6", "0.3", "--size", "1024", "512", "--primary-deg", "30", "--secondary-deg", "20"),
    ]
    for point, (u, v) in zip(answer([*arguments, *POINTS], capsys), AT_30_20, strict=True):
        assert point["pixel_uv"] == pytest.approx((u, (v + 0.5) / 2 - 0.5), abs=0.0051)


def test_equipment_angles_of_a_prone_patient(capsys):
    plain = answer([*BASE, "--primary-deg", "180", "--secondary-deg", "0", *POINTS], capsys)
    equipment = ["--primary-deg", "0", "--secondary-deg", "0", "--patient-position", "HFP"]
    for one, other in zip(answer([*BASE, *equipment, *POINTS], capsys), plain, strict=True):
        assert one["pixel_uv"] == pytest.approx(other["pixel_uv"])


def test_turn_flip_and_principal_point(capsys):
    turned = ["--fov-rotation-deg", "90", "--fov-flip", "--isocenter-projection-px", "500,480"]
    points = answer([*BASE, "--primary-deg", "0", "--secondary-deg", "0", *turned, "--point-lps-mm", "0,0,0"], capsys)
    # Clockwise: (1023 - 480, 500); then flipped.
    assert points[0]["pixel_uv"] == pytest.approx((480, 500))


def test_behind_the_source(capsys):
    arguments = [*BASE, "--primary-deg", "0", "--secondary-deg", "0", "--point-lps-mm", "0,800,0"]
    assert answer(arguments, capsys)[0] == {"lps_mm": [0.0, 800.0, 0.0], "pixel_uv": None, "depth_mm": -50.0}
    assert run(arguments) == 0
    assert "behind the source" in capsys.readouterr().out


def test_readable_answer(capsys):
    assert run([*BASE, "--primary-deg", "30", "--secondary-deg", "20", *POINTS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "735.43" in lines[1]
    assert "555.72" in lines[1]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--primary-deg", "200", "--secondary-deg", "0"],
        ["--primary-deg", "0", "--secondary-deg", "95"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--source-to-isocenter-mm", "1300"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--pixel-spacing-mm", "0"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--pixel-spacing-mm", "0.3", "0.3", "0.3"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--patient-position", "PRONE"],
    ],
)
def test_what_is_no_c_arm_is_one_line_and_exit_code_2(wrong, capsys):
    assert run([*BASE, *wrong, "--point-lps-mm", "0,0,0"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("guidance geometry project: ")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--primary-deg", "nan", "--secondary-deg", "0", "--point-lps-mm", "0,0,0"],
        ["--primary-deg", "left", "--secondary-deg", "0", "--point-lps-mm", "0,0,0"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--point-lps-mm", "0,0"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--point-lps-mm", "0,0,inf"],
        ["--primary-deg", "0", "--secondary-deg", "0"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--size", "0", "10", "--point-lps-mm", "0,0,0"],
        ["--primary-deg", "0", "--secondary-deg", "0", "--fov-rotation-deg", "45", "--point-lps-mm", "0,0,0"],
    ],
)
def test_wrong_use_is_exit_code_2(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        run([*BASE, *wrong])
    assert stopped.value.code == 2
    assert "--" in capsys.readouterr().err
