"""Who has something to be written to is written to soon, all of them by one task.

To wake a task for each of them takes longer than to write: where one message goes to two hundred people, that was most
of the time until the last of them had it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

_AT_ONCE = 256
"""So many, and others have their turn."""


class Flusher:
    """Calls what is due, in the order in which it became due. Run :meth:`run` in a nursery."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []
        self._something = trio.Event()

    def add(self, flush: Callable[[], None]) -> None:
        """Have ``flush`` called soon, once. It must neither raise nor block."""
        self._due.append(flush)
        self._something.set()

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            await self._something.wait()
            self._something = trio.Event()
            due, self._due = self._due, []
            for number, flush in enumerate(due, 1):
                flush()
                if number % _AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
