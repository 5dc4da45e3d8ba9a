"""Who takes what: published pictures and messages, the peers that take them, and the answers to their queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from drivers.openigtlink_peer import Peer
from guidance.wire.openigtlink import Capability, Message, Query, Reply, Status, timestamp_from_unix_ns
from guidance.wire.openigtlink.outbox import OutgoingPicture
from guidance.wire.openigtlink.outputs import CAPABILITIES, STREAMED, answering_devices
from guidance.wire.openigtlink.published import PublishedMessage, PublishedPicture

_NEWEST_WINS: Final = frozenset({"TRANSFORM"})  # sent per frame, so an old one is worth nothing
_STATE: Final = ("POINT", "POLYDATA", "TRANSFORM", "TRAJ")  # sent on change only: a newcomer would never see them


class Streams:
    """Everything is called in the event loop's thread.

    Args:
        heartbeat: (STATUS code, state as JSON text), for GET_STATUS.
        wall_ns: Unix clock, for the headers of answers.
    """

    def __init__(self, *, heartbeat: Callable[[], tuple[int, str]], wall_ns: Callable[[], int]) -> None:
        self._heartbeat = heartbeat
        self._wall_ns = wall_ns
        self._takes: dict[Peer, set[str]] = {}
        self._pictures: dict[str, PublishedPicture] = {}
        self._messages: dict[str, dict[str, PublishedMessage]] = {}

    def add(self, peer: Peer, types: frozenset[str]) -> None:
        """A client of the output port: it takes these types from now on, and what is state at once."""
        self._takes[peer] = set(types)
        for type_name in _STATE:
            if type_name in types:
                self._send_state(peer, type_name)

    def remove(self, peer: Peer) -> None:
        self._takes.pop(peer, None)

    def takes(self, peer: Peer) -> list[str]:
        """Types that go to a peer, sorted."""
        return sorted(self._takes.get(peer, ()))

    def publish_picture(self, picture: PublishedPicture) -> int | None:
        """To every peer that takes IMAGE; monotonic ns of the first byte out, None if none could take it now."""
        self._pictures.pop(picture.device, None)
        self._pictures[picture.device] = picture  # newest last
        first_ns: int | None = None
        for peer in self._taking("IMAGE"):
            sent_ns = peer.send_picture(("IMAGE", picture.slot), picture.outgoing(peer.header_version))
            first_ns = sent_ns if first_ns is None else first_ns
        return first_ns

    def publish(self, message: Message, *, keep: bool) -> None:
        """To every peer that takes its type; `keep` for queries and newcomers."""
        published = PublishedMessage(message=message)
        if keep:
            self._messages.setdefault(message.TYPE, {})[message.device] = published
        for peer in self._taking(message.TYPE):
            self._send(peer, published)

    def withdraw(self, type_name: str, device: str) -> None:
        """Answer no query with this any more."""
        if type_name == "IMAGE":
            self._pictures.pop(device, None)
        else:
            self._messages.get(type_name, {}).pop(device, None)

    def answer(self, query: Query, peer: Peer) -> None:
        """Answer a GET_, STT_ or STP_; the answer has the query's device name."""
        if query.verb == "GET":
            answered = self._answer_get(query, peer)
        else:
            answered = query.subject in STREAMED
            if answered:
                self._start_or_stop(query, peer)
        if not answered:
            peer.send(_reply(query, 1))

    def _answer_get(self, query: Query, peer: Peer) -> bool:
        now = timestamp_from_unix_ns(self._wall_ns())
        if query.subject == "CAPABILITY":
            peer.send(Capability(device=query.device, timestamp_igtl=now, types=CAPABILITIES))
            if peer in self._takes:
                self._start(peer, "TRAJ")
            return True
        if query.subject == "STATUS":
            code, text = self._heartbeat()
            peer.send(Status(device=query.device, timestamp_igtl=now, code=code, text=text))
            return True
        if query.subject == "IMAGE":
            devices = answering_devices("IMAGE", query.device, list(self._pictures))
            if not devices:
                return False
            newest = max(devices, key=list(self._pictures).index)
            picture = self._pictures[newest].renamed(query.device)
            peer.send_picture(("GET_IMAGE", query.device), picture.outgoing(peer.header_version))
            return True
        messages = self._messages.get(query.subject, {})
        devices = answering_devices(query.subject, query.device, list(messages))
        if devices:
            peer.send_event(messages[devices[0]].renamed(query.device).packed(peer.header_version))
        if query.subject == "TRAJ" and peer in self._takes:
            self._takes[peer].add("TRAJ")  # who asks for it can read it
        return bool(devices)

    def _start_or_stop(self, query: Query, peer: Peer) -> None:
        peer.send(_reply(query, 0))
        if query.verb == "STT":
            self._start(peer, query.subject)
        elif peer in self._takes:
            self._takes[peer].discard(query.subject)
            peer.outbox.discard_pictures(query.subject)

    def _start(self, peer: Peer, type_name: str) -> None:
        takes = self._takes.setdefault(peer, set())
        if type_name not in takes:
            takes.add(type_name)
            self._send_state(peer, type_name)

    def _send_state(self, peer: Peer, type_name: str) -> None:
        for published in self._messages.get(type_name, {}).values():
            self._send(peer, published)

    def _send(self, peer: Peer, published: PublishedMessage) -> None:
        message, packed = published.message, published.packed(peer.header_version)
        if message.TYPE in _NEWEST_WINS:
            peer.send_picture((message.TYPE, message.device), OutgoingPicture((memoryview(packed),), is_picture=False))
        else:
            peer.send_event(packed)

    def _taking(self, type_name: str) -> list[Peer]:
        for peer in [peer for peer in self._takes if peer.closed]:  # peers of the input port go without a word
            del self._takes[peer]
        return [peer for peer, takes in self._takes.items() if type_name in takes]


def _reply(query: Query, status: int) -> Reply:
    return Reply(device=query.device, subject=query.wire_type.partition("_")[2], status=status)
