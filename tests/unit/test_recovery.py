"""Submitter and replica on a log that fails in every order hypothesis can think of: what was told stays true."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from node.errors import ErrorCode, LogFull, LogUnavailable
from node.hub import Hub
from node.metrics import Metrics
from node.replica import Replica
from node.state.model import State
from node.state.outcome import Outcome, Rejected
from node.state.records import CreateRoom, SendMessage, decode_batch
from node.state.rules import apply_entry
from node.submitter import Submitter

from .fakes import MemoryLog, NoDisk, raising, waiting

TIMEOUT_S = 15.0
LOST = LogUnavailable("no answer")
FAULTS = st.lists(st.sampled_from(["lose the answer", "drop", "delay", "delay long", "refuse", "pass"]), max_size=4)


async def inline(function: Callable[..., Any], *args: Any, limiter: object = None) -> Any:
    """A thread's work without a thread, so that a clock that jumps can be used."""
    await trio.lowlevel.checkpoint()
    return function(*args)


class Loop:
    """Trio beside a program that does not know of it: runs one async function to its end, then stands still."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._requests, requests = trio.open_memory_channel[Callable[[], Awaitable[None]]](1)
        self._error: BaseException | None = None
        self._idle = False
        self.nursery: trio.Nursery
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.lowlevel.start_guest_run(
            self._main, requests, run_sync_soon_threadsafe=self._todo.put, done_callback=self._done, clock=clock
        )
        self._pump()

    def run(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a function, and whatever else is due meanwhile."""
        self._idle = False
        self._requests.send_nowait(function)
        self._pump()

    def close(self) -> None:
        """End everything."""
        self._idle = False
        self._requests.close()
        self._pump()

    def _pump(self) -> None:
        while not self._idle:
            self._todo.get(timeout=20)()
        if self._error is not None:
            raise self._error

    def _done(self, outcome: Any) -> None:
        self._idle, self._error = True, getattr(outcome, "error", None)

    async def _main(self, requests: trio.MemoryReceiveChannel[Callable[[], Awaitable[None]]]) -> None:
        async with trio.open_nursery() as self.nursery:
            self._idle = True
            async for function in requests:
                await function()
                self._idle = True
            self.nursery.cancel_scope.cancel()


class Recovery(RuleBasedStateMachine):
    """One connection sends, one message after the other, while the log does its worst and the node crashes."""

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.patch = mock.patch("trio.to_thread.run_sync", inline)
        self.patch.start()
        self.loop = Loop()
        self.log = MemoryLog()
        self.sent = 0
        self.outcomes: dict[int, Outcome] = {}
        self.loop.run(self._begin)

    async def _begin(self) -> None:
        await self._node()
        await self.submitter.commit(CreateRoom("ana", 0, "a"))

    async def _node(self) -> None:
        self.life = trio.CancelScope()
        self.submitter = Submitter(self.log, 1000, TIMEOUT_S)
        path = Path(self.directory.name) / "store.sqlite"
        self.replica = Replica(self.log, path, Hub(2**20), self.submitter, Metrics())
        await self.loop.nursery.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        with self.life:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.replica.run)
                nursery.start_soon(self.submitter.run)
                task_status.started()

    @rule(count=st.integers(1, 4), pause_s=st.sampled_from([0, 0, 0.3]))
    def send(self, count: int, pause_s: float) -> None:
        async def act() -> None:
            for _ in range(count):
                number, self.sent = self.sent, self.sent + 1
                self.submitter.submit(SendMessage("ana", 0, "a", str(number), "x"), partial(self._told, number))
                await trio.sleep(pause_s)

        self.loop.run(act)

    def _told(self, number: int, outcome: Outcome) -> None:
        assert number not in self.outcomes, "told twice"
        self.outcomes[number] = outcome
        if not isinstance(outcome, Rejected):
            at = [i for i, data in enumerate(self.log.entries, 1) if str(number) in cids(data)]
            assert at, "acknowledged, but not in the log"
            assert at[0] <= self.replica.applied, "acknowledged before it was applied"

    @rule(faults=FAULTS)
    def trouble(self, faults: list[str]) -> None:
        """What the next appends meet."""
        for fault in faults:
            self.log.trouble.append(
                {
                    "drop": raising(LOST),
                    "delay": waiting(1),
                    "delay long": waiting(TIMEOUT_S + 2),
                    "refuse": raising(LogFull("disk")),
                }.get(fault, waiting(0))
            )
            self.log.after_commit.append(raising(LOST) if fault == "lose the answer" else waiting(0))

    @rule(up=st.booleans(), tailing=st.booleans())
    def connection(self, up: bool, tailing: bool) -> None:
        """The connection is lost, or comes back, as when another leader is elected; or what is committed comes late."""

        async def act() -> None:
            self.log.up, self.log.tailing = up, tailing
            self.log.wake()

        self.loop.run(act)

    @rule(back=st.integers(1, 3))
    def repeat(self, back: int) -> None:
        """An entry lands once more, long after the log forgot its id."""

        async def act() -> None:
            self.log.entries.append(self.log.entries[-min(back, len(self.log.entries))])
            self.log.wake()

        self.loop.run(act)

    @rule(seconds=st.sampled_from([0.1, 1, 5, TIMEOUT_S + 2]))
    def wait(self, seconds: float) -> None:
        async def act() -> None:
            await trio.sleep(seconds)

        self.loop.run(act)

    @rule()
    def crash(self) -> None:
        """The node ends in mid-air, and another life of it begins on the same file."""

        async def act() -> None:
            self.life.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await self._node()

        self.loop.run(act)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.loop.run(self._settle)
            self._check()
        finally:
            self.loop.close()
            self.patch.stop()
            self.directory.cleanup()

    async def _settle(self) -> None:
        self.log.up = self.log.tailing = True
        self.log.wake()
        await self.submitter.drained()
        await trio.sleep(2 * TIMEOUT_S)
        await self.submitter.drained()

    def _check(self) -> None:
        state = State(NoDisk())
        for position, data in enumerate(self.log.entries, 1):
            apply_entry(state, position, data)
        messages = sorted(state.changes.messages.values(), key=lambda message: message.seq)
        seqs = {int(message.cid): message.seq for message in messages}
        assert len(seqs) == len(messages), "said twice"
        assert [int(message.cid) for message in messages] == sorted(seqs), "overtaken"
        for number, outcome in self.outcomes.items():
            if not isinstance(outcome, Rejected):
                assert seqs[number] == outcome.seq, "acknowledged, but elsewhere"
            elif outcome.code is not ErrorCode.OUTCOME_UNKNOWN:
                assert number not in seqs, f"{outcome.code}, but it happened"
        assert (self.replica.applied, self.replica.digest) == (state.position, state.digest)


def cids(data: bytes) -> set[str]:
    return {record.cid for record in decode_batch(data).records if isinstance(record, SendMessage)}


TestRecovery = Recovery.TestCase
TestRecovery.settings = settings(max_examples=settings().max_examples // 4)
