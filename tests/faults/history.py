"""What clients and a nemesis saw and did, as events with real times, to be judged by :mod:`tests.faults.checker`.

All times are seconds of one monotonic clock. Every call has the time just before its request left (``begin``) and the
time its answer had been read (``end``), so what the server did lies between. A history is a file of JSON lines.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
from msgspec import Struct

Outcome = Literal["ok", "rejected", "unknown"]
"""``ok``: the server said so. ``rejected``: it refused. ``unknown``: no answer, or ``outcome_unknown``."""


class Said(Struct, omit_defaults=True, array_like=True):
    """A message as a history page shows it. ``ts`` is the server's time in Unix ms."""

    seq: int
    author: str
    cid: str
    ts: int
    body: str


class Event(Struct, omit_defaults=True):
    """An event of a room, as it was pushed.

    Attributes:
        op: ``msg``, ``edit``, ``member``, ``room`` ...
        author: who sent or edited.
        target: seq of the message that is edited.
        user, change, by: of a ``member`` or ``room`` event.
    """

    op: str
    seq: int
    ts: int
    author: str = ""
    cid: str = ""
    body: str = ""
    target: int = 0
    user: str = ""
    change: str = ""
    by: str = ""

    @property
    def said(self) -> Said:
        """The message of a ``msg`` event."""
        return Said(self.seq, self.author, self.cid, self.ts, self.body)


class Plan(Struct, tag_field="kind", tag="plan"):
    """The first event: what the history is about. Every node must show every room at the end."""

    nodes: list[str]
    rooms: list[str]
    seed: int


class Call(Struct, tag_field="kind", omit_defaults=True, kw_only=True):
    """A request and what came of it.

    Attributes:
        client: of the workload; a client has one ``user``, and several connections one after the other.
        conn: number of its connection; 0 where the client does not tell.
        node: where the connection is; empty where the client does not tell.
        code: of the refusal.
        epoch, seq: of the acknowledgement.
    """

    client: str
    user: str
    room: str
    begin: float
    end: float
    outcome: Outcome
    conn: int = 0
    node: str = ""
    code: str = ""
    epoch: str = ""
    seq: int = 0


class Send(Call, tag="send", kw_only=True):
    """One attempt to send a message. Attempts of a message share ``user``, ``room`` and ``cid``.

    Attributes:
        order: the how many-th message of this client it is; -1 when the client did not keep an order.
    """

    cid: str
    body: str
    dup: bool = False
    order: int = -1


class Edit(Call, tag="edit", kw_only=True):
    """An attempt to give the message ``target`` another body."""

    target: int
    body: str


class Moderate(Call, tag="moderate", kw_only=True):
    """An attempt to ``kick``, ``ban`` or ``unban`` the user ``peer``, or to ``leave``."""

    change: str
    peer: str


class Join(Call, tag="join", kw_only=True):
    """An attempt to receive a room. When it is ok, pushes with the number ``sub`` follow from it.

    Attributes:
        since: the position it resumes from (``since_epoch``, seq), or None.
        first, head, recovered, reason: as answered; ``head`` is None where the client does not tell.
    """

    sub: int
    since: int | None = None
    since_epoch: str = ""
    limit: int = 0
    first: int = 0
    head: int | None = None
    recovered: bool | None = None
    reason: str = ""


class Page(Call, tag="page", kw_only=True):
    """A page of history: ``messages`` with a seq below ``before`` (None: the last ones)."""

    limit: int
    before: int | None = None
    first: int = 0
    head: int = 0
    messages: list[Said] = []


class Push(Struct, tag_field="kind", tag="push"):
    """An event that was read from a socket, because of the join with the same ``sub``."""

    sub: int
    at: float
    event: Event


class Named(Struct, tag_field="kind", tag="named"):
    """The client was told that events are missing or end here."""

    sub: int
    at: float
    reason: str


class Ended(Struct, tag_field="kind", tag="ended"):
    """A connection is over, and what was joined on it."""

    client: str
    conn: int
    at: float
    code: int


class Fault(Struct, tag_field="kind", tag="fault", omit_defaults=True):
    """Something that was done to the cluster.

    Attributes:
        name: what, as ``node killed``; ``restore`` stands for a log that was put back from a backup.
        target: to whom.
        begin, end: from the blow until the cause was taken away.
        whole: when all nodes were ready and agreed again; 0 when nobody looked.
        limit_s: the longest that a send may take meanwhile; None when too little is left to serve.
    """

    name: str
    target: str
    begin: float
    end: float
    limit_s: float | None = None
    whole: float = 0.0


class Stopped(Struct, tag_field="kind", tag="stopped"):
    """The run could not go on as it was meant to: a fault failed, or the cluster did not come back by itself."""

    at: float
    reason: str


class Sample(Struct, tag_field="kind", tag="sample", omit_defaults=True):
    """How a node was. Figures are 0 where they could not be had; ``ready`` is False for a node that does not answer."""

    node: str
    at: float
    ready: bool
    position: int = 0
    memory_bytes: int = 0
    descriptors: int = 0
    tasks: int = 0


class State(Struct, tag_field="kind", tag="state"):
    """A node's own word on its replica, when nothing was going on any more: digest by log position."""

    node: str
    at: float
    epoch: str
    digests: dict[int, str]


class Final(Struct, tag_field="kind", tag="final"):
    """A whole room as one node has it at the end.

    Attributes:
        backward: all messages, ascending, from pages that began at the last one.
        forward: all events, from a join since the beginning.
    """

    node: str
    room: str
    epoch: str
    begin: float
    end: float
    head: int
    backward: list[Said]
    forward: list[Event]


Entry = (
    Plan | Send | Edit | Moderate | Join | Page | Push | Named | Ended | Fault | Stopped | Sample | State | Final
)  # everything a history may hold

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Recorder:
    """Writes a history as it happens.

    Args:
        file: where to, open for writing.

    Attributes:
        pushes: how many were written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._subs = itertools.count(1)
        self.pushes = 0

    @staticmethod
    def now() -> float:
        """The clock of the history."""
        return time.monotonic()

    def next_sub(self) -> int:
        """A number for a join."""
        return next(self._subs)

    def note(self, entry: Entry) -> None:
        """Write an event."""
        self._file.write(_encode(entry) + b"\n")
        self.pushes += isinstance(entry, Push)


def read(path: Path) -> Iterator[Entry]:
    """The events of a file, in the order in which they were written."""
    with path.open("rb") as file:
        for line in file:
            yield _decode(line)


def shown(entries: Iterable[Entry]) -> str:
    """Events as lines for people."""
    return "\n".join(_encode(entry).decode() for entry in entries)
