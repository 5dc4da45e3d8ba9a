"""Zones: what a client may send, frame and patient, permissions, import."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.case import (
    MAXIMUM_ZONES,
    BadFieldsError,
    Case,
    activate_volume,
    active_zones,
    case_from_json,
    case_to_json,
    create_path,
    create_zone,
    delete_zone,
    find_zone,
    import_zones,
    is_in_active_frame,
    new_case,
    replace_zone,
    update_zone,
    volume_changed,
)
from guidance.errors import CaseError
from guidance.messages import MaskShape, SphereShape, TubeShape, Zone, ZoneKind, ZoneSide, ZoneSite
from tests.helpers.case_api import ready_volume

TUBE: dict[str, Any] = {"type": "tube", "points_lps_mm": [[0, 0, 0], [0, 10, 0.5]], "radius_mm": 4}
SPHERE: dict[str, Any] = {"type": "sphere", "center_lps_mm": [1, 2, 3], "radius_mm": 5}
SQUARE = [[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]]
PRISM: dict[str, Any] = {"type": "prism", "polygon_lps_mm": SQUARE, "height_mm": 8}
FORAMEN: dict[str, Any] = {
    "name": "S1 foramen",
    "site": "foramen",
    "side": "left",
    "kind": "keep_out",
    "level": "S1",
    "shape": TUBE,
}
PATH: dict[str, Any] = {"entry_lps_mm": [-40, 30, 10], "target_lps_mm": [0, 0, 0], "diameter_mm": 3.2}
MASK = MaskShape(
    mask_id="ab" * 32, shape_kji=(2, 3, 4), affine_lps_from_ijk=tuple(np.eye(4).ravel().tolist()), volume_ml=1.5
)


def with_volume(case: Case | None = None, **members: Any) -> Case:
    return volume_changed(case or Case(), ready_volume(**members))


def made(fields: dict[str, Any] | None = None, case: Case | None = None) -> tuple[Case, Zone]:
    return create_zone(case if case is not None else with_volume(), fields or FORAMEN)


def faults(fields: dict[str, Any]) -> list[str]:
    with pytest.raises(BadFieldsError) as caught:
        create_zone(Case(), fields)
    return [error.field for error in caught.value.errors]


def test_a_drawn_zone_is_kept_as_sent_with_its_frame_and_patient() -> None:
    case, zone = made()
    assert zone == Zone(
        id="Z1",
        name="S1 foramen",
        site=ZoneSite.FORAMEN,
        side=ZoneSide.LEFT,
        kind=ZoneKind.KEEP_OUT,
        level="S1",
        shape=TubeShape(points_lps_mm=((0, 0, 0), (0, 10, 0.5)), radius_mm=4),
        color=zone.color,
        frame_of_reference_uid="1.2.3.4",
        patient_id="PAT1",
    )
    assert case.zones == (zone,) == active_zones(case)
    assert find_zone(case, "Z1") is zone


@pytest.mark.parametrize("shape", [TUBE, SPHERE, PRISM], ids=lambda shape: str(shape["type"]))
def test_every_drawn_shape_survives_a_restart(shape: dict[str, Any]) -> None:
    case, zone = made(FORAMEN | {"shape": shape})
    again = case_from_json(case_to_json(case))
    assert (again.zones, again.zone_count) == ((zone,), 1)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        pytest.param({"name": ""}, ["name"], id="no-name"),
        pytest.param({"name": "x" * 65}, ["name"], id="long-name"),
        pytest.param({"name": "a\nb"}, ["name"], id="control-character"),
        pytest.param({"site": "nerve"}, ["site"], id="unknown-site"),
        pytest.param({"side": "LEFT"}, ["side"], id="unknown-side"),
        pytest.param({"kind": None}, ["kind"], id="no-kind"),
        pytest.param({"shown": 1}, ["shown"], id="shown-as-number"),
        pytest.param({"color": "red"}, ["color"], id="color"),
        pytest.param({"level": "x" * 17}, ["level"], id="long-level"),
        pytest.param({"colour": "#ffffff"}, ["colour"], id="unknown-field"),
        pytest.param({"id": "Z7"}, ["id"], id="id-is-ours"),
        pytest.param({"shape": 5}, ["shape"], id="shape-as-number"),
        pytest.param({"shape": {}}, ["shape.type"], id="no-type"),
        pytest.param({"shape": {"type": "cube"}}, ["shape.type"], id="unknown-type"),
        pytest.param({"shape": {"type": "mask", "mask_id": "a"}}, ["shape"], id="mask-by-hand"),
        pytest.param({"shape": TUBE | {"height_mm": 3}}, ["shape.height_mm"], id="member-of-another"),
        pytest.param({"shape": TUBE | {"points_lps_mm": [[0, 0, 0]]}}, ["shape.points_lps_mm"], id="one-point"),
        pytest.param({"shape": TUBE | {"points_lps_mm": [[0, 0, 0]] * 2}}, ["shape.points_lps_mm"], id="same-points"),
        pytest.param(
            {"shape": TUBE | {"points_lps_mm": [[0, 0, 0], [0, math.nan, 0]]}}, ["shape.points_lps_mm"], id="nan"
        ),
        pytest.param(
            {"shape": TUBE | {"points_lps_mm": [[i, 0, 0] for i in range(257)]}}, ["shape.points_lps_mm"], id="many"
        ),
        pytest.param({"shape": TUBE | {"radius_mm": 0}}, ["shape.radius_mm"], id="no-radius"),
        pytest.param({"shape": TUBE | {"radius_mm": True}}, ["shape.radius_mm"], id="true-is-no-radius"),
        pytest.param({"shape": SPHERE | {"radius_mm": 1e9}}, ["shape.radius_mm"], id="huge-radius"),
        pytest.param({"shape": SPHERE | {"center_lps_mm": [0, 0]}}, ["shape.center_lps_mm"], id="two-numbers"),
        pytest.param({"shape": SPHERE | {"center_lps_mm": [0, 0, 9e9]}}, ["shape.center_lps_mm"], id="far-off"),
        pytest.param({"shape": PRISM | {"height_mm": -1}}, ["shape.height_mm"], id="negative-height"),
        pytest.param({"shape": PRISM | {"polygon_lps_mm": SQUARE[:2]}}, ["shape.polygon_lps_mm"], id="two-corners"),
        pytest.param(
            {"shape": PRISM | {"polygon_lps_mm": [[0, 0, 0], [5, 0, 0], [9, 0, 0]]}},
            ["shape.polygon_lps_mm"],
            id="on-a-line",
        ),
        pytest.param(
            {"shape": PRISM | {"polygon_lps_mm": [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]}},
            ["shape.polygon_lps_mm"],
            id="bow-tie",
        ),
        pytest.param(
            {"shape": PRISM | {"polygon_lps_mm": [*SQUARE[:3], [0, 10, 3]]}}, ["shape.polygon_lps_mm"], id="not-plane"
        ),
        pytest.param(
            {"site": 3, "kind": "x", "shape": {"type": "sphere", "radius_mm": -1}},
            ["kind", "shape.center_lps_mm", "shape.radius_mm", "site"],
            id="all-at-once",
        ),
    ],
)
def test_bad_field_is_named(change: dict[str, Any], fields: list[str]) -> None:
    assert sorted(faults(FORAMEN | change)) == fields


def test_everything_that_is_missing_is_named() -> None:
    assert faults({}) == ["name", "site", "kind", "shape"]


@given(
    turns=st.lists(st.floats(0.02, 1.0), min_size=3, max_size=40),
    radii=st.data(),
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: math.hypot(*axis) > 0.1),
    shift=st.tuples(*[st.floats(-400, 400)] * 3),
)
def test_star_shaped_polygons_in_any_plane_are_accepted_and_with_two_corners_swapped_refused(
    turns: list[float], radii: st.DataObject, axis: tuple[float, float, float], shift: tuple[float, float, float]
) -> None:
    """Corners in turn about a point never cross; of more than three that are convex a swapped pair always does."""
    angles = 2 * math.pi * np.cumsum(turns) / sum(turns)
    lengths = radii.draw(st.lists(st.floats(10, 60), min_size=len(turns), max_size=len(turns)))
    normal = np.array(axis) / np.linalg.norm(axis)
    across = np.linalg.svd(normal[None])[2][1:]
    star = np.array(lengths)[:, None] * (np.cos(angles)[:, None] * across[0] + np.sin(angles)[:, None] * across[1])
    widest = max(np.diff([0.0, *angles]).max(), 2 * math.pi - angles[-1] + angles[0])
    if widest < 0.9 * math.pi:
        _, zone = made(FORAMEN | {"shape": PRISM | {"polygon_lps_mm": (star + shift).tolist()}})
        assert zone.shape.height_mm == 8
    if len(turns) > 3:
        ring = 30 * (np.cos(angles)[:, None] * across[0] + np.sin(angles)[:, None] * across[1]) + shift
        ring[[0, 1]] = ring[[1, 0]]
        assert faults(FORAMEN | {"shape": PRISM | {"polygon_lps_mm": ring.tolist()}}) == ["shape.polygon_lps_mm"]


_NUMBERS = st.one_of(st.integers(-(10**400), 10**400), st.floats(), st.booleans())
_JSON = st.recursive(
    st.one_of(st.none(), _NUMBERS, st.text(max_size=70), st.sampled_from(["tube", "sphere", "prism", "mask", "left"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["type", "points_lps_mm", "radius_mm", "center_lps_mm", "polygon_lps_mm", "height_mm", "x"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)
_POINTS = st.lists(st.lists(_NUMBERS, min_size=3, max_size=3), max_size=6)
_SHAPES = st.one_of(
    _JSON,
    st.fixed_dictionaries({"type": st.just("tube"), "points_lps_mm": _POINTS, "radius_mm": _NUMBERS}),
    st.fixed_dictionaries({"type": st.just("prism"), "polygon_lps_mm": _POINTS, "height_mm": _NUMBERS}),
)


@given(
    st.dictionaries(st.sampled_from([*FORAMEN, "color", "shown", "id", "?"]), _JSON, max_size=4),
    st.one_of(st.none(), _SHAPES),
)
def test_whatever_comes_is_a_zone_that_survives_a_restart_or_a_named_fault(change: dict[str, Any], shape: Any) -> None:
    case, held = made()
    fields = FORAMEN | change | ({"shape": shape} if shape is not None else {})
    attempts: list[Any] = [
        lambda: create_zone(case, fields),
        lambda: update_zone(case, held.id, fields),
        lambda: replace_zone(case, held.id, fields),
    ]
    for attempt in attempts:
        try:
            changed, zone = attempt()
        except BadFieldsError:
            continue
        assert case_from_json(case_to_json(changed)).zones == changed.zones
        assert zone in changed.zones


# Change ----------------------------------------------------------------------------------------------------------


def test_patch_changes_only_what_it_names_in_the_shape_too() -> None:
    case, zone = made()
    case, wider = update_zone(case, "Z1", {"shape": {"radius_mm": 5.5}, "shown": False})
    assert wider == replace(zone, shown=False, shape=TubeShape(points_lps_mm=zone.shape.points_lps_mm, radius_mm=5.5))
    case, ball = update_zone(case, "Z1", {"shape": SPHERE, "side": None, "shown": None, "level": None})
    assert ball.shape == SphereShape(center_lps_mm=(1, 2, 3), radius_mm=5)
    assert (ball.side, ball.shown, ball.level, ball.color) == (None, True, "", zone.color)


def test_put_gives_defaults_but_keeps_the_colour() -> None:
    case, zone = made(FORAMEN | {"color": "#123456", "shown": False})
    bare = {"name": "n", "site": "vein", "kind": "keep_out", "shape": SPHERE}
    _, new = replace_zone(case, "Z1", bare)
    assert (new.color, new.shown, new.side, new.level, new.id) == ("#123456", True, None, "", zone.id)
    with pytest.raises(BadFieldsError, match="shape: is required"):
        replace_zone(case, "Z1", {"name": "n", "site": "vein", "kind": "keep_out"})


def test_required_fields_cannot_be_removed() -> None:
    case, _ = made()
    with pytest.raises(BadFieldsError, match="cannot be removed"):
        update_zone(case, "Z1", {"shape": None})


def test_a_zone_of_another_frame_is_kept_and_does_not_count() -> None:
    case, _ = made()
    other = activate_volume(with_volume(case, number=2, frame_of_reference_uid="9.9"), "V2")
    assert len(other.zones) == 1
    assert active_zones(other) == ()
    # A new radius, or the same points, leave it where it is; new points are meant for the frame that counts.
    other, same = update_zone(other, "Z1", {"shape": {"radius_mm": 2}})
    assert same.frame_of_reference_uid == "1.2.3.4"
    other, same = update_zone(other, "Z1", {"shape": TUBE})
    assert same.frame_of_reference_uid == "1.2.3.4"
    with pytest.raises(BadFieldsError, match="shape: must come too"):
        update_zone(other, "Z1", {"frame_of_reference_uid": "9.9"})
    other, moved = update_zone(other, "Z1", {"shape": {"points_lps_mm": [[0, 0, 1], [0, 9, 1]]}})
    assert moved.frame_of_reference_uid == "9.9"
    assert active_zones(other) == (moved,)


def test_a_zone_of_another_patient_never_counts_though_the_frame_is_the_same() -> None:
    case, _ = import_zones(with_volume(), [_read("a")], frame_of_reference_uid="1.2.3.4", patient_id="PAT2")
    assert not is_in_active_frame(case, case.zones[0])


def test_a_zone_drawn_before_any_volume_is_in_the_first_ones_frame() -> None:
    case, zone = made(case=Case())
    assert (zone.frame_of_reference_uid, zone.patient_id) == ("", None)
    case = with_volume(case)
    assert (case.zones[0].frame_of_reference_uid, case.zones[0].patient_id) == ("1.2.3.4", "PAT1")


def test_ids_are_never_used_again() -> None:
    case, _ = made()
    case = delete_zone(case, "Z1")
    case, zone = create_zone(case, FORAMEN)
    assert zone.id == "Z2"
    case = case_from_json(case_to_json(new_case(case)))
    _, zone = create_zone(case, FORAMEN)
    assert zone.id == "Z3"


def test_deleting_a_zone_takes_the_permissions_for_it_away() -> None:
    case, _ = made()
    case, _ = create_zone(case, FORAMEN)
    case, _ = create_path(case, PATH | {"permitted_zone_ids": ["Z1", "Z2"]})
    case = delete_zone(case, "Z1")
    assert case.paths[0].permitted_zone_ids == ("Z2",)
    with pytest.raises(CaseError, match="no zone 'Z1'"):
        delete_zone(case, "Z1")


def test_a_case_is_full_at_some_time() -> None:
    case = Case()
    for _ in range(MAXIMUM_ZONES):
        case, _ = create_zone(case, FORAMEN)
    for attempt in (lambda: create_zone(case, FORAMEN), lambda: import_zones(case, [_read("a")])):
        with pytest.raises(CaseError) as caught:
            attempt()
        assert caught.value.code == "too_many_zones"


# Import ----------------------------------------------------------------------------------------------------------


def _read(name: str, **members: Any) -> Zone:
    return Zone(
        id="",
        name=name,
        site=ZoneSite.BONE,
        kind=ZoneKind.TARGET,
        color="",
        origin="nifti",
        **{"shape": MASK} | members,
    )


def test_import_gives_ids_colours_frame_and_patient() -> None:
    case, _ = made()
    case, imported = import_zones(
        case, [_read("sacrum"), _read("hip", shape=SphereShape(center_lps_mm=(0, 0, 0), radius_mm=2))]
    )
    assert [zone.id for zone in imported.zones] == ["Z2", "Z3"]
    assert {(zone.frame_of_reference_uid, zone.patient_id) for zone in imported.zones} == {("1.2.3.4", "PAT1")}
    assert all(zone.color.startswith("#") for zone in imported.zones)
    assert case_from_json(case_to_json(case)).zones == case.zones


def test_import_of_another_frame_is_kept_in_it() -> None:
    case, imported = import_zones(with_volume(), [_read("sacrum")], frame_of_reference_uid="7.7")
    assert (imported.zones[0].frame_of_reference_uid, imported.zones[0].patient_id) == ("7.7", None)
    assert active_zones(case) == ()


def test_the_same_segment_does_not_come_twice() -> None:
    case, _ = import_zones(with_volume(), [_read("sacrum", origin_uid="1.2#1")])
    again, imported = import_zones(case, [_read("sacrum", origin_uid="1.2#1"), _read("hip", origin_uid="1.2#2")])
    assert imported.already_there == ("sacrum",)
    assert [zone.name for zone in again.zones] == ["sacrum", "hip"]


def test_the_same_zone_does_not_come_twice_though_it_is_from_nowhere() -> None:
    case, zone = made()
    drawn = replace(zone, id="", origin="markups", frame_of_reference_uid="", patient_id=None)
    again, imported = import_zones(case, [drawn, replace(drawn, name="another")])
    assert imported.already_there == ("S1 foramen",)
    assert [zone.name for zone in again.zones] == ["S1 foramen", "another"]
    # The same points in another frame are another place.
    elsewhere, imported = import_zones(case, [drawn], frame_of_reference_uid="7.7")
    assert len(elsewhere.zones) == 2


def test_one_impossible_zone_and_none_is_taken() -> None:
    bad = _read("ball", shape=SphereShape(center_lps_mm=(0, 0, 0), radius_mm=-1))
    with pytest.raises(BadFieldsError, match=r"'ball' refused: shape\.radius_mm"):
        import_zones(with_volume(), [_read("sacrum"), bad])


def test_a_mask_is_shown_and_named_anew_but_its_voxels_are_not_edited() -> None:
    case, _ = import_zones(with_volume(), [_read("sacrum")])
    case, zone = update_zone(case, "Z1", {"name": "Kreuzbein", "shown": False, "level": "S1"})
    assert (zone.name, zone.shown, zone.level, zone.shape) == ("Kreuzbein", False, "S1", MASK)
    for shape in (SPHERE, {"radius_mm": 3}, {"type": "mask", "volume_ml": 3.0}):
        with pytest.raises(BadFieldsError, match="mask"):
            update_zone(case, "Z1", {"shape": shape})
    sent_back = {
        "type": "mask",
        "mask_id": MASK.mask_id,
        "shape_kji": [2, 3, 4],
        "affine_lps_from_ijk": list(MASK.affine_lps_from_ijk),
        "volume_ml": 1.5,
    }
    _, same = replace_zone(
        case, "Z1", {"id": "Z1", "name": "a", "site": "bone", "kind": "target", "origin": "nifti", "shape": sent_back}
    )
    assert same.shape == MASK
    other = replace(case, zones=(replace(case.zones[0], frame_of_reference_uid="7.7"),))
    with pytest.raises(BadFieldsError, match="voxels lie in their frame"):
        update_zone(other, "Z1", {"frame_of_reference_uid": "1.2.3.4"})
