"""The read model's readers: history, discovery and search, from a snapshot, while the store writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from node.state.model import INVITED, RANKS, Account
from node.state.schema import event_id, unsealed

_BELONGS = f"role IN ({', '.join(repr(role) for role in RANKS)})"
_KNOWS = f"({_BELONGS} OR role = {INVITED!r})"
_decode_account = msgspec.json.Decoder(Account).decode


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room as one user sees it: ``role`` is None for who has nothing to do with it."""

    no: int
    first: int
    head: int
    private: bool
    role: str | None

    @property
    def member(self) -> bool:
        """Whether the user belongs to the room."""
        return self.role in RANKS

    @property
    def known(self) -> bool:
        """Whether the user belongs to the room or was invited: who may know of it when it is private."""
        return self.member or self.role == INVITED


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room in a listing. ``role`` is the user's, or None; ``unread`` is there for members."""

    id: str
    title: str
    members: int
    head: int
    private: bool
    dm: bool
    role: str | None
    unread: int | None


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member in a listing."""

    user: str
    role: str
    muted_until: int


class Counts(NamedTuple):
    """How much there is. ``users`` are those with an account or in a room, or once dealt with by one."""

    rooms: int
    messages: int
    users: int
    accounts: int


class Reader:
    """Reads from the file while it is written; every method sees one consistent snapshot.

    Not for two threads at once.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)

    def room(self, room_id: str, user: str) -> RoomView | None:
        """One room, or None if there is none."""
        row = self._db.execute(
            "SELECT no, first, head, private, role FROM room LEFT JOIN standing ON room = no AND user = ?"
            " WHERE id = ? AND deleted_by = ''",
            (user, room_id),
        ).fetchone()
        return RoomView(row[0], row[1], row[2], bool(row[3]), row[4]) if row else None

    def rooms(self, user: str, prefix: str, after: str, limit: int, mine: bool = False) -> list[RoomRow]:
        """Rooms in order of id that a user may know of: those that start with ``prefix``, beyond ``after``."""
        of_user = f"(SELECT room, role, read FROM standing WHERE user = ? AND {_KNOWS})"  # noqa: S608 - constants
        visible = "role IS NOT NULL" if mine else "(NOT private OR role IS NOT NULL)"
        rows = self._db.execute(
            "SELECT id, title, size, head, private, dm, role,"  # noqa: S608 - built from constants
            f" CASE WHEN {_BELONGS} THEN head - max(read, first - 1) END FROM room"
            f" {'' if mine else 'LEFT'} JOIN {of_user} ON room = no"
            f" WHERE id >= ? AND id > ? AND id < ? AND deleted_by = '' AND {visible} ORDER BY id LIMIT ?",
            (user, prefix, after, prefix + "\U0010ffff", limit),
        )
        return [
            RoomRow(room_id, title, size, head, bool(private), bool(dm), role, unread)
            for room_id, title, size, head, private, dm, role, unread in rows
        ]

    def all_rooms(self, prefix: str, after: str, limit: int) -> list[RoomRow]:
        """Rooms as :meth:`rooms` lists them, but all of them, and nobody's."""
        rows = self._db.execute(
            "SELECT id, title, size, head, private, dm FROM room"
            " WHERE id >= ? AND id > ? AND id < ? AND deleted_by = '' ORDER BY id LIMIT ?",
            (prefix, after, prefix + "\U0010ffff", limit),
        )
        return [
            RoomRow(room_id, title, size, head, bool(private), bool(dm), role=None, unread=None)
            for room_id, title, size, head, private, dm in rows
        ]

    def members(self, room_no: int, after: str, limit: int) -> list[MemberRow]:
        """Members in order of name, beyond ``after``."""
        rows = self._db.execute(
            f"SELECT user, role, muted_until FROM standing WHERE room = ? AND user > ? AND {_BELONGS}"  # noqa: S608 - as above
            " ORDER BY user LIMIT ?",
            (room_no, after, limit),
        )
        return [MemberRow(*row) for row in rows]

    def events(self, room_no: int, first: int, last: int, max_bytes: int) -> list[bytes]:
        """Payloads of the events ``first`` .. ``last``: as many as fit in ``max_bytes``, but at least one."""
        span = (event_id(room_no, first), event_id(room_no, last))
        return _within(
            max_bytes, self._db.execute("SELECT payload FROM event WHERE id BETWEEN ? AND ? ORDER BY id", span)
        )

    def messages(self, room_no: int, before: int, limit: int, max_bytes: int, thread: int | None = None) -> list[bytes]:
        """The last messages with a seq below ``before`` as they stand, in ascending order.

        At most ``limit``, and as many as fit in ``max_bytes``, but at least one. With ``thread``: of those that answer
        this message, and itself.
        """
        low, high = event_id(room_no, 0), event_id(room_no, before)
        which = "message.id >= ? AND message.id < ?"
        values: tuple[int, ...] = (low, high, limit)
        if thread is not None:
            root = event_id(room_no, thread)
            which = f"(message.thread = ? OR message.id = ?) AND {which}"
            values = (root, root, *values)
        cursor = self._db.execute(
            "SELECT COALESCE(message.payload, event.payload) FROM message JOIN event USING (id)"  # noqa: S608 - as above
            f" WHERE {which} ORDER BY message.id DESC LIMIT ?",
            values,
        )
        return _within(max_bytes, cursor)[::-1]

    def search(
        self, user: str, words: str, limit: int, max_bytes: int, before: int | None, room_no: int | None
    ) -> tuple[list[bytes], int | None]:
        """Messages with all the words, newest first, in the rooms that the user belongs to, or in one of them.

        Args:
            limit, max_bytes: at most so many, and as many as fit, but at least one.
            before: where the page before ended.

        Returns:
            The messages as they stand, and where this page ends, None if it is the last.
        """
        cursor = self._db.execute(
            "SELECT message.place, COALESCE(message.payload, event.payload) FROM search"  # noqa: S608 - as above
            " JOIN message ON message.place = search.rowid JOIN event USING (id)"
            " WHERE search MATCH ? AND search.rowid < ?"
            f" AND message.id >> 36 IN (SELECT room FROM standing WHERE user = ? AND {_BELONGS})"
            " AND (? IS NULL OR message.id >> 36 = ?) ORDER BY search.rowid DESC LIMIT ?",
            (_query(words), before if before is not None else 2**62, user, room_no, room_no, limit + 1),
        )
        payloads: list[bytes] = []
        end: int | None = None
        total = 0
        with closing(cursor):
            for place, kept in cursor:
                payload = unsealed(kept)
                total += len(payload)
                if len(payloads) == limit or (payloads and total > max_bytes):
                    return payloads, end
                payloads.append(payload)
                end = place
        return payloads, None

    def accounts(self, after: str, limit: int) -> list[Account]:
        """Local accounts in order of name, beyond ``after``."""
        rows = self._db.execute("SELECT data FROM account WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
        return [_decode_account(data) for (data,) in rows]

    def counts(self) -> Counts:
        """How much there is; reads whole tables."""
        queries = (
            "SELECT COUNT(*) FROM room WHERE deleted_by = ''",
            "SELECT COUNT(*) FROM message",
            "SELECT COUNT(*) FROM (SELECT user FROM standing UNION SELECT name FROM account)",
            "SELECT COUNT(*) FROM account",
        )
        return Counts(*(self._db.execute(query).fetchone()[0] for query in queries))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _query(words: str) -> str:
    """Words of a person as a query of FTS5: each word quoted, so that none of them is an operator.

    Never empty, which would be an error there: without a word it matches nothing.
    """
    return " ".join('"' + word.replace('"', '""') + '"' for word in words.replace("\0", " ").split()) or '""'


def _within(max_bytes: int, cursor: sqlite3.Cursor) -> list[bytes]:
    """The first payloads of a cursor that fit, at least one; the cursor is closed, so that it holds no snapshot."""
    payloads: list[bytes] = []
    total = 0
    with closing(cursor):
        for (kept,) in cursor:
            payload = unsealed(kept)
            total += len(payload)
            if payloads and total > max_bytes:
                break
            payloads.append(payload)
    return payloads
