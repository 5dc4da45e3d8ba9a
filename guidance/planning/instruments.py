"""The instrument library: built-in instruments as data, a site's own beside them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final, Literal

import msgspec

from guidance.errors import ConfigError
from guidance.planning.ablation import AblationTable, table_fault

InstrumentKind = Literal[
    "needle", "guidepin", "k_wire", "trocar", "screw", "nail", "balloon", "cryoprobe", "rf_electrode"
]
_MEND: Final = "see guidance/planning/data/instruments.toml for every key"
_UNITS: Final = ("_mm", "_deg", "_w", "_s")


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One instrument; lengths in mm, null or empty where it has no such thing.

    Attributes:
        id: what a path names, ASCII.
        diameter_mm: true outer diameter; of a screw the thread's.
        lengths_mm: as it can be had, rising; of a screw from under the head, else the shaft's.
        thread, thread_length_mm: `full` or `partial`, and how much at the tip.
        core_diameter_mm: of a threaded one, at the thread's root.
        cannula_diameter_mm: of the bore.
        side_hole_depths_mm: from the TIP towards the hub, rising: cement leaves there.
        bevel: it has a bevelled tip that steers it; a path keeps its turn.
        flexible: it does not keep to a straight line by itself.
        cement_from: where cement leaves it, `tip` or `holes`; "" for none.
        retains_cement: cement stays within its membrane.
        inflated_length_mm, inflated_diameter_mm: a balloon full, an ellipsoid that ends at the tip.
        ablation: what it freezes or burns, by power and time.
        source: where the numbers are from.
    """

    id: str
    name: str
    kind: InstrumentKind
    diameter_mm: float
    source: str
    lengths_mm: tuple[float, ...] = ()
    thread: Literal["", "full", "partial"] = ""
    thread_length_mm: float | None = None
    core_diameter_mm: float | None = None
    cannula_diameter_mm: float | None = None
    side_hole_depths_mm: tuple[float, ...] = ()
    bevel: bool = False
    flexible: bool = False
    cement_from: Literal["", "tip", "holes"] = ""
    retains_cement: bool = False
    inflated_length_mm: float | None = None
    inflated_diameter_mm: float | None = None
    ablation: AblationTable | None = None


@dataclass(frozen=True, slots=True)
class InstrumentLibrary:
    """Instruments by id, in the order of the files."""

    instruments: tuple[Instrument, ...]

    def find(self, instrument_id: str) -> Instrument | None:
        """The instrument with that id; None if there is none (free words)."""
        return next((item for item in self.instruments if item.id == instrument_id), None)


def instrument_library(extra_toml: str = "", origin: str = "instruments") -> InstrumentLibrary:
    """The built-in instruments and a site's; a site's entry with a built-in id replaces that one.

    Args:
        extra_toml: the site's file, as text; "" for none.
        origin: its name, for the error.

    Raises:
        ConfigError: `not_toml`, or `bad_instrument` naming the entry, the field and the mend.
    """
    instruments = {item.id: item for item in _built_in()}
    instruments |= {item.id: item for item in _instruments_of(extra_toml, origin)}
    return InstrumentLibrary(tuple(instruments.values()))


@lru_cache(maxsize=1)
def _built_in() -> tuple[Instrument, ...]:
    file = resources.files("guidance.planning") / "data" / "instruments.toml"
    return tuple(_instruments_of(file.read_text(encoding="utf-8"), "instruments.toml"))


def _instruments_of(text: str, origin: str) -> Iterator[Instrument]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}", code="not_toml", mend=_MEND) from None
    entries = table.pop("instrument", [])
    if table or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        odd = ", ".join(sorted(table)) or "instrument"
        raise ConfigError(f"{origin}: {odd}", code="bad_instrument", mend="write each as [[instrument]]")
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        named = str(entry.get("id") or f"number {number}")
        instrument = _instrument_of(entry, f"{origin}: instrument {named!r}")
        if instrument.id in seen:
            raise _refusal(f"{origin}: instrument {named!r}", "id", "there twice", "give it its own")
        seen.add(instrument.id)
        yield instrument


def _instrument_of(entry: Mapping[str, Any], where: str) -> Instrument:
    known = set(Instrument.__struct_fields__)
    for key in entry:
        if key not in known:
            with_unit = next((key + unit for unit in _UNITS if key + unit in known), "")
            fault = "has no unit" if with_unit else "is not a key of an instrument"
            raise _refusal(where, key, fault, f"write {with_unit}" if with_unit else _MEND)
    try:
        instrument = msgspec.convert(entry, Instrument, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}", code="bad_instrument", mend=_MEND) from None
    field, must_be = _fault(instrument)
    if field:
        raise _refusal(where, field, "is impossible", f"must be {must_be}")
    return instrument


def _refusal(where: str, field: str, fault: str, mend: str) -> ConfigError:
    return ConfigError(f"{where}: {field} {fault}", code="bad_instrument", mend=mend)


def _fault(item: Instrument) -> tuple[str, str]:
    """The field at fault and what it must be; two empty texts where an instrument is sound."""
    if not item.id or not item.id.isascii() or not item.id.isprintable() or len(item.id) > 64:
        return "id", "1 to 64 printable ASCII characters"
    for name in ("name", "source"):
        if not getattr(item, name).strip():
            return name, "some words"
    if not 0.0 < item.diameter_mm <= 50.0:
        return "diameter_mm", "greater than 0 and at most 50 mm"
    for name in ("core_diameter_mm", "cannula_diameter_mm"):
        value = getattr(item, name)
        if value is not None and not 0.0 < value < item.diameter_mm:
            return name, "greater than 0 and less than diameter_mm"
    for name in ("lengths_mm", "side_hole_depths_mm"):
        values = getattr(item, name)
        if any(not 0.0 < value <= 1000.0 for value in values) or list(values) != sorted(set(values)):
            return name, "rising numbers greater than 0 and at most 1000 mm"
    if (item.thread == "partial") != (item.thread_length_mm is not None):
        return "thread_length_mm", 'there for thread = "partial", and only there'
    if item.thread_length_mm is not None and not 0.0 < item.thread_length_mm <= 1000.0:
        return "thread_length_mm", "greater than 0 and at most 1000 mm"
    if bool(item.side_hole_depths_mm) != (item.cement_from == "holes"):
        return "side_hole_depths_mm", 'there for cement_from = "holes", and only there'
    if (item.inflated_length_mm is None) != (item.inflated_diameter_mm is None):
        return "inflated_diameter_mm", "there together with inflated_length_mm"
    for name in ("inflated_length_mm", "inflated_diameter_mm"):
        value = getattr(item, name)
        if value is not None and not 0.0 < value <= 100.0:
            return name, "greater than 0 and at most 100 mm"
    return table_fault(item.ablation) if item.ablation else ("", "")
