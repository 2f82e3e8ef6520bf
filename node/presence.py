"""Who is online and who is typing, over all nodes. Told on the bus, never logged: what is lost is soon told again.

A user is online in a room while some connection of theirs, on any node, receives it. Each node tells the others what
changes, and everything when it is asked, as it is when nodes find each other; what a lost node had told is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import structlog
from msgspec import Struct

from node.cluster import Bus
from node.hub import Hub
from node.outbox import Outbox
from node.protocol.frames import text_frame
from node.protocol.pushes import PresencePush, TypingPush, encode
from node.room import Room

SUBJECT = "chat.peer.presence"
_PAIRS_AT_ONCE = 2000

logger = structlog.get_logger()

Pair = tuple[str, str]
"""Room id and user."""


class Word(Struct, omit_defaults=True):
    """What one node tells the others.

    Attributes:
        came, went: who is online on this node now, and no longer.
        typing: who is typing.
        afresh: forget what this node told before.
        ask: tell everything in turn.
    """

    node: str
    came: list[Pair] = []
    went: list[Pair] = []
    typing: list[Pair] = []
    afresh: bool = False
    ask: bool = False


_decode = msgspec.json.Decoder(Word).decode


class Presence:
    """This node's knowledge of who is where.

    Args:
        hub: whose receivers are told.
        node_id: this node.
        bus: the way to the others; None where there are none.
    """

    def __init__(self, hub: Hub, node_id: str, bus: Bus | None) -> None:
        self._hub = hub
        self._node_id = node_id
        self._bus = bus
        self._here: dict[Pair, set[Outbox]] = {}
        self._elsewhere: dict[str, set[Pair]] = {}
        self._alive: set[str] = set()
        hub.on_part = self._parted

    def joined(self, user: str, outbox: Outbox, room: Room) -> None:
        """A connection of a user receives a room now."""
        pair = (room.id, user)
        known = self._online(pair)
        self._here.setdefault(pair, set()).add(outbox)
        if len(self._here[pair]) == 1:
            self._tell(Word(self._node_id, came=[pair]))
        if not known:
            self._show(pair, online=True)

    def is_online(self, room_id: str, user: str) -> bool:
        """Whether a user is online in a room."""
        return self._online((room_id, user))

    def typing(self, user: str, room_id: str) -> None:
        """A user of this node is typing."""
        self._tell(Word(self._node_id, typing=[(room_id, user)]))
        self._show_typing(room_id, user)

    def peers_changed(self, alive: Iterable[str]) -> None:
        """Take in which other nodes are there now: forget what the lost ones told, ask the found ones."""
        before, self._alive = self._alive, set(alive)
        for node in set(self._elsewhere) - self._alive:
            for pair in self._elsewhere.pop(node):
                self._show_change(pair, was=True)
        if self._alive - before:
            self._introduce(ask=True)

    async def listen(self) -> None:
        """Take in what the others tell, for ever."""
        if self._bus is None:
            return
        words = self._bus.subscribe(SUBJECT)
        self._introduce(ask=True)
        async for _, data in words:
            try:
                word = _decode(data)
            except (msgspec.DecodeError, UnicodeError):
                logger.warning("a peer sent what is no word of presence")
                continue
            if word.node != self._node_id:
                self._heard(word)

    def _introduce(self, *, ask: bool = False) -> None:
        """Tell everything, a part at a time."""
        pairs = list(self._here)
        for start in range(0, len(pairs) or 1, _PAIRS_AT_ONCE):
            first = start == 0
            self._tell(Word(self._node_id, pairs[start : start + _PAIRS_AT_ONCE], afresh=first, ask=ask and first))

    def _heard(self, word: Word) -> None:
        theirs = self._elsewhere.setdefault(word.node, set())
        went = theirs - set(word.came) if word.afresh else set(word.went)
        was = {pair: self._online(pair) for pair in [*word.came, *went]}
        theirs -= went
        theirs.update(word.came)
        for pair, before in was.items():
            self._show_change(pair, was=before)
        for room_id, user in word.typing:
            self._show_typing(room_id, user)
        if word.ask:
            self._introduce()

    def _parted(self, user: str, outbox: Outbox, room: Room) -> None:
        pair = (room.id, user)
        outboxes = self._here.get(pair)
        if outboxes is None:
            return
        outboxes.discard(outbox)
        if not outboxes:
            del self._here[pair]
            self._tell(Word(self._node_id, went=[pair]))
            self._show_change(pair, was=True)

    def _online(self, pair: Pair) -> bool:
        return pair in self._here or any(pair in theirs for theirs in self._elsewhere.values())

    def _show_change(self, pair: Pair, *, was: bool) -> None:
        now = self._online(pair)
        if now != was:
            self._show(pair, online=now)

    def _show(self, pair: Pair, *, online: bool) -> None:
        room_id, user = pair
        self._hub.whisper(room_id, text_frame(encode(PresencePush(room_id, user, online))), besides=user)

    def _show_typing(self, room_id: str, user: str) -> None:
        self._hub.whisper(room_id, text_frame(encode(TypingPush(room_id, user))), besides=user)

    def _tell(self, word: Word) -> None:
        if self._bus is not None:
            self._bus.publish(SUBJECT, encode(word))
