"""Projection of points: golden values, what lies behind the source, the twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guidance import kernels

# Anterior-posterior view of the design's golden table: SID 1200, SOD 750, 1024 x 1024, pitch 0.3 mm, no angle.
# d = (0, -1, 0), so w = 750 - y; u = 511.5 + 4000 x / w, v = 511.5 - 4000 z / w.
AP = np.array([[4000.0, -511.5, 0.0, 511.5 * 750], [0.0, -511.5, -4000.0, 511.5 * 750], [0.0, -1.0, 0.0, 750.0]])
NUMBERS = st.one_of(st.floats(-1e3, 1e3), st.floats(width=64))


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_golden_table_of_the_design(backend):
    points = np.array([[50.0, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 20.0]])
    uvw = kernels.project_points(points, AP, backend=backend)
    np.testing.assert_allclose(uvw[:, :2], [[778.17, 511.5], [511.5, 511.5], [511.5, 404.83]], atol=0.005)
    np.testing.assert_array_equal(uvw[:, 2], [750.0, 720.0, 750.0])


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("y", [750.0, 750.1, 1e9, np.nan, np.inf])
def test_at_and_behind_the_source_there_is_no_pixel(backend, y):
    uvw = kernels.project_points(np.array([[1.0, y, 2.0]]), AP, backend=backend)
    assert np.isnan(uvw[0, :2]).all()
    assert not uvw[0, 2] > 0


@given(
    points=arrays(np.float64, st.tuples(st.integers(0, 40), st.just(3)), elements=NUMBERS),
    matrix=arrays(np.float64, (3, 4), elements=NUMBERS),
)
def test_native_agrees_with_the_twin_to_the_bit(points, matrix):
    with np.errstate(all="ignore"):
        expected = kernels.project_points(points, matrix, backend="reference")
    np.testing.assert_array_equal(kernels.project_points(points, matrix), expected)


@pytest.mark.parametrize(
    ("points", "matrix"),
    [
        (np.zeros((2, 3), np.float32), AP),
        (np.zeros((2, 4)), AP),
        (np.zeros((3, 2)).T, AP),
        (np.zeros((2, 3)), AP[:, :3].copy()),
        (np.zeros((2, 3)), AP.astype(">f8")),
    ],
    ids=["float32", "four-columns", "column-order", "matrix-3x3", "big-endian"],
)
def test_another_array_is_a_type_error(points, matrix):
    with pytest.raises(TypeError):
        kernels.project_points(points, matrix)
