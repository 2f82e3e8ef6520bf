"""The read model: the same as a replay in memory, whatever happens to the process, the file or the disk."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.state import records
from node.state.model import State
from node.state.outcome import Accepted
from node.state.reader import Reader, RoomRow, RoomView
from node.state.records import CreateRoom, JoinRoom, LeaveRoom, SendMessage, UnknownVersion, encode_batch
from node.state.rules import apply_entry
from node.state.store import Applied, Store

from .fakes import NoDisk
from .history import entry, logs

LOG = [
    (1, entry(CreateRoom("ana", 100, "a", "Title"), SendMessage("ana", 101, "a", "c1", "one"), n=1)),
    (2, entry(JoinRoom("bo", 102, "a"), SendMessage("bo", 103, "a", "c1", "two"), n=2)),
    (3, entry(SendMessage("ana", 104, "a", "c2", "three"), CreateRoom("bo", 105, "b"), n=3)),
]


def snapshot(state: State) -> dict[str, Any]:
    rooms = {
        room.id: replace(room, standings={user: room.standings[user] for user in sorted(room.standings)})
        for room in state.rooms.values()
    }
    return {
        "position": state.position,
        "digest": state.digest,
        "rooms": rooms,
        "producers": state.producers,
        "accounts": state.accounts,
        "notices": state.notices,
    }


def replayed(log: list[tuple[int, bytes]]) -> dict[str, Any]:
    state = State(NoDisk())
    for position, data in log:
        apply_entry(state, position, data)
    return snapshot(state)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    with closing(Reader(path)) as reader:
        yield reader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path, "epoch")) as store:
        yield store


def written(store: Store, entries: Sequence[tuple[int, bytes]]) -> Applied:
    applied = store.apply(entries)
    store.write()
    return applied


TABLES = {
    "event": "SELECT * FROM event",
    "message": "SELECT place, id, said, thread, COALESCE(message.payload, event.payload)"
    " FROM message JOIN event USING (id)",
    "messages": "SELECT COUNT(*) FROM message",
    "search": "SELECT rowid FROM search WHERE search MATCH 'x OR y OR uni' ORDER BY rowid",
    **{table: f"SELECT * FROM {table}" for table in ("meta", "producer", "account", "room", "standing")},  # noqa: S608
}


def rows(path: Path) -> dict[str, list[Any]]:
    """Everything that a store's file says."""
    with closing(sqlite3.connect(path)) as db:
        return {table: db.execute(query).fetchall() for table, query in TABLES.items()}


