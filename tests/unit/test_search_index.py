"""The index of the search stays in order while messages come one by one: a little work with every write, never much."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from node.state.records import CreateRoom, SendMessage
from node.state.store import Store

from .history import entry

_WORDS = [f"word{number}" for number in range(500)]
_PAGE_BYTES = 4096


def test_no_write_does_much_and_the_parts_stay_few(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    beside = path.with_name(path.name + "-wal")
    written, parts = [0], []
    with closing(Store(path, "e")) as store, closing(sqlite3.connect(path)) as db:
        store._db.execute("PRAGMA wal_autocheckpoint = 0")
        store.apply([(1, entry(CreateRoom("ana", 100, "a"), n=1))])
        for n in range(2, 1500):
            body = " ".join(_WORDS[n * step % len(_WORDS)] for step in range(1, 11))
            store.apply([(n, entry(SendMessage("ana", 101, "a", f"c{n}", body), n=n))])
            store.write()
            written.append(beside.stat().st_size)
            # The upper bits of a key tell the part: https://sqlite.org/fts5.html#the_data_table
            parts += db.execute("SELECT count(DISTINCT id >> 37) FROM search_data WHERE id > 10").fetchone()
    assert max(after - before for before, after in pairwise(written)) < 50 * _PAGE_BYTES
    assert max(parts) < 16
