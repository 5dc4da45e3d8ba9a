"""Progress of long work on standard error: one line that moves on a terminal, a few lines elsewhere."""

from __future__ import annotations

import sys
from typing import Final

_LINE_EVERY: Final = 50


def show_progress(what: str, done: int, total: int) -> None:
    """Say that so many of so many are done."""
    if sys.stderr.isatty():
        print(f"\r{what} {done} of {total} ", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done == total or done % _LINE_EVERY == 1:
        print(f"{what} {done} of {total}", file=sys.stderr, flush=True)
