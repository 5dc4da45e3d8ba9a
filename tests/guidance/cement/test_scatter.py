"""Scatter told apart from the primary: a field of its own kind over a synthetic body, by each piece of evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from guidance.cement.body_shadow import BodyShadow
from guidance.cement.scatter import Scatter, scatter_of
from guidance.cement.scatter_room import ScatterRoom
from guidance.messages import F32, U8

SIZE = 256
PITCH_MM = 0.6


def _body(seed: int) -> F32:
    """Log attenuation: bones (many ellipses) over a wide slope, so that structure and smooth parts are both there."""
    random = np.random.default_rng(seed)
    v, u = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    bones = np.zeros((SIZE, SIZE))
    for _ in range(40):
        (cu, cv), (a, b), turn = random.uniform(0, SIZE, 2), random.uniform(8, 40, 2), random.uniform(0, np.pi)
        x = (u - cu) * np.cos(turn) + (v - cv) * np.sin(turn)
        y = -(u - cu) * np.sin(turn) + (v - cv) * np.cos(turn)
        bones += 0.35 * np.sqrt(np.maximum(1.0 - (x / a) ** 2 - (y / b) ** 2, 0.0))
    return np.asarray(ndimage.gaussian_filter(bones, 1.0), np.float32)


def _picture(ratio: float, *, seed: int = 1, open_field: U8 | None = None, noise: float = 0.01) -> tuple[F32, F32]:
    """Counts and scatter's true share; the blur has heavy tails, unlike what the estimate supposes."""
    random = np.random.default_rng(seed)
    slope = np.linspace(0.0, 0.4, SIZE)[None, :]
    primary = 5000.0 * np.exp(-_body(seed) - slope)
    if open_field is not None:
        primary = primary * open_field
    field_mm = np.hypot(*np.mgrid[-SIZE : SIZE + 1, -SIZE : SIZE + 1]) * PITCH_MM
    kernel = np.exp(-field_mm / 35.0)
    spectrum = np.fft.rfft2(primary, (4 * SIZE, 4 * SIZE)) * np.fft.rfft2(kernel / kernel.sum(), (4 * SIZE, 4 * SIZE))
    scatter = np.fft.irfft2(spectrum, (4 * SIZE, 4 * SIZE))[SIZE : 2 * SIZE, SIZE : 2 * SIZE]
    scatter *= ratio * primary[primary > 0.0].mean() / scatter[primary > 0.0].mean()
    counts = (primary + scatter) * (1.0 + random.normal(0.0, noise, primary.shape))
    return counts.astype(np.float32), (scatter / (primary + scatter)).astype(np.float32)


def _field() -> U8:
    field = np.zeros((SIZE, SIZE), np.uint8)
    field[40:216, 30:200] = 1
    return field


def _predicted(seed: int) -> BodyShadow:
    binned = _body(seed).reshape(128, 2, 128, 2).mean(axis=(1, 3))
    return BodyShadow(contrast=binned.astype(np.float32), water_mm=200.0, thickness_mm=200.0)


def _off(found: Scatter, share: F32, inside: U8) -> float:
    """Error of ln(1 - share), what a thickness gets of it."""
    shown, true = found.at_size(SIZE, SIZE)[inside > 0], share[inside > 0]
    return float(np.median(np.log1p(-shown) - np.log1p(-true)))


@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.2])
@pytest.mark.parametrize("seed", [1, 2])
def test_blades_tell_how_much(ratio: float, seed: int) -> None:
    field = _field()
    counts, share = _picture(ratio, seed=seed, open_field=field)
    found = scatter_of(counts, field, behind_blades=1 - field, pitch_mm=PITCH_MM)
    assert "blades" in found.sources
    assert abs(_off(found, share, field)) < 0.14
    assert abs(_off(found, share, field)) < 2.5 * found.primary_sigma


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_blades_that_let_some_through_do_not_outdo_the_volume(seed: int) -> None:
    field = _field()
    counts, share = _picture(0.4, seed=seed, open_field=field)
    counts[field == 0] *= 1.2
    found = scatter_of(counts, field, behind_blades=1 - field, pitch_mm=PITCH_MM, body=_predicted(seed))
    assert {"blades", "body"} <= set(found.sources)
    assert abs(_off(found, share, field)) < 0.03


