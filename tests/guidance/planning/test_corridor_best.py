"""The best corridor, not the first: of a bone across a body, of a tilted slab, of procedural and of real pelves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from guidance.messages import F64, MaskShape, TubeShape, Zone, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.answers import Corridor
from guidance.planning.bone import ZoneField
from guidance.planning.corridor import Level, search_corridor
from guidance.planning.distance import distance_field
from guidance.planning.volume import PlanningVolume
from guidance.wire.label_map import read_label_map
from guidance.wire.label_names import totalsegmentator
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_anatomy import DYSMORPHIC, USUAL, Variant
from tests.helpers.bone_phantoms import box, cylinder, grid, mask_zone, places, share, volume

SHARED = Path(__file__).parents[4] / "shared" / "data" / "pelvis_ct"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/pelvis_ct is not here")

RADIUS_MM, HALF_MM = 15.0, 55.0
WIDE = grid((-88.75,) * 3, (88.75,) * 3, 2.5)


@pytest.fixture(scope="module")
def body() -> PlanningVolume:
    """A bone across an ellipsoidal body in air, 72^3 voxels of 2.5 mm."""
    at = places(*WIDE)
    tissue = np.where(((at / [85.0, 60.0, 85.0]) ** 2).sum(axis=-1) < 1.0, 40.0, -1000.0)
    filled = share(cylinder((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), RADIUS_MM, HALF_MM), *WIDE)
    return PlanningVolume(np.rint(tissue + filled * (700.0 - tissue)).astype(np.int16), WIDE[1])


def ends(answer: Corridor) -> tuple[F64, F64]:
    assert answer.entry_lps_mm is not None
    assert answer.target_lps_mm is not None
    return np.array(answer.entry_lps_mm), np.array(answer.target_lps_mm)


@pytest.mark.parametrize(("diameter_mm", "margin_mm"), [(8.0, 2.0), (4.0, 0.0), (28.0, 0.5), (31.0, 1.0), (40.0, 0.0)])
def test_a_bone_s_axis_is_its_best_corridor_whatever_is_asked(
    body: PlanningVolume, diameter_mm: float, margin_mm: float
) -> None:
    answer = search_corridor(body, (), level="free", diameter_mm=diameter_mm, margin_mm=margin_mm)
    assert answer.exists == (diameter_mm / 2.0 + margin_mm <= RADIUS_MM)
    assert answer.largest_diameter_mm == pytest.approx(2.0 * (RADIUS_MM - margin_mm), abs=0.8)
    assert answer.margin_mm == pytest.approx(RADIUS_MM - diameter_mm / 2.0, abs=0.4)
    assert answer.uncertainty_mm is not None
    assert answer.uncertainty_mm <= 0.8
    entry, target = ends(answer)
    along = (target - entry) / np.linalg.norm(target - entry)
    assert abs(along[0]) > 0.999
    assert np.abs([entry[1:], target[1:]]).max() < 1.0
    assert answer.length_mm is not None
    if not answer.exists:
        assert "does not fit" in answer.reason
        assert "not excluded" not in answer.reason


def test_what_is_told_to_fit_fits_when_it_is_asked_for(body: PlanningVolume) -> None:
    most = search_corridor(body, (), level="free", diameter_mm=40.0).largest_diameter_mm
    assert most is not None
    assert search_corridor(body, (), level="free", diameter_mm=most - 0.1).exists
    assert not search_corridor(body, (), level="free", diameter_mm=most + 1.0).exists


def test_the_same_question_has_the_same_answer(body: PlanningVolume) -> None:
    first, second = (search_corridor(body, (), level="free", diameter_mm=8.0) for _ in range(2))
    assert first == second


THICK_MM = 13.0
TILT = np.radians(25.0)


def slab(p: F64) -> F64:
    """13 mm thick, tilted by 25 deg about y, within 60 x 50 x 60 mm."""
    across = np.abs(p[..., 2] * np.cos(TILT) - p[..., 0] * np.sin(TILT)) - THICK_MM / 2.0
    return np.asarray(np.maximum(across, box((-30.0, -25.0, -30.0), (30.0, 25.0, 30.0))(p)))


@pytest.mark.parametrize("diameter_mm", [7.3, 15.5])
def test_a_tilted_slab_in_closed_form(diameter_mm: float) -> None:
    pv = volume(slab, *grid((-36.0, -31.0, -36.0), (36.0, 31.0, 36.0), 1.5))
    answer = search_corridor(pv, (), level="free", diameter_mm=diameter_mm, minimum_length_mm=45.0)
    assert answer.exists == (diameter_mm < THICK_MM)
    assert answer.largest_diameter_mm == pytest.approx(THICK_MM, abs=0.5)
    assert answer.uncertainty_mm is not None
    assert answer.uncertainty_mm <= 1.0
    entry, target = ends(answer)
    along = (target - entry) / np.linalg.norm(target - entry)
    assert abs(along @ [-np.sin(TILT), 0.0, np.cos(TILT)]) < 0.03
    assert np.linalg.norm(target - entry) >= 45.0 - 1e-6


def pelvis_zones(variant: Variant) -> tuple[PlanningVolume, list[ZoneField]]:
    pelvis = ProceduralPelvis(variant)
    shape, affine = grid((-104.0, -45.0, -58.0), (104.0, 48.0, 40.0), 2.5)
    points = places(shape, affine)
    flat = points.reshape(-1, 3)
    sacrum = pelvis.sacrum_distance_mm(flat).reshape(shape)
    hips = pelvis.hip_distance_mm(flat).reshape(shape)
    left = points[..., 0] > 0.0
    zones = [
        mask_zone("sacrum", lambda _: sacrum, shape, affine),
        mask_zone("hip_left", lambda _: np.where(left, hips, 99.0), shape, affine, side=ZoneSide.LEFT),
        mask_zone("hip_right", lambda _: np.where(left, 99.0, hips), shape, affine, side=ZoneSide.RIGHT),
    ]
    return PlanningVolume(np.full(shape, 40, np.int16), affine), zones


def test_a_procedural_pelvis_has_s1_and_a_dysmorphic_one_has_none() -> None:
    found = {}
    for variant in (USUAL, DYSMORPHIC):
        pv, zones = pelvis_zones(variant)
        answer = search_corridor(pv, zones, level="s1", diameter_mm=7.3)
        assert answer.largest_diameter_mm is not None
        assert answer.uncertainty_mm is not None
        assert answer.uncertainty_mm < 1.3
        # What the screw has round it in the sacrum, by the pelvis's closed form, the joints aside.
        entry, target = ends(answer)
        part = np.linspace(0.0, 1.0, 400)[:, None]
        axis = entry + part * (target - entry)
        inner = axis[np.abs(axis[:, 0]) < 36.0]
        depth = -ProceduralPelvis(variant).sacrum_distance_mm(inner).max()
        assert depth >= answer.largest_diameter_mm / 2.0 - 0.8
        found[variant] = answer
    assert found[USUAL].exists
    assert not found[DYSMORPHIC].exists
    assert found[DYSMORPHIC].largest_diameter_mm < 6.0
    assert "not excluded" not in found[DYSMORPHIC].reason


def real_zones() -> list[ZoneField]:
    read = read_label_map((SHARED / "labels.nii.gz").read_bytes(), totalsegmentator(), frame_of_reference_uid="1.2.3")
    out: list[ZoneField] = []
    for zone in read.zones:
        values, affine = zone.occupancy.values, zone.occupancy.affine_lps_from_ijk
        k, j, i = values.shape
        shape = MaskShape(
            mask_id=zone.name,
            shape_kji=(k, j, i),
            affine_lps_from_ijk=tuple(affine.ravel().tolist()),
            volume_ml=1.0,
        )
        described = Zone(
            id=zone.name, name=zone.name, site=zone.site, side=zone.side, kind=zone.kind, level=zone.level, shape=shape
        )
        out.append((described, distance_field(shape, zone.occupancy), zone.occupancy))
    return out


def scipy_depth_mm(zones: list[ZoneField], points: F64, step_mm: float) -> F64:
    """Depth in a union of masks, by SciPy's distances between the voxels of a finer grid."""
    bounds = np.stack([field.bounds_lps_mm for _, field, _ in zones])
    low = bounds[:, 0].min(axis=0) - 2.0
    count = np.ceil((bounds[:, 1].max(axis=0) + 2.0 - low) / step_mm).astype(int)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1)  # [i, j, k]
    filled = np.zeros(count)
    for _, _, occupancy in zones:
        assert occupancy is not None
        inverse = np.linalg.inv(occupancy.affine_lps_from_ijk)
        at = (low + step_mm * index) @ inverse[:3, :3].T + inverse[:3, 3]
        filled += ndimage.map_coordinates(occupancy.values / 255.0, np.moveaxis(at[..., ::-1], -1, 0), order=1)
    depth = (ndimage.distance_transform_edt(filled >= 0.5) - 0.5) * step_mm
    return np.asarray(ndimage.map_coordinates(depth, ((points - low) / step_mm).T, order=1))


