"""What the OpenIGTLink drivers tell about their connections."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ConnectionState(StrEnum):
    """What happened to a connection; `SILENT` and `HEARD` only follow each other."""

    CONNECTED = "connected"
    CLOSED = "closed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    HEARD = "heard"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEvent:
    """One change of one connection.

    Attributes:
        connection_id: running number, never reused; 0 where there is no connection (unreachable, refused).
        address: `host:port` of the peer, or the target that is dialled.
        state: what happened.
        detail: words for people.
        dialled: we called them.
    """

    connection_id: int
    address: str
    state: ConnectionState
    detail: str = ""
    dialled: bool = False
