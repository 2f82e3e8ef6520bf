"""Reading a JetStream stream in order, inside the NATS thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from node.errors import LogUnavailable
from node.log.base import TAIL_BATCH_BYTES, TAIL_BATCH_ENTRIES, Entry

_HEARTBEAT_S: Final = 1.0
_SILENCE_S: Final = 3.0
"""No message and no heartbeat for so long: the consumer is gone."""
_BEHIND_S: Final = 5.0
"""An entry known to be committed does not come for so long: the consumer's server does not follow the leader."""
_PULL_EXPIRES_S: Final = 30.0
_INACTIVE_S: Final = 60.0
"""The server forgets a consumer that nobody pulls from after this."""
_NANOSECONDS: Final = 1_000_000_000


class Consumer:
    """A short-lived, acknowledgement-free consumer that hands out entries ``first``, ``first + 1``, ... in batches.

    It asks for one batch at a time (a *pull*), and for the next when the last was taken: a reader that stops is never
    sent more than two. It trusts nobody about order: an entry that is not the next one ends it.

    Every failure is :class:`~node.errors.LogUnavailable`; the owner then makes a new consumer at the first entry
    that is missing.

    Args:
        client: the connection; the consumer lives no longer.
        stream: name of the stream.
        first: position of the first entry to hand out.
        known_last: tells the highest position known to be committed, as others heard from the stream's leader.
    """

    def __init__(self, client: Client, stream: str, first: int, known_last: Callable[[], int]) -> None:
        self._client = client
        self._stream = stream
        self._known_last = known_last
        self._name = f"tail-{secrets.token_hex(8)}"
        self._inbox = client.new_inbox()
        self._next = first
        self._subscription: Subscription | None = None
        self._entries: list[Entry] = []
        self._arrived = asyncio.Event()
        self._heard_at_s = time.monotonic()
        self._pulls = 0
        self._awaited = 0
        self._failure: str | None = None

    async def start(self, timeout_s: float) -> None:
        """Make the consumer on the server, within ``timeout_s``, and ask for the first batch."""
        self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._receive)
        config = ConsumerConfig(
            name=self._name,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._next,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_INACTIVE_S,
            mem_storage=True,
            num_replicas=1,
        )
        await self._client.jsm(timeout=timeout_s).add_consumer(self._stream, config)
        await self._pull()

    async def next_batch(self, client: Client) -> Sequence[Entry]:
        """Wait for entries and take all that have come."""
        if client is not self._client:
            raise LogUnavailable("the consumer's connection broke")
        behind_since_s: float | None = None
        while not self._entries:
            now_s = time.monotonic()
            if self._known_last() < self._next:
                behind_since_s = None
            elif behind_since_s is None:
                behind_since_s = now_s
            self._check_alive(now_s, behind_since_s or now_s)
            if not self._awaited:
                await self._pull()
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), _HEARTBEAT_S)
        count = len(self._entries)
        if not self._awaited and self._failure is None:
            await self._pull()
        batch, self._entries = self._entries[:count], self._entries[count:]
        return batch

    def _check_alive(self, now_s: float, behind_since_s: float) -> None:
        if self._failure is not None:
            raise LogUnavailable(self._failure)
        if now_s - self._heard_at_s > _SILENCE_S:
            raise LogUnavailable(f"no heartbeat from the consumer for {_SILENCE_S} s")
        if now_s - behind_since_s > _BEHIND_S:
            raise LogUnavailable(f"entry {self._next} is committed, but the consumer did not send it in {_BEHIND_S} s")

    async def close(self, client: Client) -> None:
        """Take the consumer away. Best effort: the server forgets it by itself after a while."""
        if client is self._client and self._subscription is not None:
            await self._subscription.unsubscribe()
        await client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}")

    async def _pull(self) -> None:
        self._pulls += 1
        self._awaited = TAIL_BATCH_ENTRIES
        self._heard_at_s = time.monotonic()
        request = {
            "batch": TAIL_BATCH_ENTRIES,
            "max_bytes": TAIL_BATCH_BYTES,
            "expires": int(_PULL_EXPIRES_S * _NANOSECONDS),
            "idle_heartbeat": int(_HEARTBEAT_S * _NANOSECONDS),
        }
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}",
            json.dumps(request).encode(),
            reply=f"{self._inbox}.{self._pulls}",
        )

    async def _receive(self, message: Msg) -> None:
        self._heard_at_s = time.monotonic()
        if message.reply.startswith("$JS.ACK."):
            self._take(_stream_sequence(message.reply), message.data)
        elif message.headers is not None and message.subject == f"{self._inbox}.{self._pulls}":
            self._take_status(message.headers.get("Status", ""), message.headers.get("Description", ""))
        self._arrived.set()

    def _take(self, position: int, data: bytes) -> None:
        if self._failure is not None:
            return
        if position != self._next:
            self._failure = f"the consumer sent entry {position} where {self._next} comes next"
            return
        self._next += 1
        self._awaited -= 1
        self._entries.append(Entry(position, data))

    def _take_status(self, code: str, description: str) -> None:
        """A status ends the pull, unless it is a heartbeat; some also end the consumer."""
        if code == "100":
            return
        self._awaited = 0
        over = code in ("404", "408") or "MaxBytes" in description or "Batch Completed" in description
        if not over:
            self._failure = f"the consumer ended: {code} {description}"


def _stream_sequence(reply: str) -> int:
    """The position in ``$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<position>. ...``."""
    fields = reply.split(".")
    return int(fields[5] if len(fields) == 9 else fields[7])
