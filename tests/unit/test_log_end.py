"""Many who ask where the log ends share a question, and none gets an answer older than its coming."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
import trio.testing

from node.errors import LogChanged, LogUnavailable
from node.log.base import Log
from node.log.end import SharedEnd


class SlowLog:
    """A log that takes a second to say where it ended when it was asked."""

    def __init__(self) -> None:
        self.position = 0
        self.asked = 0
        self.error: Exception | None = None

    async def last(self) -> int:
        self.asked += 1
        told = self.position
        await trio.sleep(1)
        if self.error is not None:
            raise self.error
        return told


@pytest.fixture
def log() -> SlowLog:
    return SlowLog()


@pytest.fixture
async def end(log: SlowLog, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> SharedEnd:
    end = SharedEnd(cast(Log, log))
    nursery.start_soon(end.run)
    return end


async def ask(end: SharedEnd, answers: list[Any]) -> None:
    try:
        answers.append(await end.last())
    except LogUnavailable as error:
        answers.append(str(error))


async def test_who_comes_before_a_question_shares_it(log: SlowLog, end: SharedEnd) -> None:
    answers: list[Any] = []
    async with trio.open_nursery() as nursery:
        for position in (0, 7, 9):
            log.position = position
            for _ in range(100):
                nursery.start_soon(ask, end, answers)
            await trio.sleep(0.5)
    assert answers == 100 * [0] + 100 * [7] + 100 * [9]
    assert log.asked == 3


async def test_a_slow_log_is_asked_now_and_then_and_answers_all(log: SlowLog, end: SharedEnd) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(answered_in, 1.1, end)
            await trio.sleep(0.01)
    assert log.asked <= 50


async def answered_in(seconds: float, end: SharedEnd) -> None:
    with trio.fail_after(seconds):
        await end.last()


async def test_all_are_told_that_there_is_no_answer_and_the_next_ask_again(log: SlowLog, end: SharedEnd) -> None:
    answers: list[Any] = []
    log.error = LogUnavailable("no leader")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, end, answers)
    assert (answers, log.asked) == (3 * ["no leader"], 1)
    log.error = None
    assert await end.last() == 0


async def test_who_gives_up_keeps_nobody_from_an_answer(log: SlowLog, end: SharedEnd) -> None:
    answers: list[Any] = []
    async with trio.open_nursery() as nursery:

        async def impatient() -> None:
            with trio.move_on_after(0.5):
                await end.last()

        nursery.start_soon(ask, end, answers)
        nursery.start_soon(impatient)
    assert (answers, log.asked) == ([0], 1)


async def test_another_log_is_told_as_such(log: SlowLog, autojump_clock: trio.testing.MockClock) -> None:
    log.error = LogChanged("another")
    end = SharedEnd(cast(Log, log))
    with pytest.RaisesGroup(LogChanged, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end.run)
            nursery.start_soon(end.last)
