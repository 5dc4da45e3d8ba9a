"""Free corridors against closed forms, brute force and SciPy; the same answer on any grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from guidance.errors import GeometryError
from guidance.messages import F64, SphereShape, Zone, ZoneKind, ZoneSite
from guidance.planning.answers import Corridor
from guidance.planning.bone import ZoneField
from guidance.planning.corridor import search_corridor
from guidance.planning.distance import distance_field
from guidance.planning.volume import PlanningVolume
from tests.helpers.bone_phantoms import Solid, box, cylinder, grid, mask_zone, share, union, volume, without

AXIS = (1.0, 0.35, 0.2)
PIN = cylinder((0.0, 0.0, 0.0), AXIS, 6.0, 28.0)
AROUND = grid((-36.0, -22.0, -18.0), (36.0, 22.0, 18.0), 1.25)


def free(pv: PlanningVolume, *, diameter_mm: float = 7.3, zones: tuple[ZoneField, ...] = (), **more: float) -> Corridor:
    return search_corridor(pv, zones, level="free", diameter_mm=diameter_mm, **more)


def test_a_pin_of_bone_in_closed_form() -> None:
    answer = free(volume(PIN, *AROUND), margin_mm=1.0)
    assert answer.exists
    assert answer.margin_mm == pytest.approx(6.0 - 3.65, abs=0.25)
    assert answer.largest_diameter_mm == pytest.approx(10.0, abs=0.5)
    assert answer.uncertainty_mm is not None
    assert answer.uncertainty_mm < 0.8
    assert answer.entry_lps_mm is not None
    assert answer.target_lps_mm is not None
    entry, target = np.array(answer.entry_lps_mm), np.array(answer.target_lps_mm)
    assert np.abs(PIN(np.stack([entry, target]))).max() < 0.4
    assert abs((target - entry) @ AXIS) / np.linalg.norm(target - entry) / np.linalg.norm(AXIS) > 0.995


def test_none_says_at_which_diameter_there_would_be_one() -> None:
    answer = free(volume(PIN, *AROUND), diameter_mm=11.0, margin_mm=1.5, minimum_length_mm=50.0)
    assert not answer.exists
    assert answer.margin_mm == pytest.approx(0.5, abs=0.25)
    assert answer.largest_diameter_mm == pytest.approx(9.0, abs=0.5)
    assert "does not fit" in answer.reason
    again = free(volume(PIN, *AROUND), diameter_mm=8.4, margin_mm=1.5, minimum_length_mm=50.0)
    assert again.exists


def skewed() -> list[tuple[str, F64, tuple[int, int, int]]]:
    """Grids that see the same pin: anisotropic, with flipped and changed axes, sheared."""
    out = []
    fine = np.diag([1.0, 1.2, 1.9, 1.0])
    fine[:3, 3] = [-36.0, -22.0, -19.0]
    out.append(("anisotropic", fine, (21, 38, 73)))
    flipped = np.eye(4)
    flipped[:3, :3] = [[0.0, 0.0, -1.25], [-1.25, 0.0, 0.0], [0.0, 1.25, 0.0]]
    flipped[:3, 3] = [36.0, 22.0, -18.0]
    out.append(("axes changed", flipped, (59, 30, 36)))
    sheared = np.eye(4)
    sheared[:3, :3] = [[1.25, 0.0, 0.0], [0.0, 1.25, -0.4], [0.0, 0.0, 1.25]]
    sheared[:3, 3] = [-36.0, -17.0, -18.0]
    out.append(("gantry tilt", sheared, (30, 36, 59)))
    return out


@pytest.mark.parametrize(("name", "affine", "shape"), skewed(), ids=[name for name, _, _ in skewed()])
def test_the_same_answer_on_any_grid(name: str, affine: F64, shape: tuple[int, int, int]) -> None:
    answer = free(volume(PIN, shape, affine))
    assert answer.largest_diameter_mm == pytest.approx(12.0, abs=0.8), name
    assert answer.length_mm == pytest.approx(56.0, abs=3.0)


NECK = union(
    cylinder((-20.0, 0.0, 0.0), (1, 0, 0), 8.0, 10.0),
    cylinder((20.0, 0.0, 0.0), (1, 0, 0), 8.0, 10.0),
    cylinder((0.0, 0.0, 0.0), (1, 0, 0), 3.0, 12.0),
)
GAP = union(box((-30.0, -7.0, -7.0), (-1.5, 7.0, 7.0)), box((1.5, -7.0, -7.0), (30.0, 7.0, 7.0)))


def test_a_bottle_neck_is_the_corridor_s_width() -> None:
    """40 mm are asked, each part has 20: only the way through the neck of 6 mm is long enough."""
    answer = free(volume(NECK, *AROUND), minimum_length_mm=40.0)
    assert not answer.exists
    assert answer.largest_diameter_mm == pytest.approx(6.0, abs=0.6)


def test_a_gap_is_never_jumped() -> None:
    """Two blocks of 28.5 mm, 3 mm apart: along them nothing has 45 mm, at no diameter."""
    answer = free(volume(GAP, *AROUND), minimum_length_mm=45.0)
    assert not answer.exists
    assert answer.entry_lps_mm is None
    assert answer.largest_diameter_mm is None


def test_a_drilled_tunnel_leaves_the_wall_beside_it() -> None:
    """A plate of 14 mm with an oblique tunnel of 8 mm along its middle: 10 mm of wall remain at one side."""
    tunnel = cylinder((0.0, -6.0, 0.0), (1.0, 0.0, 0.12), 4.0, 100.0)
    block = without(box((-30.0, -10.0, -7.0), (30.0, 18.0, 7.0)), tunnel)
    answer = free(volume(block, *grid((-36.0, -16.0, -13.0), (36.0, 24.0, 13.0), 1.25)), minimum_length_mm=45.0)
    # Beyond the tunnel 20 x 14 mm are whole: 14 mm wide.
    assert answer.largest_diameter_mm == pytest.approx(14.0, abs=0.6)
    assert answer.entry_lps_mm is not None
    assert answer.entry_lps_mm[1] > 4.0


def test_keep_out_zones_are_cut_out() -> None:
    shape = SphereShape(center_lps_mm=(0.0, 4.0, 0.0), radius_mm=4.0)
    zone = Zone(id="Z1", name="vessel", site=ZoneSite.VEIN, kind=ZoneKind.KEEP_OUT, shape=shape)
    bar = box((-30.0, -8.0, -7.0), (30.0, 8.0, 7.0))
    answer = free(volume(bar, *AROUND), zones=((zone, distance_field(shape), None),), minimum_length_mm=50.0)
    # Between the ball's lower pole (y = 0) and the wall (y = -8).
    assert answer.largest_diameter_mm is not None
    assert 8.0 - 0.6 < answer.largest_diameter_mm < 9.5  # around a ball, a little beside its pole
    target = Zone(id="Z2", name="lesion", site=ZoneSite.LESION, kind=ZoneKind.TARGET, shape=shape)
    aside = free(volume(bar, *AROUND), zones=((target, distance_field(shape), None),), minimum_length_mm=50.0)
    assert aside.largest_diameter_mm == pytest.approx(14.0, abs=0.6)


def test_bone_zones_win_over_ct_values() -> None:
    zone = mask_zone("bone", PIN, *AROUND)
    empty = PlanningVolume(np.full(AROUND[0], 40, np.int16), AROUND[1])
    assert free(empty, zones=(zone,)).largest_diameter_mm == pytest.approx(12.0, abs=0.6)
    with pytest.raises(GeometryError) as caught:
        free(empty)
    assert caught.value.code == "no_bone"


def axis_depth(solid: Solid, answer: Corridor, step_mm: float, ends_mm: float) -> float:
    """Least distance along the answer's axis, by SciPy on a fine grid of the true solid; the ends aside."""
    assert answer.entry_lps_mm is not None
    assert answer.target_lps_mm is not None
    shape, affine = grid((-36.0, -22.0, -18.0), (36.0, 22.0, 18.0), step_mm)
    inside = share(solid, shape, affine) >= 0.5
    depth = ndimage.distance_transform_edt(inside) * step_mm - step_mm / 2.0
    entry, target = np.array(answer.entry_lps_mm), np.array(answer.target_lps_mm)
    length = float(np.linalg.norm(target - entry))
    t = np.linspace(ends_mm / length, 1.0 - ends_mm / length, 200)[:, None]
    ijk = (entry + t * (target - entry) - affine[:3, 3]) / step_mm
    return float(ndimage.map_coordinates(depth, ijk[:, ::-1].T, order=1).min())


