"""Names files in all their forms, and what is refused in them."""

from __future__ import annotations

import pytest

from guidance.case import BadFieldsError
from guidance.messages import ZoneKind, ZoneSide, ZoneSite
from guidance.wire.label_names import LabelName, label_names, totalsegmentator

SLICER = """# Color table file
# 3 values
0 Background 0 0 0 0
1 Foramen_S1_left 128 174 128 255
25 sacrum 241 214 145 255
"""
SNAP = """################################################
# ITK-SnAP Label Description File
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Foramen S1 left"
   25     0  255    0     0.50  1  0    "sacrum"
"""
PLAIN = {1: LabelName(name="Foramen S1 left"), 25: LabelName(name="sacrum")}


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ('{"1": "Foramen S1 left", "25": "sacrum"}', "names.json"),
        ('{"Foramen S1 left": 1, "sacrum": 25, "background": 0}', ""),
        (
            '{"labels": {"background": 0, "Foramen S1 left": 1, "sacrum": 25}, "channel_names": {"0": "CT"}}',
            "dataset.json",
        ),
        ('1 = "Foramen S1 left"\n25 = "sacrum"\n', "names.toml"),
        ('[labels]\n1 = "Foramen S1 left"\n25 = "sacrum"\n', ""),
        ("1 Foramen S1 left\n25 sacrum\n", "names.txt"),
        ("\ufeff# names\n1\tForamen S1 left\r\n25\tsacrum\r\n\r\n", ""),
        ("1,Foramen S1 left\n25,sacrum", "names.csv"),
        ('1;"Foramen S1 left"\n25;"sacrum"', ""),
        ("1: Foramen S1 left\n25: sacrum", ""),
        ("label,name\n1,Foramen S1 left\n25,sacrum\n", "names.csv"),
        ("Index;Structure\n1;Foramen S1 left\n25;sacrum\n", ""),
    ],
)
def test_forms_without_attributes(text: str, origin: str) -> None:
    assert label_names(text, origin) == PLAIN


def test_colour_tables() -> None:
    assert label_names(SLICER, "x.ctbl") == {
        1: LabelName(name="Foramen S1 left", color="#80ae80"),
        25: LabelName(name="sacrum", color="#f1d691"),
    }
    assert label_names(SNAP, "labels.txt") == {
        1: LabelName(name="Foramen S1 left", color="#ff0000"),
        25: LabelName(name="sacrum", color="#00ff00"),
    }
    table = "LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n1,Foramen S1 left,128,174,128,255\n"
    assert label_names(table) == {1: LabelName(name="Foramen S1 left", color="#80ae80")}


@pytest.mark.parametrize(
    "text",
    [
        '{"5": {"name": "F1", "site": "foramen", "side": "left", "level": "S1", "kind": "target", "color": "#112233"}}',
        '5 = { name = "F1", site = "foramen", side = "left", level = "S1", kind = "target", color = "#112233" }',
        "id\tname\tsite\tside\tlevel\tkind\tcolor\n5\tF1\tforamen\tLeft\tS1\ttarget\t#112233",
    ],
)
def test_attributes(text: str) -> None:
    assert label_names(text) == {
        5: LabelName(
            name="F1",
            site=ZoneSite.FORAMEN,
            side=ZoneSide.LEFT,
            level="S1",
            kind=ZoneKind.TARGET,
            color="#112233",
        )
    }


@pytest.mark.parametrize(
    ("text", "field", "word"),
    [
        ("", "names", "names no label"),
        ("{}", "names", "names no label"),
        ('{"0": "background"}', "names", "names no label"),
        ("{nonsense", "names", "no JSON"),
        ("[1, 2]", "names line 1", "cannot be read"),
        ('{"labels": ["a"]}', "names[labels]", "no label number"),
        ('{"1": 5}', "names[1]", "must be a name"),
        ('{"1": ""}', "names[1].name", "required"),
        ('{"1": {"site": "bone"}}', "names[1].name", "required"),
        ('{"1": {"name": "x", "site": "nerve"}}', "names[1].site", "foramen, canal"),
        ('{"1": {"name": "x", "side": "up"}}', "names[1].side", "left, right, midline"),
        ('{"1": {"name": "x", "kind": "avoid"}}', "names[1].kind", "keep_out"),
        ('{"1": {"name": "x", "color": "red"}}', "names[1].color", "#rrggbb"),
        ('{"1": {"name": "x", "size": "3"}}', "names[1].size", "not known"),
        ('{"1": {"name": 3}}', "names[1].name", "must be text"),
        ('{"one": "x"}', "names[one]", "no label number"),
        ("1 x\n1 y\n", "names[1]", "twice"),
        ("1 x\nfoo\n", "names line 2", "cannot be read"),
        ("label,name\nx,y\n", "names line 2", "no label number"),
        ("1 a 300 0 0 255\n", "names line 1", "0 to 255"),
    ],
)
def test_what_is_refused_is_named(text: str, field: str, word: str) -> None:
    with pytest.raises(BadFieldsError) as caught:
        label_names(text)
    assert [error.field for error in caught.value.errors] == [field]
    assert word in str(caught.value)


def test_broken_toml_is_named_as_such() -> None:
    with pytest.raises(BadFieldsError, match="no TOML"):
        label_names("1 sacrum", "names.toml")


def test_totalsegmentator_by_its_word() -> None:
    names = label_names(" TotalSegmentator\n")
    assert names is totalsegmentator()
    assert sorted(names) == list(range(1, 118))
    # spot values of class_map["total"] in TotalSegmentator's map_to_binary.py and of the reference labels' description
    spots = {
        1: "spleen",
        25: "sacrum",
        26: "vertebrae_S1",
        27: "vertebrae_L5",
        50: "vertebrae_C1",
        63: "inferior_vena_cava",
    }
    spots |= {
        67: "iliac_vena_left",
        75: "femur_left",
        77: "hip_left",
        78: "hip_right",
        79: "spinal_cord",
        92: "rib_left_1",
    }
    spots |= {115: "rib_right_12", 117: "costal_cartilages"}
    assert {number: names[number].name for number in spots} == spots
    assert all(label.site is not None and (label.kind is None) is label.ignored for label in names.values())
    assert [number for number, label in names.items() if label.ignored] == list(range(80, 90))
    for label in names.values():
        words = label.name.split("_")
        assert label.side is (ZoneSide.LEFT if "left" in words else ZoneSide.RIGHT if "right" in words else None)
    assert (names[79].site, names[79].kind) == (ZoneSite.CANAL, ZoneKind.KEEP_OUT)
    assert (names[26].site, names[26].level, names[26].kind) == (ZoneSite.BONE, "S1", ZoneKind.TARGET)
