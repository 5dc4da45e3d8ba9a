"""Zone surfaces: closed, outward, as near to the shape as told, and small."""

import numpy as np
import pytest
from scipy import ndimage

from guidance.errors import GeometryError
from guidance.kernels.distance import NearestSurface
from guidance.messages import MaskShape, PrismShape, SphereShape, TubeShape
from guidance.planning.distance import distance_field
from guidance.planning.grid_field import mask_surface
from guidance.planning.occupancy import Occupancy
from guidance.planning.surface import ZoneSurface, surface_of_shape

MASK = MaskShape(mask_id="a" * 64, shape_kji=(1, 1, 1), affine_lps_from_ijk=tuple(np.eye(4).ravel()), volume_ml=1.0)


def closed(surface: ZoneSurface) -> bool:
    faces = surface.triangles.astype(np.int64)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.array_equal(np.sort(edges @ [1 << 32, 1]), np.sort(edges @ [1, 1 << 32]))


def volume_mm3(surface: ZoneSurface) -> float:
    a, b, c = (surface.vertices_lps_mm[surface.triangles[:, n]].astype(np.float64) for n in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def places(surface: ZoneSurface) -> np.ndarray:
    """Points all over a surface."""
    corners = surface.vertices_lps_mm[surface.triangles].astype(np.float64)
    weights = np.random.default_rng(0).dirichlet((1, 1, 1), size=(4, len(corners)))
    return np.concatenate([*(np.einsum("tn,tnx->tx", w, corners) for w in weights), corners.reshape(-1, 3)])


def parts(surface: ZoneSurface) -> int:
    names = np.arange(len(surface.vertices_lps_mm))
    for _ in range(len(names)):
        least = names[surface.triangles].min(axis=1)
        before = names.copy()
        for n in range(3):
            np.minimum.at(names, surface.triangles[:, n], least)
        if np.array_equal(before, names):
            break
    return len(np.unique(names[surface.triangles]))


@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (SphereShape(center_lps_mm=(1, 2, 3), radius_mm=5.0), 4 / 3 * np.pi * 125),
        (SphereShape(center_lps_mm=(1, 2, 3), radius_mm=60.0), 4 / 3 * np.pi * 216000),
        (TubeShape(points_lps_mm=((0, 0, 0), (30, 4, -2)), radius_mm=3.0), np.pi * 9 * (np.sqrt(920) + 4)),
        (TubeShape(points_lps_mm=((4, 4, 4), (4, 4, 4)), radius_mm=1.0), 4 / 3 * np.pi),
        (PrismShape(polygon_lps_mm=((0, 0, 0), (12, 0, 0), (12, 10, 0), (6, 3, 0), (0, 10, 0)), height_mm=5.0), 390.0),
        (PrismShape(polygon_lps_mm=((0, 0, 0), (0, 10, 0), (6, 3, 0), (12, 10, 0), (12, 0, 0)), height_mm=5.0), 390.0),
    ],
)
def test_drawn_shapes_within_a_twentieth_of_a_millimetre(shape, volume: float) -> None:
    surface = surface_of_shape(shape)
    assert closed(surface)
    assert volume_mm3(surface) == pytest.approx(volume, rel=0.07)
    off = distance_field(shape).distance_mm(places(surface))
    assert np.abs(off).max() <= 0.0501
    assert surface.vertices_lps_mm.dtype == np.float32
    assert surface.triangles.dtype == np.int32


def test_a_bent_tube_is_one_body_for_each_part() -> None:
    shape = TubeShape(points_lps_mm=((0, 0, 0), (10, 0, 0), (10, 9, 1)), radius_mm=3.0)
    surface = surface_of_shape(shape)
    assert closed(surface)
    assert parts(surface) == 2
    off = distance_field(shape).distance_mm(places(surface))
    assert off.max() < 0.001
    assert (np.abs(off) < 0.051).mean() > 0.7


