"""How much of a predicted contrast is shown: metal, a moved patient, and what is shown otherwise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from guidance.cement.contrast_kept import ContrastKept
from guidance.messages import F32

SIZE = 128


def _contrast(seed: int = 3) -> F32:
    """Bones over a wide slope."""
    white = np.random.default_rng(seed).standard_normal((SIZE, SIZE))
    bones = ndimage.gaussian_filter(white, 4.0)
    slope = np.linspace(5.0, 6.5, SIZE)[:, None]
    return np.asarray(slope + 0.25 * bones / bones.std(), np.float32)


def _kept(shown: F32, told: F32, share: F32, **words: bool) -> tuple[float, float, float]:
    signal = np.asarray(np.exp(-shown) / (1.0 - share), np.float32)
    return ContrastKept(signal, np.ones_like(signal), told, **words).of(share)


def test_all_of_it_where_scatter_is_known() -> None:
    contrast, share = _contrast(), np.full((SIZE, SIZE), 0.4, np.float32)
    found, sigma, misfit = _kept(contrast, contrast, share)
    assert found == pytest.approx(1.0, abs=0.002)
    assert sigma < 0.01
    assert misfit < 0.01


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(("down", "right"), [(2.0, -1.5), (-2.5, 0.5), (0.0, 3.0)])
def test_a_patient_who_has_moved_some_mm_changes_nothing(down: float, right: float, complete: bool) -> None:
    contrast, share = _contrast(), np.full((SIZE, SIZE), 0.4, np.float32)
    moved = cv2.warpAffine(
        contrast, np.array([[1.0, 0.0, right], [0.0, 1.0, down]]), (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT
    )
    found, _, misfit = _kept(np.asarray(moved, np.float32), contrast, share, complete=complete)
    assert found == pytest.approx(1.0, abs=0.03)
    assert misfit < 0.15


def test_metal_does_not_move_the_prediction() -> None:
    contrast, share = _contrast(), np.full((SIZE, SIZE), 0.4, np.float32)
    shown = contrast.copy()
    shown[58:66, 20:110] += 2.0
    found, _, _ = _kept(shown, contrast, share)
    assert found == pytest.approx(1.0, abs=0.02)


def test_scatter_that_takes_more_off_the_dark_is_told_from_weaker_bone() -> None:
    """What is left is the same on average; where it is missing is not."""
    contrast = _contrast()
    shares = np.asarray(np.linspace(0.2, 0.6, SIZE)[:, None] * np.ones((1, SIZE)), np.float32)
    signal = np.asarray(np.exp(-contrast), np.float32)
    signal = signal + ndimage.gaussian_filter(signal * shares / (1.0 - shares), 25.0).astype(np.float32)
    true = 1.0 - np.exp(-contrast) / signal
    kept = ContrastKept(signal, np.ones_like(signal), contrast)
    right, flat = kept.of(true.astype(np.float32)), kept.of(np.zeros_like(signal))
    assert right[0] == pytest.approx(1.0, abs=0.01)
    assert right[2] < 0.3 * flat[2]
