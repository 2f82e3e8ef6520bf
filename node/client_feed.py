"""What a client is told without asking, as async iterators."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import trio

from node.protocol.answers import Joined
from node.protocol.pushes import InvitePush, NoticePush, PresencePush, ReadPush, RoomEvents, TypingPush
from node.protocol.requests import Join, Since

_ROOM_BUFFER_EVENTS = 100_000
_PUSHES_KEPT = 1000

Pushes = InvitePush | ReadPush | PresencePush | TypingPush | NoticePush
"""What has no place in a room's order."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The client itself says: it is connected to ``node`` now."""

    node: str


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The client itself says: it has no connection, for this ``reason``; it tries to get one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The client itself says: after a reconnect it receives ``room`` again, from where it was."""

    room: str


Told = Pushes | Connected | ConnectionLost | Resumed
"""What comes from :class:`PushFeed`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands in a room's events where some could not be had: ``reason`` is the node's word for why."""

    room: str
    reason: str


class RoomFeed:
    """A joined room: iterate over it for its events. ``epoch`` and ``seq`` are the position reached."""

    def __init__(self, room: str, limit: int, since: Since | None) -> None:
        self.room = room
        self.epoch = since.epoch if since else ""
        self.seq = since.seq if since else 0
        self._limit = limit
        self._put, self._get = trio.open_memory_channel[RoomEvents | Gap](_ROOM_BUFFER_EVENTS)

    def __aiter__(self) -> AsyncIterator[RoomEvents | Gap]:
        return self._get

    def request(self, request_id: int) -> Join:
        """The join that goes on where this feed is."""
        since = Since(self.epoch, self.seq) if self.epoch else None
        return Join(id=request_id, room=self.room, since=since, limit=self._limit)

    def joined(self, joined: Joined) -> None:
        """Take the answer to a join: from here on events come after this position."""
        if joined.recovered is False:
            self._put.send_nowait(Gap(self.room, joined.reason or "unknown"))
        if not joined.recovered:
            self.seq = max(0, joined.head - self._limit)
        self.epoch = joined.epoch

    async def deliver(self, event: RoomEvents) -> None:
        """Take an event, unless it has been seen. When cancelled, it has not been, and comes again after a join."""
        if event.seq > self.seq:
            await self._put.send(event)
            self.seq = event.seq

    def close(self) -> None:
        """End the iteration."""
        self._put.close()

    def abandon(self, reason: str) -> None:
        """End the iteration with a :class:`Gap` that says why."""
        with contextlib.suppress(trio.WouldBlock):
            self._put.send_nowait(Gap(self.room, reason))
        self._put.close()


class PushFeed:
    """Pushes of all kinds but events, and how the connection is: iterate over it. Who lags behind loses the oldest."""

    def __init__(self) -> None:
        self._waiting: deque[Told] = deque(maxlen=_PUSHES_KEPT)
        self._arrived = trio.Event()
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Told]:
        return self

    async def __anext__(self) -> Told:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            await self._arrived.wait()
        return self._waiting.popleft()

    def deliver(self, push: Told) -> None:
        """Take a push."""
        self._waiting.append(push)
        self._wake()

    def close(self) -> None:
        """End the iteration, once what waits was taken."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()
