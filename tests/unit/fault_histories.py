"""A history in which all is well, small enough to be read; and a way to bend it."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec.structs import replace

from tests.faults.history import (
    Edit,
    Ended,
    Entry,
    Event,
    Fault,
    Final,
    Join,
    Moderate,
    Page,
    Plan,
    Push,
    Said,
    Sample,
    Send,
    State,
)

ROOM, EPOCH = "r", "e1"
NODES = ["n1", "n2"]
EVENTS = [
    Event("room", 1, 1000, change="created", by="ana"),
    Event("member", 2, 1000, user="bo", change="join"),
    Event("member", 3, 1000, user="cy", change="join"),
    Event("msg", 4, 1001, "ana", "c-1", "a one"),
    Event("msg", 5, 1002, "ana", "c-2", "a two"),
    Event("msg", 6, 1003, "bo", "c-1", "b one"),
    Event("edit", 7, 1004, "ana", body="a one, edited", target=4),
    Event("member", 8, 1005, user="cy", change="kick", by="ana"),
    Event("msg", 9, 1006, "bo", "c-2", "b two"),
]
T = TypeVar("T")


def event(seq: int) -> Event:
    return EVENTS[seq - 1]


def said(seq: int, *, edited: bool = True) -> Said:
    """A message as it stands."""
    found = event(seq).said
    return replace(found, body="a one, edited") if edited and seq == 4 else found


def of(user: str, begin: float, end: float, outcome: str = "ok", conn: int = 1, **more: Any) -> dict[str, Any]:
    """The fields of a call. Ana and cy are on n1, bo is on n2, and after his reconnect on n1."""
    node = "n2" if user == "bo" and conn == 1 else "n1"
    common = {"client": f"{user}'s", "user": user, "conn": conn, "node": node, "room": ROOM, "begin": begin, "end": end}
    epoch = EPOCH if outcome == "ok" else ""
    return {**common, "outcome": outcome, "epoch": epoch, **more}


def pushes(sub: int, at: float, *seqs: int) -> list[Push]:
    return [Push(sub, at + seq / 100, event(seq)) for seq in seqs]


def final(node: str) -> Final:
    return Final(node, ROOM, EPOCH, 60, 61, 9, [said(seq) for seq in (4, 5, 6, 9)], list(EVENTS))


def clean() -> list[Entry]:
    """The history."""
    samples = [Sample(node, at, True, 9, 50 * 2**20, 20, 30) for at in (0, 30, 62) for node in NODES]
    return [
        Plan(NODES, [ROOM], 7),
        *samples,
        Join(**of("ana", 1, 2), sub=1, first=1, head=3),
        Join(**of("bo", 1, 2), sub=2, first=1, head=3),
        Join(**of("cy", 1, 2), sub=3, first=1, head=3),
        Send(**of("ana", 10, 12, seq=4), cid="c-1", body="a one", order=0),
        Send(**of("ana", 10.1, 12.1, seq=5), cid="c-2", body="a two", order=1),
        *pushes(1, 11, 4, 5),
        *pushes(2, 11, 4, 5),
        *pushes(3, 11, 4, 5),
        Send(**of("bo", 13, 15, "unknown"), cid="c-1", body="b one", order=0),
        *pushes(1, 14, 6),
        *pushes(3, 14, 6),
        Ended("bo's", 1, 15, 1006),
        Fault("node killed", "n2", 13.5, 25, limit_s=10, whole=26),
        Join(**of("bo", 16, 17, conn=2), sub=4, since=5, since_epoch=EPOCH, first=1, head=6, recovered=True),
        *pushes(4, 17, 6),
        Send(**of("bo", 17.5, 18, conn=2, seq=6), cid="c-1", body="b one", dup=True, order=0),
        Edit(**of("ana", 20, 22, seq=7), target=4, body="a one, edited"),
        *pushes(1, 21, 7),
        *pushes(3, 21, 7),
        *pushes(4, 21, 7),
        Moderate(**of("ana", 23, 25, seq=8), change="kick", peer="cy"),
        *pushes(1, 24, 8),
        *pushes(4, 24, 8),
        Send(**of("cy", 26, 27, "rejected", code="forbidden"), cid="c-9", body="cy's", order=0),
        Edit(**of("cy", 27, 28, "rejected", code="forbidden"), target=4, body="cy's edit"),
        Send(**of("bo", 28, 30, conn=2, seq=9), cid="c-2", body="b two", order=1),
        *pushes(1, 29, 9),
        *pushes(4, 29, 9),
        Send(**of("bo", 31, 32, "unknown", conn=2), cid="c-3", body="b three", order=2),
        Page(**of("ana", 40, 41), limit=2, first=1, head=9, messages=[said(6), said(9)]),
        Page(**of("ana", 42, 43), limit=2, before=6, first=1, head=9, messages=[said(4), said(5)]),
        *(final(node) for node in NODES),
        *(State(node, 62, EPOCH, {8: "aa", 16: "bb"}) for node in NODES),
    ]


def find(history: list[Entry], kind: type[T], **wanted: object) -> T:
    """The first event of a kind with these fields."""
    return next(
        entry
        for entry in history
        if isinstance(entry, kind) and all(getattr(entry, name) == value for name, value in wanted.items())
    )


def bend(history: list[Entry], entry: Any, **changes: Any) -> list[Entry]:
    """The history with one event changed."""
    return [replace(one, **changes) if one is entry else one for one in history]


def without(history: list[Entry], *gone: object) -> list[Entry]:
    """The history without some events."""
    return [one for one in history if not any(one is entry for entry in gone)]


def after(history: list[Entry], entry: object, *new: Entry) -> list[Entry]:
    """The history with something put behind an event."""
    at = next(i for i, one in enumerate(history) if one is entry) + 1
    return [*history[:at], *new, *history[at:]]
