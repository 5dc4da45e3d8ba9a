"""The instrument library: what must be in it, what a site may add, what it refuses; ablation tables."""

from __future__ import annotations

import pytest

from guidance.errors import ConfigError, GeometryError
from guidance.messages import AblationSetting, PlannedPath
from guidance.planning.ablation import AblationRow, AblationTable, ablation_solid, ablation_zone
from guidance.planning.instruments import instrument_library
from guidance.planning.path_solids import instrument_solids
from guidance.planning.solid import Cylinder, Spheroid

LIBRARY = instrument_library()


def test_true_outer_diameters() -> None:
    """Stubs gauge: 11G is 0.120 inch, 13G 0.095 inch."""
    diameters = {item.id: item.diameter_mm for item in LIBRARY.instruments}
    assert diameters["needle_11g"] == pytest.approx(0.120 * 25.4)
    assert diameters["needle_13g"] == pytest.approx(0.095 * 25.4)
    assert diameters["guidepin_3_2"] == 3.2


def test_everything_that_the_procedure_needs() -> None:
    kinds = {item.kind for item in LIBRARY.instruments}
    assert kinds == {
        "needle", "guidepin", "k_wire", "trocar", "screw", "nail", "balloon", "cryoprobe", "rf_electrode",
    }  # fmt: skip
    screws = [item for item in LIBRARY.instruments if item.kind == "screw"]
    for diameter_mm in (6.5, 7.3, 7.5, 8.0):
        threads = {item.thread for item in screws if item.diameter_mm == diameter_mm}
        assert threads == {"full", "partial"}
    assert all(item.lengths_mm and item.cannula_diameter_mm for item in screws)
    assert all(item.source for item in LIBRARY.instruments)
    assert any(item.bevel for item in LIBRARY.instruments if item.kind == "needle")
    assert any(item.flexible for item in LIBRARY.instruments if item.kind == "k_wire")
    assert any(item.retains_cement for item in LIBRARY.instruments if item.kind == "balloon")


def test_cement_leaves_through_side_holes_counted_from_the_tip() -> None:
    holed = [item for item in LIBRARY.instruments if item.cement_from == "holes"]
    assert {item.kind for item in holed} == {"screw", "nail"}
    for item in holed:
        assert list(item.side_hole_depths_mm) == sorted(item.side_hole_depths_mm)
        assert item.side_hole_depths_mm[-1] < item.lengths_mm[-1]


OWN = """
[[instrument]]
id = "guidepin_3_2"
name = "Our pin"
kind = "guidepin"
diameter_mm = 3.17
source = "measured"

[[instrument]]
id = "our_probe"
name = "Our probe"
kind = "cryoprobe"
diameter_mm = 1.5
source = "its instructions for use"
[instrument.ablation]
edge = "0 degree C edge"
source = "its instructions for use"
quality = "published"
rows = [
    { power_w = 0.0, time_s = 300.0, length_mm = 30.0, width_mm = 20.0, center_from_tip_mm = 12.0 },
    { power_w = 0.0, time_s = 600.0, length_mm = 40.0, width_mm = 28.0, center_from_tip_mm = 14.0 },
]
"""


def test_a_site_adds_and_overrides() -> None:
    library = instrument_library(OWN, "site.toml")
    pin, probe = library.find("guidepin_3_2"), library.find("our_probe")
    assert pin is not None
    assert (pin.name, pin.diameter_mm) == ("Our pin", 3.17)
    assert probe is not None
    assert probe.ablation is not None
    assert len(library.instruments) == len(LIBRARY.instruments) + 1
    assert library.find("free words") is None


