"""Every promise of ``node/log/base.py``, kept by both logs."""

from __future__ import annotations

from contextlib import aclosing
from itertools import count

import pytest
import trio

from node.errors import LogChanged, LogFull, LogUnavailable
from node.log.base import MAX_ENTRY_BYTES, TAIL_BATCH_BYTES, TAIL_BATCH_ENTRIES, Entry, Log

from .conftest import Backend
from .reading import Follower, read


async def test_positions_are_dense_and_entries_come_back_as_they_were(log: Log) -> None:
    sent = [b"", b"one", bytes(range(256)), "grüße\n".encode(), b"\r\n" * 100]
    positions = [await log.append(f"e:{i}", data) for i, data in enumerate(sent)]
    assert positions == [1, 2, 3, 4, 5]
    assert await read(log, 5) == [Entry(i + 1, data) for i, data in enumerate(sent)]
    assert await log.last() == 5


async def test_an_empty_log_ends_at_zero(log: Log) -> None:
    assert await log.last() == 0
    assert log.reachable


async def test_a_tail_starts_anywhere_and_waits_at_the_end(log: Log) -> None:
    for i in range(1, 11):
        await log.append(f"e:{i}", b"%d" % i)
    assert [entry.position for entry in await read(log, 10, after=7)] == [8, 9, 10]
    async with aclosing(log.tail(10)) as tail, trio.open_nursery() as nursery:
        nursery.start_soon(log.append, "late", b"late")
        assert list(await anext(tail)) == [Entry(11, b"late")]


async def test_a_waiting_tail_is_woken_at_once(log: Log) -> None:
    follower = Follower(log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run)
        for i in range(1, 21):
            position = await log.append(f"e:{i}", b"x")
            await follower.reach(position, patience_s=1)
        nursery.cancel_scope.cancel()


