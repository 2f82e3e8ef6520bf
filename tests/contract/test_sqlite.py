"""What only the SQLite log promises: one process, crash safety, and errors that say what to do."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from node.errors import LogUnavailable
from node.log.sqlite import SqliteLog

from .reading import read

_APPEND_FOR_EVER = """
import itertools, sys, trio
from node.log.sqlite import SqliteLog

async def main():
    log = SqliteLog(sys.argv[1])
    await log.open()
    first = await log.last()

    async def append_some(worker):
        for i in itertools.count():
            entry_id = f"{first}:{worker}:{i}"
            position = await log.append(entry_id, entry_id.encode())
            print(position, entry_id, flush=True)

    async with trio.open_nursery() as nursery:
        for worker in range(8):
            nursery.start_soon(append_some, worker)

trio.run(main)
"""


def _append_until_killed(path: Path, lines: int) -> dict[int, str]:
    """Append from another process, kill it in the middle, and return what it was told to be committed."""
    process = subprocess.Popen([sys.executable, "-c", _APPEND_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        acknowledged = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    pairs = [line.split() for line in acknowledged if line.endswith("\n")]
    return {int(position): entry_id for position, entry_id in pairs}


async def test_kill_in_mid_append_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    acknowledged: dict[int, str] = {}
    for round_no in range(3):
        acknowledged |= await trio.to_thread.run_sync(_append_until_killed, path, 100 + 37 * round_no)
    log = SqliteLog(path)
    await log.open()
    try:
        entries = await read(log, await log.last())
    finally:
        await log.aclose()
    assert [entry.position for entry in entries] == list(range(1, len(entries) + 1))
    found = {entry.position: entry.data.decode() for entry in entries}
    assert acknowledged.items() <= found.items()
    assert len(set(found.values())) == len(found)
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_second_owner_is_told_who_holds_the_log(tmp_path: Path) -> None:
    first, second = SqliteLog(tmp_path / "log.sqlite"), SqliteLog(tmp_path / "log.sqlite")
    await first.open()
    try:
        with pytest.raises(LogUnavailable, match=r"held by another process \(pid \d+\): one process per log"):
            await second.open()
        await second.aclose()
        assert await first.append("e:1", b"x") == 1
    finally:
        await first.aclose()
    await second.open()
    assert await second.append("e:1", b"x") == 1
    await second.aclose()


async def test_appends_that_wait_share_a_transaction(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    await log.open()
    wal = tmp_path / "log.sqlite-wal"
    try:
        before = wal.stat().st_size
        async with trio.open_nursery() as nursery:
            for i in range(200):
                nursery.start_soon(log.append, f"e:{i}", b"x")
        pages = (wal.stat().st_size - before) // 4096
    finally:
        await log.aclose()
    assert pages < 60  # alone, each would write at least two pages


@pytest.mark.parametrize("content", [b"this is not a database" * 100, b"\0" * 8192])
async def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(content)
    log = SqliteLog(path)
    with pytest.raises(LogUnavailable, match=r"log\.sqlite"):
        await log.open()
    await log.aclose()


async def test_a_log_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    log = SqliteLog(path)
    with pytest.raises(LogUnavailable, match="schema version 99"):
        await log.open()


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "none" / "log.sqlite")
    with pytest.raises(LogUnavailable, match="No such file or directory"):
        await log.open()
