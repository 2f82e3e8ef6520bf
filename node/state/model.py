"""The state that the rules read and change: rooms, members and accounts in memory, messages looked up on disk.

A :class:`State` also collects what changed since :meth:`State.take_changes`, so that the store writes just that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from node.protocol.pushes import MessageEvent, encode

MAX_PRODUCERS = 1000
"""How many producers' counters are kept; the longest silent is forgotten first."""

_RECORD_BITS = 14
"""More records than an entry can hold: the place of a message is its entry's position and its record's number."""

OWNER, MODERATOR, MEMBER = "owner", "moderator", "member"
INVITED, BANNED, GONE = "invited", "banned", "gone"
RANKS = {OWNER: 3, MODERATOR: 2, MEMBER: 1}
"""The roles of those who belong to a room. ``gone`` is somebody muted who left: coming back does not lift it."""


@dataclass(slots=True)
class Standing:
    """What one user is to one room.

    Attributes:
        role: owner, moderator, member; or invited, banned, gone, who do not belong to it.
        muted_until: Unix ms until which the user may not speak.
        read: seq up to which the user has read.
    """

    role: str
    muted_until: int = 0
    read: int = 0


@dataclass(slots=True)
class Room:
    """A room.

    Attributes:
        no: its short name on disk.
        deleted_by: who took it away; empty while it is there.
        first: seq of the first event that can be had; what is below belonged to a deleted room of this name.
        last_ts: keeps times in a room from going back.
        standings: by user; see :class:`Standing`.
        size: how many belong to it.
    """

    no: int
    id: str
    title: str = ""
    private: bool = False
    dm: bool = False
    deleted_by: str = ""
    first: int = 1
    head: int = 0
    last_ts: int = 0
    size: int = 0
    standings: dict[str, Standing] = field(default_factory=dict)

    @property
    def deleted(self) -> bool:
        """Whether only its name and its seq are left."""
        return bool(self.deleted_by)

    def rank(self, user: str) -> int:
        """0 for who does not belong to the room, up to 3 for an owner."""
        standing = self.standings.get(user)
        return RANKS.get(standing.role, 0) if standing else 0


class Account(msgspec.Struct):
    """A local account."""

    name: str
    password_hash: str
    roles: list[str] = []
    disabled: bool = False