@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_volume_tells_how_much(ratio: float, seed: int) -> None:
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, share = _picture(ratio, seed=seed)
    found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=_predicted(seed))
    assert "body" in found.sources
    assert abs(_off(found, share, everywhere)) < 0.08
    assert found.primary_sigma < 0.12


@pytest.mark.parametrize("seed", [1, 2])
def test_where_there_is_none_the_volume_says_so(seed: int) -> None:
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, share = _picture(1e-6, seed=seed)
    found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=_predicted(seed))
    assert -0.08 < _off(found, share, everywhere) <= 0.0


@pytest.mark.parametrize("scale", [0.85, 1.2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_volume_of_another_scale_is_within_what_is_told(scale: float, seed: int) -> None:
    """HU and beams are never known to the per cent: contrast that is predicted too high or low reads as scatter."""
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, share = _picture(0.4, seed=seed)
    predicted = _predicted(seed)
    predicted = replace(predicted, contrast=predicted.contrast * np.float32(scale))
    found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=predicted)
    assert abs(_off(found, share, everywhere)) < 2.0 * found.primary_sigma


def test_alone_it_is_what_is_usual_and_unsure() -> None:
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, share = _picture(0.6)
    found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM)
    assert "usual" in found.sources
    assert "body" not in found.sources
    assert found.primary_sigma > 0.08
    assert abs(_off(found, share, everywhere)) < 3.0 * found.primary_sigma


def test_a_dark_spot_bounds_it_from_above() -> None:
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, _ = _picture(0.1)
    free = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, water_mm=400.0)
    counts[100:130, 100:130] *= 0.12
    bound = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, water_mm=400.0)
    assert "dark" in bound.sources
    assert bound.ratio < free.ratio
    assert float(bound.counts[25:32, 25:32].max()) < 1.2 * float(np.median(counts[103:127, 103:127]))


def test_another_patients_volume_is_no_evidence() -> None:
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, _ = _picture(0.7, seed=1)
    alone = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, water_mm=200.0)
    found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=_predicted(9))
    assert "body" not in found.sources
    assert found.ratio == pytest.approx(alone.ratio)


def test_rays_that_the_volume_does_not_hold_are_no_evidence() -> None:
    """Where a volume ends its prediction fades to nothing: an edge that no picture shows."""
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, share = _picture(0.7, seed=2)
    predicted = _predicted(2)
    held = np.ones(predicted.contrast.shape, np.bool_)
    held[:56] = False
    fading = (predicted.contrast + np.float32(5.3)) * np.clip(np.arange(128)[:, None] / 56.0, 0.0, 1.0)
    cut = replace(predicted, contrast=fading.astype(np.float32), used=held)
    found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=cut)
    assert "body" in found.sources
    assert abs(_off(found, share, everywhere)) < 0.05
    assert "body" not in scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=replace(cut, used=None)).sources


def test_metal_and_a_shifted_patient_do_not_mislead_the_volume() -> None:
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, share = _picture(0.7, seed=2)
    counts[60:66, 20:240] *= 1.0 - 0.65 * (1.0 - share[60:66, 20:240])  # steel takes of the primary only
    counts = np.roll(counts, 2, axis=1)
    found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=_predicted(2))
    assert abs(_off(found, np.roll(share, 2, axis=1), everywhere)) < 0.06


def test_a_black_surround_is_no_blade() -> None:
    field = _field()
    counts, _ = _picture(0.7, open_field=field)
    counts[field == 0] = 0.0
    with_shutter = scatter_of(counts, field, behind_blades=1 - field, pitch_mm=PITCH_MM)
    assert "blades" not in with_shutter.sources


