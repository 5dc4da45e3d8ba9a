"""Colours of words never meet a path's."""

from hypothesis import given
from hypothesis import strategies as st

from guidance.overlay.colors import apart_from, hex_of, mixed, rgb_of

RGB = st.tuples(*[st.integers(0, 255)] * 3)


@given(RGB)
def test_there_and_back(color):
    assert rgb_of(hex_of(color)) == color


def test_upper_case_is_the_same_colour():
    assert rgb_of("#FFaa01") == (255, 170, 1)


@given(RGB, st.sets(RGB, max_size=20))
def test_the_result_is_no_paths_colour_and_near(color, taken):
    result = apart_from(color, taken)
    assert result not in taken
    if color not in taken:
        assert result == color


def test_even_where_a_whole_row_of_colours_is_taken():
    taken = {(9, 9, blue) for blue in range(256)}
    assert apart_from((9, 9, 9), taken) == (9, 10, 9)


@given(RGB, RGB)
def test_mixing_ends_at_either_colour(below, above):
    assert mixed(below, above, 0.0) == below
    assert mixed(below, above, 1.0) == above