class Notice(msgspec.Struct):
    """The operators' word to everyone, until ``until`` (Unix ms)."""

    level: str
    text: str
    until: int


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened in a room.

    Attributes:
        payload: the JSON that clients are sent.
        left: the user to whom nothing more of this room may be delivered, or None.
        closed: nothing more of this room may be delivered to anyone.
        can_wait: it may be told a moment later, together with others of its kind: who came and who went.
    """

    room: str
    room_no: int
    seq: int
    payload: bytes
    left: str | None = None
    closed: bool = False
    can_wait: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """Something for all connections of one user, or, with ``user`` None, of everybody."""

    user: str | None
    payload: bytes


@dataclass(slots=True)
class Changes:
    """What entries changed.

    Attributes:
        standings: by (room number, user); None: nothing any more.
        messages: as they stand, by (room number, seq).
        said: the new ones as they were said, by (room number, user, cid).
        places: of the new ones among the messages: where their record stands in the log.
        emptied: room number -> seq up to which nothing is left.
    """

    events: list[Event] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    rooms: dict[str, Room] = field(default_factory=dict)
    standings: dict[tuple[int, str], Standing | None] = field(default_factory=dict)
    messages: dict[tuple[int, int], MessageEvent] = field(default_factory=dict)
    said: dict[tuple[int, str, str], MessageEvent] = field(default_factory=dict)
    places: dict[tuple[int, int], int] = field(default_factory=dict)
    emptied: dict[int, int] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)
    notices: bool = False
    producers: set[str] = field(default_factory=set)

    def add(self, later: Changes) -> None:
        """Take in what changed after that; what was pushed to users is over."""
        self.events += later.events
        self.rooms |= later.rooms
        self.standings |= later.standings
        self.messages |= later.messages
        self.said |= later.said
        self.places |= later.places
        self.emptied |= later.emptied
        self.accounts |= later.accounts
        self.notices |= later.notices
        self.producers |= later.producers

    def kept(self, room_no: int, seq: int) -> bool:
        """Whether this event is not of a room that was deleted afterwards."""
        return seq > self.emptied.get(room_no, 0)


class Disk(Protocol):
    """What the state looks up when it is not in memory; the store is one."""

    def find_said(self, room_no: int, user: str, cid: str) -> MessageEvent | None:
        """The last message that a user sent to a room under a cid, as it was said."""

    def find_message(self, room_no: int, seq: int) -> MessageEvent | None:
        """A message as it stands, edits and reactions folded in."""


@dataclass(slots=True)
class State:
    """All shared state, at one position of the log.

    Attributes:
        disk: knows the messages that are not in ``changes``.
        position: the last applied entry.
        record_no: the record within that entry.
        producers: producer -> its last applied batch number and that batch's position.
        digest: chain over everything that was decided; equal on any two nodes at the same position.
        version: the newest version of records in it.
    """

    disk: Disk
    position: int = 0
    record_no: int = 0
    digest: bytes = b""
    version: int = 1
    rooms: dict[str, Room] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def add_room(self, room_id: str) -> Room:
        """An empty room; a deleted one comes to life, and goes on counting where it was."""
        room = self.rooms.get(room_id)
        if room is None:
            room = self.rooms[room_id] = Room(len(self.rooms) + 1, room_id)
        room.deleted_by = ""
        room.first = room.head + 1
        return room

    def set_standing(self, room: Room, user: str, standing: Standing | None) -> None:
        """Say what a user is to a room; None: nothing (any more)."""
        before = room.rank(user)
        if standing is None:
            room.standings.pop(user, None)
        else:
            room.standings[user] = standing
        room.size += (room.rank(user) > 0) - (before > 0)
        self.changes.standings[room.no, user] = standing
        self.changes.rooms[room.id] = room

    def empty_room(self, room: Room) -> None:
        """Take all standings and messages away."""
        for user in list(room.standings):
            self.set_standing(room, user, None)
        self.changes.emptied[room.no] = room.head

    def said(self, room: Room, user: str, cid: str) -> MessageEvent | None:
        """The message that this user sent to this room under this cid, as it was said."""
        message = self.changes.said.get((room.no, user, cid)) or self.disk.find_said(room.no, user, cid)
        return message if message is not None and message.seq >= room.first else None

    def message(self, room: Room, seq: int) -> MessageEvent | None:
        """A message as it stands."""
        if seq < room.first:
            return None
        return self.changes.messages.get((room.no, seq)) or self.disk.find_message(room.no, seq)

    def add_message(self, room: Room, message: MessageEvent) -> None:
        """A message is new."""
        changes, key = self.changes, (room.no, message.seq)
        changes.messages[key] = message
        changes.places[key] = self.position << _RECORD_BITS | self.record_no
        changes.said[room.no, message.from_, message.cid] = message

    def replace_message(self, room: Room, message: MessageEvent) -> None:
        """A message has become another."""
        self.changes.messages[room.no, message.seq] = message

    def next_event(self, room: Room, ts: int) -> tuple[int, int]:
        """Seq and time of the room's next event."""
        room.head += 1
        room.last_ts = max(room.last_ts, ts)
        self.changes.rooms[room.id] = room
        return room.head, room.last_ts

    def emit(
        self,
        room: Room,
        event: msgspec.Struct,
        *,
        left: str | None = None,
        closed: bool = False,
        can_wait: bool = False,
    ) -> None:
        """Tell the room; the event's seq is the room's head."""
        self.changes.events.append(Event(room.id, room.no, room.head, encode(event), left, closed, can_wait))

    def push(self, user: str | None, push: msgspec.Struct) -> None:
        """Tell one user, or everybody."""
        self.changes.pushes.append(Push(user, encode(push)))

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
