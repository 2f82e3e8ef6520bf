"""Filling the JetStream log before nodes use it.

While it is filled the stream is marked as unfinished, and no node opens it. A node that had the empty log open finds
that it is another one, and starts again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar

import trio
from nats.aio.client import Client
from nats.js.api import StreamConfig, StreamInfo
from nats.js.errors import APIError

from node.errors import LogChanged, LogNotEmpty, LogUnavailable
from node.log.base import new_epoch
from node.log.crossing import Work
from node.log.nats_thread import NatsThread
from node.log.stream import (
    API_TIMEOUT_S,
    STREAM,
    STREAM_NAME_IN_USE,
    acknowledged,
    find_stream,
    is_unfinished,
    same_log,
    stream_config,
    subject,
)

T = TypeVar("T")

_CONNECT_TIMEOUT_S: Final = 5.0
_PUBLISH_TIMEOUT_S: Final = 10.0
_PATIENCE_S: Final = 60.0
"""So long may the servers take no entry: more than an election."""
_RETRY_S: Final = 0.5
_TRIES: Final = 5


class JetStreamLoader:
    """A :class:`~node.log.base.Loader` for the stream ``CHAT``; arguments as of ``JetStreamLog``."""

    def __init__(self, servers: list[str], user: str | None, password: str | None, replicas: int) -> None:
        self._nats = NatsThread(servers, user, password, name="chat-node import")
        self._replicas = replicas
        self._epoch = new_epoch()
        self._loaded = 0

    async def begin(self) -> None:
        self._nats.start()
        await self._nats.wait_connected(_CONNECT_TIMEOUT_S)
        for _ in range(_TRIES):
            info = await find_stream(self._nats)
            if info is not None:
                await self._take_away(same_log(info, ""))
            if await self._make():
                return
        raise LogUnavailable(f"nodes make stream {STREAM} again and again: stop them, then repeat the import")

    async def load(self, entries: Sequence[bytes]) -> None:
        first, end = self._loaded, self._loaded + len(entries)
        deadline = trio.current_time() + _PATIENCE_S
        while self._loaded < end:
            try:
                await self._nats.call(partial(self._publish, entries[self._loaded - first :], self._loaded))
            except LogUnavailable:
                if trio.current_time() > deadline:
                    raise
                await trio.sleep(_RETRY_S)
                self._loaded = await self._arrived(deadline)
            else:
                self._loaded = end

    async def finish(self) -> str:
        deadline = trio.current_time() + _PATIENCE_S
        last = await self._arrived(deadline)
        if last != self._loaded:
            raise LogChanged(f"stream {STREAM} ends at {last}, and {self._loaded} entries were put in")
        whole = stream_config(self._epoch, self._replicas, None)
        while True:
            try:
                await self._update(whole)
            except LogUnavailable:  # maybe it was done: to do it again is the same
                if trio.current_time() > deadline:
                    raise
                await trio.sleep(_RETRY_S)
            else:
                return self._epoch

    async def aclose(self) -> None:
        await self._nats.aclose()

    async def _take_away(self, info: StreamInfo) -> None:
        """Remove a stream without entries, or with those of an import that was broken off."""
        if not is_unfinished(info):
            # First nobody can append any more, then it is seen whether somebody has.
            closed = stream_config(self._epoch, self._replicas, None, unfinished=True)
            if info.state.last_seq == 0:
                info, before = await self._update(closed), info
                if info.state.last_seq:
                    await self._update(before.config)
            if info.state.last_seq:
                raise LogNotEmpty(f"stream {STREAM} has {info.state.last_seq} entries: an import wants an empty log")
        await self._api(lambda client: client.jsm(timeout=API_TIMEOUT_S).delete_stream(STREAM))

    async def _make(self) -> bool:
        """Make the stream; False if a node was faster."""
        config = stream_config(self._epoch, self._replicas, None, unfinished=True)
        try:
            await self._nats.call(lambda client: client.jsm(timeout=API_TIMEOUT_S).add_stream(config))
        except APIError as error:
            if error.err_code == STREAM_NAME_IN_USE:
                return False
            raise LogUnavailable(str(error)) from error
        return True

    async def _update(self, config: StreamConfig) -> StreamInfo:
        return await self._api(lambda client: client.jsm(timeout=API_TIMEOUT_S).update_stream(config))

    async def _api(self, work: Work[T]) -> T:
        try:
            return await self._nats.call(work)
        except APIError as error:
            raise LogUnavailable(str(error)) from error

    async def _publish(self, entries: Sequence[bytes], after: int, client: Client) -> None:
        """Send all at once. Each names the position before its own, so none can land in another's place."""
        sends = (self._publish_one(client, before, data) for before, data in enumerate(entries, start=after))
        failures = [error for error in await asyncio.gather(*sends, return_exceptions=True) if error is not None]
        if failures:
            raise failures[0]

    async def _publish_one(self, client: Client, before: int, data: bytes) -> None:
        headers = {"Nats-Expected-Last-Sequence": str(before)}
        reply = await client.request(subject(self._epoch), data, _PUBLISH_TIMEOUT_S, headers=headers)
        acknowledged(reply.data)

    async def _arrived(self, deadline: float) -> int:
        """How many of the entries are in the stream: what was sent without an answer may be, or not."""
        while True:
            try:
                return same_log(await find_stream(self._nats), self._epoch).state.last_seq
            except LogUnavailable:
                if trio.current_time() > deadline:
                    raise
                await trio.sleep(_RETRY_S)
