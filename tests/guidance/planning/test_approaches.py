"""Which approach a drawn path is: by bones, joints, level and direction; never a guess told as a fact."""

from __future__ import annotations

import pytest

from guidance.errors import ConfigError, GeometryError
from guidance.messages import Vector3, Zone, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.approaches import (
    approaches_of,
    classify,
    clinical_angles_deg,
    part_of,
    permitted_zones,
    templates,
)
from guidance.planning.instruments import instrument_library
from tests.helpers.closed_fields import Ball, Rod, Slab, zone

TARGET = ZoneKind.TARGET


def bone(name: str, side: ZoneSide | None = None, level: str = "") -> Zone:
    return zone(name, ZoneSite.BONE, TARGET, side=side, level=level)


# A pelvis of walls: the sacrum about the midline, a joint and an ilium at either side; S1 above z = 0, S2 below.
SACRUM = (bone("sacrum"), Slab((1.0, 0.0, 0.0), 0.0, 40.0))
ILIUM_LEFT = (bone("hip_left", ZoneSide.LEFT), Slab((1.0, 0.0, 0.0), 55.0, 12.0))
ILIUM_RIGHT = (bone("hip_right", ZoneSide.RIGHT), Slab((1.0, 0.0, 0.0), -55.0, 12.0))
JOINTS = (
    (zone("JL", ZoneSite.SI_JOINT, side=ZoneSide.LEFT), Slab((1.0, 0.0, 0.0), 41.5, 1.4)),
    (zone("JR", ZoneSite.SI_JOINT, side=ZoneSide.RIGHT), Slab((1.0, 0.0, 0.0), -41.5, 1.4)),
)
S1 = (bone("vertebrae_S1", level="S1"), Rod((-30.0, 0.0, 20.0), (30.0, 0.0, 20.0), 15.0))
S2 = (bone("S2", level="S2"), Rod((-30.0, 0.0, -15.0), (30.0, 0.0, -15.0), 12.0))
PELVIS = [SACRUM, ILIUM_LEFT, ILIUM_RIGHT, *JOINTS, S1, S2]


@pytest.mark.parametrize(
    ("entry", "target", "expected"),
    [
        pytest.param((20, 60, 20), (20, 0, 10), "short_axis", id="short-axis"),
        pytest.param((35, 60, 20), (5, 10, 10), "short_axis_angulated", id="angulated"),
        pytest.param((10, 20, -60), (10, 5, 30), "long_axis", id="long-axis"),
        pytest.param((75, 60, 20), (25, 5, 20), "transiliac", id="transiliac"),
        pytest.param((80, 10, 20), (-5, 0, 20), "iliosacral", id="iliosacral-left"),
        pytest.param((-80, 10, 20), (5, 0, 20), "iliosacral", id="iliosacral-right"),
        pytest.param((80, 0, 20), (-80, 0, 20), "trans_sacral_s1", id="trans-sacral-s1"),
        pytest.param((-80, 0, -15), (80, 0, -15), "trans_sacral_s2", id="trans-sacral-s2"),
        pytest.param((60, 30, 80), (20, 0, 22), "iliac_crest_s1", id="iliac-crest"),
        pytest.param((50, 60, 20), (55, -20, -10), "arcuate_line", id="arcuate"),
        pytest.param((60, -60, 10), (50, 20, 0), "acetabular_anterolateral", id="acetabular"),
    ],
)
def test_each_template_with_all_zones(entry: Vector3, target: Vector3, expected: str) -> None:
    match = classify(entry, target, PELVIS)
    assert match.id == expected, match.reason
    assert "by direction only" not in match.reason
    assert match.reason


def test_transpedicular_in_a_vertebra() -> None:
    spine = [(bone("vertebrae_L4", level="L4"), Ball((0.0, 0.0, 200.0), 25.0)), SACRUM]
    spine[1] = (SACRUM[0], Ball((0.0, 0.0, 100.0), 30.0))
    match = classify((25.0, 70.0, 205.0), (5.0, 5.0, 200.0), spine)
    assert match.id == "transpedicular"


def test_every_template_of_the_issue_is_there() -> None:
    ids = {template.id for template in templates()}
    assert ids == {
        "short_axis", "short_axis_angulated", "long_axis", "transiliac", "iliosacral", "trans_sacral_s1",
        "trans_sacral_s2", "iliac_crest_s1", "arcuate_line", "acetabular_anterolateral", "transpedicular",
    }  # fmt: skip
    library = instrument_library()
    assert all(library.find(template.instrument) for template in templates())


