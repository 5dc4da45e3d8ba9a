"""C-arm models as data: how far a stand turns, and its housings; a site's file adds to the built-in ones."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec

from guidance.errors import ConfigError

DEFAULT_C_ARM: Final = "generic_floor"
_MEND: Final = "see guidance/planning/data/c_arms.toml"


class AngleRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rectangle of equipment angles: (least, most) in degrees; secondary within [-90, 90]."""

    primary: tuple[float, float]
    secondary: tuple[float, float]


class Housing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A box about the central ray.

    Attributes:
        size_mm: along the picture's rows, along its columns, along the beam.
        front_mm: from the isocentre to the face that looks at it.
    """

    size_mm: tuple[float, float, float]
    front_mm: float


class CArmModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a C-arm can reach; equipment angles, all lengths in mm.

    Attributes:
        source_to_detector_mm: shortest and longest.
        ranges_deg: where the stand can go: the union of these.
        detector, source: housings that must meet neither table nor patient.
        detector_active_mm: of the picture, along rows and columns.
        table_mm: the table top's width and thickness.
        safety_mm: least room between any two bodies.
    """

    id: str
    name: str
    source_to_isocenter_mm: float
    source_to_detector_mm: tuple[float, float]
    ranges_deg: tuple[AngleRange, ...]
    detector: Housing
    source: Housing
    detector_active_mm: tuple[float, float]
    table_mm: tuple[float, float]
    safety_mm: float


@dataclass(frozen=True, slots=True)
class CArmLibrary:
    """Models by id, in the order of the files."""

    models: tuple[CArmModel, ...]

    def find(self, model_id: str) -> CArmModel | None:
        """The model with that id; None if there is none."""
        return next((model for model in self.models if model.id == model_id), None)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    c_arm: tuple[CArmModel, ...] = ()


def c_arm_library(extra_toml: str = "", origin: str = "c_arms") -> CArmLibrary:
    """The built-in models and a site's; a site's model with a built-in id replaces that one.

    Args:
        extra_toml: the site's file, as text; "" for none.
        origin: its name, for the error.

    Raises:
        ConfigError: `not_toml`, or `bad_c_arm` naming the model, the key and the mend.
    """
    models = {model.id: model for model in _built_in()}
    models |= {model.id: model for model in _models_of(extra_toml, origin)}
    return CArmLibrary(tuple(models.values()))


@lru_cache(maxsize=1)
def _built_in() -> tuple[CArmModel, ...]:
    file = resources.files("guidance.planning") / "data" / "c_arms.toml"
    return _models_of(file.read_text(encoding="utf-8"), "c_arms.toml")


def _models_of(text: str, origin: str) -> tuple[CArmModel, ...]:
    try:
        models = msgspec.convert(tomllib.loads(text), _File, strict=True).c_arm
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}", code="not_toml", mend=_MEND) from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {error}", code="bad_c_arm", mend=_MEND) from None
    ids = [model.id for model in models]
    for model in models:
        if fault := _fault(model, ids.count(model.id)):
            raise ConfigError(f"{origin}: C-arm {model.id!r}: {fault}", code="bad_c_arm", mend=_MEND)
    return models


def _fault(model: CArmModel, same_id: int) -> str:
    """What is impossible about a model; "" if nothing is."""
    if not model.id or not model.id.isascii() or not model.id.isprintable() or same_id > 1:
        return "id must be its own, in ASCII"
    shortest, longest = model.source_to_detector_mm
    if not 0.0 < model.source_to_isocenter_mm < shortest <= longest < math.inf:
        return "0 < source_to_isocenter_mm < shortest <= longest source_to_detector_mm"
    if not model.ranges_deg:
        return "ranges_deg is empty"
    for angles in model.ranges_deg:
        if not (-180.0 <= angles.primary[0] < angles.primary[1] <= 180.0):
            return "primary must rise within -180 and 180"
        if not (-90.0 <= angles.secondary[0] < angles.secondary[1] <= 90.0):
            return "secondary must rise within -90 and 90"
    lengths = (*model.detector.size_mm, *model.source.size_mm, *model.detector_active_mm, *model.table_mm)
    if not all(0.0 < length < math.inf for length in (*lengths, model.detector.front_mm, model.source.front_mm)):
        return "sizes and fronts must be greater than 0"
    if not 0.0 <= model.safety_mm < math.inf:
        return "safety_mm must not be negative"
    return ""
