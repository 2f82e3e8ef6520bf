"""The rooms and users of this node: where committed events turn into wake-ups of writers."""

from __future__ import annotations

from collections.abc import Iterable

from node.outbox import Outbox
from node.room import Room
from node.state.model import Event


class Hub:
    """Room id -> room, user -> outboxes. A room is here only while somebody on this node receives it.

    Args:
        room_buffer_bytes: how much of each room is kept in memory.
    """

    def __init__(self, room_buffer_bytes: int) -> None:
        self._room_buffer_bytes = room_buffer_bytes
        self._rooms: dict[str, Room] = {}
        self._users: dict[str, set[Outbox]] = {}

    @property
    def room_count(self) -> int:
        """Rooms that somebody on this node receives."""
        return len(self._rooms)

    def enter(self, user: str, outbox: Outbox) -> int:
        """Add a connection of a user; returns how many the user now has."""
        outboxes = self._users.setdefault(user, set())
        outboxes.add(outbox)
        return len(outboxes)

    def exit(self, user: str, outbox: Outbox) -> None:
        """Remove a connection, and its part in all rooms."""
        for room in list(outbox.cursors):
            self.unsubscribe(outbox, room)
        outboxes = self._users.get(user, set())
        outboxes.discard(outbox)
        if not outboxes:
            self._users.pop(user, None)

    def subscribe(self, outbox: Outbox, room_id: str) -> Room:
        """Make an outbox a receiver; call ``outbox.follow`` when the position is known."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = Room(room_id, self._room_buffer_bytes)
        room.receivers.add(outbox)
        return room

    def unsubscribe(self, outbox: Outbox, room: Room) -> None:
        """Undo :meth:`subscribe`."""
        outbox.forget(room)
        room.receivers.discard(outbox)
        if not room.receivers and self._rooms.get(room.id) is room:
            del self._rooms[room.id]

    def publish(self, events: Iterable[Event]) -> None:
        """Hand committed events to whoever receives them. Nothing follows a user's leave to that user."""
        touched: dict[Room, None] = {}
        for event in events:
            room = self._rooms.get(event.room)
            if room is None:
                continue
            room.append(event.seq, event.payload)
            touched[room] = None
            if event.left is not None:
                for outbox in self._users.get(event.left, ()):
                    self.unsubscribe(outbox, room)
        for room in touched:
            for outbox in room.receivers:
                if room in outbox.cursors:
                    outbox.notify(room)
