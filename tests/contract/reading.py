"""What the tests of logs share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from itertools import count
from typing import TypeVar

import trio

from node.errors import LogUnavailable
from node.log.base import Entry, Log

T = TypeVar("T")


async def read(log: Log, upto: int, after: int = 0) -> list[Entry]:
    """The entries from ``after + 1`` to ``upto``, through a tail."""
    entries: list[Entry] = []
    async with aclosing(log.tail(after)) as tail:
        async for batch in tail:
            entries += batch
            if entries[-1].position >= upto:
                break
    return entries


async def append_surely(log: Log, entry_id: str, data: bytes, patience_s: float = 40) -> int:
    """Append as a node does: again and again with the same id, until it is known to be committed."""
    return await surely(lambda: log.append(entry_id, data), patience_s)


async def surely(ask: Callable[[], Awaitable[T]], patience_s: float = 40) -> T:
    """Ask again and again until the log answers: servers that have just found each other may elect once more."""
    with trio.fail_after(patience_s):
        for _ in count():
            try:
                return await ask()
            except LogUnavailable:
                await trio.sleep(0.05)
    raise AssertionError("unreachable")


class Follower:
    """A tail that collects what it sees, in the background."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.entries: list[Entry] = []
        self._news = trio.Event()

    async def run(self) -> None:
        async with aclosing(self._log.tail(0)) as tail:
            async for batch in tail:
                self.entries += batch
                self._news.set()
                self._news = trio.Event()

    async def reach(self, position: int, patience_s: float = 40) -> None:
        with trio.fail_after(patience_s):
            while not self.entries or self.entries[-1].position < position:
                await self._news.wait()
