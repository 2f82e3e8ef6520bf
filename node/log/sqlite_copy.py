"""A SQLite log from the outside: read while its node runs, and filled before a node runs on it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import trio

from node.errors import LogFull, LogNotEmpty, LogUnavailable
from node.files import Held, lock, put_in_place
from node.log.base import Entry, new_epoch
from node.log.sqlite import create_tables, epoch_and_last, lock_of, read_batch

T = TypeVar("T")
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")


class SqliteSource:
    """A :class:`~node.log.base.Source` in the file ``path``, which a node may have open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._epoch = ""
        self._reading = trio.CapacityLimiter(1)

    @property
    def epoch(self) -> str:
        return self._epoch

    async def open(self) -> None:
        """Open the file, which must be there.

        Raises:
            LogUnavailable: it is not, or is no log.
        """
        self._db = await self._in_thread(lambda: _connect_to_read(self._path))
        self._epoch = (await self._in_thread(lambda: epoch_and_last(self._opened())))[0]

    async def last(self) -> int:
        return (await self._in_thread(lambda: epoch_and_last(self._opened())))[1]

    async def tail(self, after: int) -> AsyncGenerator[Sequence[Entry]]:
        position = after
        while batch := await self._in_thread(partial(self._read, position)):
            yield batch
            position = batch[-1].position

    async def aclose(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _read(self, after: int) -> list[Entry]:
        return read_batch(self._opened(), after)

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise LogUnavailable(f"{self._path} is not open")
        return self._db

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(_named(self._path, work), limiter=self._reading)


class SqliteLoader:
    """A :class:`~node.log.base.Loader` for the file ``path``.

    It fills a file beside it, which takes the log's name when it is whole. The log's lock keeps nodes out meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(path.name + ".import")
        self._lock_fd: int | None = None
        self._db: sqlite3.Connection | None = None
        self._epoch = new_epoch()
        self._loaded = 0

    async def begin(self) -> None:
        await self._in_thread(self._begin)

    async def load(self, entries: Sequence[bytes]) -> None:
        await self._in_thread(lambda: self._load(entries))

    async def finish(self) -> str:
        await self._in_thread(self._finish)
        return self._epoch

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._in_thread(self._close)

    def _begin(self) -> None:
        try:
            self._lock_fd = lock(lock_of(self._path))
        except Held as error:
            raise LogUnavailable(f"{error}: stop the node first") from None
        if self._path.exists():
            with contextlib.closing(sqlite3.connect(self._path)) as db:  # closing also empties what is left of a WAL
                _, last = epoch_and_last(db)
            if last:
                raise LogNotEmpty(f"{self._path} has {last} entries: an import wants an empty log, in a new DATA_DIR")
        _remove(self._new)
        self._db = sqlite3.connect(self._new, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")  # a file that is not whole is thrown away
        self._db.execute("PRAGMA synchronous = OFF")  # it is synced as a whole when it is
        create_tables(self._db, self._epoch)

    def _load(self, entries: Sequence[bytes]) -> None:
        assert self._db is not None, "not begun"  # noqa: S101 - a mistake of the caller
        rows = [(n, f"import:{n}", data) for n, data in enumerate(entries, start=self._loaded + 1)]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO entries (position, entry_id, data) VALUES (?, ?, ?)", rows)
        self._db.execute("COMMIT")
        self._loaded += len(rows)

    def _finish(self) -> None:
        self._close_file()
        for suffix in _SUFFIXES[1:]:
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        put_in_place(self._new, self._path)

    def _close(self) -> None:
        self._close_file()
        if self._lock_fd is not None:
            _remove(self._new)
            os.close(self._lock_fd)
            self._lock_fd = None

    def _close_file(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(_named(self._path, work))


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise LogUnavailable(f"{path} is not there: is DATA_DIR the node's own?")
    uri = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)


def _remove(path: Path) -> None:
    for suffix in _SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _named(path: Path, work: Callable[[], T]) -> Callable[[], T]:
    """``work``, whose errors name the file and are those of a log."""

    def named() -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise LogFull(f"{path}: {error}") from error
            raise LogUnavailable(f"{path}: {error}") from error

    return named
