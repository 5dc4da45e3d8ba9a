"""Reads the configuration file and the environment; what they mean is decided in guidance.config."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from guidance.config import Settings, settings_from_text
from guidance.errors import ConfigError


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Give a command the `--config FILE` option."""
    parser.add_argument("--config", metavar="FILE", help="TOML file; every key is explained in deploy/guidance.toml")


def load_settings(config: str | None) -> Settings:
    """Settings from a TOML file (or none) and `GUIDANCE_...` variables.

    Raises:
        ConfigError: unreadable file, unknown or wrong key; names it and the mend.
    """
    text = ""
    if config is not None:
        try:
            text = Path(config).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = f"cannot read {config}: {error}"
            raise ConfigError(message, code="unreadable_config", mend="mend --config") from None
    return settings_from_text(text, os.environ, origin=config or "environment")
