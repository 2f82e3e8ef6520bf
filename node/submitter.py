"""From records to the log: batches in order, one append at a time, and the outcome back to whoever asked.

While one entry is on its way, the records that arrive wait and become the next entry, so the batch size follows the
load by itself. An append of unknown fate is repeated with the same id until the log answers; nothing overtakes it, so
the order in which a connection sent its messages survives any outage.
"""

from __future__ import annotations

import random
import secrets
from collections import deque
from collections.abc import Callable

import structlog
import trio

from node.errors import ErrorCode, LogFull, LogUnavailable, RequestError
from node.log.base import MAX_ENTRY_BYTES, Log
from node.pace import Pace
from node.state.outcome import Accepted, Outcome, Rejected
from node.state.records import WRITTEN_VERSION, AnyRecord, encode_batch, encode_record
from node.state.rules import AppliedBatch
from node.tracing import Tracer

MAX_BATCH_RECORDS = 1024
_ENTRY_OVERHEAD_BYTES = 256
_RETRY_MIN_S = 0.05
_RETRY_MAX_S = 0.25
"""Short: who waits for a leader's election should not wait for a pause as well."""
_EXPIRY_CHECK_S = 0.5

_NOT_SENT = Rejected(ErrorCode.UNAVAILABLE, "the log does not answer; the request was not passed on")
_UNKNOWN = Rejected(ErrorCode.OUTCOME_UNKNOWN, "the log has not answered; send the same cid again")
_FULL = Rejected(ErrorCode.OVERLOADED, "the log has no room")

logger = structlog.get_logger()


class _Ticket:
    """A record that waits for its outcome."""

    __slots__ = ("deadline", "on_outcome", "raw")

    def __init__(self, raw: bytes, on_outcome: Callable[[Outcome], None], deadline: float) -> None:
        self.raw = raw
        self.on_outcome: Callable[[Outcome], None] | None = on_outcome
        self.deadline = deadline

    def settle(self, outcome: Outcome) -> None:
        """Tell the outcome, once."""
        tell, self.on_outcome = self.on_outcome, None
        if tell is not None:
            tell(outcome)


