"""The log as a replicated JetStream stream.

One stream, with one subject that carries the log's epoch: ``chat.log.0.<epoch>``. A node that still believes in an
older log publishes to a subject that nobody listens on, so it can never append to the wrong one.

Reads go through the stream's consumers and its leader only; direct get may answer from a replica that is behind.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, Final

import nats.errors
import structlog
import trio
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import APIError

from node.errors import LogChanged, LogFull, LogUnavailable
from node.log.base import MAX_ENTRY_BYTES, Entry, check_entry, new_epoch
from node.log.nats_consumer import Consumer
from node.log.nats_thread import NatsThread

STREAM: Final = "CHAT"
_SUBJECT: Final = "chat.log.0"
_EPOCH_KEY: Final = "chat.epoch"
_MAX_HEADER_BYTES: Final = 1024
_DUPLICATE_WINDOW_S: Final = 15 * 60
"""Longer than the ten minutes that are promised."""

_CONNECT_TIMEOUT_S: Final = 5.0
_API_TIMEOUT_S: Final = 5.0
_INFO_TIMEOUT_S: Final = 1.0
_INFO_TRIES: Final = 5
_APPEND_TIMEOUT_S: Final = 2.0
"""Short, for a retry is harmless, and the first try may have gone to a leader that is dead."""
_BEYOND_END_S: Final = 4.0
"""A leader that was just cut off may know less than we do, for a moment; so it is not believed at once."""
_REPLICA_FRESH_NS: Final = 3_000_000_000
_RESUME_DELAY_S: Final = (0.05, 0.2)

# Error codes of the JetStream API (nats-server, server/errors.json).
_STREAM_NAME_IN_USE: Final = 10058
_STREAM_NOT_FOUND: Final = 10059
_STORE_FAILED: Final = 10077
_NO_SPACE: Final = frozenset({10002, 10023, 10047, 10122})
_LIMIT_REACHED: Final = ("maximum bytes exceeded", "maximum messages exceeded")

logger = structlog.get_logger()


class JetStreamLog:
    """A :class:`~node.log.base.Log` in the JetStream stream ``CHAT``.

    Args:
        servers: ``nats://host:port`` of each server, the nearest first.
        user: user name, None for no authentication.
        password: the user's password.
        replicas: how many servers keep the stream, if it is made here.
        name: what the servers' monitoring shows for this connection.
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
        max_bytes: int | None = None,
    ) -> None:
        self.nats = NatsThread(servers, user, password, name=name)
        """The connection, which also carries what nodes tell each other without the log."""
        self._replicas = replicas
        self._max_bytes = max_bytes
        self._epoch = ""
        self._answered = False
        self._closed = False
        self._known_last = 0

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def reachable(self) -> bool:
        return self._answered and self.nats.connected

    async def open(self) -> None:
        self.nats.start()
        await self.nats.wait_connected(_CONNECT_TIMEOUT_S)
        info = await self._info()
        if info is None and not self._epoch:
            info = await self._create()
        self._epoch = _epoch(self._same(info))
        self._answered = True

    async def append(self, entry_id: str, data: bytes) -> int:
        check_entry(entry_id, data)
        subject = f"{_SUBJECT}.{self._epoch}"

        async def publish(client: Client) -> bytes:
            reply = await client.request(subject, data, _APPEND_TIMEOUT_S, headers={"Nats-Msg-Id": entry_id})
            return reply.data

        try:
            position = _acknowledged(await self.nats.call(publish))
        except LogUnavailable as error:
            self._answered = False
            if isinstance(error.__cause__, nats.errors.NoRespondersError):
                await self._check_not_changed()
            raise
        self._answered = True
        self._known_last = max(self._known_last, position)
        return position

    async def tail(self, after: int) -> AsyncGenerator[Sequence[Entry]]:
        position = after
        while True:
            consumer: Consumer | None = None
            try:
                consumer = await self.nats.call(partial(self._consume, position + 1))
                await self._check_end(position)
                while True:
                    batch = await self.nats.call(consumer.next_batch)
                    yield batch
                    position = batch[-1].position
            except APIError as error:
                logger.info("tail_refused", after=position, error=str(error))
                await self._check_not_changed()
            except LogUnavailable as error:
                if self._closed:
                    raise
                logger.info("tail_resumes", after=position, error=str(error))
            finally:
                if consumer is not None:
                    self.nats.spawn(consumer.close)
            await trio.sleep(random.uniform(*_RESUME_DELAY_S))  # noqa: S311

    async def last(self) -> int:
        try:
            info = self._same(await self._info())
            if not _has_quorum(info):
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

    async def _info(self) -> StreamInfo | None:
        """What the stream's leader says of the stream; None if there is no stream."""
        try:
            return await self.nats.call(_stream_info)
        except APIError as error:
            if error.err_code == _STREAM_NOT_FOUND:
                return None
            raise LogUnavailable(str(error)) from error

    async def _create(self) -> StreamInfo:
        """Make the stream. Of several nodes that do so at once one wins, and the others find its stream."""
        epoch = new_epoch()
        config = StreamConfig(
            name=STREAM,
            subjects=[f"{_SUBJECT}.{epoch}"],
            metadata={_EPOCH_KEY: epoch},
            storage=StorageType.FILE,
            num_replicas=self._replicas,
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.NEW,
            max_bytes=-1 if self._max_bytes is None else self._max_bytes,
            max_msg_size=MAX_ENTRY_BYTES + _MAX_HEADER_BYTES,
            duplicate_window=_DUPLICATE_WINDOW_S,
            deny_delete=True,
            deny_purge=True,
        )
        try:
            await self.nats.call(lambda client: client.jsm(timeout=_API_TIMEOUT_S).add_stream(config))
        except APIError as error:
            if error.err_code != _STREAM_NAME_IN_USE:
                raise LogUnavailable(str(error)) from error
        with trio.move_on_after(_API_TIMEOUT_S):
            # It may be another node that makes it.
            while (info := await self._info()) is None:  # noqa: ASYNC110
                await trio.sleep(0.05)
            return info
        raise LogUnavailable(f"stream {STREAM} is being made, but is not there yet")

    def _same(self, info: StreamInfo | None) -> StreamInfo:
        """``info``. Raises LogChanged unless it is of the log that was opened, or could be opened."""
        if info is None or not _epoch(info):
            raise LogChanged(f"stream {STREAM} is gone, or was not made by a chat node")
        if self._epoch not in ("", _epoch(info)):
            raise LogChanged(f"stream {STREAM} has epoch {_epoch(info)}, expected {self._epoch}")
        return info

    async def _check_not_changed(self) -> None:
        """Raise LogChanged if that is why nobody answers; the stream's silence alone is no news."""
        with trio.move_on_after(_INFO_TIMEOUT_S), contextlib.suppress(LogUnavailable):
            self._same(await self._info())

    async def _consume(self, first: int, client: Client) -> Consumer:
        consumer = Consumer(client, STREAM, first, lambda: self._known_last)
        await consumer.start()
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