def rasterised(signed: np.ndarray, spacing: float, *, binary: bool) -> Occupancy:
    share = (signed < 0.0) * 1.0 if binary else np.clip(0.5 - signed / spacing, 0.0, 1.0)
    return Occupancy(np.round(share * 255).astype(np.uint8), np.diag([spacing, spacing, spacing, 1.0]))


@pytest.mark.parametrize("binary", [False, True], ids=["shares", "whole voxels"])
@pytest.mark.parametrize("spacing", [0.5, 2.0])
def test_masks_keep_to_half_of_a_voxel_and_are_small(binary: bool, spacing: float) -> None:
    z, y, x = (np.mgrid[:74, :74, :74] - 36.5) * spacing
    radius = 30.0 * spacing
    ring = np.hypot(np.hypot(x, y) - 0.6 * radius, z) - 0.25 * radius  # a hole through the middle
    occupancy = rasterised(ring, spacing, binary=binary)
    surface = surface_of_shape(MASK, occupancy)
    assert closed(surface)
    assert len(surface.triangles) <= 8000
    mask = mask_surface(occupancy)
    faces = surface.triangles.astype(np.int64)
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    assert len(surface.vertices_lps_mm) - len(edges) + len(faces) == 0  # a torus
    allowed = max(0.15, 0.5 * spacing)
    back = np.abs(NearestSurface(mask.points_lps_mm, mask.triangles).nearest(places(surface))[1])
    there = np.abs(
        NearestSurface(surface.vertices_lps_mm.astype(np.float64), surface.triangles).nearest(mask.points_lps_mm)[1]
    )
    for off in (back, there):
        assert np.percentile(off, 99.0) <= allowed
        assert off.max() <= 1.6 * allowed
    assert volume_mm3(surface) == pytest.approx(2 * np.pi**2 * 0.6 * 0.0625 * radius**3, rel=0.02)


def test_parts_and_hollows_of_a_mask_are_kept() -> None:
    z, y, x = np.mgrid[:48, :48, :96] - 23.5
    first = np.maximum(np.sqrt(x**2 + y**2 + z**2) - 18.0, 9.0 - np.sqrt(x**2 + y**2 + z**2))
    second = np.sqrt((x - 48.0) ** 2 + y**2 + z**2) - 14.0
    surface = surface_of_shape(MASK, rasterised(np.minimum(first, second), 1.0, binary=True))
    assert closed(surface)
    assert parts(surface) == 3
    assert volume_mm3(surface) == pytest.approx(4 / 3 * np.pi * (18**3 - 9**3 + 14**3), rel=0.02)


def test_crumbs_and_sheets_are_not_smoothed_away() -> None:
    values = np.zeros((9, 20, 20), np.uint8)
    values[4, 2:18, 2:18] = 255
    sheet = surface_of_shape(MASK, Occupancy(values, np.eye(4)))
    assert volume_mm3(sheet) == pytest.approx(256.0, rel=0.1)
    values[:] = 0
    values[4, 9, 9] = 255
    assert volume_mm3(surface_of_shape(MASK, Occupancy(values, np.eye(4)))) == pytest.approx(1.0 / 6.0)


def test_rough_masks_stay_closed() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(40, 40, 40)), 1.5)
    values = np.where(noise > 0.02, 255, 0).astype(np.uint8)
    surface = surface_of_shape(MASK, Occupancy(values, np.diag([0.8, 0.8, 1.5, 1.0])))
    assert closed(surface)
    assert volume_mm3(surface) > 0.0


@pytest.mark.parametrize(
    ("occupancy", "code"), [(None, "no_voxels"), (Occupancy(np.zeros((2, 2, 2), np.uint8), np.eye(4)), "empty_zone")]
)
def test_a_mask_without_voxels_has_no_surface(occupancy, code: str) -> None:
    with pytest.raises(GeometryError) as told:
        surface_of_shape(MASK, occupancy)
    assert told.value.code == code