class Submitter:
    """Appends this node's records. Run :meth:`run` in a nursery; feed :meth:`resolve` with what was applied.

    Args:
        log: where to.
        max_pending: records that may wait; more are refused with ``overloaded``.
        timeout_s: how long a record waits before its fate is given as unknown (or as not sent).
        version: the version of the records to write, asked for every entry.
        tracer: told of every entry that is in the log, if there is one.
    """

    def __init__(
        self,
        log: Log,
        max_pending: int,
        timeout_s: float,
        version: Callable[[], int] = lambda: WRITTEN_VERSION,
        tracer: Tracer | None = None,
    ) -> None:
        self.producer = secrets.token_hex(8)
        self._log = log
        self._max_pending = max_pending
        self._timeout_s = timeout_s
        self._version = version
        self._tracer = tracer
        self._pace = Pace()
        self._batch_no = 0
        self._queue: deque[_Ticket] = deque()
        self._in_log: dict[int, list[_Ticket]] = {}
        self._unresolved = 0
        self._arrived = trio.Event()
        self._all_settled = trio.Event()

    @property
    def pending(self) -> int:
        """Records that have no outcome yet."""
        return self._unresolved

    def submit(self, record: AnyRecord, on_outcome: Callable[[Outcome], None]) -> None:
        """Pass a record on; ``on_outcome`` is called once, from the Trio thread, and must not block.

        Raises:
            RequestError: ``overloaded``: too many wait; the record was not taken.
        """
        if self._unresolved >= self._max_pending:
            raise RequestError(ErrorCode.OVERLOADED, "too many requests wait for the log", retry_ms=1000)
        self._queue.append(_Ticket(encode_record(record), on_outcome, trio.current_time() + self._timeout_s))
        self._unresolved += 1
        self._arrived.set()

    async def commit(self, record: AnyRecord) -> Accepted:
        """Pass a record on and wait for its outcome.

        Raises:
            RequestError: it was refused, or its fate is unknown.
        """
        outcomes: list[Outcome] = []
        done = trio.Event()

        def note(outcome: Outcome) -> None:
            outcomes.append(outcome)
            done.set()

        self.submit(record, note)
        await done.wait()
        return accepted(outcomes[0])

    def resolve(self, batches: list[AppliedBatch]) -> None:
        """Tell the outcomes of those applied batches that are this node's own."""
        for batch in batches:
            if batch.producer == self.producer:
                tickets = self._in_log.pop(batch.n, [])
                for ticket, outcome in zip(tickets, batch.outcomes, strict=False):
                    self._settle(ticket, outcome)

    async def drained(self) -> None:
        """Wait until everything that was passed on has an outcome."""
        while self._unresolved:
            if self._all_settled.is_set():
                self._all_settled = trio.Event()
            await self._all_settled.wait()

    async def run(self) -> None:
        """Append for ever.

        Raises:
            LogChanged: the log is another one.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire)
            while True:
                await self._arrived.wait()
                self._arrived = trio.Event()
                while self._queue:
                    if (due := self._pace.due) > trio.current_time():
                        await trio.sleep_until(due)
                    # Meanwhile all of them may have been given up.
                    if self._queue:
                        await self._append(self._next_batch())

    def _next_batch(self) -> list[_Ticket]:
        tickets: list[_Ticket] = []
        room_bytes = MAX_ENTRY_BYTES - _ENTRY_OVERHEAD_BYTES
        while self._queue and len(tickets) < MAX_BATCH_RECORDS:
            room_bytes -= len(self._queue[0].raw) + 1
            if tickets and room_bytes < 0:
                break
            tickets.append(self._queue.popleft())
        return tickets

    async def _append(self, tickets: list[_Ticket]) -> None:
        self._batch_no += 1
        self._pace.begin(len(tickets), trio.current_time())
        self._in_log[self._batch_no] = tickets
        entry_id = f"{self.producer}:{self._batch_no}"
        data = encode_batch(self.producer, self._batch_no, [ticket.raw for ticket in tickets], self._version())
        pause_s = _RETRY_MIN_S
        in_doubt = False
        while True:
            try:
                await self._log.append(entry_id, data)
            except LogUnavailable as error:
                if not in_doubt:
                    logger.warning("append not answered, will be repeated", entry=entry_id, reason=str(error))
                in_doubt = True
            except LogFull as error:
                logger.error("the log is full", reason=str(error))
                if not in_doubt:
                    self._refuse(self._in_log.pop(self._batch_no, []))
                    return
            else:
                if self._tracer is not None:
                    self._tracer.appended(entry_id, [ticket.raw for ticket in tickets])
                return
            await trio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, guards nothing
            pause_s = min(pause_s * 2, _RETRY_MAX_S)

    def _refuse(self, tickets: list[_Ticket]) -> None:
        for ticket in tickets:
            self._settle(ticket, _FULL)

    def _settle(self, ticket: _Ticket, outcome: Outcome) -> None:
        """Tell an outcome, unless the ticket was given up before."""
        if ticket.on_outcome is None:
            return
        self._unresolved -= 1
        if not self._unresolved:
            self._all_settled.set()
        ticket.settle(outcome)

    async def _expire(self) -> None:
        """Give up tickets past their deadline: those in the queue were certainly not sent."""
        while True:
            await trio.sleep(_EXPIRY_CHECK_S)
            now = trio.current_time()
            while self._queue and self._queue[0].deadline < now:
                self._settle(self._queue.popleft(), _NOT_SENT)
            for batch_no, tickets in list(self._in_log.items()):
                for ticket in tickets:
                    if ticket.deadline < now:
                        self._settle(ticket, _UNKNOWN)
                if tickets[-1].deadline < now:
                    # Nobody waits for its outcome. Without the store's disk none comes, and the log takes ever more.
                    del self._in_log[batch_no]


def accepted(outcome: Outcome) -> Accepted:
    """The good outcome, or the refusal as an exception."""
    if isinstance(outcome, Rejected):
        raise RequestError(outcome.code, outcome.msg)
    return outcome
