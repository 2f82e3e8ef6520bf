"""What one connection has yet to send: answers of its own, and cursors into shared rooms."""

from __future__ import annotations

import math
from collections.abc import Callable

from node.protocol.frames import text_frame
from node.room import Room
from node.state.model import Account


class Outbox:
    """The sending side of a connection, filled by the hub and the session, emptied by the connection.

    Args:
        max_unsent_bytes: past that, the reader at the other end is too slow.
        on_slow: called once when that happens.
        on_due: called when there is something to take, once until it is taken.

    Attributes:
        due: whether there may be something to take.
        cursors: the rooms that are received, and the next seq of each.
        spans: room, first seq and the one after the last of what was taken, where messages are traced; None elsewhere.
        on_account: told when the local account of this user's name has changed.
    """

    __slots__ = (
        "_after",
        "_before",
        "_behind",
        "_dirty",
        "_events",
        "_max_unsent_bytes",
        "_oldest_at",
        "_on_due",
        "_on_slow",
        "_queued",
        "_whispers",
        "cursors",
        "due",
        "on_account",
        "spans",
    )

    def __init__(
        self, max_unsent_bytes: int, on_slow: Callable[[], None], on_due: Callable[[], None] = lambda: None
    ) -> None:
        self.due = False
        self.cursors: dict[Room, int] = {}
        self.spans: list[tuple[str, int, int]] | None = None
        self.on_account: Callable[[Account], None] = lambda account: None
        self._max_unsent_bytes = max_unsent_bytes
        self._on_slow = on_slow
        self._on_due = on_due
        self._before: list[bytes] = []
        self._after: list[bytes] = []
        self._whispers: dict[Room, bytes] = {}
        self._queued = 0
        # When what waits of a room was published; infinite for a past that was asked for.
        self._dirty: dict[Room, float] = {}
        # Of what has been taken and is not known to be written: how many events, and when the first was published.
        self._events = 0
        self._oldest_at = math.inf
        self._behind: dict[Room, None] = {}

    @property
    def queued_bytes(self) -> int:
        """Size of the answers that wait."""
        return self._queued

    @property
    def room_ids(self) -> set[str]:
        """Of the rooms that are received."""
        return {room.id for room in self.cursors}

    @property
    def waits_since(self) -> float:
        """When the oldest event that is not written yet was published; infinite if there is none."""
        return min(self._oldest_at, *self._dirty.values()) if self._dirty else self._oldest_at

    def answer(self, payload: bytes, *, after_events: bool = False) -> None:
        """Queue an answer: ahead of the rooms' events, or behind those that are there already."""
        self.answer_frame(text_frame(payload), after_events=after_events)

    def answer_frame(self, frame: bytes, *, after_events: bool = False) -> None:
        """Queue a frame that is made already, as it is when many are told the same."""
        (self._after if after_events else self._before).append(frame)
        self._grow(len(frame))

    def whisper(self, room: Room, frames: bytes) -> None:
        """Queue what is told of a room besides its events, behind those that are there already."""
        self._whispers[room] = self._whispers.get(room, b"") + frames
        self._grow(len(frames))

    def _grow(self, by_bytes: int) -> None:
        self._queued += by_bytes
        if self._queued > self._max_unsent_bytes:
            self._on_slow()
        self.call()

    def notify(self, room: Room, at: float) -> None:
        """The room has something new since ``at``. For every receiver at every flush of the hub: keep it short."""
        if room in self._dirty:
            if room.unsent_bytes(self.cursors[room]) > self._max_unsent_bytes:
                self._on_slow()
            return
        self._dirty[room] = at
        self.call()

    def follow(self, room: Room, seq: int) -> None:
        """Send the room's events from ``seq`` on."""
        self.cursors[room] = seq
        self._dirty[room] = math.inf
        self.call()

    def forget(self, room: Room) -> None:
        """Send nothing more of the room, not even what waits."""
        self.cursors.pop(room, None)
        self._dirty.pop(room, None)
        self._behind.pop(room, None)
        self._queued -= len(self._whispers.pop(room, b""))

    def finish(self, room: Room) -> None:
        """Queue what is here of a room that is no longer in the store, ahead of answers that wait for its events."""
        cursor = self.cursors.get(room)
        if cursor is not None and room.base is not None and max(cursor, room.base) < room.end:
            self._events += room.end - max(cursor, room.base)
            self.answer_frame(room.since(max(cursor, room.base)))

    def call(self) -> None:
        """Say that there may be something to take."""
        if not self.due:
            self.due = True
            self._on_due()

    def take(self) -> bytes:
        """Everything that can be sent now, in order; moves the cursors."""
        self.due = False
        parts, self._before = self._before, []
        for room, at in self._dirty.items():
            cursor = self.cursors[room]
            if not room.holds(cursor):
                self._behind[room] = None
            elif cursor < (end := room.end):
                parts.append(room.since(cursor, self._whispers.pop(room, b"")))
                self.cursors[room] = end
                self._events += end - cursor
                if at < self._oldest_at:
                    self._oldest_at = at
                if self.spans is not None:
                    self.spans.append((room.id, cursor, end))
        self._dirty = {}
        if self._whispers:
            parts += self._whispers.values()
            self._whispers = {}
        parts += self._after
        self._after = []
        self._queued = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def written(self) -> tuple[int, float]:
        """Say that what was taken is written. Returns how many events that were, and when the first was published."""
        written = self._events, self._oldest_at
        self._events, self._oldest_at = 0, math.inf
        return written

    @property
    def lags(self) -> bool:
        """Whether :meth:`behind` may have a room."""
        return bool(self._behind)

    def behind(self) -> tuple[Room, int, int] | None:
        """A room whose next events must come from the store: the room, first and last seq; None if there is none."""
        while self._behind:
            room = next(iter(self._behind))
            cursor = self.cursors[room]
            if room.base is not None and cursor < room.base:
                return room, cursor, room.base - 1
            del self._behind[room]
            self._dirty[room] = math.inf
            self.call()
        return None

    def advance(self, room: Room, first: int, seq: int) -> bool:
        """Say that events from ``first``, and before ``seq``, are about to be sent.

        Returns whether they are due: not where the room was forgotten, or joined again, while they were read.
        """
        if self.cursors.get(room) != first:
            return False
        self.cursors[room] = seq
        return True
