"""The read model's file: its tables, and how it is opened, told from another's, and thrown away.

An event's ``id`` is its room's number and its seq in one integer, so that one primary key keeps a room's events
together and in order. A message's ``place`` is where its record stands in the log: it orders messages
over all rooms. Its ``said`` is a short hash of what a repeat of it would have in common with it.

A payload is sealed with a checksum: most of a long one lies where SQLite sees no damage.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec

from node.errors import StoreCorrupt

SCHEMA_VERSION = 6
"""A file of another version is rebuilt from the log."""

_SEQ_BITS = 36

_SEAL_BYTES = 4

_CHECKPOINT_PAGES = 4000
"""So much (16 MB) is written beside the file before it is moved there: a page that changes often is moved once."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE producer (id TEXT PRIMARY KEY, n INTEGER, position INTEGER) WITHOUT ROWID;
CREATE TABLE account (name TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE room (
    no INTEGER PRIMARY KEY, id TEXT UNIQUE, title TEXT, private INTEGER, dm INTEGER, deleted_by TEXT,
    first INTEGER, head INTEGER, last_ts INTEGER, size INTEGER
);
CREATE TABLE standing (
    room INTEGER, user TEXT, role TEXT, muted_until INTEGER, read INTEGER, PRIMARY KEY (room, user)
) WITHOUT ROWID;
CREATE INDEX standing_user ON standing (user, room);
CREATE TABLE event (id INTEGER PRIMARY KEY, payload BLOB);
-- payload: the message as it stands, where that is no longer what was said
CREATE TABLE message (place INTEGER PRIMARY KEY, id INTEGER UNIQUE, said INTEGER, thread INTEGER, payload BLOB);
CREATE INDEX message_said ON message (said);
CREATE INDEX message_thread ON message (thread, id) WHERE thread IS NOT NULL;
CREATE VIRTUAL TABLE search USING fts5 (
    body, content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
);
"""


def event_id(room_no: int, seq: int) -> int:
    """The key of an event."""
    return room_no << _SEQ_BITS | seq


def room_of(key: int) -> int:
    """The number of the room of an event."""
    return key >> _SEQ_BITS


def said_key(user: str, cid: str) -> int:
    """What a message is looked up by when it may be a repeat: 64 bits, so who finds one must look whether it is it."""
    return int.from_bytes(blake2b(f"{user} {cid}".encode(), digest_size=8).digest(), signed=True)


class Damaged(Exception):
    """A payload is not what was written."""


def sealed(payload: bytes) -> bytes:
    """A payload as it is kept: with its CRC-32 (RFC 1952, 8) behind it."""
    return payload + zlib.crc32(payload).to_bytes(_SEAL_BYTES)


def unsealed(kept: bytes) -> bytes:
    """The payload of what is kept.

    Raises:
        Damaged: it is not what was sealed.
    """
    if type(kept) is bytes and zlib.crc32(payload := kept[:-_SEAL_BYTES]).to_bytes(_SEAL_BYTES) == kept[-_SEAL_BYTES:]:
        return payload
    raise Damaged("a payload does not fit its checksum")


def open_file(path: Path, epoch: str) -> sqlite3.Connection:
    """Open a store's file for writing; make it if there is none, or if it belongs to another log or schema.

    Raises:
        StoreCorrupt: it is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with corruption_named(path):
        db = _connect(path)
        if _identity(db) not in (None, (SCHEMA_VERSION, epoch)):
            db.close()
            discard(path)
            db = _connect(path)
        if _identity(db) is None:
            with db:
                db.executescript(f"BEGIN; {_SCHEMA}")
                meta = {"schema": SCHEMA_VERSION, "epoch": epoch, "position": 0, "digest": b"", "version": 1}
                meta["notices"] = b"[]"
                db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    return db


def discard(path: Path) -> None:
    """Remove a store's file and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def corruption_named(path: Path, *, own_sql: bool = True) -> Iterator[None]:
    """Tell a damaged file, which must be rebuilt, from trouble that passes (a full disk, say).

    Args:
        path: the file.
        own_sql: no user's words are in the statements, so that one which is refused tells of tables that are gone.

    Raises:
        StoreCorrupt: it is damaged.
    """
    try:
        yield
    except sqlite3.Error as error:
        if _is_damage(error, own_sql):
            raise StoreCorrupt(f"{path}: {error}") from error
        raise
    except (Damaged, msgspec.DecodeError) as error:
        raise StoreCorrupt(f"{path}: {error}") from error


def _is_damage(error: sqlite3.Error, own_sql: bool) -> bool:
    """Whether SQLite met what it, or this program, can never have written."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # from the sqlite3 module, not from SQLite
        return "Could not decode" in str(error)
    damage = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
    return code & 0xFF in (damage | {sqlite3.SQLITE_ERROR} if own_sql else damage)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA cache_size = -65536")
    db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    return db


def _identity(db: sqlite3.Connection) -> tuple[int, str] | None:
    """Schema version and epoch of a file; None for a new one."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
        return None
    meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('schema', 'epoch')"))
    return meta.get("schema", 0), meta.get("epoch", "")
