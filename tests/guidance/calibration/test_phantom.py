"""A phantom's description: read as it stands, or refused with the bead and the mend."""

import numpy as np
import pytest

from guidance.calibration.phantom import built_in_phantom, phantom_from_text
from guidance.errors import ConfigError


def text_of(points, diameters, head="") -> str:
    lines = ['name = "test"', head]
    for n, (point, diameter) in enumerate(zip(points, diameters, strict=True)):
        numbers = ", ".join(f"{float(value):.3f}" for value in point)
        lines.append(f'[[bead]]\nname = "B{n}"\nposition_mm = [{numbers}]\ndiameter_mm = {diameter}')
    return "\n".join(lines)


def two_plates(seed=3) -> tuple[np.ndarray, np.ndarray]:
    """Beads on two plates 60 mm apart, at jittered grid places, six of them large."""
    rng = np.random.default_rng(seed)
    grid = np.array([(x, y, z) for z in (-30.0, 30.0) for x in (-45, -15, 15, 45) for y in (-45, -15, 15, 45)])
    points = grid + np.column_stack((rng.uniform(-6, 6, (32, 2)), np.zeros(32)))
    diameters = np.full(32, 2.0)
    diameters[[0, 5, 11, 18, 22, 31]] = 4.0
    return points, diameters


def test_the_built_in_phantom():
    phantom = built_in_phantom()
    assert phantom.points_mm.shape == (48, 3)
    assert len(phantom.keys) == 8
    np.testing.assert_allclose(np.linalg.norm(phantom.points_mm[:, :2], axis=1), 62.0, atol=1e-3)


def test_another_kind_of_phantom_is_read():
    phantom = phantom_from_text(text_of(*two_plates()))
    assert phantom.keys == (0, 5, 11, 18, 22, 31)
    assert (phantom.tolerance_mm, phantom.material, phantom.body) == (0.02, "stainless_steel", None)


POINTS, DIAMETERS = two_plates()


def refused(text) -> str:
    with pytest.raises(ConfigError) as refusal:
        phantom_from_text(text, origin="mine.toml")
    assert refusal.value.code == "bad_phantom"
    assert "mine.toml" in str(refusal.value)
    assert "docs/calibration.md" in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("name = ", "TOML", id="not-toml"),
        pytest.param(text_of(POINTS[:8], DIAMETERS[:8]), "fewer than 12", id="few"),
        pytest.param(text_of(POINTS, DIAMETERS).replace("diameter_mm", "diametre_mm", 1), "diametre_mm", id="key"),
        pytest.param(text_of(POINTS, DIAMETERS).replace('"B1"', '"B0"', 1), "'B0'", id="same-name"),
        pytest.param(text_of(POINTS, DIAMETERS, "tolerance_mm = 0.0"), "tolerance_mm", id="tolerance"),
        pytest.param(text_of(POINTS, np.where(DIAMETERS > 3, 50.0, 2.0)), "diameter of 50", id="huge"),
        pytest.param(text_of(POINTS, np.where(DIAMETERS > 3, 2.3, 2.0)), "cannot be told apart", id="sizes"),
        pytest.param(text_of(POINTS, np.full(32, 2.0)), "labelled", id="uncoded"),
        pytest.param(text_of(POINTS[:16], np.where(np.arange(16) % 3, 2.0, 4.0)), "one plane", id="flat"),
        pytest.param(text_of(np.vstack((POINTS[:31], POINTS[:1] + 4)), DIAMETERS), "mm apart", id="touching"),
        pytest.param(text_of(np.where(np.arange(32)[:, None] == 4, np.nan, POINTS), DIAMETERS), "'B4'", id="nan"),
    ],
)
def test_bad_descriptions_are_refused(text, words):
    assert words in refused(text)


@pytest.mark.parametrize(("motion", "how"), [(np.diag((-1, -1, 1)), "turned"), (np.diag((-1, 1, 1)), "mirrored")])
def test_a_phantom_that_looks_like_itself_is_refused(motion, how):
    rng = np.random.default_rng(1)
    half = rng.uniform(5, 50, (10, 3)) * (1, 1, 1) + np.arange(10)[:, None] * (0, 0, 10.0)
    points = np.vstack((half, half @ motion))
    diameters = np.full(20, 2.0)
    diameters[[0, 3, 7, 10, 13, 17]] = 4.0
    assert how in refused(text_of(points, diameters))
