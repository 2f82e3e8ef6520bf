"""Exports: what is in the file, that any damage is found, and that a broken one leaves nothing behind."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings

from node.errors import LogUnavailable
from node.export import export, save
from node.restore import ExportError, ExportFile, Report, restore, verify
from node.state.records import CreateRoom, JoinRoom, PutAccount, SendMessage, encode_batch

from .fakes import MemoryLog
from .history import entry, logs
from .test_store import replayed

ENTRIES = [
    entry(CreateRoom("ana", 100, "a"), SendMessage("ana", 101, "a", "c1", "one\nÜñ"), n=1),
    b"\xff no record",
    entry(JoinRoom("bo", 102, "a"), SendMessage("bo", 103, "a", "c1", "two"), n=2),
    entry(JoinRoom("bo", 102, "a"), SendMessage("bo", 103, "a", "c1", "two"), n=2),
    b'{"v":1,\n"odd":"but JSON"}',
    b"",
    entry(PutAccount("ops", 104, "cy", "argon2", [], admin=True, new=True), n=3),
]


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def log_of(entries: Sequence[bytes]) -> MemoryLog:
    log = MemoryLog()
    log.entries = list(entries)
    return log


def saved(path: Path, entries: Sequence[bytes]) -> Path:
    trio.run(save, log_of(entries), path, quiet)
    return path


def read(path: Path) -> list[bytes]:
    file = ExportFile(path)
    try:
        return [data for batch in file.batches() for _, data in batch]
    finally:
        file.close()


class MemoryLoader:
    """A loader that keeps what it is given."""

    def __init__(self) -> None:
        self.begun, self.finished = False, False
        self.entries: list[bytes] = []

    async def begin(self) -> None:
        self.begun = True

    async def load(self, entries: Sequence[bytes]) -> None:
        self.entries += entries

    async def finish(self) -> str:
        self.finished = True
        return "new"

    async def aclose(self) -> None:
        pass


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return saved(tmp_path / "log.jsonl", ENTRIES)


def test_the_file_says_what_is_in_it(whole: Path) -> None:
    first, *lines, seal = [json.loads(line) for line in whole.read_bytes().splitlines()]
    assert first.pop("created_at").endswith("+00:00")
    assert first.pop("node_version")
    assert first == {"chat_export": 1, "epoch": "memory", "first": 1, "last": 7, "count": 7}
    assert lines[0] == {"position": 1, "entry": json.loads(ENTRIES[0])}
    assert lines[1] == {"position": 2, "base64": "/yBubyByZWNvcmQ="}
    assert list(seal) == ["sha256"]
    assert oct(whole.stat().st_mode & 0o777) == "0o600"  # there are passwords' hashes in it


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_every_entry_comes_back_byte_for_byte(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, ENTRIES)
    assert read(path) == ENTRIES
    assert path.read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")


def test_a_log_without_entries_is_an_export_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "log.jsonl", [])
    assert read(path) == []
    report = verify(path, tmp_path, quiet)
    assert (report.first, report.last, report.count, report.rooms, report.digest) == (0, 0, 0, 0, "")


def test_verify_tells_the_state(whole: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(whole, tmp_path, lambda done, total: seen.append((done, total)))
    counts = (report.rooms, report.messages, report.users, report.accounts, report.skipped)
    assert counts == (1, 2, 3, 1, 4)
    assert report.digest == replayed(list(enumerate(ENTRIES, start=1)))["digest"].hex()
    assert seen[-1] == (7, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@settings(max_examples=30, deadline=None)
@given(log=logs())
def test_what_is_imported_leads_to_the_same_state(log: list[tuple[int, bytes]]) -> None:
    loader = MemoryLoader()
    with tempfile.TemporaryDirectory() as directory:
        path = saved(Path(directory) / "log.jsonl", [data for _, data in log])
        report, epoch = trio.run(restore, path, loader, None, quiet)
    assert (epoch, loader.finished) == ("new", True)
    assert list(enumerate(loader.entries, start=1)) == log
    assert report.digest == replayed(log)["digest"].hex()


async def test_an_export_ends_where_the_log_ended_when_it_began() -> None:
    log = log_of(ENTRIES)
    data = b""
    async with aclosing(export(log)) as pieces:
        async for piece in pieces:
            await log.append(f"more:{len(data)}", ENTRIES[0])
            data += piece.data
    assert len(log.entries) > len(ENTRIES)
    assert len(data.splitlines()) == len(ENTRIES) + 2
    assert json.loads(data.splitlines()[0])["last"] == len(ENTRIES)


def failing(path: Path, target: MemoryLoader) -> str:
    """The error of an import that must not touch the log."""
    with pytest.raises(ExportError) as caught:
        trio.run(restore, path, target, None, quiet)
    assert not target.begun
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_any_changed_byte_is_found(whole: Path) -> None:
    good = whole.read_bytes()
    for place in range(len(good)):
        whole.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ExportError):
            read(whole)
    whole.write_bytes(good)
    assert read(whole) == ENTRIES


def test_any_missing_end_is_found(whole: Path) -> None:
    good = whole.read_bytes()
    for size in range(len(good)):
        whole.write_bytes(good[:size])
        with pytest.raises(ExportError):
            read(whole)


def test_damage_in_a_compressed_file_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path / "log.jsonl.gz", ENTRIES)
    good = path.read_bytes()
    for place in range(10, len(good)):  # behind the header, which says nothing about the content
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ExportError):
            read(path)
        path.write_bytes(good[:place])
        with pytest.raises(ExportError):
            read(path)


def change(lines: list[bytes], damage: str) -> list[bytes]:
    manifest, *entries, seal = lines
    newer = json.dumps({**json.loads(manifest), "chat_export": 2}).encode()
    wrong = json.dumps({**json.loads(manifest), "first": 3}).encode()
    return {
        "changed": [manifest, entries[0].replace(b"one", b"two"), *entries[1:], seal],
        "moved": [manifest, entries[1], entries[0], *entries[2:], seal],
        "missing": [manifest, *entries[1:], seal],
        "doubled": [manifest, entries[0], *entries, seal],
        "no manifest": [*entries, seal],
        "no seal": [manifest, *entries],
        "newer": [newer, b'{"position":1,"what":"ever"}'],
        "contradiction": [wrong, *entries, seal],
        "more": [*lines, b"{}"],
        "endless": [manifest, b"x" * 2**21],
        "nothing": [],
    }[damage]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("changed", "something was changed"),
        ("moved", "entry 2 where entry 1 comes next: lines are missing or moved"),
        ("missing", "line 2: entry 2 where entry 1 comes next"),
        ("doubled", "line 3: entry 1 where entry 2 comes next"),
        ("no manifest", "line 1: no manifest, so this is no export"),
        ("no seal", "line 9: no end: the file was cut short"),
        ("newer", "format 2, this program reads up to 1: use a newer release"),
        ("contradiction", "a manifest that contradicts itself"),
        ("more", "more after the seal"),
        ("endless", "too much for a line"),
        ("nothing", "cut short"),
    ],
)
def test_damage_is_named_and_nothing_is_imported(whole: Path, damage: str, message: str) -> None:
    lines = change(whole.read_bytes().splitlines(), damage)
    whole.write_bytes(b"".join(line + b"\n" for line in lines))
    assert message in failing(whole, MemoryLoader())


def test_records_of_a_newer_release_are_refused(tmp_path: Path) -> None:
    newer = encode_batch("p", 4, []).replace(b'"v":1', b'"v":99')
    path = saved(tmp_path / "log.jsonl", [*ENTRIES, newer])
    assert "version 99" in failing(path, MemoryLoader())


def test_a_file_that_changes_between_the_two_readings_is_not_handed_over(whole: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    saved(other, ENTRIES[:3])

    class Loader(MemoryLoader):
        async def begin(self) -> None:
            other.replace(whole)

    loader = Loader()
    with pytest.raises(ExportError, match="was changed while it was imported"):
        trio.run(restore, whole, loader, None, quiet)
    assert not loader.finished


class Broken(MemoryLog):
    """A log that breaks in the middle of the reading."""

    async def tail(self, after: int) -> Any:
        async with aclosing(super().tail(after)) as tail:
            yield await anext(tail)
        raise LogUnavailable("gone")


def test_an_export_that_breaks_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path, log = tmp_path / "log.jsonl", Broken()
    log.entries = ENTRIES
    path.write_text("old")
    with pytest.raises(LogUnavailable):
        trio.run(save, log, path, quiet)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("log.jsonl", "old")]


async def test_nothing_that_looks_whole_is_there_before_the_end(tmp_path: Path) -> None:
    path, seen = tmp_path / "log.jsonl", []
    await save(log_of(ENTRIES), path, lambda done, total: seen.append(path.exists()))
    assert seen
    assert not any(seen)
    assert verify(path, tmp_path, quiet).__class__ is Report
