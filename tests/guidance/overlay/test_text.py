"""Texts as bitmaps: ink, wrapping, letters that no font has, and plates whose tints add up."""

import numpy as np
import pytest

from guidance.overlay.text import plate_gap_px, plated_tints, text_bitmap, wrapped


@pytest.mark.parametrize("text", ["S1 links Ä ß", "Ελλην", "Крест", "עברית", "عظم", "骶骨", "せんこつ", "뼈"])
def test_many_languages_have_ink_of_their_own(text):
    bitmap = text_bitmap(text, 20).coverage
    assert bitmap.max() == 255
    assert not np.array_equal(bitmap, text_bitmap("?" * len(text), 20).coverage)


@pytest.mark.parametrize("text", ["\u0007", "\n", "\ud800", "\U0010ffff"])
def test_what_cannot_be_printed_is_visibly_replaced(text):
    assert text_bitmap(text, 20).coverage.any()


@pytest.mark.parametrize("text", ["", " ", "   "])
def test_nothing_to_draw_is_a_bitmap_without_columns(text):
    assert text_bitmap(text, 20).coverage.shape[1] == 0


@pytest.mark.parametrize("text", ["gjpqy", "ÄÉÅ", "|()", "骶"])
@pytest.mark.parametrize("size_px", [11, 16, 48])
def test_no_ink_is_cut_off(text, size_px):
    bitmap = text_bitmap(text, size_px).coverage
    assert not bitmap[0].any()
    assert not bitmap[-1].any()
    assert bitmap[:, 0].any()
    assert bitmap[:, -1].any()


def test_long_texts_end_visibly():
    assert text_bitmap("n" * 100_000, 11).coverage.shape[1] < 200 * 11


def test_lines_break_at_blanks_and_lose_nothing():
    text = "PATHS WITHHELD: the table reference is unknown averyverylongwordindeed so"
    lines = wrapped(text, 16, 160)
    assert " ".join(lines) == text
    assert all(text_bitmap(line, 16).coverage.shape[1] <= 160 or " " not in line for line in lines)
    assert wrapped("", 16, 160) == ()


def test_tints_share_no_pixel_and_show_what_a_letter_over_its_plate_would():
    size = 16
    ink = np.pad(text_bitmap("Rg", size).coverage, plate_gap_px(size)) / 255
    tints = plated_tints("Rg", size)
    assert (sum((tint.coverage > 0).astype(int) for tint in tints) == 1).all()
    # Over a white picture, letters white, plate black: the mixed layer against the two layers in turn.
    shown = np.zeros(ink.shape)
    for tint in tints:
        alpha = tint.coverage / 255
        shown += (tint.coverage > 0) * ((1 - alpha) + alpha * tint.ink)
    expected = (1 - 0.65) * (1 - ink) + ink
    assert np.abs(shown - expected).max() < 0.65 / 8 + 0.01  # half a step of four
