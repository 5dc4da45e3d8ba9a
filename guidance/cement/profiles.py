"""The library of cements: built-in ones as data, a site's own beside them; what each is made of and how it sets."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import msgspec

from guidance.cement.beam import KVP_RANGE, materials
from guidance.cement.opacity import LARGEST_WATER_MM, Opacity, OpacitySource, opacity_of
from guidance.errors import CaseError, ConfigError
from guidance.messages.cement import CementMaterial

_MEND: Final = "see guidance/cement/data/cements.toml for every key"
_UNITS: Final = ("_c", "_s", "_mm", "_g_cm3", "_per_mm")


class Phases(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a cement sets at one room temperature; seconds from the begin of mixing.

    Attributes:
        dough_s: until then it runs.
        end_s: until then it can be injected.
        set_s: it is hard.
        spread: one standard deviation from batch to batch, as a share.
    """

    temperature_c: float
    dough_s: float
    end_s: float
    set_s: float
    spread: float = 0.15


class Cement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cement.

    Attributes:
        id: what /cement/start names as brand; ASCII.
        parts: material -> weight per cent of the set cement; the rest is PMMA.
        density_g_cm3: measured; None: of the parts, without pores.
        opacity_per_mm, kvp: measured contrast of thin cement at that voltage; None: computed from the parts.
        phases: how it sets, by temperature; empty: not known.
        source: where the numbers are from.
    """

    id: str
    name: str
    source: str
    parts: dict[str, float] = {}
    density_g_cm3: float | None = None
    opacity_per_mm: float | None = None
    kvp: float | None = None
    phases: tuple[Phases, ...] = ()


@dataclass(frozen=True, slots=True)
class CementLibrary:
    """Cements by id, in the order of the files."""

    cements: tuple[Cement, ...]

    def find(self, brand: str) -> Cement | None:
        """The cement of that id or name, whatever its case, blanks and punctuation; None if there is none."""
        wanted = _folded(brand)
        return next((item for item in self.cements if wanted in (_folded(item.id), _folded(item.name))), None)

    def opacity(
        self,
        material: CementMaterial,
        *,
        kvp: float | None = None,
        filtration_mm_al: float = 3.0,
        filtration_mm_cu: float = 0.1,
        water_mm: float | None = None,
    ) -> Opacity:
        """Thickness from log contrast for what flows, in this beam.

        Args:
            material: a brand, or a told opacity (which then counts; a brand beside it tells how the beam hardens).
            kvp: as told; None or outside 40 to 140: not told, which widens `relative_sigma`.
            filtration_mm_al, filtration_mm_cu: of the beam.
            water_mm: thickness of the patient in water; None or outside 0 to 700: not known.

        Raises:
            CaseError: `unknown_brand` naming the known ones; `bad_opacity` outside (0, 5] per mm; `no_opacity` where
                neither is told.
        """
        cement = self.known(material)
        told = material.opacity_per_mm
        if told is not None and not 0.0 < told <= 5.0:
            raise CaseError(
                f"an opacity of {told:g} per mm",
                code="bad_opacity",
                mend="the contrast per mm of a step wedge of thin cement: above 0, at most 5",
            )
        if told is None and cement is None:
            raise CaseError(
                "neither a brand nor an opacity is told",
                code="no_opacity",
                mend=f"one of the brands {self._names()}, or opacity_per_mm",
            )
        source = OpacitySource(
            parts=_whole(cement.parts) if cement is not None else None,
            density_g_cm3=cement.density_g_cm3 if cement is not None else None,
            told_per_mm=told,
            measured_per_mm=cement.opacity_per_mm if cement is not None else None,
            measured_kvp=cement.kvp if cement is not None else None,
        )
        if kvp is not None and not KVP_RANGE[0] <= kvp <= KVP_RANGE[1]:
            kvp = None
        if water_mm is not None and not 0.0 <= water_mm <= LARGEST_WATER_MM:
            water_mm = None
        return opacity_of(
            source, kvp=kvp, filtration_mm_al=filtration_mm_al, filtration_mm_cu=filtration_mm_cu, water_mm=water_mm
        )

    def known(self, material: CementMaterial) -> Cement | None:
        """The cement that is named; None where none is.

        Raises:
            CaseError: `unknown_brand`.
        """
        if not material.brand.strip():
            return None
        cement = self.find(material.brand)
        if cement is None:
            raise CaseError(
                f"no cement is called {material.brand[:60]!r}",
                code="unknown_brand",
                mend=f"one of {self._names()}; others are added with [cement] profiles",
            )
        return cement

    def _names(self) -> str:
        return ", ".join(item.id for item in self.cements)


def cement_library(extra_toml: str = "", origin: str = "cements") -> CementLibrary:
    """The built-in cements and a site's; a site's entry with a built-in id replaces that one.

    Args:
        extra_toml: the site's file, as text; "" for none.
        origin: its name, for the error.

    Raises:
        ConfigError: `not_toml`, or `bad_cement` naming the entry, the field and the mend.
    """
    cements = {item.id: item for item in _built_in()}
    cements |= {item.id: item for item in _cements_of(extra_toml, origin)}
    return CementLibrary(tuple(cements.values()))


@lru_cache(maxsize=1)
def _built_in() -> tuple[Cement, ...]:
    file = resources.files("guidance.cement") / "data" / "cements.toml"
    return tuple(_cements_of(file.read_text(encoding="utf-8"), "cements.toml"))


def _cements_of(text: str, origin: str) -> Iterator[Cement]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}", code="not_toml", mend=_MEND) from None
    entries = table.pop("cement", [])
    if table or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        odd = ", ".join(sorted(table)) or "cement"
        raise ConfigError(f"{origin}: {odd}", code="bad_cement", mend="write each as [[cement]]")
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        where = f"{origin}: cement {str(entry.get('id') or f'number {number}')!r}"
        cement = _cement_of(entry, where)
        if _folded(cement.id) in seen:
            raise _refusal(where, "id", "there twice", "give it its own")
        seen.add(_folded(cement.id))
        yield cement


def _cement_of(entry: Mapping[str, Any], where: str) -> Cement:
    known = set(Cement.__struct_fields__)
    for key in entry:
        if key not in known:
            with_unit = next((key + unit for unit in _UNITS if key + unit in known), "")
            fault = "has no unit" if with_unit else "is not a key of a cement"
            raise _refusal(where, key, fault, f"write {with_unit}" if with_unit else _MEND)
    try:
        cement = msgspec.convert(entry, Cement, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}", code="bad_cement", mend=_MEND) from None
    field, must_be = _fault(cement)
    if field:
        raise _refusal(where, field, "is impossible", f"must be {must_be}")
    return cement


def _fault(item: Cement) -> tuple[str, str]:
    """The field at fault and what it must be; two empty texts where a cement is sound."""
    if not _folded(item.id) or not item.id.isascii() or not item.id.isprintable() or len(item.id) > 64:
        return "id", "1 to 64 printable ASCII characters, letters or figures among them"
    for name in ("name", "source"):
        if not getattr(item, name).strip():
            return name, "some words"
    if not set(item.parts) <= set(materials()):
        return "parts", f"of {', '.join(materials())}"
    if not all(0.0 <= share <= 100.0 for share in item.parts.values()) or not sum(item.parts.values()) <= 100.0:
        return "parts", "weight per cent, together at most 100"
    if item.density_g_cm3 is not None and not 0.3 <= item.density_g_cm3 <= 10.0:
        return "density_g_cm3", "0.3 to 10"
    if (item.opacity_per_mm is None) != (item.kvp is None):
        return "opacity_per_mm", "told together with kvp"
    if item.opacity_per_mm is not None and not 0.0 < item.opacity_per_mm <= 5.0:
        return "opacity_per_mm", "above 0 and at most 5"
    if item.kvp is not None and not KVP_RANGE[0] <= item.kvp <= KVP_RANGE[1]:
        return "kvp", f"{KVP_RANGE[0]:g} to {KVP_RANGE[1]:g}"
    if not item.parts and item.opacity_per_mm is None:
        return "parts", "told, or a measured opacity_per_mm with its kvp"
    return _phases_fault(item.phases)


def _phases_fault(phases: tuple[Phases, ...]) -> tuple[str, str]:
    if len({phase.temperature_c for phase in phases}) < len(phases):
        return "phases", "one for each temperature_c"
    for phase in phases:
        if not 0.0 <= phase.temperature_c <= 40.0:
            return "temperature_c", "0 to 40"
        if not 0.0 < phase.dough_s <= phase.end_s <= phase.set_s <= 36000.0:
            return "phases", "0 < dough_s <= end_s <= set_s"
        if not 0.0 <= phase.spread <= 1.0:
            return "spread", "0 to 1"
    return "", ""


def _whole(parts: Mapping[str, float]) -> tuple[tuple[str, float], ...] | None:
    """With the PMMA that makes up the rest; None where nothing is told of it."""
    if not parts:
        return None
    rest = 100.0 - sum(share for name, share in parts.items() if name != "pmma")
    return (*((name, share) for name, share in parts.items() if name != "pmma"), ("pmma", max(rest, 0.0)))


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _refusal(where: str, field: str, fault: str, mend: str) -> ConfigError:
    return ConfigError(f"{where}: {field} {fault}", code="bad_cement", mend=mend)
