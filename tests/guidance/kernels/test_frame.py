"""One call per frame: rule of the layer, burn-in, checksums, clipping, and exact coverage by supersampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidance import kernels

NO_STROKES = np.zeros((0, 8), np.float32)
NO_SPRITES = np.zeros(0, np.uint8), np.zeros((0, 8), np.int32)


def compose(
    pixels, strokes=NO_STROKES, sprites=NO_SPRITES, *, buffers=None, window=(0.0, 255.0), under=0, backend="native"
):
    buffers = buffers or kernels.frame_buffers(*pixels.shape)
    crcs = kernels.compose_frame(
        pixels, *window, strokes, *sprites, buffers.rgb, buffers.layer, buffers.dirty, under=under, backend=backend
    )
    return buffers, crcs


def strokes_of(*rows):
    return np.array(rows, np.float32).reshape(-1, 8)


def exact_coverage(size, stroke, samples=128):
    """Coverage of each pixel by the capsule, from samples x samples points in it."""
    x0, y0, x1, y1, half_width = stroke[:5]
    at = (np.arange(samples) + 0.5) / samples - 0.5
    u = (np.arange(size)[:, None] + at).reshape(-1)
    x, y = np.meshgrid(u - x0, u - y0)
    dx, dy = x1 - x0, y1 - y0
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-30), 0.0, 1.0)
    inside = np.hypot(x - along * dx, y - along * dy) <= half_width
    return inside.reshape(size, samples, size, samples).mean(axis=(1, 3))


@pytest.mark.parametrize("half_width", [0.35, 0.75, 1.0, 3.3, 8.0])
@pytest.mark.parametrize("angle_deg", [0.0, 3.0, 17.0, 45.0, 61.0, 90.0, 123.4])
def test_sides_of_a_line_cover_the_exact_area(half_width, angle_deg):
    direction = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    center = np.array([5.3, 6.1])
    stroke = (*(center - 60 * direction), *(center + 60 * direction), half_width, 0, 255, 0)
    buffers, _ = compose(np.zeros((12, 12), np.uint8), strokes_of(stroke))
    error = buffers.layer[..., 3] / 255 - exact_coverage(12, stroke)
    # 0.002 is the rounding to a byte, 0.004 the oracle's own: half a sample's width along an axis.
    assert np.abs(error).max() < 0.007


@pytest.mark.parametrize(("half_width", "tolerance"), [(0.5, 0.25), (1.0, 0.1), (2.5, 0.04), (9.0, 0.015)])
def test_round_ends_cover_nearly_the_exact_area(half_width, tolerance):
    worst = 0.0
    for x0, y0, dx, dy in [(12.0, 12.0, 0, 0), (12.3, 11.6, 0, 0), (10.2, 12.7, 2.1, 0.4), (12.5, 12.5, -1, 1)]:
        stroke = (x0, y0, x0 + dx, y0 + dy, half_width, 0, 255, 0)
        buffers, _ = compose(np.zeros((24, 24), np.uint8), strokes_of(stroke))
        worst = max(worst, float(np.abs(buffers.layer[..., 3] / 255 - exact_coverage(24, stroke, 64)).max()))
    assert worst < tolerance, worst


def test_pixel_centres_are_at_integers():
    buffers, _ = compose(np.zeros((9, 9), np.uint8), strokes_of((-5, 4, 20, 4, 0.5, 10, 20, 30)))
    assert buffers.layer[4].tolist() == [[10, 20, 30, 255]] * 9
    buffers.layer[4] = 0
    assert not buffers.layer.any()


def test_larger_coverage_wins_with_its_exact_colour_and_the_later_of_equals():
    wide, thin = (2, 4, 6, 4, 1.5, 250, 1, 2), (4, 2, 4, 6, 0.5, 3, 240, 4)
    for order in ([wide, thin], [thin, wide]):
        buffers, _ = compose(np.zeros((9, 9), np.uint8), strokes_of(*order))
        drawn = buffers.layer[buffers.layer[..., 3] > 0]
        assert {tuple(pixel[:3]) for pixel in drawn.tolist()} == {wide[5:], thin[5:]}
        assert tuple(buffers.layer[4, 4]) == (*order[1][5:], 255)
        assert tuple(buffers.layer[4, 3]) == (*wide[5:], 255)  # half covered by the thin one, wholly by the wide one
    assert not buffers.layer[buffers.layer[..., 3] == 0].any()


def test_sprites_come_after_strokes_and_are_clipped():
    coverage = np.array([255, 128, 0, 255], np.uint8)
    table = np.array([[0, 2, 2, 1, 1, 9, 8, 7], [0, 2, 2, -1, -1, 6, 5, 4], [0, 2, 2, 3, 3, 3, 2, 1]], np.int32)
    buffers, _ = compose(np.zeros((4, 4), np.uint8), strokes_of((1, 1, 1, 1, 0.6, 1, 1, 1)), (coverage, table))
    assert tuple(buffers.layer[1, 1]) == (9, 8, 7, 255)
    assert tuple(buffers.layer[0, 0]) == (6, 5, 4, 255)
    assert tuple(buffers.layer[3, 3]) == (3, 2, 1, 255)
    assert tuple(buffers.layer[2, 2]) == (9, 8, 7, 255)


def test_burn_in_mixes_by_coverage_and_rounds():
    table = np.array([[0, 1, 3, 0, 0, 200, 0, 100]], np.int32)
    buffers, _ = compose(np.full((1, 4), 50, np.uint8), sprites=(np.array([255, 127, 1], np.uint8), table))
    expected = [[round(50 + (c - 50) * a / 255) for c in (200, 0, 100)] for a in (255, 127, 1, 0)]
    assert buffers.rgb[0].tolist() == expected


# Widths that are whole tiles and are not, narrower and wider than what is folded tile by tile.
@pytest.mark.parametrize("shape", [(100, 128), (100, 130), (9, 32), (33, 4096), (33, 4128), (97, 1024)])
def test_checksums_are_those_of_the_bytes_and_the_picture_is_not_altered(shape):
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 65536, shape, dtype=np.uint16)
    before = pixels.copy()
    strokes = strokes_of((10, 60, 90, 70, 2, 0, 255, 0))
    buffers, crcs = compose(pixels, strokes, window=(0.0, 65535.0))
    assert crcs == (kernels.crc64(buffers.rgb.reshape(-1)), kernels.crc64(buffers.layer.reshape(-1)))
    np.testing.assert_array_equal(pixels, before)


def test_the_next_frame_forgets_the_last_one():
    pixels = np.zeros((70, 100), np.uint8)
    rng = np.random.default_rng(4)
    buffers = kernels.frame_buffers(70, 100)
    for count in (6, 0, 3, 1, 0):
        strokes = rng.uniform(-20, 120, (count, 8)).astype(np.float32)
        reused, crcs = compose(pixels, strokes, buffers=buffers)
        fresh, fresh_crcs = compose(pixels, strokes)
        np.testing.assert_array_equal(reused.layer, fresh.layer)
        np.testing.assert_array_equal(reused.dirty, fresh.dirty)
        assert crcs == fresh_crcs


COORDINATES = st.one_of(st.floats(-60, 160, width=32), st.floats(width=32), st.integers(-3, 80).map(float))
STROKES = st.lists(
    st.tuples(
        *[COORDINATES] * 4, st.one_of(st.floats(-1, 9, width=32), COORDINATES), *[st.floats(-9, 300, width=32)] * 3
    ),
    max_size=8,
).map(lambda rows: np.array(rows, np.float32).reshape(-1, 8))
TABLES = st.lists(
    st.tuples(
        st.integers(0, 100),
        st.integers(0, 10),
        st.integers(0, 20),
        *[st.integers(-40, 120)] * 2,
        *[st.integers(-5, 300)] * 3,
    ),
    max_size=4,
).map(lambda rows: np.array(rows, np.int32).reshape(-1, 8))


@settings(max_examples=150)
@given(
    strokes=STROKES,
    table=TABLES,
    shape=st.tuples(st.integers(1, 50), st.integers(1, 70)),
    dtype=st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.float32]),
    seed=st.integers(0, 2**32 - 1),
    under=st.integers(0, 8),
)
def test_native_agrees_with_the_twin_to_the_bit(strokes, table, shape, dtype, seed, under):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256 ** np.dtype(dtype).itemsize, shape).astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    sprites = rng.integers(0, 256, 300, dtype=np.uint8), table
    window = kernels.window_levels(pixels)
    under = min(under, len(strokes))
    native, native_crcs = compose(pixels, strokes, sprites, window=window, under=under)
    twin, twin_crcs = compose(pixels, strokes, sprites, window=window, under=under, backend="reference")
    np.testing.assert_array_equal(native.layer, twin.layer)
    np.testing.assert_array_equal(native.rgb, twin.rgb)
    assert native_crcs == twin_crcs
    drawn = np.argwhere(native.layer[..., 3])
    assert native.dirty[drawn[:, 0] // kernels.TILE_ROWS, drawn[:, 1] // kernels.TILE_COLUMNS].all()


@given(strokes=STROKES, table=TABLES, under=st.integers(1, 8))
def test_what_lies_above_looks_as_if_it_were_alone(strokes, table, under):
    pixels, sprites = np.zeros((40, 60), np.uint8), (np.arange(300, dtype=np.uint16).astype(np.uint8), table)
    under = min(under, len(strokes))
    both, _ = compose(pixels, strokes, sprites, under=under)
    above, _ = compose(pixels, strokes[under:], sprites)
    below, _ = compose(pixels, strokes[:under])
    touched = above.layer[..., 3] > 0
    np.testing.assert_array_equal(both.layer[touched], above.layer[touched])
    np.testing.assert_array_equal(both.layer[~touched], below.layer[~touched])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(8))
def test_a_stroke_that_is_not_finite_is_left_out(bad, place):
    strokes = strokes_of((2, 2, 30, 30, 2, 0, 255, 0), (5, 20, 25, 8, 1, 255, 0, 0))
    strokes[0, place] = bad
    buffers, _ = compose(np.zeros((32, 32), np.uint8), strokes)
    alone, _ = compose(np.zeros((32, 32), np.uint8), strokes[1:])
    np.testing.assert_array_equal(buffers.layer, alone.layer)


def test_a_line_between_far_away_points_stays_straight():
    # From 1e7 px away through the picture's middle: float32 ends are whole pixels there, so the slope is exact.
    buffers, _ = compose(np.zeros((64, 64), np.uint8), strokes_of((-1e7, -1e7, 1e7, 1e7, 0.6, 0, 255, 0)))
    assert (np.diag(buffers.layer[..., 3]) > 200).all()
    assert not np.triu(buffers.layer[..., 3], 2).any()


def test_a_line_from_where_doubles_are_coarse_is_the_twins():
    strokes = strokes_of((-7.180813374744166e16, -5.761073280345702e16, 91.47627, 46.0, 1.0, 0, 54.3, 0))
    pixels = np.zeros((18, 53), np.uint8)
    native, _ = compose(pixels, strokes)
    twin, _ = compose(pixels, strokes, backend="reference")
    assert twin.layer.any()
    np.testing.assert_array_equal(native.layer, twin.layer)


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (7, 0), (1, 1), (17, 33)])
def test_any_size_of_picture(shape):
    buffers, crcs = compose(np.zeros(shape, np.int16), strokes_of((-9, -9, 99, 99, 5, 1, 2, 3)), window=(-1.0, 1.0))
    assert crcs[0] == kernels.crc64(buffers.rgb.reshape(-1))


def good_arguments():
    buffers = kernels.frame_buffers(20, 40)
    return {
        "pixels": np.zeros((20, 40), np.uint16), "low": 0.0, "high": 1.0, "strokes": NO_STROKES,
        "sprites": NO_SPRITES[0], "sprite_table": NO_SPRITES[1],
        "rgb_out": buffers.rgb, "layer": buffers.layer, "dirty": buffers.dirty,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("pixels", np.zeros((20, 40), np.int64), TypeError),
        ("pixels", np.zeros((40, 20), np.uint16), ValueError),
        ("strokes", np.zeros((2, 8)), TypeError),
        ("strokes", np.zeros((2, 7), np.float32), TypeError),
        ("sprites", np.zeros((2, 2), np.uint8), TypeError),
        ("sprite_table", np.zeros((1, 8), np.int64), TypeError),
        ("sprite_table", np.array([[0, 1, 1, 0, 0, 0, 0, 0]], np.int32), ValueError),
        ("sprite_table", np.array([[-1, 0, 0, 0, 0, 0, 0, 0]], np.int32), ValueError),
        ("sprite_table", np.array([[0, 2**31 - 1, 2**31 - 1, 0, 0, 0, 0, 0]], np.int32), ValueError),
        ("rgb_out", np.zeros((20, 40, 4), np.uint8), TypeError),
        ("rgb_out", np.zeros((20, 41, 3), np.uint8), ValueError),
        ("layer", np.zeros((21, 40, 4), np.uint8), ValueError),
        ("layer", np.zeros((20, 80, 4), np.uint8)[:, ::2], TypeError),
        ("dirty", np.zeros((2, 3), np.uint8), ValueError),
        ("high", 0.0, ValueError),
        ("low", np.nan, ValueError),
        ("under", 1, ValueError),
        ("under", -1, TypeError),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(name, value, error):
    with pytest.raises(error):
        kernels.compose_frame(**{**good_arguments(), name: value})


def test_outputs_in_the_pictures_own_memory_are_refused():
    memory = np.zeros(20 * 40 * 4, np.uint8)
    with pytest.raises(ValueError, match="share memory"):
        kernels.compose_frame(
            **{
                **good_arguments(),
                "pixels": memory[: 20 * 40 * 2].view(np.uint16).reshape(20, 40),
                "layer": memory.reshape(20, 40, 4),
            }
        )


def test_a_read_only_output_is_refused():
    arguments = good_arguments()
    arguments["rgb_out"].flags.writeable = False
    with pytest.raises(TypeError):
        kernels.compose_frame(**arguments)
