"""The state that the rules read and change: rooms and members in memory, what was said looked up on disk.

A :class:`State` also collects what changed since :meth:`State.take_changes`, so that the store writes just that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

MAX_PRODUCERS = 1000
"""How many producers' counters are kept; the longest silent is forgotten first."""


@dataclass(slots=True)
class Room:
    """A room. ``no`` is its short name on disk; ``last_ts`` keeps times in a room from going back."""

    no: int
    id: str
    title: str
    owner: str
    head: int = 0
    last_ts: int = 0
    members: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is known by its cid."""

    seq: int
    ts: int
    body: str


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a room.

    Attributes:
        payload: the JSON that clients are sent.
        left: the user to whom nothing more of this room may be delivered, or None.
    """

    room: str
    room_no: int
    seq: int
    payload: bytes
    left: str | None = None


@dataclass(slots=True)
class Changes:
    """What a batch of entries changed."""

    events: list[Event] = field(default_factory=list)
    rooms: dict[str, Room] = field(default_factory=dict)
    members: dict[tuple[int, str], str | None] = field(default_factory=dict)
    sent: dict[tuple[int, str, str], Sent] = field(default_factory=dict)
    producers: set[str] = field(default_factory=set)


FindSent = Callable[[int, str, str], Sent | None]


@dataclass(slots=True)
class State:
    """All shared state, at one position of the log.

    Attributes:
        find_sent: looks a message up by room number, user and cid, among those no longer in ``changes``.
        position: the last applied entry.
        producers: producer -> its last applied batch number and that batch's position.
        digest: chain over everything that was decided; equal on any two nodes at the same position.
    """

    find_sent: FindSent
    position: int = 0
    digest: bytes = b""
    rooms: dict[str, Room] = field(default_factory=dict)
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def add_room(self, room_id: str, title: str, owner: str) -> Room:
        """Make an empty room."""
        room = Room(len(self.rooms) + 1, room_id, title, owner)
        self.rooms[room_id] = room
        return room

    def set_member(self, room: Room, user: str, role: str | None) -> None:
        """Give a user a role in a room; None ends the membership."""
        if role is None:
            del room.members[user]
        else:
            room.members[user] = role
        self.changes.members[room.no, user] = role

    def said(self, room: Room, user: str, cid: str) -> Sent | None:
        """The message that this user sent to this room under this cid."""
        return self.changes.sent.get((room.no, user, cid)) or self.find_sent(room.no, user, cid)

    def next_event(self, room: Room, ts: int) -> tuple[int, int]:
        """Seq and time of the room's next event."""
        room.head += 1
        room.last_ts = max(room.last_ts, ts)
        self.changes.rooms[room.id] = room
        return room.head, room.last_ts

    def seen(self, producer: str, n: int) -> bool:
        """Whether this batch of this producer has been applied before."""
        return n <= self.producers.get(producer, (0, 0))[0]

    def mark_seen(self, producer: str, n: int) -> None:
        """Note that a batch is applied at the current position."""
        self.producers[producer] = (n, self.position)
        self.changes.producers.add(producer)
        if len(self.producers) > MAX_PRODUCERS:
            silent = min(self.producers, key=lambda name: self.producers[name][1])
            del self.producers[silent]
            self.changes.producers.add(silent)

    def take_changes(self) -> Changes:
        """Hand over what changed, and start to collect anew."""
        changes, self.changes = self.changes, Changes()
        return changes