async def _stream_info(client: Client) -> StreamInfo:
    """Ask until the leader answers: while one is being elected, the question is lost without a word."""
    for _ in range(_INFO_TRIES - 1):
        with contextlib.suppress(nats.errors.TimeoutError):
            return await client.jsm(timeout=_INFO_TIMEOUT_S).stream_info(STREAM)
    return await client.jsm(timeout=_INFO_TIMEOUT_S).stream_info(STREAM)


def _epoch(info: StreamInfo) -> str:
    return (info.config.metadata or {}).get(_EPOCH_KEY, "")


def _acknowledged(reply: bytes) -> int:
    """The position in a publish acknowledgement, or the error that it is."""
    answer: dict[str, Any] = json.loads(reply)
    error = answer.get("error")
    if error is None:
        if answer.get("stream") != STREAM or answer.get("seq", 0) < 1:
            raise LogUnavailable(f"not an acknowledgement of {STREAM}: {answer}")
        return int(answer["seq"])
    code, text = error.get("err_code"), error.get("description", "")
    if code in _NO_SPACE or (code == _STORE_FAILED and text in _LIMIT_REACHED):
        raise LogFull(f"{text} ({code})")
    raise LogUnavailable(f"{text} ({code})")


def _has_quorum(info: StreamInfo) -> bool:
    """Whether a leader answered, and has heard from enough followers lately to know what it says.

    Without a leader a follower answers; a leader that is cut off answers for another 20 s.
    """
    replicas = info.config.num_replicas or 1
    if replicas == 1:
        return True
    if info.cluster is None or not info.cluster.leader:
        return False
    fresh = sum(1 for peer in info.cluster.replicas or [] if 0 < (peer.active or 0) < _REPLICA_FRESH_NS)
    return 2 * (1 + fresh) > replicas
