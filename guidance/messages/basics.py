"""Arrays, points, findings: what every other value is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]
Vector3 = tuple[float, float, float]
Matrix34 = tuple[float, ...]  # 12 numbers, row-major, pixel_from_patient, w in mm along the central ray
EMPTY_METADATA: Final[Mapping[str, str]] = {}


class Severity(StrEnum):
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about a volume; `code` is one of the contract's (5.2)."""

    code: str
    severity: Severity
    message: str
