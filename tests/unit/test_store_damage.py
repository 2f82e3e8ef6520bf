"""A store's file that is damaged: it is named, shown to nobody, and a rebuild heals it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node.errors import StoreCorrupt
from node.state.reader import Reader
from node.state.records import EditMessage, SendMessage
from node.state.schema import corruption_named, discard
from node.state.store import Store

from .history import entry
from .test_store import LOG, replayed, snapshot, written


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path, "epoch")) as store:
        yield store


@pytest.mark.parametrize("damage", ["not a database", "pages", "cut short"])
def test_damage_is_named_and_a_rebuild_heals_it(path: Path, damage: str) -> None:
    with closing(Store(path, "epoch")) as store:
        written(store, [*LOG, (4, entry(*(SendMessage("ana", 1, "a", f"k{i}", "x" * 900) for i in range(200)), n=4))])
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    whole = path.read_bytes()
    damaged = {
        "not a database": b"?" * 8192,
        "pages": whole[:4096] + bytes(len(whole) - 4096),
        "cut short": whole[:6000],
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(StoreCorrupt):
        Store(path, "epoch")
    discard(path)
    assert not list(path.parent.iterdir())
    with closing(Store(path, "epoch")) as store:
        written(store, LOG)
        assert snapshot(store.state) == replayed(LOG)


LOST = {
    "a table": "DROP TABLE standing",
    "the position": "DELETE FROM meta WHERE key = 'position'",
    "a room": "DELETE FROM room",
    "an account's form": "INSERT INTO account VALUES ('ana', '{')",
    "the form of text": "UPDATE room SET title = CAST(x'ff' AS TEXT)",
}


@pytest.mark.parametrize("lost", LOST)
def test_a_file_that_lost_something_is_damaged(path: Path, lost: str) -> None:
    with closing(Store(path, "epoch")) as store:
        written(store, LOG)
    with closing(sqlite3.connect(path)) as db:
        db.execute(LOST[lost])
        db.commit()
    with pytest.raises(StoreCorrupt, match=r"store\.sqlite"):
        Store(path, "epoch")


def test_a_message_that_is_lost_is_noticed_when_it_is_changed(store: Store, path: Path) -> None:
    written(store, LOG)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM message")
        db.commit()
    written(store, [(4, entry(EditMessage("ana", 9, "a", 2, "other"), n=4))])  # refused: there is no such message
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE event SET payload = '{'")
        db.commit()
    written(store, [(5, entry(SendMessage("ana", 9, "a", "n", "new"), n=5))])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE event SET payload = '{'")
        db.commit()
    with pytest.raises(StoreCorrupt):
        written(store, [(6, entry(EditMessage("ana", 9, "a", 6, "other"), n=6))])


LONG = "long " + "x" * 10_000


@pytest.mark.parametrize(
    ("table", "record", "seq"),
    [("event", SendMessage("ana", 106, "a", "c3", LONG), 6), ("message", EditMessage("ana", 106, "a", 2, LONG), 2)],
)
def test_a_letter_that_changed_on_the_disk_is_shown_to_nobody(path: Path, table: str, record: Any, seq: int) -> None:
    """Most of a long payload lies where SQLite itself sees no damage."""
    with closing(Store(path, "epoch")) as store, closing(Reader(path)) as reader:
        written(store, [*LOG, (4, entry(record, n=4))])
        asked: list[Callable[[], object]] = [
            lambda: reader.messages(1, 100, 100, 10**6),
            lambda: reader.search("ana", "long", 10, 10**6, None, None),
            lambda: store.find_message(1, seq),
        ]
        if table == "event":
            asked += [lambda: reader.events(1, 1, 100, 10**6), lambda: store.find_said(1, "ana", "c3")]
        for ask in asked:
            assert ask()
        with closing(sqlite3.connect(path)) as db:
            query = f"SELECT rowid, payload FROM {table} WHERE length(payload) > 5000"  # noqa: S608
            ((row, kept),) = db.execute(query).fetchall()
            changed = kept.replace(b"xx", b"xy", 1)
            db.execute(f"UPDATE {table} SET payload = ? WHERE rowid = ?", (changed, row))  # noqa: S608
            db.commit()
        for ask in asked:
            with pytest.raises(StoreCorrupt, match="checksum"), corruption_named(path):
                ask()
