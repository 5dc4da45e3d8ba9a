"""Functional core of the guidance server: values and pure functions; never a socket, clock, thread or log."""

from typing import Final

VERSION: Final = "0.1.0"
