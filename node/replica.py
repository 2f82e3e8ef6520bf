"""The replica: follows the log, applies it to the store, tells the hub, and answers reads.

log --tail, in order--> store (own thread) --> hub (who receives it is due) and submitter (outcomes)

The store's file follows a little later, and whenever somebody reads: a reader sees all that anybody has been told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import structlog
import trio

from node.errors import ErrorCode, LogUnavailable, RequestError, StoreCorrupt
from node.hub import Hub
from node.log.base import Log
from node.log.end import SharedEnd
from node.metrics import Metrics
from node.state.model import Account, Notice
from node.state.reader import Reader
from node.state.schema import corruption_named, discard
from node.state.store import Applied, Store
from node.submitter import Submitter
from node.tracing import Tracer

READERS = 2
_POLL_S = 2.0
_DIGESTS_KEPT = 16
_APPLY_RETRY_S = 1.0
_BARRIER_TIMEOUT_S = 3.0
_WRITE_EVERY_S = 0.5
_LOT_BYTES = 256 * 1024
"""So much of the log is applied at most, and a little more, before it is written."""

T = TypeVar("T")
logger = structlog.get_logger()


class Replica:
    """This node's copy of the shared state.

    Args:
        log: an opened log.
        path: the store's file.
        hub: told of every event.
        submitter: told of every outcome.
        metrics: counts the events.
        tracer: told of every event, if there is one.
    """

    def __init__(
        self, log: Log, path: Path, hub: Hub, submitter: Submitter, metrics: Metrics, tracer: Tracer | None = None
    ) -> None:
        self._log = log
        self._end = SharedEnd(log)
        self._path = path
        self._hub = hub
        self._submitter = submitter
        self._metrics = metrics
        self._tracer = tracer
        self._writing = trio.CapacityLimiter(1)
        self._moved = trio.Event()
        self._looked = trio.Event()
        self._store: Store | None = None
        self._write_turn = trio.Lock()
        self._stuck = False
        """Whether the store's file could not be written the last time."""
        self._readers_free: list[Reader] = []
        self._reading = trio.CapacityLimiter(READERS)
        self.applied = 0
        self.head = 0
        self.digest = b""
        self.digests: dict[int, bytes] = {}
        """Position -> digest there: the last few multiples of ``DIGEST_EVERY`` that were applied since the start."""
        self._damage: StoreCorrupt | None = None
        self._damaged = trio.Event()
        self.caught_up = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the log for ever. Started when the store is open; the rest of the log may still be ahead.

        Raises:
            LogChanged: the log is another one.
            StoreCorrupt: the store's file went bad; it has been removed, a restart rebuilds it.
            UnknownVersion: the log holds what only a newer release understands.
        """
        self._store = store = await trio.to_thread.run_sync(self._open_store, limiter=self._writing)
        self._readers_free = [Reader(self._path) for _ in range(READERS)]
        self.applied, self.digest = store.state.position, store.state.digest
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end.run)
                nursery.start_soon(self._watch_head)
                nursery.start_soon(self._watch_damage)
                nursery.start_soon(self._write_now_and_then)
                task_status.started()
                await self._follow(store)
        except* StoreCorrupt as damage:
            reason = str(damage.exceptions[0])
            logger.error("the store is damaged; it was removed, and a restart rebuilds it from the log", reason=reason)
            discard(self._path)
            raise
        finally:
            for reader in self._readers_free:
                reader.close()
            with trio.CancelScope(shield=True), suppress(StoreCorrupt):
                await self._write()
            store.close()

    async def read(self, query: Callable[[Reader], T], *, stale: bool = False) -> T:
        """Run a query against the store, in a thread, once all that is applied is in its file.

        While that cannot be written, the node says so by :attr:`ready`. What the file has then is older than what was
        shown: there a head goes back, and who was kicked is a member. When the query meets damage the replica ends,
        and this never returns.

        Args:
            stale: what the file has will do.

        Raises:
            RequestError: ``unavailable``: it will not.
        """

        def named(reader: Reader) -> T:
            with corruption_named(self._path, own_sql=False):
                return query(reader)

        async with self._reader() as reader:
            try:
                if (self._stuck or not await self._write()) and not stale:
                    raise RequestError(ErrorCode.UNAVAILABLE, "this node's disk is full or broken", retry_ms=1000)
                return await trio.to_thread.run_sync(named, reader)
            except StoreCorrupt as error:
                self._damage = error
                self._damaged.set()
                await trio.sleep_forever()

    def account(self, name: str) -> Account | None:
        """The local account of this name, or None. Every hello asks, so it is looked up without a thread."""
        return self._open.state.accounts.get(name)

    def notices(self) -> list[Notice]:
        """The operators' notices, those that are over too."""
        return self._open.state.notices

    async def catch_up(self) -> None:
        """Wait until everything that was acknowledged by anyone before this call is applied here.

        When the log does not answer, the node says so by :attr:`ready` and what is here has to do.

        Raises:
            RequestError: ``unavailable``: the log has more, and it does not come in time.
        """
        known = 0
        with trio.move_on_after(_BARRIER_TIMEOUT_S), suppress(LogUnavailable):
            known = self.head = max(self.head, await self._end.last())
            await self._wait_for(known)
            return
        self.caught_up = False
        if self.applied < known:
            raise RequestError(ErrorCode.UNAVAILABLE, "this node has not come so far yet; ask again, or another node")

    @property
    def ready(self) -> bool:
        """Whether this node shows what the log holds."""
        return self.caught_up and self._log.reachable and not self._stuck

    async def wait_ready(self) -> None:
        """Wait until :attr:`ready`."""
        while not self.ready:
            await self._looked.wait()

    @property
    def _open(self) -> Store:
        assert self._store is not None  # noqa: S101 - nobody asks before
        return self._store

    def _open_store(self) -> Store:
        try:
            return Store(self._path, self._log.epoch)
        except StoreCorrupt as error:
            logger.error("the store is damaged and is rebuilt from the log", reason=str(error))
            discard(self._path)
            return Store(self._path, self._log.epoch)

    async def _follow(self, store: Store) -> None:
        async with aclosing(self._log.tail(self.applied)) as tail:
            async for entries in tail:
                applied = await self._apply(store, entries)
                if self._tracer is not None:
                    self._tracer.applied(applied.events, applied.position)
                self._hub.publish(applied.events, applied.pushes, applied.accounts, trio.current_time())
                self._metrics.events_applied.inc(len(applied.events))
                self.applied = applied.position
                self.digest = store.state.digest
                self._keep_digests(applied.digests)
                self._submitter.resolve(applied.batches)
                self._moved.set()
                self._moved = trio.Event()
                if store.unwritten_bytes > _LOT_BYTES:
                    await self._write_at_last()

    def _keep_digests(self, new: dict[int, bytes]) -> None:
        self.digests |= new
        for position in list(self.digests)[:-_DIGESTS_KEPT]:
            del self.digests[position]

    async def _apply(self, store: Store, entries: Sequence[tuple[int, bytes]]) -> Applied:
        while True:
            try:
                return await trio.to_thread.run_sync(store.apply, entries, limiter=self._writing)
            except sqlite3.OperationalError as error:
                logger.error("the store cannot be read, will be repeated", reason=str(error))
                self.caught_up = False
                await trio.sleep(_APPLY_RETRY_S)

    async def _write(self) -> bool:
        """Bring the store's file up to what is applied. Returns whether that went well."""
        store = self._open
        async with self._write_turn:
            if store.unwritten_bytes:
                try:
                    await trio.to_thread.run_sync(store.write, limiter=self._writing)
                except sqlite3.OperationalError as error:
                    logger.error("the store cannot be written, will be repeated", reason=str(error))
                    self._stuck = True
                    return False
            self._stuck = False
        return True

    async def _write_at_last(self) -> None:
        """Write, however long it takes: no more may be applied before."""
        while True:
            if await self._write():
                return
            await trio.sleep(_APPLY_RETRY_S)

    async def _write_now_and_then(self) -> None:
        """Write also when nobody reads, so that little is applied again after a crash."""
        while True:
            await trio.sleep(_WRITE_EVERY_S)
            await self._write()

    async def _watch_head(self) -> None:
        """Keep :attr:`head` and :attr:`caught_up` true."""
        while True:
            try:
                self.head = await self._log.last()
            except LogUnavailable:
                self.caught_up = False
            else:
                with trio.move_on_after(_POLL_S) as timeout:
                    await self._wait_for(self.head)
                self.caught_up = not timeout.cancelled_caught
            self._looked.set()
            self._looked = trio.Event()
            await trio.sleep(_POLL_S if self.caught_up else _POLL_S / 10)

    async def _watch_damage(self) -> None:
        """Raise what a reader found: in a page, perhaps, that is not read when the store is opened."""
        await self._damaged.wait()
        if self._damage is not None:
            raise self._damage

    async def _wait_for(self, position: int) -> None:
        while self.applied < position:
            await self._moved.wait()

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Reader]:
        async with self._reading:
            reader = self._readers_free.pop()
            try:
                yield reader
            finally:
                self._readers_free.append(reader)
