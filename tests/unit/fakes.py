"""Stand-ins for what a node has around it: a log that fails on demand, and a bus between nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

import trio

from node.errors import LogUnavailable
from node.log.base import Entry, check_entry


class MemoryLog:
    """A log in memory that keeps the contract, and misbehaves as the contract allows.

    Attributes:
        trouble: what happens to the next appends, in order; each may raise, wait, or return.
        after_commit: likewise, once the entry is in: raising loses the acknowledgement.
        up: while False nothing is answered.
        tailing: while False the tails are given nothing.
    """

    def __init__(self) -> None:
        self.epoch = "memory"
        self.up = self.tailing = True
        self.entries: list[bytes] = []
        self.ids: dict[str, int] = {}
        self.calls: list[str] = []
        self.trouble: deque[Callable[[], Awaitable[None]]] = deque()
        self.after_commit: deque[Callable[[], Awaitable[None]]] = deque()
        self._moved = trio.Event()

    @property
    def reachable(self) -> bool:
        return self.up

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()

    async def append(self, entry_id: str, data: bytes) -> int:
        check_entry(entry_id, data)
        self.calls.append(entry_id)
        await trio.lowlevel.checkpoint()
        if self.trouble:
            await self.trouble.popleft()()
        self._check_up()
        if entry_id not in self.ids:
            self.entries.append(data)
            self.ids[entry_id] = len(self.entries)
            self.wake()
        if self.after_commit:
            await self.after_commit.popleft()()
        return self.ids[entry_id]

    async def tail(self, after: int) -> AsyncGenerator[Sequence[Entry]]:
        while True:
            while not (self.up and self.tailing) or len(self.entries) <= after:
                await self._moved.wait()
            batch = [Entry(after + i, data) for i, data in enumerate(self.entries[after : after + 3], start=1)]
            after += len(batch)
            yield batch

    async def last(self) -> int:
        await trio.lowlevel.checkpoint()
        self._check_up()
        return len(self.entries)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def wake(self) -> None:
        """Let the tails look again, as after :attr:`up` was set."""
        self._moved.set()
        self._moved = trio.Event()

    def _check_up(self) -> None:
        if not self.up:
            raise LogUnavailable("the log is down")


class NoDisk:
    """For a state whose changes are all still in memory."""

    def find_said(self, room_no: int, user: str, cid: str) -> None:
        return None

    def find_message(self, room_no: int, seq: int) -> None:
        return None


def raising(error: Exception) -> Callable[[], Awaitable[None]]:
    """Trouble that raises."""

    async def act() -> None:
        raise error

    return act


def waiting(seconds: float) -> Callable[[], Awaitable[None]]:
    """Trouble that takes time."""

    async def act() -> None:
        await trio.sleep(seconds)

    return act


class MemoryBus:
    """Lossy publish/subscribe between the nodes of a test; ``cut`` loses everything."""

    def __init__(self) -> None:
        self.cut = False
        self.published: list[bytes] = []
        self._readers: list[trio.MemorySendChannel[tuple[str, bytes]]] = []

    def publish(self, subject: str, data: bytes) -> None:
        self.published.append(data)
        if not self.cut:
            for reader in self._readers:
                reader.send_nowait((subject, data))

    def subscribe(self, subject: str) -> AsyncIterator[tuple[str, bytes]]:
        send, receive = trio.open_memory_channel[tuple[str, bytes]](100)
        self._readers.append(send)
        return receive
