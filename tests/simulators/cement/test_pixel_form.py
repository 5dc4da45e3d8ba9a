"""The numbers that pictures are sent in: read by the server as what they are."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import ConfigError
from guidance.geometry.intensity import read_intensity
from simulators.cement.pixel_form import PixelForm

VALUES = np.array([[0, 16, 900, 9000], [20000, 40000, 65534, 65535]], np.uint16)


def test_as_it_is_nothing_changes():
    assert PixelForm().told(VALUES) is VALUES


@pytest.mark.parametrize("relationship", ["LIN", "LOG", "DISP"])
@pytest.mark.parametrize("sign", [1, -1])
def test_more_x_ray_gives_higher_values_or_lower_and_the_server_is_told(relationship, sign):
    form = PixelForm(relationship=relationship, sign=sign)
    told = form.told(VALUES).ravel().astype(int)
    assert (np.diff(told) * sign >= 0).all()
    assert len(set(told)) > 5
    intensity = read_intensity(form.metadata())
    assert (intensity.relationship, intensity.sign) == (relationship, sign)


def test_logarithmic_values_are_a_logarithm():
    told = PixelForm(relationship="LOG").told(VALUES).astype(float)
    assert told[0, 3] - told[0, 2] == pytest.approx(np.log(9001 / 901) / np.log(65536) * 65535, abs=1.0)


def test_twelve_bits_have_nothing_above_but_the_overlay():
    flat = np.full((64, 64), 30000, np.uint16)
    assert PixelForm(bits=12).told(flat).max() == 1875
    drawn = PixelForm(bits=12, overlay=True).told(flat)
    assert set(np.unique(drawn)) == {1875, 1875 | 0x9000}
    assert (drawn & 0x0FFF == 1875).all()
    assert 0.01 < (drawn > 4095).mean() < 0.1


def test_an_overlay_needs_room():
    with pytest.raises(ConfigError) as caught:
        PixelForm(overlay=True)
    assert caught.value.code == "bad_pixels"
