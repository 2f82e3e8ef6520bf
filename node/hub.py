"""The rooms and users of this node: where committed events turn into something to be written, and to whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import trio

from node.outbox import Outbox
from node.protocol.frames import text_frame
from node.room import Room
from node.state.model import Account, Event, Push

_ALL_ROOMS_BYTES = 256 * 1024**2
# To write to a connection costs some 10 us, to hear of it its reader far more: what can wait takes little of the time.
_PAUSE_S = 0.1
_PAUSE_EACH_S = 0.0002


class Hub:
    """Room id -> room, user -> outboxes. A room is here only while somebody on this node receives it.

    Args:
        room_buffer_bytes: how much of each room is kept in memory.
        all_rooms_bytes: how much of all rooms together; above it each keeps an even share of half of that.

    Attributes:
        on_part: called when a connection of a user receives a room no longer.
    """

    def __init__(self, room_buffer_bytes: int, all_rooms_bytes: int = _ALL_ROOMS_BYTES) -> None:
        self._room_buffer_bytes = room_buffer_bytes
        self._all_rooms_bytes = all_rooms_bytes
        self._kept_bytes = 0
        self._rooms: dict[str, Room] = {}
        self._users: dict[str, set[Outbox]] = {}
        self._user_of: dict[Outbox, str] = {}
        # By room: besides whom, and what; and, for who came since, how many whispers there were before.
        self._whispers: dict[Room, list[tuple[str, bytes]]] = {}
        self._newcomers: dict[Room, dict[Outbox, int]] = {}
        # Rooms with events that can wait; what waits on purpose is no latency that anybody should be told of.
        self._waiting: dict[Room, None] = {}
        self._something_waits = trio.Event()
        self.on_part: Callable[[str, Outbox, Room], None] = lambda user, outbox, room: None

    @property
    def room_count(self) -> int:
        """Rooms that somebody on this node receives."""
        return len(self._rooms)

    @property
    def largest_room(self) -> int:
        """Connections that receive the room which most of them receive."""
        return max((len(room.receivers) for room in self._rooms.values()), default=0)

    @property
    def buffer_bytes(self) -> int:
        """Size of the frames that are kept of all rooms."""
        return self._kept_bytes

    def slow_readers(self, since: float) -> int:
        """Connections for which something has waited since before a moment of Trio's clock."""
        return sum(outbox.waits_since < since for outbox in self._user_of)

    @property
    def unsent_bytes(self) -> int:
        """Size of the answers that wait, of all connections."""
        return sum(outbox.queued_bytes for outbox in self._user_of)

    def enter(self, user: str, outbox: Outbox) -> int:
        """Add a connection of a user; returns how many the user now has."""
        outboxes = self._users.setdefault(user, set())
        outboxes.add(outbox)
        self._user_of[outbox] = user
        return len(outboxes)

    def exit(self, user: str, outbox: Outbox) -> None:
        """Remove a connection, and its part in all rooms."""
        for room in list(outbox.cursors):
            self.unsubscribe(outbox, room)
        outboxes = self._users.get(user, set())
        outboxes.discard(outbox)
        if not outboxes:
            self._users.pop(user, None)
        self._user_of.pop(outbox, None)

    def subscribe(self, outbox: Outbox, room_id: str) -> Room:
        """Make an outbox a receiver; call ``outbox.follow`` when the position is known."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = Room(room_id, self._room_buffer_bytes)
        if outbox not in room.receivers:
            room.receivers[outbox] = 0
            if room in self._whispers:
                self._newcomers.setdefault(room, {})[outbox] = len(self._whispers[room])
        return room

    def unsubscribe(self, outbox: Outbox, room: Room) -> None:
        """Undo :meth:`subscribe`."""
        outbox.forget(room)
        room.receivers.pop(outbox, None)
        if not room.receivers and self._rooms.get(room.id) is room:
            del self._rooms[room.id]
            self._kept_bytes -= room.buffer_bytes
        if outbox in self._user_of:
            self.on_part(self._user_of[outbox], outbox, room)

    def publish(
        self,
        events: Iterable[Event],
        pushes: Iterable[Push] = (),
        accounts: Iterable[Account] = (),
        at: float = math.inf,
    ) -> None:
        """Hand what was committed to whoever receives it: at once, or soon if all there is of a room can wait.

        Args:
            at: the time now, by Trio's clock, from which the delivery of the events is measured.
        """
        touched: dict[Room, bool] = {}
        for event in events:
            room = self._rooms.get(event.room)
            if room is None:
                continue
            self._kept_bytes += room.append(event.seq, event.payload)
            touched[room] = touched.get(room, True) and event.can_wait
            if event.left is not None:
                self._part(event.left, room, event.seq)
            if event.closed:
                self._close(room, event.seq)
        for room, can_wait in touched.items():
            if can_wait:
                self._waiting[room] = None
                self._something_waits.set()
            else:
                self._waiting.pop(room, None)
                self._notify(room, at)
        if self._kept_bytes > self._all_rooms_bytes:
            self._keep_less()
        for push in pushes:
            frame = text_frame(push.payload)
            for outbox in self._user_of if push.user is None else self._users.get(push.user, ()):
                outbox.answer_frame(frame, after_events=True)
        for account in accounts:
            for outbox in self._users.get(account.name, ()):
                outbox.on_account(account)

    def whisper(self, room_id: str, frame: bytes, besides: str) -> None:
        """Tell something without a seq to who receives a room, all but one user; soon, see :meth:`run`."""
        room = self._rooms.get(room_id)
        if room is not None:
            self._whispers.setdefault(room, []).append((besides, frame))
            self._something_waits.set()

    async def run(self) -> None:
        """Hand out what can wait, for ever: at once while it is quiet, and together where many come and go."""
        while True:
            await self._something_waits.wait()
            told = self.tell_what_waits()
            await trio.sleep(max(_PAUSE_S, told * _PAUSE_EACH_S))

    def tell_what_waits(self) -> int:
        """Hand whispers, and events that can wait, to who receives the rooms now; returns how many were told, about."""
        self._something_waits = trio.Event()
        waiting, self._waiting = self._waiting, {}
        whispers, self._whispers = self._whispers, {}
        newcomers, self._newcomers = self._newcomers, {}
        told = sum(self._notify(room, math.inf) for room in waiting)
        return told + sum(self._tell(room, said, newcomers.get(room, {})) for room, said in whispers.items())

    def _notify(self, room: Room, at: float) -> int:
        for outbox in room.receivers:
            if room in outbox.cursors:
                outbox.notify(room, at)
        return len(room.receivers)

    def _tell(self, room: Room, said: list[tuple[str, bytes]], newcomers: dict[Outbox, int]) -> int:
        left_out = {besides for besides, _ in said}
        for_all = b"".join(frame for _, frame in said)
        for outbox in room.receivers:
            if room not in outbox.cursors:
                continue
            user, before = self._user_of.get(outbox), newcomers.get(outbox, 0)
            frames = for_all
            if before or user in left_out:
                frames = b"".join(frame for besides, frame in said[before:] if besides != user)
            if frames:
                outbox.whisper(room, frames)
        return len(room.receivers)

    def _keep_less(self) -> None:
        """Bound what many rooms keep. Half of it goes at once, so that looking at all rooms is paid seldom."""
        share = self._all_rooms_bytes // 2 // len(self._rooms)
        self._kept_bytes += sum(room.keep(share) for room in self._rooms.values())

    def _part(self, user: str, room: Room, seq: int) -> None:
        """Nothing follows a user's leave to that user, not even what waits to be sent.

        Who was let in by the store after the user had come back already, a moment before this is told here, stays.
        """
        for outbox in self._users.get(user, ()):
            if room.receivers.get(outbox, seq) < seq:
                self.unsubscribe(outbox, room)

    def _close(self, room: Room, seq: int) -> None:
        """The end of a room is the last that its receivers are told; nobody is there to be told who parts."""
        ended = [outbox for outbox, head in room.receivers.items() if head < seq]
        for outbox in ended:
            outbox.finish(room)
            outbox.forget(room)
        for outbox in ended:
            self.unsubscribe(outbox, room)
