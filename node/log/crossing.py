"""From Trio into a thread that runs asyncio, and back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

import trio
from nats.aio.client import Client

T = TypeVar("T")
Work: TypeAlias = Callable[[Client], Coroutine[Any, Any, T]]


class Crossing:
    """A queue of callables for another thread, run there in order; one wake-up for all that wait."""

    def __init__(self, wake: Callable[[Callable[[], None]], object]) -> None:
        self._wake = wake
        self._queue: deque[Callable[[], None]] = deque()
        self._woken = False

    def post(self, call: Callable[[], None]) -> None:
        self._queue.append(call)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # so do trio and asyncio report that the other side has ended
                self._wake(self.run)

    def run(self) -> None:
        """Make the calls. Runs in the thread that they are for."""
        # First the flag, then the queue: a post in between wakes once too often, never once too little.
        self._woken = False
        while self._queue:
            self._queue.popleft()()


class Call(Generic[T]):
    """A piece of work in the NATS thread that a Trio task waits for."""

    def __init__(self, work: Work[T]) -> None:
        self.work = work
        self.task: asyncio.Task[T] | None = None
        self._done = trio.Event()
        self._value: T
        self._error: BaseException | None = None

    async def result(self) -> T:
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def succeed(self, value: T) -> None:
        self._value = value
        self._done.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._done.set()

    def cancel(self) -> None:
        """Runs in the NATS thread."""
        if self.task is not None:
            self.task.cancel()