async def test_all_readers_see_the_same_order(log: Log) -> None:
    followers = [Follower(log) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for follower in followers:
            nursery.start_soon(follower.run)
        async with trio.open_nursery() as writers:
            for i in range(300):
                writers.start_soon(log.append, f"e:{i}", b"%d" % i)
        for follower in followers:
            await follower.reach(300)
        nursery.cancel_scope.cancel()
    assert [entry.position for entry in followers[0].entries] == list(range(1, 301))
    assert {entry.data for entry in followers[0].entries} == {b"%d" % i for i in range(300)}
    assert followers[0].entries == followers[1].entries == followers[2].entries


async def test_batches_are_bounded(log: Log) -> None:
    async with trio.open_nursery() as nursery:
        for i in range(TAIL_BATCH_ENTRIES + 50):
            nursery.start_soon(log.append, f"small:{i}", b"x")
    big = bytes(MAX_ENTRY_BYTES)
    for i in range(10):
        await log.append(f"big:{i}", big)
    end = await log.last()
    seen = 0
    async with aclosing(log.tail(0)) as tail:
        async for batch in tail:
            assert 0 < len(batch) <= TAIL_BATCH_ENTRIES
            assert sum(len(entry.data) for entry in batch) <= TAIL_BATCH_BYTES
            seen += len(batch)
            if seen == end:
                break


async def test_appending_again_commits_nothing_new(log: Log) -> None:
    first = await log.append("ana:c-1", b"hello")
    await log.append("ana:c-2", b"world")
    assert await log.append("ana:c-1", b"hello") == first
    assert await log.last() == 2
    assert [entry.data for entry in await read(log, 2)] == [b"hello", b"world"]


async def test_the_same_id_at_once_commits_once(log: Log) -> None:
    positions: list[int] = []

    async def append() -> None:
        while True:
            try:
                positions.append(await log.append("same", b"x"))
            except LogUnavailable:  # told to come back while the first is in flight
                continue
            return

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(append)
    assert positions == [1] * 10
    assert await log.last() == 1


async def test_idempotence_survives_a_reopen(backend: Backend) -> None:
    for expected in (1, 1):
        log = backend.log()
        try:
            await log.open()
            assert await log.append("again", b"x") == expected
        finally:
            await log.aclose()


async def test_entries_and_epoch_survive_a_reopen(backend: Backend) -> None:
    epochs = set()
    for i in range(3):
        log = backend.log()
        try:
            await log.open()
            epochs.add(log.epoch)
            assert await log.append(f"e:{i}", b"%d" % i) == i + 1
            assert [entry.data for entry in await read(log, i + 1)] == [b"%d" % n for n in range(i + 1)]
        finally:
            await log.aclose()
    assert len(epochs) == 1
    assert epochs != {""}


async def test_open_may_be_called_again(log: Log) -> None:
    epoch = log.epoch
    await log.open()
    assert log.epoch == epoch


@pytest.mark.parametrize("entry_id", ["", "a b", "a" * 129, "a\r\nb", "é", "a/b"])
async def test_malformed_ids_are_refused(log: Log, entry_id: str) -> None:
    with pytest.raises(ValueError, match="bad entry id"):
        await log.append(entry_id, b"")
    assert await log.last() == 0


async def test_the_largest_entry_fits_and_a_larger_one_is_refused(log: Log) -> None:
    largest = bytes(MAX_ENTRY_BYTES)
    assert await log.append("a" * 128, largest) == 1
    with pytest.raises(ValueError, match="the most is"):
        await log.append("b", largest + b"x")
    assert await read(log, 1) == [Entry(1, largest)]


async def fill(log: Log) -> None:
    for i in count():
        await log.append(f"fill:{i}", bytes(50_000))


async def test_a_full_log_says_so_and_commits_nothing(backend: Backend) -> None:
    log = backend.log(max_bytes=1024 * 1024)
    try:
        await log.open()
        with pytest.raises(LogFull):
            await fill(log)
        committed = await log.last()
        assert 5 < committed < 25
        assert len(await read(log, committed)) == committed
        assert log.reachable
    finally:
        await log.aclose()


async def test_a_log_taken_away_is_noticed_by_all(backend: Backend) -> None:
    log = backend.log()
    try:
        await log.open()
        await log.append("e:1", b"x")
        async with aclosing(log.tail(0)) as tail:
            await anext(tail)
            await backend.destroy()
            with pytest.raises(LogChanged):
                await log.append("e:2", b"x")
            with pytest.raises(LogChanged):
                await log.last()
            with trio.fail_after(10), pytest.raises(LogChanged):
                await anext(tail)
    finally:
        await log.aclose()


async def test_a_tail_from_beyond_the_end_is_refused(log: Log) -> None:
    await log.append("e:1", b"x")
    with trio.fail_after(10), pytest.raises(LogChanged):
        await read(log, 100, after=2)


async def test_a_cancelled_append_leaves_the_log_usable(log: Log) -> None:
    for i in range(20):
        with trio.move_on_after(0.0005 * i):
            await log.append(f"e:{i}", b"%d" % i)
    for i in range(20):
        await log.append(f"e:{i}", b"%d" % i)
    assert await log.last() == 20
    assert {entry.data for entry in await read(log, 20)} == {b"%d" % i for i in range(20)}


async def test_a_cancelled_append_takes_no_other_with_it(log: Log) -> None:
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as doomed:
            async with trio.open_nursery() as victims:
                for i in range(50):
                    victims.start_soon(log.append, f"victim:{i}", b"x")
                    nursery.start_soon(log.append, f"survivor:{i}", b"%d" % i)
                await trio.sleep(0.001)
                doomed.cancel()
    end = await log.last()
    assert {entry.data for entry in await read(log, end)} >= {b"%d" % i for i in range(50)}


async def test_a_cancelled_tail_leaves_the_log_usable(log: Log) -> None:
    await log.append("e:1", b"x")
    for i in range(10):
        with trio.move_on_after(0.002 * i):
            await read(log, 100)
    assert len(await read(log, 1)) == 1


async def test_aclose_is_idempotent_and_ends_what_waits(backend: Backend) -> None:
    log = backend.log()
    await log.aclose()
    log = backend.log()
    await log.open()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(LogUnavailable):
                await read(log, 1)

        await trio.sleep(0.2)
        await log.aclose()
        await log.aclose()
    assert not log.reachable
    with pytest.raises(LogUnavailable):
        await log.append("e:1", b"x")
    with pytest.raises(LogUnavailable):
        await log.last()
