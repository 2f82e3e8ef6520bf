"""The read model: one SQLite file per node, made by applying the log, thrown away and rebuilt at will.

One thread at a time writes (:meth:`Store.apply`); any number read through :class:`Reader`, each a snapshot.
Because the log is the truth, a crash may cost the last transactions (``synchronous=NORMAL``): they are applied again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.errors import StoreCorrupt
from node.protocol.messages import MessageEvent
from node.state.model import Changes, Event, Room, Sent, State
from node.state.rules import AppliedBatch, apply_entry

SCHEMA_VERSION = 1
"""A file of another version is rebuilt from the log."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE producer (id TEXT PRIMARY KEY, n INTEGER, position INTEGER) WITHOUT ROWID;
CREATE TABLE room (
    no INTEGER PRIMARY KEY, id TEXT UNIQUE, title TEXT, owner TEXT, head INTEGER, last_ts INTEGER, members INTEGER
);
CREATE TABLE member (room INTEGER, user TEXT, role TEXT, PRIMARY KEY (room, user)) WITHOUT ROWID;
CREATE TABLE event (room INTEGER, seq INTEGER, payload BLOB, PRIMARY KEY (room, seq)) WITHOUT ROWID;
CREATE TABLE sent (room INTEGER, user TEXT, cid TEXT, seq INTEGER, PRIMARY KEY (room, user, cid)) WITHOUT ROWID;
CREATE TABLE message (room INTEGER, seq INTEGER, PRIMARY KEY (room, seq)) WITHOUT ROWID;
"""

_decode_message = msgspec.json.Decoder(MessageEvent).decode


@dataclass(frozen=True, slots=True)
class Applied:
    """What one call of :meth:`Store.apply` brought about."""

    position: int
    batches: list[AppliedBatch]
    events: list[Event]


class Store:
    """The writer's side of the read model.

    Args:
        path: the file; made if it is not there.
        epoch: of the log that is applied; a file of another log is thrown away.

    Raises:
        StoreCorrupt: the file is damaged. :func:`discard` it and open again.
    """

    def __init__(self, path: Path, epoch: str) -> None:
        self.path = path
        self._db = _open_file(path, epoch)
        with _corruption_named(path):
            self.state = self._load()
        self._spoilt = False
        """Whether the state in memory is ahead of the file, because a call of :meth:`apply` failed."""

    def apply(self, entries: Sequence[tuple[int, bytes]]) -> Applied:
        """Apply entries of the log, (position, data) in order, in one transaction.

        Raises:
            UnknownVersion: an entry is of a newer release.
            StoreCorrupt: the file is damaged.
            sqlite3.OperationalError: disk full or alike.
            In each case nothing is applied, and the same call may be made again.
        """
        with _corruption_named(self.path):
            if self._spoilt:
                self.state, self._spoilt = self._load(), False
            self._spoilt = True
            with self._db:
                self._db.execute("BEGIN")
                batches = [apply_entry(self.state, position, data) for position, data in entries]
                changes = self.state.take_changes()
                self._write(changes)
            self._spoilt = False
        return Applied(self.state.position, [batch for batch in batches if batch is not None], changes.events)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _find_sent(self, room_no: int, user: str, cid: str) -> Sent | None:
        row = self._db.execute(
            "SELECT payload FROM sent JOIN event USING (room, seq) WHERE room = ? AND user = ? AND cid = ?",
            (room_no, user, cid),
        ).fetchone()
        if row is None:
            return None
        message = _decode_message(row[0])
        return Sent(message.seq, message.ts, message.body)

    def _write(self, changes: Changes) -> None:
        db, state = self._db, self.state
        db.executemany(
            "INSERT OR REPLACE INTO room VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(r.no, r.id, r.title, r.owner, r.head, r.last_ts, len(r.members)) for r in changes.rooms.values()],
        )
        db.executemany("INSERT INTO event VALUES (?, ?, ?)", [(e.room_no, e.seq, e.payload) for e in changes.events])
        said = [(room, user, cid, sent.seq) for (room, user, cid), sent in changes.sent.items()]
        db.executemany("INSERT INTO sent VALUES (?, ?, ?, ?)", said)
        db.executemany("INSERT INTO message VALUES (?, ?)", [(room, seq) for room, _, _, seq in said])
        for (room, user), role in changes.members.items():
            if role is None:
                db.execute("DELETE FROM member WHERE room = ? AND user = ?", (room, user))
            else:
                db.execute("INSERT OR REPLACE INTO member VALUES (?, ?, ?)", (room, user, role))
        for producer in changes.producers:
            if producer in state.producers:
                db.execute("INSERT OR REPLACE INTO producer VALUES (?, ?, ?)", (producer, *state.producers[producer]))
            else:
                db.execute("DELETE FROM producer WHERE id = ?", (producer,))
        db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("position", state.position), ("digest", state.digest)]
        )

    def _load(self) -> State:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        state = State(self._find_sent, position=meta["position"], digest=meta["digest"])
        by_no: dict[int, Room] = {}
        for no, room_id, title, owner, head, last_ts in self._db.execute(
            "SELECT no, id, title, owner, head, last_ts FROM room ORDER BY no"
        ):
            by_no[no] = state.rooms[room_id] = Room(no, room_id, title, owner, head, last_ts)
        for no, user, role in self._db.execute("SELECT room, user, role FROM member"):
            by_no[no].members[user] = role
        for producer, n, position in self._db.execute("SELECT id, n, position FROM producer"):
            state.producers[producer] = (n, position)
        return state


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room as one user sees it: ``member`` says whether the user belongs to it."""

    no: int
    head: int
    member: bool


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room in a listing."""

    id: str
    title: str
    members: int
    head: int


class Reader:
    """Reads from the file while it is written; every method sees one consistent snapshot.

    Not for two threads at once.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)

    def room(self, room_id: str, user: str) -> RoomView | None:
        """One room, or None if there is none."""
        row = self._db.execute(
            "SELECT no, head, EXISTS (SELECT 1 FROM member WHERE room = no AND user = ?) FROM room WHERE id = ?",
            (user, room_id),
        ).fetchone()
        return RoomView(row[0], row[1], bool(row[2])) if row else None

    def rooms(self, prefix: str, after: str, limit: int) -> list[RoomRow]:
        """Rooms in order of id: those that start with ``prefix``, beyond ``after``."""
        rows = self._db.execute(
            "SELECT id, title, members, head FROM room WHERE id >= ? AND id > ? AND id < ? ORDER BY id LIMIT ?",
            (prefix, after, prefix + "\U0010ffff", limit),
        )
        return [RoomRow(*row) for row in rows]

    def events(self, room_no: int, first: int, last: int, max_bytes: int) -> list[bytes]:
        """Payloads of the events ``first`` .. ``last``: as many as fit in ``max_bytes``, but at least one."""
        cursor = self._db.execute(
            "SELECT payload FROM event WHERE room = ? AND seq BETWEEN ? AND ? ORDER BY seq", (room_no, first, last)
        )
        return _within(max_bytes, cursor)

    def messages(self, room_no: int, before: int, limit: int, max_bytes: int) -> list[bytes]:
        """Payloads of the last messages with a seq below ``before``, in ascending order.

        At most ``limit``, and as many as fit in ``max_bytes``, but at least one.
        """
        cursor = self._db.execute(
            "SELECT payload FROM message JOIN event USING (room, seq) WHERE room = ? AND seq < ?"
            " ORDER BY seq DESC LIMIT ?",
            (room_no, before, limit),
        )
        return _within(max_bytes, cursor)[::-1]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def discard(path: Path) -> None:
    """Remove a store's file and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _within(max_bytes: int, cursor: sqlite3.Cursor) -> list[bytes]:
    """The first payloads of a cursor that fit, at least one; the cursor is closed, so that it holds no snapshot."""
    payloads: list[bytes] = []
    total = 0
    with closing(cursor):
        for (payload,) in cursor:
            total += len(payload)
            if payloads and total > max_bytes:
                break
            payloads.append(payload)
    return payloads


@contextmanager
def _corruption_named(path: Path) -> Iterator[None]:
    """Tell a damaged file, which must be rebuilt, from trouble that passes (a full disk, say)."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "malformed" in str(error):
            raise StoreCorrupt(f"{path}: {error}") from error
        raise
    except sqlite3.DatabaseError as error:
        raise StoreCorrupt(f"{path}: {error}") from error


def _open_file(path: Path, epoch: str) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _corruption_named(path):
        db = _connect(path)
        if _identity(db) not in (None, (SCHEMA_VERSION, epoch)):
            db.close()
            discard(path)
            db = _connect(path)
        if _identity(db) is None:
            with db:
                db.executescript(f"BEGIN; {_SCHEMA}")
                meta = {"schema": SCHEMA_VERSION, "epoch": epoch, "position": 0, "digest": b""}
                db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    return db


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA cache_size = -65536")
    return db


def _identity(db: sqlite3.Connection) -> tuple[int, str] | None:
    """Schema version and epoch of a file; None for a new one."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
        return None
    meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('schema', 'epoch')"))
    return meta["schema"], meta["epoch"]
