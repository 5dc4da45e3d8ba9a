"""Who may send a device name when two connections use it: the first, until it closes or is silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MAXIMUM_NAMES: Final = 256  # a peer that invents names must not fill the memory


@dataclass(slots=True)
class _Owner:
    connection_id: int
    heard_ns: int


class DeviceOwners:
    """One per input driver; the clock is the caller's.

    Args:
        silence_ns: after so long without a message the name is free again.
    """

    def __init__(self, silence_ns: int) -> None:
        self._silence_ns = silence_ns
        self._owners: dict[str, _Owner] = {}

    def claim(self, device: str, connection_id: int, now_ns: int) -> bool:
        """True if this connection may send under this name, taking it over where its owner is silent.

        False where another owns it, and for a new name where 256 are owned.
        """
        owner = self._owners.get(device)
        if owner is None and len(self._owners) >= _MAXIMUM_NAMES:
            return False
        if owner is None or (owner.connection_id != connection_id and now_ns - owner.heard_ns > self._silence_ns):
            self._owners[device] = _Owner(connection_id, now_ns)
            return True
        if owner.connection_id != connection_id:
            return False
        owner.heard_ns = now_ns
        return True

    def forget(self, connection_id: int) -> None:
        """The connection has closed: its names are free."""
        self._owners = {name: owner for name, owner in self._owners.items() if owner.connection_id != connection_id}

    def owned_by(self, connection_id: int) -> tuple[str, ...]:
        """Names that a connection owns, for the status page."""
        return tuple(name for name, owner in self._owners.items() if owner.connection_id == connection_id)
