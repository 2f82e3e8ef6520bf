"""Where the log ends, for many who ask at once, as thousands do that come back from a node that died."""

from __future__ import annotations

import trio

from node.errors import LogUnavailable
from node.log.base import Log


class _Question:
    """One that is put on behalf of all who came before it was put."""

    __slots__ = ("answer", "error")

    def __init__(self) -> None:
        self.answer: int | None = None
        self.error: str | None = None


class SharedEnd:
    """Asks the log for its end, one question at a time: who comes while one is under way shares the next.

    So an answer is never older than the moment at which its asker came, as if each had asked alone.

    Args:
        log: an opened log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._turn = trio.StrictFIFOLock()
        self._next = _Question()

    async def last(self) -> int:
        """As :meth:`node.log.base.Log.last`.

        Raises:
            LogUnavailable: the log does not answer.
            LogChanged: it is another one.
        """
        mine = self._next
        async with self._turn:
            # Also where another one was about to put it, and was cancelled.
            if mine.answer is None and mine.error is None:
                await self._put(mine)
        if mine.answer is None:
            raise LogUnavailable(mine.error)
        return mine.answer

    async def _put(self, question: _Question) -> None:
        self._next = _Question()
        try:
            question.answer = await self._log.last()
        except LogUnavailable as error:
            question.error = str(error)
