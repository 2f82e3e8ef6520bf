"""The log in one SQLite file: the embedded default, for one process on one machine.

Appends that wait together are committed together: one transaction, one sync, one thread hop (group commit). The file
is in WAL mode with ``synchronous=FULL``, so that a commit that has returned survives a power cut.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import trio

from node.errors import LogChanged, LogFull, LogUnavailable
from node.files import Held, lock
from node.log.base import TAIL_BATCH_BYTES, TAIL_BATCH_ENTRIES, Entry, check_entry, new_epoch

T = TypeVar("T")

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (position INTEGER PRIMARY KEY, entry_id TEXT NOT NULL UNIQUE, data BLOB NOT NULL);
INSERT INTO meta VALUES ('epoch', '{epoch}');
PRAGMA user_version = {version};
COMMIT;
"""


@dataclass(slots=True, eq=False)
class _Append:
    """An append on its way into the next transaction; at the end it has a position or an error."""

    entry_id: str
    data: bytes
    position: int = 0
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.position > 0 or self.error is not None


class SqliteLog:
    """A :class:`~node.log.base.Log` in the file ``path``.

    Entry ids are kept for good, so appends here are idempotent without the ten-minute limit.

    Args:
        path: the file; made if missing. ``<path>.lock`` beside it keeps other processes out.
        max_bytes: the size beyond which appends raise :class:`~node.errors.LogFull`; None: what the disk has.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int | None = None) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._file: _File | None = None
        self._epoch = ""
        self._last = 0
        self._healthy = False
        self._changed: LogChanged | None = None
        self._pending: list[_Append] = []
        self._commit_lock = trio.Lock()
        self._advanced = trio.Event()
        self._newest: list[Entry] = []
        # A limiter of one is a mutex that outlives a cancelled waiter: one thread at a time per connection.
        self._writer = trio.CapacityLimiter(1)
        self._reader = trio.CapacityLimiter(1)

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def reachable(self) -> bool:
        return self._file is not None and self._healthy

    async def open(self) -> None:
        if self._file is not None:
            await self._write(self._file.check_identity)
            return
        file = await self._write(lambda: _File(self._path, self._max_bytes))
        if self._epoch not in ("", file.epoch):
            await self._write(file.close)
            raise LogChanged(f"{self._path} has epoch {file.epoch}, expected {self._epoch}")
        self._file, self._epoch, self._last, self._healthy = file, file.epoch, file.last, True

    async def append(self, entry_id: str, data: bytes) -> int:
        check_entry(entry_id, data)
        mine = _Append(entry_id, data)
        self._pending.append(mine)
        try:
            async with self._commit_lock:
                while not mine.done:
                    await self._commit_pending()
        except trio.Cancelled:
            if mine in self._pending:
                self._pending.remove(mine)
            raise
        if mine.error is not None:
            raise mine.error
        return mine.position

    async def _commit_pending(self) -> None:
        """Commit what waits, on behalf of everyone in the batch. Holds the commit lock."""
        batch, self._pending = self._pending[:TAIL_BATCH_ENTRIES], self._pending[TAIL_BATCH_ENTRIES:]
        with trio.CancelScope(shield=True):
            try:
                committed = await self._write(lambda: self._opened().commit(batch))
            except Exception as error:  # whatever it is, it is the answer for the whole batch
                self._healthy = isinstance(error, LogFull)
                if isinstance(error, LogChanged):
                    self._give_up(error)
                for append in batch:
                    append.error = error
                return
        self._healthy = True
        if committed:
            small = sum(len(entry.data) for entry in committed) <= TAIL_BATCH_BYTES
            self._newest, self._last = committed if small else [], committed[-1].position
            self._wake_tails()

    def _wake_tails(self) -> None:
        self._advanced.set()
        self._advanced = trio.Event()

    def _give_up(self, error: LogChanged) -> None:
        """The file under us is another one: nothing that was opened means anything any more, also to waiting tails."""
        self._changed = error
        self._wake_tails()

    async def tail(self, after: int) -> AsyncGenerator[Sequence[Entry]]:
        if after > await self.last():
            raise LogChanged(f"{self._path} ends at {self._last}, before position {after}")
        position = after
        while True:
            while position == self._last:
                self._opened()
                await self._advanced.wait()
            newest = self._newest
            if newest and newest[0].position == position + 1:
                batch = newest  # a reader that keeps up needs no thread and no disk
            else:
                batch = await self._read(position)
            yield batch
            position = batch[-1].position

    async def _read(self, after: int) -> list[Entry]:
        return await trio.to_thread.run_sync(lambda: self._opened().read(after), limiter=self._reader)

    async def last(self) -> int:
        try:
            await self._write(lambda: self._opened().check_identity())
        except LogChanged as error:
            self._give_up(error)
            raise
        self._healthy = True
        return self._last

    async def aclose(self) -> None:
        self._healthy = False
        with trio.CancelScope(shield=True):
            async with self._commit_lock, self._reader:
                file, self._file = self._file, None
                if file is not None:
                    await self._write(file.close)
        self._wake_tails()

    def _opened(self) -> _File:
        if self._file is None:
            raise LogUnavailable(f"{self._path} is not open")
        if self._changed is not None:
            raise LogChanged(str(self._changed))
        return self._file

    async def _write(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._writer)


class _File:
    """The blocking half: two connections (one writes, one reads) and the lock file. Used from worker threads only."""

    def __init__(self, path: Path, max_bytes: int | None) -> None:
        self._path = path
        try:
            self._lock_fd = lock(lock_of(path))
        except Held as error:
            raise LogUnavailable(f"{error}: one process per log") from None
        except OSError as error:
            raise LogUnavailable(f"{path}: {error}") from error
        try:
            self._open(max_bytes)
        except BaseException as error:
            os.close(self._lock_fd)
            if isinstance(error, sqlite3.Error | OSError):
                raise LogUnavailable(f"{path}: {error}") from error
            raise

    def _open(self, max_bytes: int | None) -> None:
        self._writer = _connect(self._path)
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute(f"PRAGMA journal_size_limit = {16 * 1024 * 1024}")
        self._writer.execute("PRAGMA wal_autocheckpoint = 4000")
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            create_tables(self._writer, new_epoch())
        elif version != _SCHEMA_VERSION:
            raise LogUnavailable(f"{self._path} has schema version {version}, this release reads {_SCHEMA_VERSION}")
        if max_bytes is not None:
            (page_bytes,) = self._writer.execute("PRAGMA page_size").fetchone()
            self._writer.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_bytes)}")
        self._reader = _connect(self._path)
        self.epoch, self.last = epoch_and_last(self._writer)
        self._identity = _identity(self._path)

    def check_identity(self) -> None:
        """Refuse to go on with a file that was removed or replaced under us: its entries would vanish with us."""
        if _identity(self._path) != self._identity:
            raise LogChanged(f"{self._path} was removed or replaced while it was open")

    def commit(self, batch: Sequence[_Append]) -> list[Entry]:
        """Commit all of ``batch`` or nothing, give each its position, and return the new entries."""
        self.check_identity()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            positions = [self._insert(append) for append in batch]
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise LogFull(f"{self._path}: {error}") from error
            raise LogUnavailable(f"{self._path}: {error}") from error
        committed = []
        for append, position in zip(batch, positions, strict=True):
            append.position = position
            if position > self.last:
                committed.append(Entry(position, append.data))
                self.last = position
        return committed

    def _insert(self, append: _Append) -> int:
        row = self._writer.execute(
            "INSERT INTO entries (entry_id, data) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING position",
            (append.entry_id, append.data),
        ).fetchone()
        if row is None:
            row = self._writer.execute("SELECT position FROM entries WHERE entry_id = ?", (append.entry_id,)).fetchone()
        return int(row[0])

    def read(self, after: int) -> list[Entry]:
        """The entries that follow ``after``, within the bounds of one tail batch."""
        self.check_identity()
        try:
            return read_batch(self._reader, after)
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
        os.close(self._lock_fd)


def create_tables(connection: sqlite3.Connection, epoch: str) -> None:
    """Make a new file a log without entries."""
    connection.executescript(_SCHEMA.format(epoch=epoch, version=_SCHEMA_VERSION))


def epoch_and_last(connection: sqlite3.Connection) -> tuple[str, int]:
    """The epoch of a log's file, and the position of its last entry."""
    (epoch,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()
    return epoch, last


def read_batch(connection: sqlite3.Connection, after: int) -> list[Entry]:
    """The entries that follow ``after``, within the bounds of one tail batch."""
    batch: list[Entry] = []
    size = 0
    rows = connection.execute(
        "SELECT position, data FROM entries WHERE position > ? ORDER BY position LIMIT ?",
        (after, TAIL_BATCH_ENTRIES),
    )
    for position, data in rows:
        size += len(data)
        if batch and size > TAIL_BATCH_BYTES:
            break
        batch.append(Entry(position, data))
    rows.close()  # an unfinished statement would keep the WAL from being checkpointed
    return batch


def lock_of(path: Path) -> Path:
    """The file whose lock keeps other processes out of a log."""
    return path.with_name(path.name + ".lock")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogUnavailable(f"{path}: {error}") from error
    return status.st_dev, status.st_ino