def test_more_counts_per_photon_change_nothing() -> None:
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    counts, _ = _picture(0.7)
    one = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=_predicted(1))
    other = scatter_of(counts * np.float32(0.01), everywhere, pitch_mm=PITCH_MM, body=_predicted(1))
    np.testing.assert_allclose(one.share, other.share, rtol=1e-3)
    np.testing.assert_allclose(one.counts, other.counts * 100.0, rtol=1e-3)


@pytest.mark.parametrize("kind", ["nan", "zero", "closed", "one-pixel", "negative"])
def test_where_nothing_is_seen_nothing_is_known(kind: str) -> None:
    counts, field = np.full((64, 48), 100.0, np.float32), np.ones((64, 48), np.uint8)
    if kind == "nan":
        counts[:] = np.nan
    elif kind == "zero":
        counts[:] = 0.0
    elif kind == "negative":
        counts[:] = -5.0
    else:
        field[:] = 0
        field[3, 3] = int(kind == "one-pixel")
    found = scatter_of(counts, field, behind_blades=field, body=_predicted(1))
    assert found.sources == ()
    assert found.primary_sigma == float("inf")
    assert float(found.share.max()) == 0.0


@pytest.mark.parametrize("shape", [(2, 2), (3, 700), (700, 3), (65, 63), (17, 17)])
def test_any_shape_of_picture(shape: tuple[int, int]) -> None:
    counts = np.random.default_rng(0).uniform(50.0, 60.0, shape).astype(np.float32)
    found = scatter_of(counts, np.ones(shape, np.uint8), body=_predicted(1))
    assert np.isfinite(found.share).all()
    assert found.at_size(*shape).shape == shape
    assert 0.0 <= float(found.share.min()) <= float(found.share.max()) <= 0.9


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="one picture"):
        scatter_of(np.ones((8, 8), np.float32), np.ones((8, 9), np.uint8))
    with pytest.raises(ValueError, match="one picture"):
        scatter_of(np.ones((1, 8), np.float32), np.ones((1, 8), np.uint8))


@pytest.mark.parametrize("pitch_mm", [1e-300, 1e-4, 1e5, 1e300])
def test_a_pitch_that_no_detector_has_neither_fails_nor_takes_for_ever(pitch_mm: float) -> None:
    counts, _ = _picture(0.5)
    told = scatter_of(counts, np.ones((SIZE, SIZE), np.uint8), pitch_mm=pitch_mm)
    assert np.isfinite(told.share).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_how_wide_scatter_is_a_pose_that_is_held_whole_tells_the_others(seed: int) -> None:
    """A volume that is cut tells how much but not how wide; the room is the same."""
    everywhere = np.ones((SIZE, SIZE), np.uint8)
    whole = _predicted(seed)
    wide, narrow = (_gaussian(1.0, sigma_mm, seed=seed) for sigma_mm in (60.0, 15.0))
    pattern = []
    for counts, share in (wide, narrow):
        room = ScatterRoom()
        cut = replace(whole, whole=False, room=room)
        first = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=cut)
        assert "room" not in first.sources
        alone = _uneven(first, share)
        scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=replace(whole, room=room))
        assert room.logs is not None
        found = scatter_of(counts, everywhere, pitch_mm=PITCH_MM, body=cut)
        assert "room" in found.sources
        pattern.append((alone, _uneven(found, share)))
    assert sum(after for _, after in pattern) < 0.85 * sum(before for before, _ in pattern)


def _gaussian(ratio: float, sigma_mm: float, *, seed: int) -> tuple[F32, F32]:
    """Counts without noise, and scatter's true share."""
    primary = 5000.0 * np.exp(-_body(seed) - np.linspace(0.0, 1.5, SIZE)[None, :])
    scatter = ratio * ndimage.gaussian_filter(primary, sigma_mm / PITCH_MM, mode="constant")
    return (primary + scatter).astype(np.float32), (scatter / (primary + scatter)).astype(np.float32)


def _uneven(found: Scatter, share: F32) -> float:
    """Standard deviation of the error of ln(1 - share) from place to place."""
    return float(np.std(np.log1p(-found.at_size(SIZE, SIZE)) - np.log1p(-share)))
