"""C-arm models: what is built in, what a site adds, what is refused."""

import pytest

from guidance.config import PlanningSettings
from guidance.errors import ConfigError
from guidance.planning.c_arms import DEFAULT_C_ARM, c_arm_library

SITE = """
[[c_arm]]
id = "suite_4"
name = "our C-arm"
source_to_isocenter_mm = 785
source_to_detector_mm = [950, 1195]
ranges_deg = [{ primary = [-100, 100], secondary = [-40, 50] }]
detector = { size_mm = [500, 420, 300], front_mm = 400 }
source = { size_mm = [300, 300, 500], front_mm = 380 }
detector_active_mm = [380, 300]
table_mm = [460, 50]
safety_mm = 10
"""


def test_built_in_models_are_there_and_the_configured_default_is_one_of_them():
    ids = {model.id for model in c_arm_library().models}
    assert {"generic_floor", "generic_ceiling", "generic_biplane_lateral"} <= ids
    assert PlanningSettings().c_arm == DEFAULT_C_ARM
    assert DEFAULT_C_ARM in ids


def test_a_site_adds_a_model_and_replaces_one_by_its_id():
    library = c_arm_library(SITE, "site.toml")
    assert library.find("suite_4").ranges_deg[0].secondary == (-40.0, 50.0)
    assert library.find("generic_ceiling") is not None
    replaced = c_arm_library(SITE.replace("suite_4", "generic_floor"), "site.toml")
    assert replaced.find("generic_floor").name == "our C-arm"
    assert len(replaced.models) == len(c_arm_library().models)
    assert library.find("nowhere") is None


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("[[c_arm]]", "[[c_arm", "not_toml", "site.toml"),
        ("safety_mm = 10", "safety_cm = 1", "bad_c_arm", "safety_cm"),
        ("safety_mm = 10", "safety_mm = -1", "bad_c_arm", "'suite_4': safety_mm"),
        ("safety_mm = 10", "safety_mm = nan", "bad_c_arm", "safety_mm"),
        ("primary = [-100, 100]", "primary = [100, -100]", "bad_c_arm", "primary"),
        ("secondary = [-40, 50]", "secondary = [-40, 100]", "bad_c_arm", "secondary"),
        ("source_to_isocenter_mm = 785", "source_to_isocenter_mm = 1000", "bad_c_arm", "source_to_detector_mm"),
        ("front_mm = 400", "front_mm = 0", "bad_c_arm", "fronts"),
        ("table_mm = [460, 50]", "table_mm = [460, inf]", "bad_c_arm", "sizes"),
        ("name =", "label =", "bad_c_arm", "label"),
        ('id = "suite_4"', 'id = ""', "bad_c_arm", "id"),
        ("ranges_deg = [{ primary = [-100, 100], secondary = [-40, 50] }]", "ranges_deg = []", "bad_c_arm", "empty"),
    ],
)
def test_a_wrong_model_is_refused_by_name(old, new, code, says):
    with pytest.raises(ConfigError, match=says) as refused:
        c_arm_library(SITE.replace(old, new), "site.toml")
    assert refused.value.code == code
    assert "c_arms.toml" in str(refused.value)


def test_two_models_of_one_file_with_the_same_id_are_refused():
    with pytest.raises(ConfigError, match="id must be its own"):
        c_arm_library(SITE + SITE, "site.toml")