ENTRY = '[[instrument]]\nid = "x"\nname = "X"\nkind = "guidepin"\nsource = "s"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("[[instrument", "not valid TOML", id="not-toml"),
        pytest.param("[instrument]\nid = 'x'", r"\[\[instrument\]\]", id="one-table"),
        pytest.param("[[instruments]]\nid = 'x'", "instruments", id="unknown-table"),
        pytest.param(ENTRY + "diameter = 3.2", r"'x'.*diameter has no unit.*diameter_mm", id="missing-unit"),
        pytest.param(ENTRY + "diameter_mm = 3.2\nlength = 4", r"'x'.*length is not a key", id="unknown-key"),
        pytest.param(ENTRY + "diameter_mm = 3.2\ncolour = 'red'", r"'x'.*colour is not a key", id="unknown-word"),
        pytest.param(ENTRY, r"'x'.*diameter_mm", id="missing-key"),
        pytest.param(ENTRY + "diameter_mm = '3.2'", r"'x'.*diameter_mm", id="text-for-a-number"),
        pytest.param(ENTRY + "diameter_mm = 0", r"'x'.*diameter_mm is impossible.*greater than 0", id="zero"),
        pytest.param(ENTRY + "diameter_mm = nan", r"'x'.*diameter_mm is impossible", id="nan"),
        pytest.param(ENTRY + "diameter_mm = 3200", r"'x'.*diameter_mm is impossible", id="micrometres"),
        pytest.param(ENTRY + "diameter_mm = 3.2\nlengths_mm = [90, 80]", r"'x'.*lengths_mm.*rising", id="falling"),
        pytest.param(ENTRY + "diameter_mm = 3\ncannula_diameter_mm = 3", r"'x'.*cannula_diameter_mm", id="wide-bore"),
        pytest.param(ENTRY + "diameter_mm = 3\nside_hole_depths_mm = [5]", r"'x'.*side_hole_depths_mm", id="holes"),
        pytest.param(ENTRY + "diameter_mm = 3\nthread = 'partial'", r"'x'.*thread_length_mm", id="thread"),
        pytest.param(ENTRY + "diameter_mm = 3\ninflated_length_mm = 9", r"'x'.*inflated_diameter_mm", id="balloon"),
        pytest.param(ENTRY.replace("guidepin", "pin") + "diameter_mm = 3", r"'x'.*kind", id="unknown-kind"),
        pytest.param((ENTRY + "diameter_mm = 3\n") * 2, r"'x'.*id there twice", id="twice"),
        pytest.param(OWN.replace("time_s = 600.0", "time_s = 300.0"), r"'our_probe'.*rows", id="rows-twice"),
        pytest.param(OWN.replace("width_mm = 28.0", "width_mm = -28.0"), r"'our_probe'.*width_mm", id="negative"),
        pytest.param(OWN.replace("width_mm = 28.0", "width = 28.0"), r"'our_probe'.*width", id="row-without-unit"),
    ],
)
def test_what_is_refused_names_entry_field_and_mend(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        instrument_library(text, "site.toml")
    assert "site.toml" in str(caught.value)
    assert caught.value.mend


TABLE = AblationTable(
    edge="edge",
    source="made up",
    quality="published",
    rows=tuple(
        AblationRow(power_w=power, time_s=time, length_mm=power + time, width_mm=power * time, center_from_tip_mm=4.0)
        for power in (10.0, 20.0, 40.0)
        for time in (1.0, 3.0)
    ),
)


@pytest.mark.parametrize(("power_w", "time_s"), [(10, 1), (40, 3), (15, 1), (30, 2), (12.5, 2.5), (20, 1.5)])
def test_ablation_is_bilinear_within_the_table(power_w: float, time_s: float) -> None:
    """A bilinear function is met exactly, its table's points too."""
    zone = ablation_zone(TABLE, AblationSetting(power_w=power_w, time_s=time_s))
    assert zone.length_mm == pytest.approx(power_w + time_s)
    assert zone.width_mm == pytest.approx(power_w * time_s)
    assert zone.center_from_tip_mm == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("power_w", "time_s", "field"),
    [(9.9, 2, "power_w"), (41, 2, "power_w"), (20, 0.9, "time_s"), (20, 3.1, "time_s"), (float("nan"), 2, "power_w")],
)
def test_nothing_is_guessed_outside_the_table(power_w: float, time_s: float, field: str) -> None:
    with pytest.raises(GeometryError, match=field) as caught:
        ablation_zone(TABLE, AblationSetting(power_w=power_w, time_s=time_s))
    assert caught.value.code == "outside_ablation_table"
    assert caught.value.mend


def test_the_zone_lies_about_the_tip() -> None:
    path = PlannedPath(id="A", entry_lps_mm=(0.0, 0.0, 0.0), target_lps_mm=(0.0, 60.0, 80.0), diameter_mm=1.5)
    zone = ablation_zone(TABLE, AblationSetting(power_w=10.0, time_s=3.0))
    solid = ablation_solid(path, zone)
    assert solid.center_lps_mm == pytest.approx((0.0, 60.0 - 0.6 * 4.0, 80.0 - 0.8 * 4.0))
    assert solid.axis == pytest.approx((0.0, 0.6, 0.8))
    assert (solid.semi_axial_mm, solid.semi_transverse_mm) == pytest.approx((6.5, 15.0))


def test_an_instrument_as_solids() -> None:
    probe = PlannedPath(
        id="A",
        entry_lps_mm=(0.0, 0.0, 0.0),
        target_lps_mm=(0.0, 0.0, 90.0),
        diameter_mm=1.7,
        instrument="cryoprobe_1_7",
        ablation=AblationSetting(power_w=0.0, time_s=750.0),
    )
    shaft, ice = instrument_solids(probe, LIBRARY)
    assert isinstance(shaft, Cylinder)
    assert shaft.radius_mm == pytest.approx(0.85)
    assert isinstance(ice, Spheroid)
    assert ice.semi_transverse_mm == pytest.approx(13.5)
    balloon = PlannedPath(
        id="B", entry_lps_mm=(0, 0, 0), target_lps_mm=(0, 0, 90), diameter_mm=3.4, instrument="balloon_15"
    )
    _, full = instrument_solids(balloon, LIBRARY)
    assert isinstance(full, Spheroid)
    assert full.center_lps_mm == pytest.approx((0.0, 0.0, 80.0))
    assert (full.semi_axial_mm, full.semi_transverse_mm) == (10.0, 7.5)