@needs_data
@pytest.mark.parametrize(("level", "least_mm"), [("s1", 13.0), ("iliosacral", 17.0)])
def test_a_real_pelvis_has_room_where_it_is_told(level: Level, least_mm: float) -> None:
    zones = real_zones()
    pv = PlanningVolume(np.full((4, 4, 4), 40, np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
    answer = search_corridor(pv, zones, level=level, diameter_mm=7.3)
    assert answer.exists
    assert answer.largest_diameter_mm is not None
    assert answer.largest_diameter_mm >= least_mm
    assert answer.uncertainty_mm is not None
    assert answer.uncertainty_mm < 1.5
    entry, target = ends(answer)
    points = entry + np.linspace(0.0, 1.0, 400)[:, None] * (target - entry)
    sacral = [zone for zone in zones if zone[0].name in ("sacrum", "vertebrae_S1")]
    assert len(sacral) == 2
    # From the joints' faces on, where hips and the closed joints are solid too.
    inner = scipy_depth_mm(sacral, points, 1.0)
    middle = (target[0] + entry[0]) / 2.0 if level == "s1" else target[0]
    body = inner[np.abs(points[:, 0] - middle) < 30.0]
    assert body.min() >= answer.largest_diameter_mm / 2.0 - 1.0


@pytest.mark.parametrize("margin_mm", [0.0, 1.0, 2.0])
def test_a_free_corridor_begins_and_ends_at_bone_and_not_at_a_canals_wall(margin_mm: float) -> None:
    """A bar of 76 x 20 x 20 mm with a canal through it: the halves are wide, but nobody can enter from the canal."""
    x, y, z = (first + np.arange(count) for first, count in ((-45.0, 91), (-16.0, 33), (-16.0, 33)))
    inside = (np.abs(x)[None, None] < 38.0) & (np.abs(y)[None, :, None] < 10.0) & (np.abs(z)[:, None, None] < 10.0)
    affine = np.eye(4)
    affine[:3, 3] = (-45.0, -16.0, -16.0)
    bar = PlanningVolume(np.where(inside, 900, 0).astype(np.int16), affine)
    shape = TubeShape(points_lps_mm=((0.0, -6.0, -40.0), (0.0, -6.0, 40.0)), radius_mm=4.0)
    canal = Zone(id="Z1", name="canal", site=ZoneSite.CANAL, kind=ZoneKind.KEEP_OUT, shape=shape)
    found = search_corridor(
        bar, [(canal, distance_field(shape), None)], level="free", diameter_mm=7.0, margin_mm=margin_mm
    )
    assert found.exists
    entry, target = ends(found)
    for end in (entry, target):
        assert abs((np.abs(end) - (38.0, 10.0, 10.0)).max()) < 1.5
    assert distance_field(shape).distance_mm(np.linspace(entry, target, 200)).min() > 3.5 + margin_mm - 0.5
