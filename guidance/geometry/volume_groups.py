"""One series -> the stacks in it: by picture size, and by what the objects say where slices lie on each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from guidance.geometry.volume_grid import SAME_PLACE_MM
from guidance.geometry.volume_slices import SliceDescription

_SPACING_DECIMALS: Final = 4
_SMALLEST_STACK: Final = 3  # fewer, beside a stack, are a scout or a screen copy


def split(slices: Sequence[SliceDescription]) -> tuple[tuple[SliceDescription, ...], ...]:
    """Split a series into stacks that can each be one volume, the largest first.

    Size and pixel spacing always split. `variant` (image type, stack, phase) splits only where slices of different
    variants lie at the same place with different pixels: makers change the image type within one good stack, too.
    Stacks of one or two slices beside a larger one are left out.

    Args:
        slices: all slices of one series, in any order; digests set.

    Returns:
        At least one stack if there is a slice; the caller counts what is in none of them.
    """
    by_size: dict[tuple[float, ...], list[SliceDescription]] = defaultdict(list)
    for one in slices:
        spacing = tuple(round(value, _SPACING_DECIMALS) for value in one.spacing_mm)
        by_size[(one.rows, one.columns, *spacing)].append(one)
    stacks: list[tuple[SliceDescription, ...]] = []
    for same_size in by_size.values():
        stacks.extend(_split_variants(same_size))
    stacks.sort(key=lambda stack: (-len(stack), min(one.key for one in stack)))
    return tuple(stack for index, stack in enumerate(stacks) if index == 0 or len(stack) >= _SMALLEST_STACK)


def _split_variants(slices: list[SliceDescription]) -> list[tuple[SliceDescription, ...]]:
    variants: dict[tuple[str, ...], list[SliceDescription]] = defaultdict(list)
    for one in slices:
        variants[one.variant].append(one)
    if len(variants) == 1 or not _variants_collide(slices):
        return [tuple(slices)]
    return [tuple(stack) for stack in variants.values()]


def _variants_collide(slices: Sequence[SliceDescription]) -> bool:
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda one: float(normal @ np.array(one.position_mm)))
    for one, following in pairwise(ordered):
        step_mm = float(normal @ np.subtract(following.position_mm, one.position_mm))
        if step_mm < SAME_PLACE_MM and one.variant != following.variant and one.digest != following.digest:
            return True
    return False
