"""The flusher: all that is due is done soon, in order, and others have their turn meanwhile."""

from __future__ import annotations

import trio
import trio.testing

from node.flusher import Flusher


async def test_what_is_due_is_done_once_and_in_order(autojump_clock: trio.testing.MockClock) -> None:
    flusher, done = Flusher(), list[str]()

    def first() -> None:
        done.append("first")
        flusher.add(lambda: done.append("added meanwhile"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flusher.run)
        flusher.add(first)
        flusher.add(lambda: done.append("second"))
        await trio.sleep(1)
        assert done == ["first", "second", "added meanwhile"]
        flusher.add(lambda: done.append("later"))
        await trio.sleep(1)
        assert done[3:] == ["later"]
        nursery.cancel_scope.cancel()


async def test_others_have_their_turn_while_very_much_is_due() -> None:
    flusher, done = Flusher(), list[int]()
    for number in range(2000):
        flusher.add(lambda number=number: done.append(number))  # type: ignore[misc]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flusher.run)
        while not done:
            await trio.lowlevel.checkpoint()
        assert len(done) < 1000
        while len(done) < 2000:
            await trio.lowlevel.checkpoint()
        assert done == list(range(2000))
        nursery.cancel_scope.cancel()
