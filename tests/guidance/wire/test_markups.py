"""Markups: files as 3D Slicer documents and writes them, both ways, and what is refused in them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.case import BadFieldsError
from guidance.messages import (
    MaskShape,
    PlannedPath,
    PrismShape,
    SphereShape,
    TubeShape,
    Zone,
    ZoneKind,
    ZoneSide,
    ZoneSite,
)
from guidance.wire.markups import ReadMarkups, markups_of, read_markups, zones_without_markup
from guidance.wire.markups_text import lengths_of

# The example of 3D Slicer's documentation (Developer guide, Markups, "Markups json file format").
DOCUMENTED = b"""{"@schema": "https://raw.githubusercontent.com/Slicer/Slicer/main/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.0.json#",
"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [
    { "label": "F-1", "position": [-53.388409961685827, -73.33572796934868, 0.0] },
    { "label": "F-2", "position": [49.8682950191571, -88.55955938697324, 0.0] },
    { "label": "F-3", "position": [-25.22749042145594, 59.255268199233729, 0.0] }
]}]}"""

# A line as 3D Slicer 5 writes it (vtkMRMLMarkupsJsonStorageNode::WriteMarkup): members and their order are its own.
SLICER_LINE: dict[str, Any] = {
    "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#",
    "markups": [
        {
            "type": "Line",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "locked": False,
            "fixedNumberOfControlPoints": False,
            "labelFormat": "%N-%d",
            "lastUsedControlPointNumber": 2,
            "controlPoints": [
                {
                    "id": "1",
                    "label": "L-1",
                    "description": "",
                    "associatedNodeID": "vtkMRMLScalarVolumeNode1",
                    "position": [70.25, 31.5, -12.125],
                    "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
                    "selected": True,
                    "locked": False,
                    "visibility": True,
                    "positionStatus": "defined",
                },
                {
                    "id": "2",
                    "label": "L-2",
                    "description": "d=7.3 mm",
                    "associatedNodeID": "",
                    "position": [-68.5, 28.0, -10.0],
                    "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
                    "selected": True,
                    "locked": False,
                    "visibility": True,
                    "positionStatus": "defined",
                },
            ],
            "measurements": [
                {"name": "length", "enabled": True, "value": 138.8, "units": "mm", "printFormat": "%-#4.4g%s"}
            ],
            "display": {
                "visibility": True,
                "opacity": 1.0,
                "color": [0.4, 1.0, 1.0],
                "selectedColor": [1.0, 0.5, 0.5],
                "activeColor": [0.4, 1.0, 0.0],
            },
        }
    ],
}


def changed(**members: Any) -> dict[str, Any]:
    """The line with members of its markup replaced; None removes one."""
    file = json.loads(json.dumps(SLICER_LINE))
    for name, value in members.items():
        if value is None:
            del file["markups"][0][name]
        else:
            file["markups"][0][name] = value
    return file


def points(*controls: dict[str, Any], kind: str = "Fiducial", **members: Any) -> dict[str, Any]:
    return {"markups": [{"type": kind, "controlPoints": list(controls), **members}]}


def at(x: float, label: str = "", description: str = "", **members: Any) -> dict[str, Any]:
    return {"label": label, "position": [x, 2.0, 3.0], "description": description, **members}


def read(file: Any, **options: Any) -> ReadMarkups:
    data = file if isinstance(file, bytes) else json.dumps(file).encode()
    return read_markups(data, **{"origin": "S1 screw.mrk.json", **options})


def test_the_documented_example() -> None:
    result = read(DOCUMENTED)
    assert result.paths == ()
    assert [(point.name, point.position_lps_mm) for point in result.points] == [
        ("F-1", (-53.388409961685827, -73.33572796934868, 0.0)),
        ("F-2", (49.8682950191571, -88.55955938697324, 0.0)),
        ("F-3", (-25.22749042145594, 59.255268199233729, 0.0)),
    ]


def test_a_line_of_slicer_is_a_path_from_its_first_point_to_its_second() -> None:
    result = read(SLICER_LINE)
    (path,) = result.paths
    assert (path.name, path.entry_lps_mm, path.target_lps_mm) == (
        "S1 screw",
        (70.25, 31.5, -12.125),
        (-68.5, 28.0, -10.0),
    )
    assert (path.diameter_mm, path.color) == (7.3, "")  # Slicer's own default colour is nobody's choice
    assert result.findings == ()


def test_a_colour_that_somebody_chose_is_kept() -> None:
    display = {"color": [0.4, 1.0, 1.0], "selectedColor": [1.0, 0.5, 0.25]}  # points are selected: Slicer shows these
    (path,) = read(changed(display=display)).paths
    assert path.color == "#ff8040"


@pytest.mark.parametrize("system", ["RAS", "ras", 0, "0"])
def test_ras_becomes_lps(system: object) -> None:
    (path,) = read(changed(coordinateSystem=system)).paths
    assert (path.entry_lps_mm, path.target_lps_mm) == ((-70.25, -31.5, -12.125), (68.5, -28.0, -10.0))


@pytest.mark.parametrize("system", ["LPS", 1, "1", None])
def test_lps_is_the_default(system: object) -> None:
    (path,) = read(changed(coordinateSystem=system)).paths
    assert path.entry_lps_mm == (70.25, 31.5, -12.125)


@pytest.mark.parametrize("units", ["mm", ["mm", "UCUM", "millimeter"], None])
def test_millimetres(units: object) -> None:
    assert read(changed(coordinateUnits=units)).paths[0].target_lps_mm == (-68.5, 28.0, -10.0)


def test_labels_that_say_it_go_before_the_order() -> None:
    controls = [at(1.0, "pin target"), at(9.0, "pin entry", "d=3.2 mm")]
    (path,) = read(points(*controls, kind="Line")).paths
    assert (path.entry_lps_mm[0], path.target_lps_mm[0]) == (9.0, 1.0)


def test_pairs_of_a_list_are_paths_and_the_rest_stays_points() -> None:
    result = read(
        points(
            at(1.0, "S1 left entry", "d=3.2 mm"),
            at(2.0, "tumour"),
            at(3.0, "S1 right_Target"),
            at(4.0, "S1 left target"),
            at(5.0, "S1 right-Entry", "Ø 7.3 mm"),
            at(6.0, "S2 entry"),
        )
    )
    assert [(path.name, path.entry_lps_mm[0], path.target_lps_mm[0], path.diameter_mm) for path in result.paths] == [
        ("S1 left", 1.0, 4.0, 3.2),
        ("S1 right", 5.0, 3.0, 7.3),
    ]
    assert [point.name for point in result.points] == ["tumour", "S2 entry"]
    assert [finding.code for finding in result.findings] == ["unpaired_point"]


@pytest.mark.parametrize(
    ("text", "diameter"),
    [
        ("d=3.2 mm", 3.2),
        ("D = 3,2mm", 3.2),
        ("diameter: 3.2", 3.2),
        ("guidepin ⌀3.2 mm", 3.2),
        ("steel; d=11 mm; x", 11.0),
    ],
)
def test_a_diameter_in_words(text: str, diameter: float) -> None:
    assert lengths_of(text) == {"d": diameter}
    assert read(points(at(1.0, "x", text), at(9.0), kind="Line")).paths[0].diameter_mm == diameter


def test_the_larger_of_two_diameters_is_taken_and_told() -> None:
    measured = [{"name": "diameter", "value": 6.5, "units": "mm"}]
    result = read(changed(measurements=measured))
    assert result.paths[0].diameter_mm == 7.3
    assert [finding.code for finding in result.findings] == ["diameter_differs"]


def test_a_path_without_a_diameter_says_so() -> None:
    bare = points(at(1.0), at(9.0), kind="Line", name="pin")
    result = read(bare)
    assert (result.paths[0].diameter_mm, result.findings[0].code) == (0.0, "no_diameter")
    result = read(bare, default_diameter_mm=3.2)
    assert (result.paths[0].diameter_mm, result.findings[0].code) == (3.2, "diameter_assumed")
    assert "pin" in result.findings[0].message


def test_points_that_are_not_placed_are_skipped_by_name() -> None:
    # Slicer writes "" for the position of such a point
    controls = [at(1.0, "a"), {"label": "b", "position": "", "positionStatus": "undefined"}, at(3.0, "c")]
    result = read(points(*controls))
    assert [point.name for point in result.points] == ["a", "c"]
    assert "b" in result.findings[0].message
    unfinished = changed(controlPoints=[at(1.0), {"label": "x", "positionStatus": "preview", "position": [0, 0, 0]}])
    unfinished["markups"].append(SLICER_LINE["markups"][0])
    result = read(unfinished)
    assert len(result.paths) == 1
    assert [finding.code for finding in result.findings] == ["point_not_placed", "line_not_placed"]


@pytest.mark.parametrize("kind", ["Angle", "Plane", "ROI", "Curve", "ClosedCurve", "Test"])
def test_other_markups_are_named_not_lost(kind: str) -> None:
    file = json.loads(json.dumps(SLICER_LINE))
    file["markups"].append({"type": kind, "name": "mine", "controlPoints": [at(1.0), at(2.0), at(4.0)]})
    result = read(file)
    assert len(result.paths) == 1
    assert [finding.code for finding in result.findings] == ["unused_markup"]
    assert "mine" in result.findings[0].message


def test_two_paths_of_one_name_are_told_apart() -> None:
    file = {"markups": SLICER_LINE["markups"] * 3}
    assert [path.name for path in read(file).paths] == ["S1 screw", "S1 screw 2", "S1 screw 3"]


def test_a_foramen_takes_three_clicks() -> None:
    curve = points(at(1.0, "c-1", "r=4 mm"), at(5.0), at(9.0), kind="Curve", name="Foramen S1 left")
    result = read(curve)
    (zone,) = result.zones
    assert zone.shape == TubeShape(points_lps_mm=((1.0, 2.0, 3.0), (5.0, 2.0, 3.0), (9.0, 2.0, 3.0)), radius_mm=4.0)
    assert (zone.site, zone.side, zone.level) == (ZoneSite.FORAMEN, ZoneSide.LEFT, "S1")
    assert [finding.code for finding in result.findings] == ["guessed_site"]


COORDINATE = st.floats(-5000, 5000, allow_nan=False)
POSITION = st.tuples(COORDINATE, COORDINATE, COORDINATE)
TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20).map(
    lambda text: " ".join(text.split())
)


@given(
    st.lists(st.tuples(POSITION, POSITION, st.floats(0.1, 50), TEXT, TEXT, TEXT), max_size=4, unique_by=lambda x: x[3])
)
def test_paths_come_back_to_the_bit(rows: list[tuple[Any, ...]]) -> None:
    paths = [
        PlannedPath(
            id=f"P{number}",
            entry_lps_mm=entry,
            target_lps_mm=target,
            diameter_mm=diameter,
            label=label or f"path {number}",
            color="#12ab9f",
            instrument=instrument,
            approach=approach,
        )
        for number, (entry, target, diameter, label, instrument, approach) in enumerate(rows)
        if sum((a - b) ** 2 for a, b in zip(entry, target, strict=True)) > 1
    ]
    data = markups_of(paths)
    if not paths:
        with pytest.raises(BadFieldsError, match="no placed line"):
            read_markups(data)
        return
    back = read_markups(data, origin="plan.mrk.json")
    assert back.findings == ()
    for path, item in zip(paths, back.paths, strict=True):
        for name in ("entry_lps_mm", "target_lps_mm", "diameter_mm", "color", "instrument", "approach"):
            assert getattr(item, name) == getattr(path, name), name
        assert item.name == path.label


def test_drawn_zones_come_back_to_the_bit_and_voxels_are_named() -> None:
    mask = MaskShape(mask_id="0" * 64, shape_kji=(1, 1, 1), affine_lps_from_ijk=(0.0,) * 16, volume_ml=0.0)
    base = {"kind": ZoneKind.KEEP_OUT, "color": "#d55e00"}
    positions = ((0.1, 0.2, 0.3), (1 / 3, 2.0, 3.0), (4.0, 5.0, 1e-9))
    zones = [
        Zone(
            id="Z1",
            name="Foramen S1; left = near",
            site=ZoneSite.FORAMEN,
            side=ZoneSide.LEFT,
            level="S1",
            shape=TubeShape(points_lps_mm=positions, radius_mm=4.05),
            **base,
        ),
        Zone(
            id="Z2",
            name="ball",
            site=ZoneSite.OTHER,
            shape=SphereShape(center_lps_mm=positions[1], radius_mm=7.0),
            **base,
        ),
        Zone(
            id="Z3",
            name="sacrum left",
            site=ZoneSite.OTHER,
            shape=PrismShape(polygon_lps_mm=positions, height_mm=20.0),
            **(base | {"kind": ZoneKind.TARGET}),
        ),
        Zone(id="Z4", name="mask", site=ZoneSite.BONE, shape=mask, **base),
    ]
    back = read_markups(markups_of([], zones))
    assert back.findings == ()
    assert zones_without_markup(zones) == (zones[3],)
    for zone, found in zip(zones[:3], back.zones, strict=True):
        for name in ("name", "site", "side", "level", "kind", "shape", "color"):
            assert getattr(found, name) == getattr(zone, name), name


def test_what_is_written_is_what_slicer_reads() -> None:
    path = PlannedPath(
        id="P1", entry_lps_mm=(1, 2, 3), target_lps_mm=(4.5, 5, 6), diameter_mm=3, label="pin", color="#ff0080"
    )
    file = json.loads(markups_of([path]))
    # ReadMarkupsFile refuses other schemas than this
    assert file["@schema"].lower().endswith("markups-schema-v1.0.3.json#")
    (markup,) = file["markups"]
    assert (markup["type"], markup["coordinateSystem"], markup["coordinateUnits"]) == ("Line", "LPS", "mm")
    assert set(SLICER_LINE["markups"][0]) <= set(markup)
    assert set(SLICER_LINE["markups"][0]["controlPoints"][0]) == set(markup["controlPoints"][0])
    assert [control["position"] for control in markup["controlPoints"]] == [[1.0, 2.0, 3.0], [4.5, 5.0, 6.0]]
    assert markup["display"]["selectedColor"] == [1.0, 0.0, 128 / 255]
    assert markup["measurements"][0]["value"] == 3.0


def test_what_slicer_saves_again_is_still_the_same_path() -> None:
    """Slicer keeps points, descriptions, measurements and colours; the markup's name becomes the file's."""
    path = PlannedPath(
        id="P1",
        entry_lps_mm=(1.5, 2, 3),
        target_lps_mm=(4.5, 5, 6),
        diameter_mm=3.2,
        label="pin",
        instrument="guidepin_32",
        approach="iliosacral",
    )
    file = json.loads(markups_of([path]))
    del file["markups"][0]["name"]
    (item,) = read(file).paths
    assert (item.name, item.diameter_mm, item.instrument, item.approach) == ("pin", 3.2, "guidepin_32", "iliosacral")


@pytest.mark.parametrize(
    ("file", "field", "word"),
    [
        pytest.param(b"", "file", "no JSON", id="nothing"),
        pytest.param(b"{", "file", "no JSON", id="half a file"),
        pytest.param(b'{"markups": [NaN]}', "file", "no JSON", id="NaN"),
        pytest.param(b"\xff\xfe{}", "file", "no JSON", id="UTF-16"),
        pytest.param(b"[" * 100_000, "file", "no JSON", id="deep"),
        pytest.param({"zones": []}, "markups", "not a markups file", id="another file"),
        pytest.param([1], "markups", "not a markups file", id="a list"),
        pytest.param({"markups": []}, "markups", "no placed line", id="empty"),
        pytest.param({"markups": [5]}, "markups[0]", "object", id="a number"),
        pytest.param({"markups": [{}]}, "markups[0].type", "required", id="no type"),
        pytest.param({"@schema": "markups-schema-v2.0.0.json#", "markups": []}, "@schema", "version 1", id="version 2"),
        pytest.param(changed(coordinateUnits="um"), "markups[0].coordinateUnits", "mm", id="micrometres"),
        pytest.param(changed(coordinateUnits="furlong"), "markups[0].coordinateUnits", "mm", id="unknown units"),
        pytest.param(
            changed(coordinateUnits=["cm", "UCUM", "x"]), "markups[0].coordinateUnits", "mm", id="coded units"
        ),
        pytest.param(changed(coordinateUnits=3), "markups[0].coordinateUnits", "mm", id="units are a number"),
        pytest.param(changed(coordinateSystem="IJK"), "markups[0].coordinateSystem", "LPS or RAS", id="voxels"),
        pytest.param(changed(coordinateSystem=2), "markups[0].coordinateSystem", "LPS or RAS", id="old voxels"),
        pytest.param(changed(coordinateSystem=True), "markups[0].coordinateSystem", "LPS or RAS", id="true"),
        pytest.param(changed(controlPoints=5), "markups[0].controlPoints", "list", id="no points"),
        pytest.param(changed(controlPoints=[5]), "markups[0].controlPoints[0]", "object", id="a point is a number"),
        pytest.param(
            points({"position": [1, 2]}), "markups[0].controlPoints[0].position", "three numbers", id="two coordinates"
        ),
        pytest.param(points({}), "markups[0].controlPoints[0].position", "three numbers", id="no position"),
        pytest.param(points({"position": [1, 2, "3"]}), "markups[0].controlPoints[0].position", "finite", id="text"),
        pytest.param(points({"position": [1, 2, True]}), "markups[0].controlPoints[0].position", "finite", id="true"),
        pytest.param(points(at(9000.0)), "markups[0].controlPoints[0].position", "in mm?", id="nine metres"),
        pytest.param(
            points(at(1.0, positionStatus="lost")), "markups[0].controlPoints[0].positionStatus", "", id="status"
        ),
        pytest.param(points(at(1.0, label=7)), "markups[0].controlPoints[0].label", "text", id="label is a number"),
        pytest.param(points(at(1.0, "x" * 2000)), "markups[0].controlPoints[0].label", "1000", id="long label"),
        pytest.param(
            points(at(1.0), at(1.05), kind="Line"),
            "markups[0].controlPoints[1].position",
            "no length",
            id="zero length",
        ),
        pytest.param(
            points(at(1.0), at(2.0), at(3.0), kind="Line"), "markups[0].controlPoints", "two", id="three points"
        ),
        pytest.param(
            points(at(1.0, "", "d=3 cm"), at(9.0), kind="Line"),
            "markups[0].controlPoints[0].description",
            "mm",
            id="cm",
        ),
        pytest.param(
            points(at(1.0, "", "d=-3 mm"), at(9.0), kind="Line"),
            "markups[0].controlPoints[0].description",
            "0",
            id="minus",
        ),
        pytest.param(
            changed(measurements=[{"name": "diameter", "value": -1}]),
            "markups[0].measurements[0].value",
            "0",
            id="below 0",
        ),
        pytest.param(
            changed(measurements=[{"name": "diameter", "value": 1, "units": "cm"}]),
            "markups[0].measurements[0].units",
            "mm",
            id="measured in cm",
        ),
        pytest.param(
            points(at(1.0, "x", "r=3 mm; site=nerve")), "markups[0].controlPoints[0].description", "nerve", id="site"
        ),
    ],
)
def test_what_is_refused_is_named(file: Any, field: str, word: str) -> None:
    with pytest.raises(BadFieldsError) as caught:
        read(file)
    assert [error.field for error in caught.value.errors] == [field]
    assert word in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "controlPoints", "position", "label", "measurements", "display", "name", "value"]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_read_or_refused_by_name(inner: Any) -> None:
    for file in (
        inner,
        {"markups": inner},
        {"markups": [inner]},
        {"markups": [{"type": "Line", "controlPoints": inner}]},
    ):
        with suppress(BadFieldsError):
            read(file)