LUMPS = union(
    cylinder((-8.0, 2.0, 0.0), (1.0, 0.2, 0.1), 7.0, 22.0),
    cylinder((10.0, -3.0, 2.0), (1.0, -0.3, 0.2), 6.0, 20.0),
    box((-20.0, -12.0, -6.0), (0.0, 4.0, 5.0)),
)


def test_the_best_is_what_scipy_and_brute_force_say() -> None:
    answer = free(volume(LUMPS, *AROUND), minimum_length_mm=40.0)
    assert answer.margin_mm is not None
    radius = answer.margin_mm + 3.65
    assert axis_depth(LUMPS, answer, 0.6, 1.5 * radius) == pytest.approx(radius, abs=0.6)
    # No one of 20000 random chords between far ends is wider than what the search excludes.
    random = np.random.default_rng(11)
    ends = random.uniform(
        [[-32.0, -14.0, -9.0], [8.0, -14.0, -9.0]], [[-8.0, 12.0, 9.0], [32.0, 6.0, 9.0]], (20000, 2, 3)
    )
    t = np.linspace(0.0, 1.0, 41)[None, :, None]
    depth = -LUMPS(ends[:, :1] + t * (ends[:, 1:] - ends[:, :1]))
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    solid = (lengths >= 40.0) & (depth > 0.0).all(axis=1)
    assert solid.sum() > 100
    ends_mm = 1.5 * np.maximum(radius + answer.uncertainty_mm, 3.65)
    along = t[0, :, 0] * lengths[:, None]
    counted = np.minimum(along, lengths[:, None] - along) >= ends_mm
    widest = np.where(counted, depth, np.inf).min(axis=1)[solid]
    assert widest.max() <= radius + answer.uncertainty_mm


def test_progress_is_told_and_may_end_the_search() -> None:
    told: list[float] = []
    search_corridor(volume(PIN, *AROUND), (), level="free", diameter_mm=7.3, progress=told.append)
    assert told == sorted(told)
    assert 0.0 < told[0] <= told[-1] <= 1.0

    def stop(_: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        search_corridor(volume(PIN, *AROUND), (), level="free", diameter_mm=7.3, progress=stop)


@pytest.mark.parametrize("wrong", [
    {"diameter_mm": 0.0}, {"diameter_mm": float("nan")}, {"margin_mm": -1.0}, {"minimum_length_mm": 0.0},
    {"level": "s3"},
])  # fmt: skip
def test_requests_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    asked: dict[str, object] = {"level": "free", "diameter_mm": 7.3, **wrong}
    with pytest.raises(GeometryError) as caught:
        search_corridor(volume(PIN, *AROUND), (), **asked)
    assert caught.value.code == "bad_corridor_request"
