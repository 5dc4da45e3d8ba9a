"""What a volume predicts of a pose: known bodies, known thickness, and nothing where nothing is."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from guidance.cement.beam import detected_beam, linear_per_mm
from guidance.cement.body_shadow import BodyProjector
from guidance.cement.space import CementSpace, opened
from guidance.messages import F64

SIDE = 120  # mm, of the volume


def _space(hu: F64, spacing_mm: float = 1.0) -> BodyProjector:
    code = np.clip((hu + 1024.0) / 16.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    packed = zlib.compress(code.tobytes(), 1)
    middle = (np.array(hu.shape[::-1]) - 1.0) / 2.0 * spacing_mm
    space = CementSpace(
        tissue=packed,
        hu_code=packed,
        shape_kji=(hu.shape[0], hu.shape[1], hu.shape[2]),
        spacing_mm=spacing_mm,
        origin_lps_mm=(-middle[0], -middle[1], -middle[2]),
    )
    return BodyProjector(opened(space))


def _block(hu_of_bone: float = 1504.0) -> F64:
    """80 mm of soft tissue (x, y) in air with a bone of 20 mm across."""
    hu = np.full((SIDE, SIDE, SIDE), -1000.0)
    hu[:, 20:100, 20:100] = 54.0
    hu[50:70, 50:70, 50:70] = hu_of_bone
    return hu


def _view(distance_mm: float = 4000.0, size: int = 256) -> F64:
    """Along +y from far away, about 0.5 mm per pixel at the middle."""
    focal = distance_mm / 0.5
    middle = (size - 1) / 2.0
    camera = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, distance_mm]])
    return np.diag([1.0, 1.0, 1.0]) @ np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]]) @ camera


def test_contrast_and_thickness_are_those_of_the_block() -> None:
    shadow = _space(_block()).shadow(_view(), 256, 256, kvp=80.0)
    assert shadow is not None
    assert shadow.whole
    assert shadow.thickness_mm == pytest.approx(80.0 * 1.054, abs=2.0)
    bare = detected_beam(80.0, 3.0, 0.1, 0.0)
    # HU are kept in steps of 16; soft tissue of 54 HU is as dense as 1.054 of water.
    beside = np.exp(-1.054 * 80.0 * linear_per_mm("water")) @ bare.weights
    more = linear_per_mm("cortical_bone") - linear_per_mm("soft_tissue")
    through = np.exp(-1.054 * 80.0 * linear_per_mm("water") - 20.0 * more) @ bare.weights
    middle, soft = shadow.contrast[63:65, 63:65].mean(), shadow.contrast[40:44, 63:65].mean()
    assert soft == pytest.approx(-np.log(beside), rel=0.02)
    assert middle - soft == pytest.approx(np.log(beside / through), rel=0.05)


def test_a_body_cut_by_the_field_of_view_is_taken_as_usual() -> None:
    cut = _space(_block()[:, 30:90, 30:90])
    shadow = cut.shadow(_view(), 256, 256)
    assert shadow is not None
    assert not shadow.whole
    assert shadow.thickness_mm == pytest.approx(230.0, abs=1.0)  # along y: from front to back
    assert shadow.water_mm >= 230.0
    across = cut.shadow(_view() @ np.array([[0, -1.0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), 256, 256)
    assert across is not None
    assert across.thickness_mm == pytest.approx(350.0, abs=1.0)


def test_a_body_cut_at_its_sides_is_whole_from_front_to_back() -> None:
    cut = _space(_block()[:, :, 30:90])
    shadow = cut.shadow(_view(), 256, 256)
    assert shadow is not None
    assert shadow.whole
    assert shadow.thickness_mm == pytest.approx(80.0 * 1.054, abs=2.0)
    assert shadow.used is not None
    assert shadow.used[64, 64]
    assert not shadow.used[64, 20]  # beside the volume
    across = cut.shadow(_view() @ np.array([[0, -1.0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), 256, 256)
    assert across is not None
    assert not across.whole


def test_bone_hardens_the_beam_as_more_water_would() -> None:
    hu = _block()
    hu[20:100, 35:50, 20:100] = 1504.0  # 15 mm of it on every ray
    shadow = _space(hu).shadow(_view(), 256, 256, kvp=80.0)
    assert shadow is not None
    barium, bare = linear_per_mm("barium_sulphate"), detected_beam(80.0, 3.0, 0.1, 0.0)
    more = linear_per_mm("cortical_bone") - linear_per_mm("soft_tissue")
    behind = bare.weights * np.exp(-1.054 * 80.0 * linear_per_mm("water") - 15.0 * more)
    equal = detected_beam(80.0, 3.0, 0.1, shadow.water_mm)
    assert equal.mean_per_mm(barium) == pytest.approx(float(behind @ barium / behind.sum()), rel=0.01)
    assert shadow.water_mm > shadow.thickness_mm


def test_metal_counts_as_dense_bone_and_no_more() -> None:
    bone = _space(_block(2500.0)).shadow(_view(), 256, 256)
    metal = _space(_block(3056.0)).shadow(_view(), 256, 256)
    assert bone is not None
    assert metal is not None
    np.testing.assert_allclose(metal.contrast, bone.contrast, atol=0.02)


@pytest.mark.parametrize("kind", ["air", "behind", "nan", "tiny", "beside"])
def test_nothing_is_predicted_of_nothing(kind: str) -> None:
    hu, view, size = _block(), _view(), 256
    if kind == "air":
        hu[:] = -1000.0
    elif kind == "behind":
        view = _view() @ np.diag([1.0, -1.0, 1.0, 1.0])
        view[2, 3] = -4000.0
    elif kind == "nan":
        view[0, 0] = np.nan
    elif kind == "tiny":
        size = 3
    else:
        view[0, 3] += 1e7
    assert _space(hu).shadow(view, size, size) is None


def test_a_coarse_volume_and_a_tall_picture() -> None:
    coarse = _space(_block()[::3, ::3, ::3], 3.0).shadow(_view(), 400, 120, kvp=80.0)
    assert coarse is not None
    assert coarse.contrast.shape == (100, 30)
    assert np.isfinite(coarse.contrast).all()
