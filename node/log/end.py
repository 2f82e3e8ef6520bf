"""Where the log ends, for many who ask at once, as thousands do that come back from a node that died."""

from __future__ import annotations

import trio

from node.errors import LogUnavailable
from node.log.base import Log

_EVERY_S = 0.05


class _Question:
    """One that is put on behalf of all who came before it was put."""

    __slots__ = ("answer", "asked", "done", "error")

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.done = trio.Event()
        self.answer = 0
        self.error: str | None = None


class SharedEnd:
    """Asks the log for its end, for all who came since the last question: when that is answered, or 50 ms after it.

    So an answer is never older than the moment at which its asker came, as if each had asked alone. Run :meth:`run`
    in a nursery.

    Args:
        log: an opened log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next = _Question()

    async def last(self) -> int:
        """As :meth:`node.log.base.Log.last`.

        Raises:
            LogUnavailable: the log does not answer.
        """
        question = self._next
        question.asked.set()
        await question.done.wait()
        if question.error is not None:
            raise LogUnavailable(question.error)
        return question.answer

    async def run(self) -> None:
        """Ask for ever.

        Raises:
            LogChanged: the log is another one.
        """
        async with trio.open_nursery() as nursery:
            while True:
                await self._next.asked.wait()
                question, self._next = self._next, _Question()
                nursery.start_soon(self._put, question)
                with trio.move_on_after(_EVERY_S):
                    await question.done.wait()

    async def _put(self, question: _Question) -> None:
        try:
            question.answer = await self._log.last()
        except LogUnavailable as error:
            question.error = str(error)
        question.done.set()
