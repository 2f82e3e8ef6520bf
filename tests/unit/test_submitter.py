"""From records to the log, while the log fails in every way: order kept, nothing twice, nobody left waiting."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from node.errors import ErrorCode, LogChanged, LogFull, LogUnavailable, RequestError
from node.log.base import MAX_ENTRY_BYTES
from node.state.model import State
from node.state.outcome import Accepted, Outcome, Rejected
from node.state.records import CreateRoom, SendMessage, decode_batch
from node.state.rules import apply_entry
from node.submitter import MAX_BATCH_RECORDS, Submitter, accepted

from .fakes import MemoryLog, NoDisk, raising, waiting

TIMEOUT_S = 15.0


class Harness:
    """A submitter on a fake log, and a replica reduced to the rules."""

    def __init__(self, max_pending: int, timeout_s: float) -> None:
        self.log = MemoryLog()
        self.submitter = Submitter(self.log, max_pending, timeout_s)
        self.state = State(NoDisk())
        self.outcomes: dict[int, Outcome] = {}
        self.told_at: dict[int, float] = {}
        self.applying = True

    def send(self, number: int, body: str = "x") -> None:
        def tell(outcome: Outcome) -> None:
            assert number not in self.outcomes, "told twice"
            self.outcomes[number] = outcome
            self.told_at[number] = trio.current_time()

        self.submitter.submit(SendMessage("ana", 0, "a", f"c{number}", body), tell)

    def codes(self) -> list[ErrorCode | None]:
        """What each send was told, in their order; None for good."""
        return [o.code if isinstance(o, Rejected) else None for _, o in sorted(self.outcomes.items())]

    def said(self) -> list[str]:
        """The cids in the log, in order, as often as they stand there."""
        return [
            record.cid
            for data in self.log.entries
            for record in decode_batch(data).records
            if isinstance(record, SendMessage)
        ]

    async def follow(self) -> None:
        async for entries in self.log.tail(0):
            while not self.applying:
                await trio.sleep(0.1)
            applied = [apply_entry(self.state, entry.position, entry.data) for entry in entries]
            self.submitter.resolve([batch for batch in applied if batch is not None])


@asynccontextmanager
async def running(max_pending: int = 10_000, timeout_s: float = TIMEOUT_S) -> AsyncGenerator[Harness]:
    harness = Harness(max_pending, timeout_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(harness.submitter.run)
        nursery.start_soon(harness.follow)
        await harness.submitter.commit(CreateRoom("ana", 0, "a"))
        yield harness
        nursery.cancel_scope.cancel()


def cids(count: int) -> list[str]:
    return [f"c{i}" for i in range(count)]


async def test_records_that_wait_go_together(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.trouble.append(waiting(1))
        for i in range(100):
            harness.send(i)
        await harness.submitter.drained()
        assert harness.codes() == [None] * 100
        assert harness.said() == cids(100)
        assert len(harness.log.entries) <= 3
        assert [
            outcome.seq for _, outcome in sorted(harness.outcomes.items()) if isinstance(outcome, Accepted)
        ] == list(range(2, 102))


async def test_what_comes_often_and_one_by_one_shares_entries(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        for i in range(1000):
            harness.send(i)
            await trio.sleep(0.001)
        await harness.submitter.drained()
        assert harness.said() == cids(1000)
        assert len(harness.log.entries) < 500


async def test_who_is_given_up_while_an_entry_waits_leaves_no_empty_one(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(timeout_s=-1) as harness:
        # From the first look on, which is after half a second, there is one every millisecond.
        monkeypatch.setattr("node.submitter._EXPIRY_CHECK_S", 0.001)
        for i in range(1000):
            harness.send(i)
            await trio.sleep(0.0005)
        await trio.sleep(0.01)
        # The first of them is an entry at once; the other one would be the next, four milliseconds later.
        harness.send(1000)
        await trio.sleep(0.0001)
        harness.send(1001)
        await trio.sleep(0.01)
        assert harness.codes()[-2:] == [None, ErrorCode.UNAVAILABLE]
        assert all(decode_batch(data).records for data in harness.log.entries)


async def test_batches_are_bounded_in_records_and_bytes(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.trouble.append(waiting(1))
        for i in range(3000):
            harness.send(i)
        for i in range(3000, 3100):
            harness.send(i, "\x01" * 16_384)  # each byte takes six in JSON
        await harness.submitter.drained()
        assert harness.said() == cids(3100)
        batches = [len(decode_batch(data).records) for data in harness.log.entries]
        assert max(batches) == MAX_BATCH_RECORDS
        assert max(map(len, harness.log.entries)) <= MAX_ENTRY_BYTES


async def test_every_entry_is_of_the_version_that_is_right_when_it_is_made() -> None:
    log, versions = MemoryLog(), iter([1, 2])
    submitter = Submitter(log, 10, TIMEOUT_S, lambda: next(versions))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(submitter.run)
        for room in "ab":
            submitter.submit(CreateRoom("ana", 0, room), lambda _: None)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [json.loads(data)["v"] for data in log.entries] == [1, 2]


LOST = LogUnavailable("no answer")


async def test_an_unanswered_append_is_repeated_and_lands_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.trouble += [raising(LOST), raising(LOST)]
        harness.log.after_commit += [raising(LOST), raising(LOST)]  # committed, but the answer is lost
        for i in range(10):
            harness.send(i)
            await trio.testing.wait_all_tasks_blocked()
        await harness.submitter.drained()
        await trio.sleep(10)
        assert harness.codes() == [None] * 10
        assert harness.said() == cids(10)
        assert len(harness.log.calls) == len(harness.log.entries) + 4


async def test_nothing_overtakes_through_an_outage(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        for i in range(50):
            harness.log.up = i // 10 % 2 == 0
            harness.log.wake()
            harness.send(i)
            await trio.sleep(0.3)
        harness.log.up = True
        harness.log.wake()
        await harness.submitter.drained()
        assert harness.codes() == [None] * 50
        assert harness.said() == cids(50)


async def test_after_the_timeout_fates_are_told_as_they_are(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.up = False
        harness.send(0)  # goes on its way
        await trio.testing.wait_all_tasks_blocked()
        harness.send(1)  # stays in the queue
        began = trio.current_time()
        await harness.submitter.drained()
        assert TIMEOUT_S <= trio.current_time() - began <= TIMEOUT_S + 1
        assert harness.codes() == [ErrorCode.OUTCOME_UNKNOWN, ErrorCode.UNAVAILABLE]
        harness.log.up = True
        harness.log.wake()
        harness.send(2)
        await harness.submitter.drained()
        assert harness.codes() == [ErrorCode.OUTCOME_UNKNOWN, ErrorCode.UNAVAILABLE, None]
        assert harness.said() == ["c0", "c2"]  # unknown: at most once; unavailable: never


async def test_a_slow_log_delays_but_does_not_fail(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.trouble.append(waiting(TIMEOUT_S - 2))
        harness.send(0)
        await harness.submitter.drained()
        assert harness.codes() == [None]


async def test_a_full_log_refuses_and_the_refused_never_appears(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.trouble.append(raising(LogFull("disk")))
        harness.send(0)
        await trio.testing.wait_all_tasks_blocked()
        harness.send(1)
        await harness.submitter.drained()
        assert harness.codes() == [ErrorCode.OVERLOADED, None]
        assert harness.said() == ["c1"]


async def test_full_after_doubt_is_still_doubt(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.after_commit.append(raising(LOST))
        harness.log.trouble += [waiting(0), *[raising(LogFull("disk"))] * 3]
        harness.applying = False
        harness.send(0)
        await trio.sleep(1)
        assert len(harness.log.calls) > 2
        assert harness.codes() == []
        harness.applying = True
        await harness.submitter.drained()
        assert harness.codes() == [None]
        assert harness.said() == ["c0"]


async def test_an_outcome_may_come_before_the_acknowledgement(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.log.after_commit.append(waiting(5))
        harness.send(0)
        await harness.submitter.drained()
        assert harness.told_at[0] < 5


async def test_other_nodes_batches_are_not_ours(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        other = Submitter(harness.log, 10, TIMEOUT_S)
        assert other.producer != harness.submitter.producer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.run)
            told: list[Outcome] = []
            other.submit(SendMessage("ana", 0, "a", "theirs", "x"), told.append)
            harness.send(0)
            await harness.submitter.drained()
            nursery.cancel_scope.cancel()
        assert told == []
        assert other.pending == 1


async def test_what_is_never_applied_is_not_kept_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        harness.applying = False
        for number in range(3):
            harness.send(number)
            await trio.sleep(0.1)
        assert len(harness.submitter._in_log) == 3
        await trio.sleep(TIMEOUT_S + 1)
        assert harness.codes() == [ErrorCode.OUTCOME_UNKNOWN] * 3
        assert harness.submitter._in_log == {}
        harness.applying = True
        harness.send(3)
        await harness.submitter.drained()
        assert harness.codes()[3] is None


async def test_too_much_waiting_is_refused_and_counted_down_again(autojump_clock: trio.testing.MockClock) -> None:
    async with running(max_pending=5) as harness:
        harness.log.trouble.append(waiting(1))
        for i in range(5):
            harness.send(i)
        with pytest.raises(RequestError) as refused:
            harness.send(5)
        assert refused.value.code is ErrorCode.OVERLOADED
        assert harness.submitter.pending == 5
        await harness.submitter.drained()
        assert harness.submitter.pending == 0
        harness.send(5)
        await harness.submitter.drained()
        assert harness.codes() == [None] * 6


async def test_commit_raises_what_the_rules_say(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as harness:
        with pytest.raises(RequestError) as refused:
            await harness.submitter.commit(CreateRoom("bo", 0, "a"))
        assert refused.value.code is ErrorCode.ROOM_EXISTS
    with pytest.raises(RequestError):
        accepted(Rejected(ErrorCode.FORBIDDEN, "no"))


async def test_another_log_ends_it() -> None:
    submitter = Submitter(log := MemoryLog(), 10, TIMEOUT_S)
    log.trouble.append(raising(LogChanged("other epoch")))
    submitter.submit(CreateRoom("ana", 0, "a"), lambda _: None)
    with pytest.raises(ExceptionGroup) as ended:
        await submitter.run()
    assert ended.group_contains(LogChanged)
