"""The log as a replicated JetStream stream.

One stream, with one subject that carries the log's epoch: ``chat.log.0.<epoch>``. A node that still believes in an
older log publishes to a subject that nobody listens on, so it can never append to the wrong one.

Reads go through the stream's consumers, or while none can be had, its leader only; direct get may answer from a replica
that is behind.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Final

import nats.errors
import structlog
import trio
from nats.aio.client import Client
from nats.js.api import StreamInfo
from nats.js.errors import APIError

from node.errors import LogChanged, LogUnavailable
from node.log.base import MAX_ENTRY_BYTES, TAIL_BATCH_BYTES, TAIL_BATCH_ENTRIES, Entry, check_entry, new_epoch
from node.log.nats_consumer import Consumer
from node.log.nats_thread import NatsThread
from node.log.stream import (
    API_TIMEOUT_S,
    STREAM,
    STREAM_NAME_IN_USE,
    acknowledged,
    entry_at,
    epoch_of,
    find_stream,
    has_quorum,
    is_unfinished,
    same_log,
    stream_config,
    subject,
)

_CONNECT_TIMEOUT_S: Final = 5.0
_CHECK_TIMEOUT_S: Final = 1.0
_CHECK_INTERVAL_S: Final = 3.0
"""A check takes the time in which an append could be tried again, and a log rarely changes."""
_APPEND_TIMEOUT_S: Final = 1.5
"""Short, for a retry is harmless, and the first try may have gone to a leader that is dead."""
_CONSUME_TIMEOUT_S: Final = 0.5
_CONSUME_SOON_TRIES: Final = 12
"""A question that is asked while a leader is elected is lost without a word, so until an election must be over, it is
asked again soon. Each time it is about another consumer: one may have its place on a server that nobody reaches."""
_CONSUME_DOUBLINGS: Final = 4
_ASKED_BYTES: Final = TAIL_BATCH_BYTES - MAX_ENTRY_BYTES
_ASK_TIMEOUT_S: Final = 0.25
"""Short, so that the next question for a consumer is not late where there is no leader."""
_BEYOND_END_S: Final = 4.0
"""A leader that was just cut off may know less than we do, for a moment; so it is not believed at once."""
_RESUME_DELAY_S: Final = (0.05, 0.2)

logger = structlog.get_logger()


class JetStreamLog:
    """A :class:`~node.log.base.Log` in the JetStream stream ``CHAT``.

    Args:
        servers: ``nats://host:port`` of each server, the nearest first.
        user: user name, None for no authentication.
        password: the user's password.
        replicas: how many servers keep the stream, if it is made here.
        name: what the servers' monitoring shows for this connection.
        create: make the stream if there is none.
        max_bytes: the size beyond which appends raise :class:`~node.errors.LogFull`, if the stream is made here;
            None: what the servers' own limit allows.
    """

    def __init__(
        self,
        servers: list[str],
        user: str | None,
        password: str | None,
        replicas: int,
        *,
        name: str = "chat-node",
        create: bool = True,
        max_bytes: int | None = None,
    ) -> None:
        self.nats = NatsThread(servers, user, password, name=name)
        """The connection, which also carries what nodes tell each other without the log."""
        self._replicas = replicas
        self._create = create
        self._max_bytes = max_bytes
        self._epoch = ""
        self._answered = False
        self._closed = False
        self._known_last = 0
        self._next_check = -math.inf

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def reachable(self) -> bool:
        return self._answered and self.nats.connected

    async def open(self) -> None:
        self.nats.start()
        await self.nats.wait_connected(_CONNECT_TIMEOUT_S)
        info = await find_stream(self.nats)
        if info is None and not self._epoch and self._create:
            info = await self._make()
        info = same_log(info, self._epoch)
        if is_unfinished(info):
            raise LogUnavailable(f"an import into stream {STREAM} is not finished: run it (again) to its end")
        self._epoch = epoch_of(info)
        self._answered = True

    async def append(self, entry_id: str, data: bytes) -> int:
        check_entry(entry_id, data)
        where = subject(self._epoch)

        async def publish(client: Client) -> bytes:
            reply = await client.request(where, data, _APPEND_TIMEOUT_S, headers={"Nats-Msg-Id": entry_id})
            return reply.data

        try:
            position = acknowledged(await self.nats.call(publish))
        except LogUnavailable as error:
            self._answered = False
            if isinstance(error.__cause__, nats.errors.NoRespondersError) and trio.current_time() >= self._next_check:
                await self._check_not_changed()
                self._next_check = trio.current_time() + _CHECK_INTERVAL_S
            raise
        self._answered = True
        self._known_last = max(self._known_last, position)
        return position

    async def tail(self, after: int) -> AsyncGenerator[Sequence[Entry]]:
        position, lost, told = after, 0, ""
        while True:
            consumer: Consumer | None = None
            try:
                consumer = await self.nats.call(partial(self._consume, position + 1, consume_timeout_s(lost)))
                lost = 0
                await self._check_end(position)
                told = ""
                while True:
                    batch = await self.nats.call(consumer.next_batch)
                    yield batch
                    position = batch[-1].position
            except APIError as error:
                if told != str(error):  # it may be refused several times a second, for hours
                    logger.info("tail_refused", after=position, error=str(error))
                told = str(error)
                await self._check_not_changed()
            except LogUnavailable as error:
                if self._closed:
                    raise
                lost += consumer is None
                logger.info("tail_resumes", after=position, error=str(error))
            finally:
                if consumer is not None:
                    self.nats.spawn(consumer.close)
            if consumer is None and (batch := await self._ask_leader(position)):
                yield batch
                position = batch[-1].position
            await trio.sleep(random.uniform(*_RESUME_DELAY_S))  # noqa: S311

    async def _ask_leader(self, after: int) -> list[Entry]:
        """The next entries, one by one from the stream's leader; none if it does not answer.

        Consumers are made by the leader of the whole cluster, and it may take an election until there is one. The
        stream, which has a leader of its own, may go on meanwhile, and what is written to it can be read.
        """
        entries: list[Entry] = []
        size, until = 0, trio.current_time() + _ASK_TIMEOUT_S
        with contextlib.suppress(LogUnavailable, APIError):
            while size < _ASKED_BYTES and len(entries) < TAIL_BATCH_ENTRIES and trio.current_time() < until:
                ask = partial(entry_at, after + len(entries) + 1, self._epoch, _ASK_TIMEOUT_S)
                if (entry := await self.nats.call(ask)) is None:
                    break
                entries.append(entry)
                size += len(entry.data)
        return entries

    async def last(self) -> int:
        try:
            info = await self._found()
            if not has_quorum(info):
                raise LogUnavailable("the log has no leader with a quorum behind it")
        except LogUnavailable:
            self._answered = False
            raise
        self._answered = True
        self._known_last = max(self._known_last, info.state.last_seq)
        return info.state.last_seq

    async def aclose(self) -> None:
        self._closed = True
        self._answered = False
        await self.nats.aclose()

    async def _make(self) -> StreamInfo:
        """Make the stream. Of several nodes that do so at once one wins, and the others find its stream."""
        config = stream_config(new_epoch(), self._replicas, self._max_bytes)
        try:
            await self.nats.call(lambda client: client.jsm(timeout=API_TIMEOUT_S).add_stream(config))
        except APIError as error:
            if error.err_code != STREAM_NAME_IN_USE:
                raise LogUnavailable(str(error)) from error
        with trio.move_on_after(API_TIMEOUT_S):
            # It may be another node that makes it.
            while (info := await find_stream(self.nats)) is None:  # noqa: ASYNC110
                await trio.sleep(0.05)
            return info
        raise LogUnavailable(f"stream {STREAM} is being made, but is not there yet")

    async def _found(self) -> StreamInfo:
        """The stream as its leader knows it. Raises LogChanged unless it is the log that was opened."""
        return same_log(await find_stream(self.nats), self._epoch)

    async def _check_not_changed(self) -> None:
        """Raise LogChanged if that is why nobody answers; the stream's silence alone is no news."""
        with trio.move_on_after(_CHECK_TIMEOUT_S), contextlib.suppress(LogUnavailable):
            await self._found()

    async def _consume(self, first: int, timeout_s: float, client: Client) -> Consumer:
        consumer = Consumer(client, STREAM, first, lambda: self._known_last)
        try:
            await consumer.start(timeout_s)
        except nats.errors.Error:
            await consumer.close(client)  # it may have been made all the same
            raise
        return consumer

    async def _check_end(self, position: int) -> None:
        """Raise LogChanged if the log is another one or ends before ``position``.

        Asked after the consumer was made, so that the answer is about the consumer's stream. A leader that was cut
        off a moment ago may not know the end yet, so it is asked for some time.
        """
        deadline = trio.current_time() + _BEYOND_END_S
        while await self.last() < position:
            if trio.current_time() > deadline:
                raise LogChanged(f"stream {STREAM} ends before position {position}")
            await trio.sleep(0.25)


def consume_timeout_s(lost: int) -> float:
    """How long to wait for a consumer, in seconds, after so many that did not come; long at last, for slow servers."""
    doublings = min(max(0, lost - _CONSUME_SOON_TRIES), _CONSUME_DOUBLINGS)
    return min(_CONSUME_TIMEOUT_S * 2.0**doublings, API_TIMEOUT_S)
