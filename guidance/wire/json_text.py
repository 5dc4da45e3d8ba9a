"""Shapes to JSON text; knows NumPy's scalars, which are floats to the type checker and strangers to the encoder."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np


def json_text(value: object) -> bytes:
    """The value as UTF-8 JSON; a number that is not finite becomes null.

    Raises:
        TypeError: something in it is no shape, container, number, text or NumPy scalar.
    """
    return _ENCODER.encode(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a message")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
