"""The library of cements: built-in ones, a site's own, and every way in which its file can be wrong."""

from __future__ import annotations

import pytest

from guidance.cement.profiles import cement_library
from guidance.errors import ConfigError
from guidance.messages.cement import CementMaterial

OWN = """
[[cement]]
id = "own_25"
name = "Our own"
parts = { barium_sulphate = 25.0 }
source = "pharmacy"
"""
WEDGE = """
[[cement]]
id = "wedge"
name = "Measured"
opacity_per_mm = 0.2
kvp = 80.0
source = "step wedge of the suite"
"""


def test_built_in_cements_are_those_of_the_issue() -> None:
    library = cement_library()
    assert {"baso4_10", "baso4_30", "zro2_45"} <= {cement.id for cement in library.cements}
    assert all(cement.source for cement in library.cements)


@pytest.mark.parametrize("word", ["baso4_30", "BaSO4 30", "baso4-30 %", "PMMA with barium sulphate 30 %"])
def test_a_brand_is_known_however_it_is_written(word: str) -> None:
    found = cement_library().find(word)
    assert found is not None
    assert found.id == "baso4_30"


@pytest.mark.parametrize("word", ["", "  ", "%", "baso4", "baso4_300"])
def test_what_is_no_brand_is_none(word: str) -> None:
    assert cement_library().find(word) is None


def test_a_sites_cement_is_added_and_lies_between_its_neighbours() -> None:
    library = cement_library(OWN, "own.toml")
    ten, own, thirty = (
        library.opacity(CementMaterial(brand=brand), kvp=80.0).per_mm for brand in ("baso4_10", "own_25", "baso4_30")
    )
    assert ten < own < thirty


def test_a_sites_entry_takes_a_built_in_ones_place() -> None:
    library = cement_library(OWN.replace("own_25", "baso4_30"))
    found = library.find("baso4_30")
    assert found is not None
    assert found.parts == {"barium_sulphate": 25.0}
    assert len(library.cements) == len(cement_library().cements)


def test_a_measured_opacity_holds_at_its_voltage_and_falls_above() -> None:
    library = cement_library(WEDGE)
    wedge = CementMaterial(brand="wedge")
    assert library.opacity(wedge, kvp=80.0).per_mm == pytest.approx(0.2, rel=0.005)
    assert library.opacity(wedge, kvp=110.0).per_mm < 0.17
    both = cement_library(OWN.replace("parts =", "opacity_per_mm = 0.3\nkvp = 90.0\nparts ="))
    assert both.opacity(CementMaterial(brand="own_25"), kvp=90.0).per_mm == pytest.approx(0.3, rel=0.005)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        pytest.param("[[cement", "not_toml", "TOML", id="not-toml"),
        pytest.param("[other]\na = 1", "bad_cement", "[[cement]]", id="section"),
        pytest.param("cement = 3", "bad_cement", "[[cement]]", id="no-list"),
        pytest.param(OWN + OWN, "bad_cement", "there twice", id="twice"),
        pytest.param(OWN.replace("parts", "stuff"), "bad_cement", "stuff", id="key"),
        pytest.param(WEDGE.replace("opacity_per_mm", "opacity"), "bad_cement", "opacity_per_mm", id="unit"),
        pytest.param(OWN.replace("25.0", "125.0"), "bad_cement", "parts", id="over-100"),
        pytest.param(OWN.replace("25.0", "-1.0"), "bad_cement", "parts", id="negative"),
        pytest.param(OWN.replace("25.0", "nan"), "bad_cement", "parts", id="nan"),
        pytest.param(OWN.replace("barium_sulphate", "unobtainium"), "bad_cement", "zirconium", id="material"),
        pytest.param(OWN.replace('"own_25"', '""'), "bad_cement", "id", id="no-id"),
        pytest.param(OWN.replace('"pharmacy"', '" "'), "bad_cement", "source", id="no-source"),
        pytest.param(OWN.replace("{ barium_sulphate = 25.0 }", "{}"), "bad_cement", "parts", id="no-parts"),
        pytest.param(OWN + "density_g_cm3 = 0.0\n", "bad_cement", "density", id="density"),
        pytest.param(WEDGE.replace("kvp = 80.0\n", ""), "bad_cement", "kvp", id="no-kvp"),
        pytest.param(WEDGE.replace("0.2", "inf"), "bad_cement", "opacity_per_mm", id="inf"),
        pytest.param(WEDGE.replace("80.0", "8.0"), "bad_cement", "kvp", id="kvp"),
        pytest.param(WEDGE.replace("0.2", '"much"'), "bad_cement", "opacity_per_mm", id="type"),
        pytest.param(
            OWN + "[[cement.phases]]\ntemperature_c = 20.0\ndough_s = 300.0\nend_s = 200.0\nset_s = 400.0\n",
            "bad_cement",
            "dough_s",
            id="phases-order",
        ),
        pytest.param(
            OWN + "[[cement.phases]]\ntemperature_c = 90.0\ndough_s = 1.0\nend_s = 2.0\nset_s = 3.0\n",
            "bad_cement",
            "temperature_c",
            id="phases-hot",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_name(text: str, code: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cement_library(text, "own.toml")
    assert caught.value.code == code
    assert words in str(caught.value)
    assert "own.toml" in str(caught.value)
