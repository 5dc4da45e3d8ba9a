"""JSON text of shapes with NumPy scalars in them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guidance.messages import GeometryState, InputState
from guidance.shapes import InputGeometry
from guidance.wire.json_text import json_text


def test_numpy_scalars_are_plain_numbers() -> None:
    shape = InputGeometry(
        state=InputState.HELD,
        geometry_state=GeometryState.TRUSTED,
        reason="ä",
        frame_number=np.int64(2**53 + 1),  # type: ignore[arg-type]  # what a kernel's answer may hold
        age_ms=np.float64(1.5),
        pixel_from_patient=tuple(np.arange(2.0)),
    )
    assert json_text(shape).startswith(
        (
            '{"state":"held","geometry_state":"trusted","reason":"ä","frame_number":9007199254740993,'
            '"age_ms":1.5,"pixel_from_patient":[0.0,1.0],"paths":[],"check":{"state":"unchecked",'
        ).encode()
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, np.float64(math.nan), np.float32(-math.inf)])
def test_number_that_is_not_finite_is_null(number: float) -> None:
    assert json_text({"x": number}) == b'{"x":null}'


def test_anything_else_is_our_bug() -> None:
    with pytest.raises(TypeError, match="ndarray"):
        json_text({"x": np.zeros(3)})
