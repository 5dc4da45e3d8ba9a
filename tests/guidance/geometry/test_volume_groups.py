"""One series, several stacks."""

from __future__ import annotations

from dataclasses import replace

from guidance.geometry.volume_groups import split
from tests.helpers.slices import stack


def test_one_stack_stays_whole() -> None:
    assert [len(part) for part in split(stack())] == [6]


def test_nothing_gives_nothing() -> None:
    assert split([]) == ()


def test_pictures_of_another_size_are_another_stack() -> None:
    small = [replace(one, instance_uid=f"2.{index}", rows=12) for index, one in enumerate(stack(range(4)))]
    assert [len(part) for part in split(stack() + small)] == [6, 4]


def test_a_few_odd_pictures_are_left_out() -> None:
    odd = [replace(one, instance_uid="2.1", spacing_mm=(1.6, 1.4)) for one in stack(range(1))]
    parts = split(stack() + odd)
    assert [len(part) for part in parts] == [6]
    assert all(one.instance_uid != "2.1" for one in parts[0])


def test_image_types_split_only_where_they_lie_on_each_other() -> None:
    original = [replace(one, variant=("ORIGINAL",)) for one in stack()]
    derived = [
        replace(one, instance_uid=f"2.{one.instance_uid}", variant=("DERIVED",), digest=f"derived {one.digest}")
        for one in stack()
    ]
    assert [len(part) for part in split(original + derived)] == [6, 6]
    assert {one.variant for one in split(original + derived)[0]} in ({("ORIGINAL",)}, {("DERIVED",)})
    assert [len(part) for part in split(original[:3] + derived[3:])] == [6]
