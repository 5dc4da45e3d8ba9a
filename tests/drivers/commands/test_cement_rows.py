"""Rows that are kept between two runs of a long benchmark."""

import math
from dataclasses import replace

from drivers.commands.cement_rows import KeptRows
from tests.drivers.commands.test_cement_figures import ROW


def test_a_row_comes_back_as_it_was_and_goes_with_all_others(tmp_path):
    kept = KeptRows(tmp_path / "rows")
    assert kept.row("one") is None
    row = replace(ROW, outside_frames=math.inf)
    kept.keep(row)
    assert KeptRows(tmp_path / "rows").row("one") == row
    kept.drop()
    assert kept.row("one") is None


def test_a_file_that_was_cut_off_counts_as_none(tmp_path):
    kept = KeptRows(tmp_path)
    kept.keep(ROW)
    whole = (tmp_path / "one.row").read_bytes()
    (tmp_path / "one.row").write_bytes(whole[: len(whole) // 2])
    assert kept.row("one") is None


def test_where_nothing_can_be_written_the_benchmark_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    kept = KeptRows(tmp_path / "file")
    kept.keep(ROW)
    assert kept.row("one") is None
