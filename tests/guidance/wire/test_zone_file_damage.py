"""Damaged and hostile zone files: read or refused by name, and never anything else."""

from __future__ import annotations

import random
from collections.abc import Callable

import nibabel
import numpy as np
import pytest

from guidance.errors import GuidanceError
from guidance.wire.dicom_instance import parse
from guidance.wire.dicom_segmentation import read_segmentation
from guidance.wire.dicom_structures import read_structures
from guidance.wire.label_map import read_label_map
from guidance.wire.label_names import LabelName
from tests.helpers.dicom_objects import file_bytes
from tests.helpers.dicom_segmentations import segment, segmentation, structure_set

_DAMAGES = 250


def binary() -> bytes:
    pixels = np.random.default_rng(1).integers(0, 2, (4, 9, 7))
    frames = [(1 + k % 2, (0.0, 0.0, float(k)), frame) for k, frame in enumerate(pixels)]
    return file_bytes(segmentation(frames, [segment(1, "a"), segment(2, "b")], between=1.0))


def fractional() -> bytes:
    pixels = np.random.default_rng(2).integers(0, 255, (3, 8, 8))
    frames = [(1, (0.0, 0.0, float(k)), frame) for k, frame in enumerate(pixels)]
    return file_bytes(segmentation(frames, [segment(1, "a")], kind="FRACTIONAL"))


def structures() -> bytes:
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    flat = [np.stack([5 * np.cos(turn), 5 * np.sin(turn), np.full(8, z)], axis=1) for z in (0.0, 1.0, 2.0)]
    return file_bytes(structure_set({"sacrum": flat}))


def label_map() -> bytes:
    values = np.random.default_rng(3).integers(0, 3, (6, 5, 4)).astype(np.int16)
    return nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])).to_bytes()


@pytest.mark.filterwarnings("ignore")  # pydicom and nibabel warn of what they meet; here every byte may be wrong
@pytest.mark.parametrize(
    ("make", "read"),
    [
        (binary, lambda data: read_segmentation(parse(data))),
        (fractional, lambda data: read_segmentation(parse(data))),
        (structures, lambda data: read_structures(parse(data))),
        (label_map, lambda data: read_label_map(data, {1: LabelName(name="x")})),
    ],
    ids=["binary", "fractional", "structures", "label map"],
)
def test_damaged_bytes(make: Callable[[], bytes], read: Callable[[bytes], object]) -> None:
    whole = make()
    read(whole)
    dice = random.Random(11)
    # The preamble says nothing, and half of the damage goes to the first kilobyte, where sizes and kinds stand.
    start = 132 if whole[128:132] == b"DICM" else 0
    refused = 0
    for number in range(_DAMAGES):
        data = bytearray(whole)
        if number % 5 == 0:
            del data[dice.randrange(start, len(data)) :]
        else:
            last = min(len(data), start + 1000) if number % 2 else len(data)
            for _ in range(dice.randrange(1, 4)):
                data[dice.randrange(start, last)] = dice.choice((0, 0xFF, 0x7F, 0x80, dice.randrange(256)))
        try:
            read(bytes(data))
        except GuidanceError:
            refused += 1
    assert refused > _DAMAGES // 10


def with_unit(code: int) -> bytes:
    data = bytearray(label_map())
    data[123] = code  # xyzt_units: space in the lowest three bits, time above
    return bytes(data)


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "read"),
    [
        pytest.param(lambda: with_unit(5), lambda data: read_label_map(data, {}), id="unit of space 5"),
        pytest.param(
            lambda: replaced(structures(), b"\x06\x30\x50\x00DS", b"\x06\x30\x50\x00D9"),
            lambda data: read_structures(parse(data)),
            id="contour data of an unknown kind",
        ),
        pytest.param(
            lambda: replaced(binary(), b"\xe0\x7f\x10\x00OB", b"\xe0\x7f\x10\x00O\x00"),
            lambda data: read_segmentation(parse(data)),
            id="pixel data of an unknown kind",
        ),
        pytest.param(
            lambda: binary()[: binary().index(b"\xe0\x7f\x10\x00") + 8] + b"\0\0\0\0",
            lambda data: read_segmentation(parse(data)),
            id="empty pixel data",
        ),
    ],
)
def test_damage_that_fuzzing_found(make: Callable[[], bytes], read: Callable[[bytes], object]) -> None:
    with pytest.raises(GuidanceError):
        read(make())


def test_an_unknown_unit_of_time_is_nobodys_business() -> None:
    assert read_label_map(with_unit(2 | 56), {}).zones
