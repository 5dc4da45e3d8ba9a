"""The audit as values: one line per change, what, before, after, whose and when."""

from __future__ import annotations

from typing import Literal

import msgspec

from guidance.case.changes import Change


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        number: running, from 1, over cases and restarts; 0 before the log has given it.
        at: UTC, ISO 8601, milliseconds.
        via, peer, operator: see `Author`.
        what: the change in words.
        epoch: of the registration after the change.
        changes: what changed, and how.
    """

    number: int
    at: str
    via: Literal["http", "openigtlink", "dicom", "server"]
    peer: str
    operator: str
    what: str
    epoch: int
    changes: tuple[Change, ...]


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the audit.

    Attributes:
        items: newest last.
        before: ask for `before` this number to get the lines before these; null where there are none.
        unreadable: lines on disk that a crash or a fault of the disk left unreadable.
    """

    items: tuple[AuditLine, ...]
    before: int | None = None
    unreadable: int = 0
