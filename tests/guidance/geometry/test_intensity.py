"""What pixel values mean, and which are picture."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import GeometryError
from guidance.geometry.intensity import PixelIntensity, collimated, read_intensity
from guidance.geometry.metadata import XRayMetadata


def test_the_contracts_defaults_and_words():
    assert read_intensity({}) == PixelIntensity(relationship="LIN", sign=1)
    told = {"XRay.PixelIntensityRelationship": " LOG ", "XRay.PixelIntensityRelationshipSign": "-1"}
    assert read_intensity(told) == PixelIntensity(relationship="LOG", sign=-1)
    display = PixelIntensity(relationship="DISP", sign=-1)
    assert read_intensity({}, display) == display
    assert read_intensity({"XRay.PixelIntensityRelationship": "LIN"}, display).sign == -1


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("XRay.PixelIntensityRelationship", "linear", "bad_intensity_relationship"),
        ("XRay.PixelIntensityRelationshipSign", "2", "bad_intensity_sign"),
        ("XRay.PixelIntensityRelationshipSign", "1.0", "bad_intensity_sign"),
    ],
)
def test_other_words_are_errors(key, value, code):
    with pytest.raises(GeometryError) as raised:
        read_intensity({key: value})
    assert raised.value.code == code


def test_blades_leave_what_lies_between_them():
    valid = collimated(XRayMetadata(collimator_px=(2.0, 1.0, 5.0, 3.0)), 6, 8)
    assert valid is not None
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(valid, expected)


def test_blades_at_the_edge_or_of_another_picture_cut_nothing():
    assert collimated(XRayMetadata(), 6, 8) is None
    assert collimated(XRayMetadata(collimator_px=(0.0, 0.0, 7.0, 5.0)), 6, 8) is None
    assert collimated(XRayMetadata(collimator_px=(100.0, 100.0, 200.0, 200.0)), 6, 8) is None


def test_beside_a_turn_only_what_both_readings_leave_counts():
    xray = XRayMetadata(collimator_px=(1.0, 0.0, 5.0, 5.0), fov_rotation_deg=180)
    valid = collimated(xray, 6, 7)
    assert valid is not None
    columns = valid.all(axis=0)
    # As sent columns 1 to 5; before the turn too, which are 1 to 5 from the other side.
    assert np.flatnonzero(columns).tolist() == [1, 2, 3, 4, 5]
    flipped = collimated(XRayMetadata(collimator_px=(0.0, 0.0, 4.0, 5.0), fov_flip=True), 6, 7)
    assert flipped is not None
    assert np.flatnonzero(flipped.all(axis=0)).tolist() == [2, 3, 4]
    # A quarter turn: told for the picture before it, of 7 rows and 6 columns.
    turned = collimated(XRayMetadata(collimator_px=(0.0, 2.0, 5.0, 6.0), fov_rotation_deg=90), 6, 7)
    assert turned is not None
    assert turned.any()
    assert not turned[:2].any()
