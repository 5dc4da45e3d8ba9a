"""View files: the examples of the documentation are views, and every JSON value becomes the stream's text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guidance.errors import WireError
from guidance.geometry.metadata import read_metadata
from guidance.geometry.told import told_geometry
from guidance.wire.view_files import read_view

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").glob("view-*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_views(path):
    view = read_view(path.read_bytes(), origin=path.name)
    assert view.ignored == ()
    told = told_geometry(read_metadata(view.metadata), 1024, 1024)
    assert told is not None
    assert told.source == ("metadata_matrix" if "matrix" in path.stem else "metadata_angles")


def test_there_are_examples():
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.5 2", "1.5 2"),
        (1.5, "1.5"),
        (-3, "-3"),
        (1.0, "1"),
        (float("nan"), "nan"),
        (1e-05, "1e-05"),
        (True, "1"),
        (False, "0"),
        ([1, 2.5], "1 2.5"),
        ([[1, 2], [3, 4]], "1 2 3 4"),
        (["1", 2], "1 2"),
    ],
)
def test_values_become_texts(value, text):
    view = {"image": "a.png", "geometry": {"XRay.ProjectionMatrix": value, "XRay.FovFlip": None, "Vendor.Key": 1}}
    told = read_view(json.dumps(view).encode(), origin="view")
    assert told.metadata == {"XRay.ProjectionMatrix": text}
    assert told.ignored == ("Vendor.Key",)
    assert (told.name, told.frame) == ("a.png", 1)


@pytest.mark.parametrize("value", [{}, [None], [[]], [{"a": 1}], [""]])
def test_values_without_a_text_are_refused(value):
    view = {"image": "a.png", "geometry": {"XRay.ProjectionMatrix": value}}
    with pytest.raises(WireError, match=r"XRay.ProjectionMatrix is"):
        read_view(json.dumps(view).encode(), origin="view")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("XRay.FovFlp", "XRay.FovFlip"),
        ("FovFlip", "XRay.FovFlip"),
        ("xray.FovFlip", "XRay.FovFlip"),
        ("XRay.Anything", "XRay."),
    ],
)
def test_misspelt_keys_are_refused(key, nearest):
    view = {"image": "a.png", "geometry": {key: 1}}
    with pytest.raises(WireError, match=f"nearest is {nearest}"):
        read_view(json.dumps(view).encode(), origin="view")


def test_a_large_file_is_no_view():
    with pytest.raises(WireError, match="small JSON file"):
        read_view(b" " * (2 << 20), origin="view")
