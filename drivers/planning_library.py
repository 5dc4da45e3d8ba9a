"""The site's instruments and C-arm models: built-in libraries with the files that the settings name."""

from __future__ import annotations

from pathlib import Path

from guidance.config import PlanningSettings
from guidance.errors import ConfigError
from guidance.planning.c_arms import CArmLibrary, CArmModel, c_arm_library
from guidance.planning.instruments import InstrumentLibrary, instrument_library


def instruments_of(settings: PlanningSettings) -> InstrumentLibrary:
    """The instrument library.

    Raises:
        ConfigError: the file cannot be read, or an entry of it cannot be used.
    """
    return instrument_library(*_text("instruments", settings.instruments))


def c_arms_of(settings: PlanningSettings) -> CArmLibrary:
    """The C-arm models; errors as `instruments_of`."""
    return c_arm_library(*_text("c_arms", settings.c_arms))


def c_arm_of(settings: PlanningSettings, library: CArmLibrary) -> CArmModel:
    """The site's model.

    Raises:
        ConfigError: the library has no such model.
    """
    model = library.find(settings.c_arm)
    if model is None:
        known = ", ".join(each.id for each in library.models)
        raise ConfigError(f"planning.c_arm: no model {settings.c_arm!r}", code="bad_setting", mend=f"one of {known}")
    return model


def _text(key: str, file: str) -> tuple[str, str]:
    if not file:
        return "", key
    try:
        return Path(file).expanduser().read_text(encoding="utf-8"), file
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {file}: {error}"
        raise ConfigError(message, code="bad_setting", mend=f"mend planning.{key}") from None
