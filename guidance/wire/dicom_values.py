"""Careful reading of single DICOM attributes: what is absent, empty or not a number is None, never an exception."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom import config as pydicom_config
from pydicom.dataset import Dataset

# Real files break value rules all the time (padded UIDs, long texts); a warning for each helps nobody.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE


def text(dataset: Dataset, keyword: str) -> str:
    """The attribute as text without padding; "" if absent or unreadable."""
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip(" \0")


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a multi-valued attribute as texts."""
    value = _value(dataset, keyword)
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (str(value).strip(" \0"),)
    return tuple(str(one).strip(" \0") for one in value)


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    result = all_numbers(dataset, keyword)
    return result if result is not None and len(result) == count else None


def all_numbers(dataset: Dataset, keyword: str) -> tuple[float, ...] | None:
    """As many numbers as there are, all finite, or None."""
    value = _value(dataset, keyword)
    if value is None:
        return None
    many: tuple[Any, ...] = (
        tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else (value,)
    )
    try:
        result = tuple(float(one) for one in many)
    except (ValueError, TypeError, OverflowError):
        return None
    return result if all(math.isfinite(one) for one in result) else None


def raw_bytes(dataset: Dataset, keyword: str) -> bytes:
    """The bytes of an attribute of kind OB or OW; b"" if absent or unreadable."""
    value = _value(dataset, keyword)
    return value if isinstance(value, bytes) else b""


def number(dataset: Dataset, keyword: str) -> float | None:
    """One finite number, or None."""
    found = numbers(dataset, keyword, 1)
    return None if found is None else found[0]


def integer(dataset: Dataset, keyword: str) -> int | None:
    """One whole number, or None."""
    found = number(dataset, keyword)
    return int(found) if found is not None and found == int(found) else None


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; () if absent."""
    value = _value(dataset, keyword)
    return tuple(one for one in value if isinstance(one, Dataset)) if isinstance(value, Iterable) else ()


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        value = dataset.get(keyword)
    except Exception:  # elements are parsed at this moment, and what that raises on hostile bytes is not enumerable
        return None
    return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value
