"""Items of code sequences."""

from __future__ import annotations

from pydicom.dataset import Dataset

from guidance.wire.dicom_values import items, text
from guidance.wire.zone_names import Code


def code_of(item: Dataset) -> Code:
    """An item as a code; URN and long values stand in for a short one (PS3.3 section 8.1)."""
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    return Code(scheme=text(item, "CodingSchemeDesignator"), value=value, meaning=text(item, "CodeMeaning"))


def codes_of(dataset: Dataset, keyword: str) -> list[Code]:
    """The codes of a sequence; [] if absent."""
    return [code_of(one) for one in items(dataset, keyword)]
