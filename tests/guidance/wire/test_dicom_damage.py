"""Damaged files: whatever bytes change, the answer is a volume's slices, a named problem or a WireError."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from guidance.errors import WireError
from guidance.messages import VolumeState
from guidance.wire.dicom_instance import parse, read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_series import conclude, with_instance
from tests.helpers.dicom_objects import ct_slice, file_bytes, multi_frame, phantom

CODES = {"", "unreadable_instance", "unreadable_pixels"}


def compressed(syntax: str) -> Dataset:
    dataset = ct_slice(phantom(1, 40, 48)[0], position=(0, 0, 0))
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset


FILES: dict[str, Callable[[], Dataset]] = {
    "explicit": lambda: ct_slice(phantom(1)[0], position=(0, 0, 0)),
    "multi-frame": lambda: multi_frame(phantom(3)),
    "rle": lambda: compressed("1.2.840.10008.1.2.5"),
    "jpeg-ls": lambda: compressed("1.2.840.10008.1.2.4.80"),
    "jpeg-2000": lambda: compressed("1.2.840.10008.1.2.4.90"),
}


@cache
def content(kind: str) -> bytes:
    dataset = FILES[kind]()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"  # the same bytes in every run
    return file_bytes(dataset)


def take(data: bytes) -> None:
    try:
        dataset = parse(data)
        instance = read_instance(dataset, name="1")
        decoded = list(decode_slices(dataset, instance)) if instance.slices else []
    except WireError as error:
        code = error.code
    else:
        code = ""
    assert code in CODES
    if code:
        return
    for one, pixels in decoded:
        assert pixels.shape == (one.rows, one.columns)
        assert pixels.dtype == "int16"
    instance = replace(instance, slices=tuple(one for one, _ in decoded))
    for conclusion in conclude(with_instance(None, instance, 0.0)):
        assert (conclusion.grid is None) == (conclusion.volume.state is VolumeState.REFUSED)


@pytest.mark.filterwarnings("ignore")  # pydicom warns about what it repairs
@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes(kind: str, data: st.DataObject) -> None:
    whole = bytearray(content(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        # most of the damage into the header, where it changes meaning
        end = data.draw(st.sampled_from([min(1500, len(whole)), len(whole)]))
        whole[data.draw(st.integers(132, end - 1))] = data.draw(st.integers(0, 255))
    take(bytes(whole))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_files(kind: str, data: st.DataObject) -> None:
    whole = content(kind)
    take(whole[: data.draw(st.integers(0, len(whole) - 1))])