@settings(max_examples=60, deadline=None)
@given(log=logs(), data=st.data())
def test_batching_and_restarts_make_no_difference(log: list[tuple[int, bytes]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, one_by_one = Path(directory) / "store.sqlite", Path(directory) / "other.sqlite"
        store = Store(path, "epoch")
        rest = log
        while rest:
            size = data.draw(st.integers(1, len(rest)), label="batch")
            store.apply(rest[:size])
            if data.draw(st.booleans(), label="write"):
                store.write()
            if data.draw(st.booleans(), label="restart"):
                store.close()
                store = Store(path, "epoch")
            rest = log[store.state.position :]
        store.write()
        store.close()
        with closing(Store(path, "epoch")) as again:
            assert snapshot(again.state) == replayed(log)
        with closing(Store(one_by_one, "epoch")) as other:
            for position, entry_ in log:
                written(other, [(position, entry_)])
        assert rows(path) == rows(one_by_one)


def test_what_was_applied_can_be_read(store: Store, path: Path) -> None:
    applied = written(store, LOG)
    assert applied.position == 3
    assert [(event.room, event.seq) for event in applied.events] == [
        (r, s) for r, s in zip("aaaaab", (1, 2, 3, 4, 5, 1), strict=True)
    ]
    assert [len(batch.outcomes) for batch in applied.batches] == [2, 2, 2]
    with reading(path) as reader:
        assert reader.room("a", "bo") == RoomView(1, 1, 5, False, "member")
        assert reader.room("a", "cy") == RoomView(1, 1, 5, False, None)
        assert reader.room("none", "bo") is None
        assert [json.loads(payload)["seq"] for payload in reader.events(1, 2, 4, 10**6)] == [2, 3, 4]
        assert [json.loads(payload)["body"] for payload in reader.messages(1, 6, 50, 10**6)] == ["one", "two", "three"]


def test_pages_of_messages_tile(store: Store, path: Path) -> None:
    sends = [SendMessage("ana", i, "a", f"n{i}", str(i)) for i in range(100)]
    joins = [JoinRoom(f"u{i}", i, "a") for i in range(100)]
    mixed = [record for pair in zip(sends, joins, strict=True) for record in pair]
    written(store, [*LOG, (4, entry(*mixed, n=4))])
    with reading(path) as reader:
        bodies: list[str] = []
        before = 10**6
        while page := [json.loads(payload) for payload in reader.messages(1, before, 7, 10**6)]:
            assert len(page) <= 7
            bodies = [message["body"] for message in page] + bodies
            before = page[0]["seq"]
    assert bodies == ["one", "two", "three", *map(str, range(100))]


def test_pages_are_bounded_in_bytes_but_never_empty(store: Store, path: Path) -> None:
    written(store, LOG)
    with reading(path) as reader:
        for read in (reader.events(1, 2, 5, 1), reader.messages(1, 6, 50, 1)):
            assert len(read) == 1
        assert json.loads(reader.messages(1, 6, 50, 1)[0])["body"] == "three"  # the latest, as pages go backwards
        assert json.loads(reader.events(1, 2, 5, 1)[0])["seq"] == 2


def test_rooms_are_listed_by_prefix_in_order(store: Store, path: Path) -> None:
    names = ["b", "ab", "a.c", "a", "a-z", "z"]
    written(store, [(1, entry(*(CreateRoom("ana", 1, name, name.upper()) for name in names)))])
    with reading(path) as reader:
        assert [row.id for row in reader.rooms("", "", "", 50)] == sorted(names)
        assert [row.id for row in reader.rooms("", "a", "", 50)] == ["a", "a-z", "a.c", "ab"]
        assert [row.id for row in reader.rooms("", "a", "a-z", 1)] == ["a.c"]
        assert reader.rooms("ana", "z", "", 50) == [RoomRow("z", "Z", 1, 1, False, False, "owner", 1)]


def test_members_are_counted(store: Store, path: Path) -> None:
    written(store, [*LOG, (4, entry(LeaveRoom("ana", 1, "a"), n=4))])
    with reading(path) as reader:
        assert [(row.id, row.members) for row in reader.rooms("", "", "", 9)] == [("a", 1), ("b", 1)]


def test_a_repeat_is_recognised_after_a_restart(path: Path) -> None:
    with closing(Store(path, "epoch")) as store:
        written(store, LOG)
    with closing(Store(path, "epoch")) as store:
        again = written(store, [(4, entry(SendMessage("ana", 999, "a", "c1", "one"), producer="q"))])
        (outcome,) = again.batches[0].outcomes
        assert (outcome.seq, outcome.ts, outcome.dup) == (2, 101, True)  # type: ignore[union-attr]
        assert again.events == []


def test_messages_of_one_hash_are_told_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.state.store.said_key", lambda user, cid: 7)
    said = [SendMessage(user, 101, room, cid, "x") for room in "ab" for user in ("ana", "bo") for cid in ("1", "2")]
    rooms = [CreateRoom("ana", 100, room) for room in "ab"]
    members = [JoinRoom("bo", 100, room) for room in "ab"]
    with closing(Store(path, "epoch")) as store:
        written(store, [(1, entry(*rooms, *members, *said, n=1))])
    with closing(Store(path, "epoch")) as store:
        (again,) = written(store, [(2, entry(*said, n=2))]).batches
    assert again.outcomes == [Accepted(seq, 101, dup=True) for seq in (3, 4, 5, 6) * 2]


def test_a_store_of_another_log_or_schema_is_thrown_away(path: Path) -> None:
    with closing(Store(path, "epoch")) as store:
        written(store, LOG)
    with closing(Store(path, "other")) as store:
        assert snapshot(store.state) == replayed([])
        written(store, LOG)
        assert snapshot(store.state) == replayed(LOG)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = 0 WHERE key = 'schema'")
        db.commit()
    with closing(Store(path, "other")) as store:
        assert store.state.position == 0


def test_digests_on_the_way_are_those_of_a_replay(store: Store) -> None:
    log = growing_log()[:250]
    digests = written(store, log[:130]).digests | written(store, log[130:]).digests
    assert digests == {position: replayed(log[:position])["digest"] for position in (100, 200)}


def fail_once(store: Store, name: str, reason: str) -> None:
    """Let one call of a method fail when it has done its work, as on a disk that is full or breaks."""
    method = getattr(store, name)

    def failing(*args: Any) -> None:
        method(*args)
        setattr(store, name, method)
        raise sqlite3.OperationalError(reason)

    setattr(store, name, failing)


def test_a_failed_write_leaves_the_file_as_it_was_and_can_be_repeated(store: Store, path: Path) -> None:
    written(store, LOG[:1])
    before = rows(path)
    store.apply(LOG[1:2])
    fail_once(store, "_write", "database or disk is full")
    with pytest.raises(sqlite3.OperationalError):
        store.write()
    assert rows(path) == before
    written(store, LOG[2:])
    assert snapshot(store.state) == replayed(LOG)
    with closing(Store(path, "epoch")) as again:
        assert snapshot(again.state) == replayed(LOG)


@pytest.mark.parametrize("reload_fails", [False, True])
def test_a_failed_look_up_leaves_nothing_behind_and_can_be_repeated(
    store: Store, path: Path, reload_fails: bool
) -> None:
    written(store, LOG[:1])
    store.apply(LOG[1:2])
    fail_once(store, "find_said", "disk I/O error")
    if reload_fails:
        fail_once(store, "_load", "disk I/O error")
    for _ in range(1 + reload_fails):
        with pytest.raises(sqlite3.OperationalError):
            store.apply(LOG[2:])
    applied = written(store, LOG[2:])
    assert [len(batch.outcomes) for batch in applied.batches] == [2]
    assert snapshot(store.state) == replayed(LOG)
    with closing(Store(path, "epoch")) as again:
        assert snapshot(again.state) == replayed(LOG)


def test_an_entry_of_a_newer_release_stops_the_batch_before_it_counts(store: Store) -> None:
    with pytest.raises(UnknownVersion):
        written(store, [*LOG, (4, b'{"v":99}')])
    with pytest.raises(UnknownVersion):
        written(store, [(1, b'{"v":99}')])
    written(store, LOG)
    assert snapshot(store.state) == replayed(LOG)


def test_a_file_to_which_a_newer_release_applied_its_records_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as next_release:
        next_release.setattr(records, "KNOWN_VERSION", 2)
        with closing(Store(path, "epoch")) as store:
            written(store, [*LOG, (4, encode_batch("q", 1, [], version=2)), (5, entry(n=4))])
    before = rows(path)
    with pytest.raises(UnknownVersion, match="version 2, and this release knows up to 1"):
        Store(path, "epoch")
    assert rows(path) == before


def test_a_reader_sees_whole_batches_while_the_writer_writes(store: Store, path: Path) -> None:
    with reading(path) as reader:
        for position, data in LOG:
            written(store, [(position, data)])
            view = reader.room("a", "ana")
            assert view is not None
            assert len(reader.events(view.no, 1, view.head, 10**6)) == view.head


_APPLY_FOR_EVER = """
import sys
from dataclasses import replace
from pathlib import Path
from node.state.store import Store
from tests.unit.test_store import growing_log

store = Store(Path(sys.argv[1]), "epoch")
log = growing_log()
while True:
    start = store.state.position
    store.apply(log[start : start + 3])
    store.write()
    print(store.state.position, flush=True)
"""


def growing_log() -> list[tuple[int, bytes]]:
    """A log too long to be applied in the time of a test."""
    sends = [(n, entry(*(SendMessage("ana", n, "a", f"{n}-{i}", "x") for i in range(5)), n=n)) for n in range(2, 3000)]
    return [(1, entry(CreateRoom("ana", 1, "a"), n=1)), *sends]


def test_a_killed_process_goes_on_where_the_file_is(path: Path) -> None:
    for _ in range(2):
        command = [sys.executable, "-c", _APPLY_FOR_EVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(150)]
            process.send_signal(signal.SIGKILL)
        with closing(Store(path, "epoch")) as store:
            position = store.state.position
            assert position >= int(lines[-1])
            assert snapshot(store.state) == replayed(growing_log()[:position])
