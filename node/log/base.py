"""What the node asks of a log, and what every implementation promises.

An *entry* is an opaque byte string (a batch of records) with a *position*: 1, 2, 3, ... without holes. Both
implementations pass the same contract tests (``tests/contract``).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

MAX_ENTRY_BYTES = 512 * 1024
"""Largest entry a log must take. Half of what a NATS server accepts by default (1 MiB with headers)."""

TAIL_BATCH_ENTRIES = 256
"""The most entries that :meth:`Log.tail` hands over at once."""

TAIL_BATCH_BYTES = 4 * 1024 * 1024
"""The most bytes that :meth:`Log.tail` hands over at once."""

_ENTRY_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def check_entry(entry_id: str, data: bytes) -> None:
    """Raise ValueError unless an entry may be appended: see :meth:`Log.append`."""
    if not _ENTRY_ID.fullmatch(entry_id):
        raise ValueError(f"bad entry id {entry_id[:200]!r}")
    if len(data) > MAX_ENTRY_BYTES:
        raise ValueError(f"entry of {len(data)} bytes, the most is {MAX_ENTRY_BYTES}")


def new_epoch() -> str:
    """A fresh random epoch."""
    return secrets.token_hex(8)


class Entry(NamedTuple):
    """One committed entry: its position and its bytes, exactly as appended."""

    position: int
    data: bytes


class Source(Protocol):
    """The half of a :class:`Log` that an export reads; the promises are those of the log."""

    @property
    def epoch(self) -> str:
        """The id of the log."""

    def tail(self, after: int) -> AsyncGenerator[Sequence[Entry]]:
        """Yield what comes after a position, in batches; what comes after the end of :meth:`last` need not come."""

    async def last(self) -> int:
        """The position of the last committed entry."""


class Loader(Protocol):
    """Fills a log that has no entries yet. Until :meth:`finish` no node can open that log.

    A loader that was not finished, for whatever reason, leaves the log as it was, or so that only another loader can
    use it, which begins anew.
    """

    async def begin(self) -> None:
        """Take the log; from here on no node appends to it.

        Raises:
            LogNotEmpty: there are entries in it; it is as it was.
            LogUnavailable: it cannot be reached, or a node has it.
        """

    async def load(self, entries: Sequence[bytes]) -> None:
        """Append entries in order, the first ever at position 1.

        Raises:
            LogUnavailable, LogFull, LogChanged: give up, and begin with another loader.
        """

    async def finish(self) -> str:
        """Hand the log over to the nodes. Returns its epoch, which is new; when this returns it is as durable as any.

        Raises:
            LogUnavailable, LogChanged: it may or may not be handed over.
        """

    async def aclose(self) -> None:
        """Let go of everything, finished or not. Idempotent."""


class Log(Protocol):
    """A durable, totally ordered log with idempotent append.

    The promises:

    - **Durable**: when :meth:`append` returns, the entry survives a crash of this process and of any one machine
      that keeps the log, disks included: it has been synced (SQLite) or synced by a quorum (JetStream).
    - **Ordered and dense**: every reader sees the same entries at the same positions, from 1 on, none missing.
    - **Idempotent**: appending again with the same ``entry_id`` within ten minutes commits nothing new and returns
      the position of the first. Later repeats are for the reader to recognise.
    - **Nothing else is swallowed**: an append whose fate is unknown raises :class:`~node.errors.LogUnavailable`.
    - **epoch** is a random id that is made with the log and stays with it for life.
    """

    @property
    def epoch(self) -> str:
        """The id of this log. Known after :meth:`open`."""

    async def open(self) -> None:
        """Connect, create the log if there is none yet (several nodes may do so at once), and learn the epoch.

        Raises:
            LogUnavailable: nothing answers, or there is no quorum. May be called again.
            LogChanged: opened before, and the log now has another epoch.
        """

    async def append(self, entry_id: str, data: bytes) -> int:
        """Commit one entry and return its position.

        One append at a time is enough for the node (it batches records into entries), so callers get order by
        awaiting; concurrent appends are allowed and may commit in any order.

        Args:
            entry_id: 1-128 characters of ``A-Z a-z 0-9 . _ : -``, unique to this entry, the same at every retry.
            data: at most :data:`MAX_ENTRY_BYTES` bytes.

        Raises:
            LogUnavailable: not known to be committed. Retry with the same id and the same data.
            LogFull: refused for want of space; not committed.
            LogChanged: the log is not the one that was opened.
            ValueError: a malformed id or too much data; a mistake of the caller, nothing was sent.
        """

    def tail(self, after: int) -> AsyncGenerator[Sequence[Entry]]:
        """Yield batches of entries with positions ``after + 1``, ``after + 2``, ... for ever, waiting at the end.

        Each batch is non-empty, at most :data:`TAIL_BATCH_ENTRIES` long and :data:`TAIL_BATCH_BYTES` big. Survives
        loss of the connection and change of leader by itself; the reader notices at most a pause. To be used under
        ``contextlib.aclosing``; several tails may run at once.

        Raises:
            LogChanged: the log was recreated, or ``after`` is beyond its end, so that positions mean nothing.
            LogUnavailable: the log is not open (any more) on this side.
        """

    async def last(self) -> int:
        """The position of the last committed entry, 0 for an empty log, as the log's leader knows it now.

        Raises:
            LogUnavailable: nobody with authority answers.
            LogChanged: the log is not the one that was opened.
        """

    @property
    def reachable(self) -> bool:
        """Whether the log could be talked to a moment ago: what readiness reports between two calls."""

    async def aclose(self) -> None:
        """Let go of connections and threads. Idempotent, also after a failed :meth:`open`."""
