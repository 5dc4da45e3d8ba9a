"""The whole answer about a path: distances, what is left out, what is permitted, what is told."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from guidance.config import PlanningSettings
from guidance.errors import GeometryError
from guidance.messages import AblationSetting, Finding, PlannedPath, Severity, Zone, ZoneKind, ZoneSite
from guidance.planning.answers import Clearance
from guidance.planning.clearance import path_clearance
from guidance.planning.distance import field_of_occupancy
from guidance.planning.instruments import instrument_library
from guidance.planning.occupancy import Occupancy
from guidance.planning.volume import PlanningVolume
from tests.helpers.closed_fields import Ball, Either, HalfSpace, Slab, zone

LIBRARY = instrument_library()
SETTINGS = PlanningSettings(tip_length_mm=20.0, preserved_bone_hu=150.0)
FORAMEN = (zone("F"), Ball((50.0, 20.0, 0.0), 5.0))


class BoneOf:
    """A bone model in closed form."""

    def __init__(self, field: Any, skin: Any = None) -> None:
        self.field = field
        self.skin = skin
        self.source = "closed form"


def path(path_id: str = "A", **changes: Any) -> PlannedPath:
    fields: dict[str, Any] = {
        "entry_lps_mm": (0.0, 0.0, 0.0),
        "target_lps_mm": (100.0, 0.0, 0.0),
        "diameter_mm": 7.3,
        "frame_of_reference_uid": "1.2.3",
    }
    return PlannedPath(id=path_id, **(fields | changes))


def measured(
    drawn: PlannedPath,
    zones: list[tuple[Zone, Any]] | None = None,
    others: list[PlannedPath] | None = None,
    *,
    volume: PlanningVolume | None = None,
    bone: Any = None,
) -> Clearance:
    return path_clearance(
        drawn, zones or [], others or [], volume=volume, bone=bone, library=LIBRARY, settings=SETTINGS
    )


def codes(answer: Clearance) -> set[str]:
    """Without the word that bone is not known: most of these paths are measured without it."""
    return {finding.code for finding in answer.findings} - {"bone_unknown"}


def finding(answer: Clearance, code: str) -> Finding:
    return next(found for found in answer.findings if found.code == code)


def test_distance_place_and_depth() -> None:
    answer = measured(path(), [FORAMEN])
    (told,) = answer.zones
    assert told.min_distance_mm == pytest.approx(20.0 - 5.0 - 3.65, abs=1e-3)
    assert told.at_depth_mm == pytest.approx(50.0, abs=0.05)
    assert told.point_lps_mm == pytest.approx((50.0, 15.0, 0.0), abs=0.05)
    assert (answer.length_mm, answer.diameter_mm) == (100.0, 7.3)
    # Bone is not known: the room to the zone alone would be more than there may be.
    assert answer.margin_mm is None
    assert answer.bone_margin_mm is None
    within = measured(path(), [FORAMEN], bone=BoneOf(Slab((0.0, 0.0, 1.0), 0.0, 500.0)))
    assert within.margin_mm == pytest.approx(told.min_distance_mm)
    assert answer.approach.id == ""


@pytest.mark.parametrize(
    ("center", "depth_mm"),
    [((-20.0, 0.0, 0.0), 0.0), ((130.0, 5.0, 0.0), 100.0), ((30.0, 0.0, 0.0), 30.0), ((70.0, 0.0, 3.0), 70.0)],
)
def test_depth_of_the_nearest_place(center: tuple[float, float, float], depth_mm: float) -> None:
    (told,) = measured(path(), [(zone("F"), Ball(center, 2.0))]).zones
    assert told.at_depth_mm == pytest.approx(depth_mm, abs=0.3)


def test_zones_come_nearest_first_and_other_paths_too() -> None:
    zones = [(zone(f"F{y}"), Ball((50.0, float(y), 0.0), 2.0)) for y in (40, 10, 25)]
    others = [
        path(f"P{z}", entry_lps_mm=(50.0, -30.0, z), target_lps_mm=(50.0, 30.0, z), diameter_mm=3.2, label=f"pin {z}")
        for z in (30.0, 12.0)
    ]
    answer = measured(path(), zones, others)
    assert [told.zone_id for told in answer.zones] == ["F10", "F25", "F40"]
    assert [told.path_id for told in answer.paths] == ["P12.0", "P30.0"]
    assert answer.paths[0].min_distance_mm == pytest.approx(12.0 - 3.65 - 1.6, abs=1e-3)
    assert answer.paths[0].at_depth_mm == pytest.approx(50.0, abs=1.7)
    assert answer.paths[0].label == "pin 12.0"


def test_itself_is_no_other_path() -> None:
    assert measured(path(), [], [path()]).paths == ()


def test_touching_is_told_unless_permitted() -> None:
    joint = (zone("J", ZoneSite.SI_JOINT), Slab((1.0, 0.0, 0.0), 40.0, 2.0))
    answer = measured(path(), [joint])
    told = finding(answer, "touches_keep_out")
    assert told.severity is Severity.ERROR
    assert "J" in told.message
    assert answer.margin_mm is not None
    assert answer.margin_mm < 0.0
    permitted = measured(path(permitted_zone_ids=("J",)), [joint, FORAMEN])
    assert "touches_keep_out" not in codes(permitted)
    assert {told.zone_id: told.permitted for told in permitted.zones} == {"J": True, "F": False}
    assert permitted.margin_mm is None
    in_bone = BoneOf(Slab((0.0, 0.0, 1.0), 0.0, 500.0))
    permitted = measured(path(permitted_zone_ids=("J",)), [joint, FORAMEN], bone=in_bone)
    assert permitted.margin_mm == pytest.approx(11.35, abs=1e-3)


def test_skin_and_needle_track_are_crossed_by_nature() -> None:
    layer = (zone("S", ZoneSite.SKIN), Slab((1.0, 0.0, 0.0), 5.0, 3.0))
    answer = measured(path(), [layer])
    assert answer.zones[0].permitted
    assert codes(answer) == set()
    assert answer.margin_mm is None


def test_a_permission_for_nothing_is_told() -> None:
    assert "permitted_zone_unknown" in codes(measured(path(permitted_zone_ids=("gone",)), [FORAMEN]))


def test_target_zones() -> None:
    lesion = (zone("L", ZoneSite.LESION, ZoneKind.TARGET), Ball((100.0, 0.0, 0.0), 10.0))
    assert "target_outside_target_zones" not in codes(measured(path(), [lesion]))
    missed = measured(path(target_lps_mm=(80.0, 0.0, 0.0)), [lesion])
    assert "target_outside_target_zones" in codes(missed)
    assert missed.margin_mm is None
    assert "target_outside_target_zones" not in codes(measured(path(), [FORAMEN]))


def test_another_frame_or_patient_is_left_out_and_told() -> None:
    zones = [
        (zone("same", frame="1.2.3"), FORAMEN[1]),
        (zone("untold", frame=""), FORAMEN[1]),
        (zone("foreign", frame="9.9"), FORAMEN[1]),
        (zone("someone", frame="1.2.3", patient_id="P2"), FORAMEN[1]),
    ]
    others = [path("B", entry_lps_mm=(0.0, 30.0, 0.0)), path("C", frame_of_reference_uid="9.9", label="old pin")]
    answer = measured(path(patient_id="P1"), zones, others)
    assert {told.zone_id for told in answer.zones} == {"same", "untold"}
    assert "foreign, someone" in finding(answer, "zone_in_other_frame").message
    assert [told.path_id for told in answer.paths] == ["B"]
    assert "old pin" in finding(answer, "path_in_other_frame").message


def test_another_path_without_geometry_spoils_nothing() -> None:
    others = [
        path("B", target_lps_mm=(0.0, 0.0, 0.0), label="no length"),
        path("C", target_lps_mm=(math.nan, 0.0, 0.0)),
        path("D", entry_lps_mm=(0.0, 30.0, 0.0)),
    ]
    answer = measured(path(), [], others)
    assert [told.path_id for told in answer.paths] == ["D"]
    assert "no length, C" in finding(answer, "path_unmeasured").message


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"target_lps_mm": (0.0, 0.0, 0.0)}, "zero_length", "target_lps_mm"),
        ({"target_lps_mm": (0.05, 0.0, 0.0)}, "zero_length", "target_lps_mm"),
        ({"entry_lps_mm": (math.nan, 0.0, 0.0)}, "bad_path", "entry_lps_mm"),
        ({"target_lps_mm": (0.0, math.inf, 0.0)}, "bad_path", "target_lps_mm"),
        ({"diameter_mm": 0.0}, "bad_path", "diameter_mm"),
        ({"diameter_mm": math.nan}, "bad_path", "diameter_mm"),
        (
            {"instrument": "cryoprobe_1_7", "ablation": AblationSetting(power_w=0.0, time_s=30.0)},
            "outside_ablation_table",
            "ablation.time_s",
        ),
    ],
)
def test_what_has_no_geometry_is_refused_by_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(GeometryError, match=field) as caught:
        measured(path(**changes), [FORAMEN])
    assert caught.value.code == code
    assert caught.value.mend


def test_the_larger_of_two_diameters_counts() -> None:
    thin = measured(path(instrument="screw_7_3_full", diameter_mm=3.2), [FORAMEN])
    assert thin.diameter_mm == 7.3
    assert "diameter_differs" in codes(thin)
    assert thin.zones[0].min_distance_mm == pytest.approx(11.35, abs=1e-3)
    thick = measured(path(instrument="needle_13g", diameter_mm=3.2), [FORAMEN])
    assert thick.diameter_mm == 3.2
    assert "diameter_differs" in codes(thick)
    assert "instrument_unknown" in codes(measured(path(instrument="my own pin"), [FORAMEN]))
    assert codes(measured(path(instrument="needle_11g", diameter_mm=3.0))) == set()


PROBE: dict[str, Any] = {
    "instrument": "cryoprobe_2_4",
    "diameter_mm": 2.4,
    "ablation": AblationSetting(power_w=0.0, time_s=600.0),
}


def test_the_ice_counts_for_the_distance_to_a_nerve() -> None:
    """Ice 45 x 31 mm about depth 85: abeam of its middle 15.5 mm, where the shaft has 1.2 mm."""
    nerve = (zone("F"), Ball((85.0, 40.0, 0.0), 2.0))
    cold = measured(path(**PROBE), [nerve]).zones[0]
    assert cold.min_distance_mm == pytest.approx(40.0 - 2.0 - 15.5, abs=2e-3)
    assert cold.ablation_distance_mm == pytest.approx(cold.min_distance_mm)
    assert cold.at_depth_mm == pytest.approx(85.0, abs=0.2)
    warm = measured(path(**(PROBE | {"ablation": None})), [nerve])
    assert warm.zones[0].min_distance_mm == pytest.approx(40.0 - 2.0 - 1.2, abs=2e-3)
    assert warm.zones[0].ablation_distance_mm is None
    assert "ablation_not_set" in codes(warm)
    beyond = measured(path(**PROBE), [(zone("F"), Ball((112.0, 0.0, 0.0), 2.0))]).zones[0]
    assert beyond.min_distance_mm == pytest.approx(110.0 - (85.0 + 22.5), abs=2e-3)
    assert beyond.at_depth_mm == pytest.approx(107.5, abs=0.2)


def test_several_probes_add_up_as_a_union() -> None:
    nerve = (zone("F"), Ball((85.0, 40.0, 0.0), 2.0))
    second = path("B", entry_lps_mm=(0.0, 15.0, 0.0), target_lps_mm=(100.0, 15.0, 0.0), label="probe 2", **PROBE)
    answer = measured(path(**PROBE), [nerve], [second])
    assert answer.zones[0].min_distance_mm == pytest.approx(40.0 - 2.0 - 15.0 - 15.5, abs=2e-3)
    told = finding(answer, "ablation_union")
    assert "probe 2" in told.message
    assert "not known" in told.message
    assert answer.paths[0].min_distance_mm == pytest.approx(15.0 - 2.4, abs=2e-3)
    screw = measured(path(), [nerve], [second])
    assert screw.zones[0].min_distance_mm == pytest.approx(38.0 - 3.65, abs=2e-3)
    unset = measured(path(**PROBE), [nerve], [path("C", label="probe 3", **(PROBE | {"ablation": None}))])
    assert "probe 3" in finding(unset, "ablation_unknown").message


def test_typical_tables_are_told() -> None:
    assert "Hinshaw" in finding(measured(path(**PROBE)), "ablation_typical").message
    no_table = measured(path(instrument="needle_11g", diameter_mm=3.0, ablation=PROBE["ablation"]))
    assert "no_ablation_table" in codes(no_table)


BODY = HalfSpace((-1.0, 0.0, 0.0), 20.0)  # all with x > -20
BONE = Slab((1.0, 0.0, 0.0), 70.0, 50.0)  # x from 20 to 120


def test_lengths_through_skin_and_bone() -> None:
    answer = measured(path(instrument="screw_7_3_full"), [], bone=BoneOf(BONE, BODY))
    assert answer.skin_to_bone_mm == pytest.approx(40.0, abs=0.01)
    assert answer.bone_to_target_mm == pytest.approx(80.0, abs=0.01)
    assert answer.target_to_far_cortex_mm == pytest.approx(20.0, abs=0.01)
    assert answer.suggested_length_mm == 80.0
    assert answer.bone_source == "closed form"
    assert (answer.mediolateral_deg, answer.craniocaudal_deg) == (90.0, 0.0)


def test_what_is_not_known_is_told() -> None:
    assert [found.code for found in measured(path()).findings] == ["bone_unknown"]
    no_skin = measured(path(), bone=BoneOf(BONE))
    assert no_skin.skin_to_bone_mm is None
    assert "skin_unknown" in codes(no_skin)


@pytest.mark.parametrize(
    ("gap_mm", "joint_zone", "permitted", "closed"),
    [
        pytest.param(4.0, False, False, True, id="narrow-not-marked"),
        pytest.param(9.0, False, False, False, id="wide-not-marked"),
        pytest.param(4.0, True, False, False, id="marked-not-permitted"),
        pytest.param(9.0, True, True, True, id="marked-and-permitted"),
    ],
)
def test_a_joint_between_hip_and_sacrum_is_no_way_out_of_the_bone(
    gap_mm: float, joint_zone: bool, permitted: bool, closed: bool
) -> None:
    """Along the axis of walls 40 mm thick, the target 5 mm and half the gap in front of the far face."""
    half = 0.5 * gap_mm
    hip, sacrum = Slab((1.0, 0.0, 0.0), -half - 20.0, 20.0), Slab((1.0, 0.0, 0.0), half + 20.0, 20.0)
    zones = [
        (zone("H", ZoneSite.BONE, ZoneKind.TARGET, name="hip_left"), hip),
        (zone("S", ZoneSite.BONE, ZoneKind.TARGET, name="sacrum"), sacrum),
    ]
    if joint_zone:
        zones.append((zone("J", ZoneSite.SI_JOINT), Slab((1.0, 0.0, 0.0), 0.0, half)))
    drawn = path(
        entry_lps_mm=(-60.0, 0.0, 0.0),
        target_lps_mm=(35.0, 0.0, 0.0),
        permitted_zone_ids=("J",) if permitted else (),
    )
    answer = measured(drawn, zones, bone=BoneOf(Either((hip, sacrum))))
    assert answer.bone_margin_mm is not None
    assert answer.bone_margin_mm == pytest.approx((half + 5.0 if closed else -half) - 3.65, abs=0.15)


def test_suggested_length_never_passes_the_target() -> None:
    short = measured(path(instrument="screw_7_3_full", target_lps_mm=(63.0, 0.0, 0.0)), [], bone=BoneOf(BONE, BODY))
    assert short.suggested_length_mm == 40.0
    none = measured(path(instrument="screw_7_3_full", target_lps_mm=(50.0, 0.0, 0.0)), [], bone=BoneOf(BONE, BODY))
    assert none.suggested_length_mm is None
    assert "no_length_fits" in codes(none)
    assert measured(path(instrument="screw_7_3_full")).suggested_length_mm == 100.0
    long_needle = measured(path(instrument="needle_11g", target_lps_mm=(160.0, 0.0, 0.0), diameter_mm=3.05))
    assert long_needle.suggested_length_mm is None
    assert "instrument_too_short" in codes(long_needle)


def test_entry_and_target_swapped_against_the_skin() -> None:
    bone = BoneOf(BONE, BODY)
    right = path(entry_lps_mm=(-22.0, 0.0, 0.0), target_lps_mm=(60.0, 0.0, 0.0))
    swapped = path(entry_lps_mm=right.target_lps_mm, target_lps_mm=right.entry_lps_mm)
    assert "entry_target_swapped" not in codes(measured(right, bone=bone))
    told = finding(measured(swapped, bone=bone), "entry_target_swapped")
    assert told.severity is Severity.ERROR
    assert "swap entry_lps_mm and target_lps_mm" in told.message


def test_ice_that_passes_the_skin() -> None:
    shallow = path(entry_lps_mm=(-60.0, 0.0, 0.0), target_lps_mm=(-5.0, 0.0, 0.0), **PROBE)
    answer = measured(shallow, [], bone=BoneOf(BONE, BODY))
    assert answer.ablation_to_skin_mm is not None
    assert answer.ablation_to_skin_mm < 0.0
    assert finding(answer, "ablation_reaches_skin").severity is Severity.ERROR
    deep = measured(path(**PROBE), [], bone=BoneOf(BONE, BODY))
    assert deep.ablation_to_skin_mm == pytest.approx(85.0 - 22.5 + 20.0, abs=2e-3)
    whole_body = (zone("S", ZoneSite.SKIN), BODY)
    assert "ablation_reaches_skin" not in codes(measured(path(**PROBE), [whole_body]))
    layer = (zone("S", ZoneSite.SKIN), Slab((1.0, 0.0, 0.0), 60.0, 3.0))
    assert "ablation_reaches_skin" in codes(measured(path(**PROBE), [layer]))


def volume(fill: int = 300) -> PlanningVolume:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-20.0, -60.0, -60.0)
    return PlanningVolume(
        voxels_hu=np.full((60, 60, 70), fill, np.int16), affine_lps_from_ijk=affine, frame_of_reference_uid="1.2.3"
    )


def test_outside_the_volume_wholly_or_in_part() -> None:
    assert codes(measured(path(), volume=volume())) == set()
    out = measured(path(entry_lps_mm=(0.0, 0.0, 500.0), target_lps_mm=(100.0, 0.0, 500.0)), volume=volume())
    assert finding(out, "path_outside_volume").severity is Severity.ERROR
    part = measured(path(target_lps_mm=(160.0, 0.0, 0.0)), volume=volume())
    assert "outside_field_of_view" in codes(part)
    padded = volume()
    padded.voxels_hu[:, :, :20] = -2000
    assert "outside_field_of_view" in codes(measured(path(), volume=padded))


def test_bone_about_the_tip_of_a_screw() -> None:
    held = measured(path(instrument="screw_7_3_full"), volume=volume()).tip_bone
    assert held is not None
    assert (held.length_mm, held.mean_hu, held.preserved) == (20.0, 300.0, True)
    unnamed = measured(path(), volume=volume())  # only a diameter: it may be a screw
    assert unnamed.tip_bone == held
    assert measured(path(instrument="needle_11g"), volume=volume()).tip_bone is None
    loose = measured(path(instrument="screw_7_3_full"), volume=volume(40)).tip_bone
    assert loose is not None
    assert loose.preserved is False
    metal = measured(path(instrument="screw_7_3_full"), volume=volume(3000))
    assert metal.tip_bone is not None
    assert metal.tip_bone.preserved is None
    assert "tip_bone_unknown" in codes(metal)


def test_the_answer_is_json() -> None:
    answer = measured(path(instrument="screw_7_3_full"), [FORAMEN], [path("B", **PROBE)], volume=volume())
    again = msgspec.json.decode(msgspec.json.encode(answer), type=Clearance)
    assert again == answer


@pytest.mark.parametrize("sheared", [False, True])
def test_a_zone_of_voxels_gives_what_its_closed_form_gives(sheared: bool) -> None:
    """The real field of a mask: a ball of 6 mm on voxels of 0.8 x 0.8 x 1.25 mm, also on a sheared and turned grid."""
    center = np.array([50.0, 20.0, 3.0])
    affine = np.diag([0.8, 0.8, 1.25, 1.0])
    if sheared:
        affine[:3, :3] = np.array([[0.0, -0.8, 0.3], [0.8, 0.0, 0.0], [0.0, 0.1, 1.25]])
    shape_kji = np.array([24, 30, 30])
    affine[:3, 3] = center - affine[:3, :3] @ (0.5 * (shape_kji[::-1] - 1))
    indices = np.moveaxis(np.indices(tuple(shape_kji)), 0, -1)[..., ::-1]
    gaps = np.linalg.norm(indices @ affine[:3, :3].T + affine[:3, 3] - center, axis=-1)
    share = np.clip(0.5 + (6.0 - gaps) / 0.9, 0.0, 1.0)
    field = field_of_occupancy(Occupancy(np.rint(255.0 * share).astype(np.uint8), affine))
    for drawn in (path(), path(target_lps_mm=(48.0, 10.0, 2.0)), path(target_lps_mm=(80.0, 40.0, 0.0))):
        (told,) = measured(drawn, [(zone("F"), field)]).zones
        (exact,) = measured(drawn, [(zone("F"), Ball((50.0, 20.0, 3.0), 6.0))]).zones
        assert told.min_distance_mm == pytest.approx(exact.min_distance_mm, abs=0.1)
        assert told.at_depth_mm == pytest.approx(exact.at_depth_mm, abs=1.5)