def test_without_zones_the_direction_alone_is_told_as_such_or_nothing_is() -> None:
    up = classify((0.0, 20.0, -60.0), (0.0, 15.0, 30.0), [])
    assert up.id == "long_axis"
    assert up.reason.startswith("by direction only, no zones of sacrum")
    across = classify((80.0, 0.0, 0.0), (-80.0, 0.0, 0.0), [])
    assert across.id == ""
    assert "Trans-sacral S1" in across.reason
    assert "no zones of" in across.reason


def test_a_level_that_no_zone_tells_is_left_open() -> None:
    match = classify((80.0, 0.0, 20.0), (-80.0, 0.0, 20.0), [SACRUM, ILIUM_LEFT, ILIUM_RIGHT])
    assert match.id == ""
    assert "Trans-sacral S1, Trans-sacral S2" in match.reason


def test_not_s1_is_no_proof_of_s2() -> None:
    match = classify((80.0, 0.0, -15.0), (-80.0, 0.0, -15.0), [SACRUM, ILIUM_LEFT, ILIUM_RIGHT, S1])
    assert match.id == ""
    assert match.reason.startswith("may be Trans-sacral S2")
    assert "no zones of S2" in match.reason


def test_joints_alone_tell_two_crossings_from_none() -> None:
    across = classify((80.0, 0.0, 20.0), (-80.0, 0.0, 20.0), [*JOINTS, S1])
    assert "Iliosacral" not in across.reason
    assert across.id == "trans_sacral_s1"
    assert across.reason.startswith("by direction only, no zones of ilium")


def test_what_fits_no_template_is_none() -> None:
    backwards = classify((0.0, -60.0, 20.0), (0.0, 30.0, 20.0), PELVIS)
    assert backwards.id == ""
    assert backwards.reason.startswith("no template fits")
    beside = classify((200.0, 0.0, 0.0), (200.0, -50.0, 0.0), PELVIS, Ball((0.0, 0.0, 0.0), 100.0))
    assert (beside.id, beside.reason) == ("", "the path touches no bone")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ((0.0, -10.0, 0.0), (0.0, 0.0)),
        ((10.0, 0.0, 0.0), (90.0, 0.0)),
        ((-10.0, -10.0, 0.0), (-45.0, 0.0)),
        ((0.0, 10.0, 0.0), (180.0, 0.0)),
        ((0.0, 0.0, 10.0), (0.0, 90.0)),
        ((0.0, -10.0, -10.0), (0.0, -45.0)),
    ],
)
def test_clinical_angles(target: Vector3, expected: tuple[float, float]) -> None:
    assert clinical_angles_deg((0.0, 0.0, 0.0), target) == pytest.approx(expected)


def test_no_direction_no_angles() -> None:
    with pytest.raises(GeometryError, match="target_lps_mm"):
        clinical_angles_deg((1.0, 2.0, 3.0), (1.0, 2.0, 3.0))


def test_permitted_zones() -> None:
    zones = [item for item, _ in PELVIS] + [zone("F", ZoneSite.FORAMEN)]
    by_id = {template.id: template for template in templates()}
    assert permitted_zones(by_id["trans_sacral_s1"], zones) == ("JL", "JR")
    assert permitted_zones(by_id["iliosacral"], zones, side=ZoneSide.LEFT) == ("JL",)
    assert permitted_zones(by_id["short_axis"], zones) == ()


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("sacrum", "", "sacrum"),
        ("Os sacrum", "", "sacrum"),
        ("vertebrae_S1", "", "sacrum"),
        ("vertebrae_L5", "", "vertebra"),
        ("hip_left", "", "ilium"),
        ("Ilium links", "", "ilium"),
        ("bone", "L3", "vertebra"),
        ("femur_left", "", ""),
        ("bone, proposed", "", ""),
    ],
)
def test_parts_of_bone_by_name_and_level(name: str, level: str, expected: str) -> None:
    assert part_of(bone(name, level=level)) == expected


def test_bad_templates_are_named() -> None:
    entry = (
        '[parts]\n[[approach]]\nid = "a"\nname = "A"\nwords = "w"\nbones = ["sacrum"]\nsi_joints = 0\n'
        'instrument = "i"\nsource = "s"\ncraniocaudal_deg = [0, 10]\nmediolateral_deg = [20, 10]\n'
    )
    with pytest.raises(ConfigError, match=r"approach 'a': mediolateral_deg must rise"):
        approaches_of(entry, "t.toml")
    with pytest.raises(ConfigError, match="unknown field"):
        approaches_of(entry.replace("words", "words_"), "t.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        approaches_of("[", "t.toml")
