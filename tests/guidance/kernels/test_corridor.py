"""Lines through a distance field: the native measure against its twin, and bounds that no line of a box exceeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from guidance.kernels.corridor import LINE_NUMBERS, LineField, LineRules
from guidance.messages import F64

STEP_MM = 1.0
RULES = LineRules(radius_mm=2.0, end_factor=1.5, length_mm=12.0, aspect=0.0, center_mm=0.0, step_mm=0.25, thin_mm=0.25)
CHART = np.concatenate([[20.0, 20.0, 20.0], np.eye(3).ravel()])[None]


@pytest.fixture(scope="module")
def blob() -> np.ndarray:
    """A block with 60 random balls out of it, 41^3 at 1 mm; its depth is exact: it changes by 1 mm per mm at most."""
    random = np.random.default_rng(5)
    k, j, i = np.mgrid[0:41, 0:41, 0:41].astype(float)
    depth = np.minimum.reduce([np.minimum(axis - 1.0, 39.0 - axis) for axis in (i, j, k)])
    for x, y, z, radius in zip(*random.uniform(2.0, 39.0, (3, 60)), random.uniform(1.5, 5.0, 60), strict=True):
        depth = np.minimum(depth, np.sqrt((i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2) - radius)
    return np.ascontiguousarray(-depth, np.float32)


def lines(count: int, *, slope: float = 1.0, seed: int = 1) -> F64:
    random = np.random.default_rng(seed)
    out = np.zeros((count, LINE_NUMBERS))
    out[:, 2:4] = random.uniform(-14.0, 14.0, (count, 2))
    out[:, 4:6] = random.uniform(-slope, slope, (count, 2))
    return out


def twin(solid_mm: np.ndarray, row: F64, rules: LineRules) -> float:
    """The specification, in NumPy, for lines along x through the middle: tunnel radius, -1 without a corridor."""
    at = np.array([20.0, 20.0 + row[2], 20.0 + row[3]])
    along = np.array([1.0, row[4], row[5]])
    t = np.arange(-60.0, 60.0001, 0.02)
    places = at + t[:, None] * along
    depth = -ndimage.map_coordinates(solid_mm, places[:, ::-1].T, order=1, cval=1e6)
    middle = len(t) // 2
    if depth[middle] < rules.thin_mm:
        return -1.0
    thin = depth < rules.thin_mm
    first = middle - int(np.argmax(thin[middle::-1])) + 1
    last = middle + int(np.argmax(thin[middle:]))
    # From the last place that is thick enough out to the surface itself.
    while first > 0 and depth[first - 1] > 0.0 and depth[first - 1] < depth[first]:
        first -= 1
    while last < len(t) and depth[last] > 0.0 and depth[last] < depth[last - 1]:
        last += 1
    length = np.linalg.norm(along)
    part, inner = t[first:last], depth[first:last]
    if (part[-1] - part[0]) * length < rules.length_mm:
        return -1.0
    to_end = np.minimum(part - part[0], part[-1] - part) * length
    counted = to_end >= rules.end_factor * np.maximum(inner, rules.radius_mm)
    return float(inner[counted].min(initial=(part[-1] - part[0]) * length / (2.0 * rules.end_factor)))


def test_measure_is_its_twin(blob: np.ndarray) -> None:
    field = LineField(blob, (0.0, 0.0, 0.0), STEP_MM)
    rows = lines(300, slope=0.6)
    found = field.measure(RULES, CHART, rows)[:, 0]
    expected = np.array([twin(blob, row, RULES) for row in rows])
    there = expected >= 0.0
    assert 40 < there.sum() < 280
    # At the limits of length and thickness sampling decides.
    assert np.mean((found >= 0.0) == there) > 0.97
    both = there & (found >= 0.0)
    assert np.quantile(np.abs(found[both] - expected[both]), 0.95) < 0.15


def test_a_slab_and_a_tilted_line_in_closed_form() -> None:
    """A slab across the line: its ends are its only surfaces, whatever the tilt, up to 48 deg."""
    z = np.arange(41.0)[:, None, None] * np.ones((41, 41, 41))
    x = np.arange(41.0)[None, None, :] * np.ones((41, 41, 41))
    channel = np.maximum(np.abs(z - 20.0) - 5.0, np.abs(x - 20.0) - 15.0).astype(np.float32)
    field = LineField(channel, (0.0, 0.0, 0.0), STEP_MM)
    rows = lines(2, slope=0.0)
    rows[:, 2:6] = [[3.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]]
    found = field.measure(RULES, CHART, rows)
    np.testing.assert_allclose(found[:, 0], [5.0, 4.0], atol=0.01)
    np.testing.assert_allclose(found[:, 1:3], [[-15.0, 15.0]] * 2, atol=0.02)


@pytest.mark.parametrize("half", [0.3, 1.5, 4.0])
@pytest.mark.parametrize("rules", [
    pytest.param(RULES, id="two-ends"),
    pytest.param(LineRules(radius_mm=2.0, end_factor=1.5, length_mm=0.0, aspect=0.0, center_mm=0.0, step_mm=0.25,
                           thin_mm=0.25, tip_inside=True), id="tip"),
    pytest.param(LineRules(radius_mm=1.0, end_factor=1.5, length_mm=12.0, aspect=4.0, center_mm=0.0, step_mm=0.25,
                           thin_mm=0.25), id="aspect"),
])  # fmt: skip
def test_no_line_of_a_box_exceeds_its_bound(blob: np.ndarray, half: float, rules: LineRules) -> None:
    field = LineField(blob, (0.0, 0.0, 0.0), STEP_MM)
    boxes = lines(120, slope=0.8, seed=2)
    boxes[:, 6:8], boxes[:, 8:10] = half, half / 15.0
    bounds = field.bound(rules, CHART, boxes, 0.0)
    random = np.random.default_rng(3)
    found = np.full(len(boxes), -1.0)
    for _ in range(60):
        inside = boxes.copy()
        inside[:, 2:6] += random.uniform(-1.0, 1.0, (len(boxes), 4)) * boxes[:, 6:10]
        found = np.maximum(found, field.measure(rules, CHART, inside)[:, 0])
    assert (found > 0.5).sum() > 20
    # A trilinear field of true distances may rise a little faster than 1 mm per mm between samples.
    assert (found <= np.maximum(bounds, 0.0) + 0.25).all()


def test_bounds_close_in_on_the_line_itself(blob: np.ndarray) -> None:
    field = LineField(blob, (0.0, 0.0, 0.0), STEP_MM)
    rows = lines(200, slope=0.6)
    found = field.measure(RULES, CHART, rows)[:, 0]
    rows[:, 6:8], rows[:, 8:10] = 0.01, 0.001
    there = np.flatnonzero(found > 0.5)
    assert len(there) > 30
    excluded = [field.bound(RULES, CHART, rows[n : n + 1], found[n] + 0.5)[0] < 0.0 for n in there]
    assert np.mean(excluded) > 0.8


def test_what_must_be_reached_and_where_the_line_must_begin() -> None:
    x = np.arange(41.0)[None, None, :] * np.ones((41, 41, 41))
    z = np.arange(41.0)[:, None, None] * np.ones((41, 41, 41))
    solid = np.maximum(np.abs(z - 20.0) - 6.0, np.abs(x - 20.0) - 15.0).astype(np.float32)
    right, beyond = (30.0 - x).astype(np.float32), (38.0 - x).astype(np.float32)
    gate = (z - 22.0).astype(np.float32)
    rows = np.zeros((2, LINE_NUMBERS))
    rows[1, 3] = 3.0
    for reach, allowed, expected in (
        (right, None, [6.0, 3.0]),
        (beyond, None, [-1.0, -1.0]),
        (right, gate, [6.0, -1.0]),
    ):
        field = LineField(solid, (0.0, 0.0, 0.0), STEP_MM, reach_plus_mm=reach, gate_mm=allowed)
        np.testing.assert_allclose(field.measure(RULES, CHART, rows)[:, 0], expected, atol=0.01)
        bounds = field.bound(RULES, CHART, rows, 0.0)
        assert ((bounds >= np.array(expected) - 1e-6) | (np.array(expected) < 0.0)).all()
        assert (bounds[np.array(expected) < 0.0] == -1.0).all()


@pytest.mark.parametrize("change", [
    {"lines": np.full((1, LINE_NUMBERS), np.nan)},
    {"charts": np.full((1, 12), np.inf)},
    {"lines": np.eye(1, LINE_NUMBERS) * 5.0},
], ids=["nan", "infinite-chart", "no-such-chart"])  # fmt: skip
def test_numbers_that_are_none_are_refused(blob: np.ndarray, change: dict[str, F64]) -> None:
    field = LineField(blob, (0.0, 0.0, 0.0), STEP_MM)
    with pytest.raises(ValueError, match=r"finite|chart"):
        field.measure(RULES, change.get("charts", CHART), change.get("lines", lines(1)))


def test_arrays_of_another_kind_are_refused(blob: np.ndarray) -> None:
    with pytest.raises(TypeError):
        LineField(blob.astype(np.float64), (0.0, 0.0, 0.0), STEP_MM)
    with pytest.raises(ValueError, match="one shape"):
        LineField(blob, (0.0, 0.0, 0.0), STEP_MM, gate_mm=blob[:-1].copy())
