"""The replica on a log that fails and a disk that fails: it falls behind, says so, and catches up."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from node import replica as replica_module
from node.errors import ErrorCode, RequestError, StoreCorrupt
from node.hub import Hub
from node.metrics import Metrics
from node.replica import Replica
from node.state.reader import Reader, RoomView
from node.state.records import CreateRoom, SendMessage
from node.state.store import Applied, Store
from node.submitter import Submitter

from .fakes import MemoryLog
from .history import entry
from .local_node import until

ENTRIES = [
    entry(CreateRoom("ana", 1, "a"), n=1),
    *(entry(SendMessage("ana", 2, "a", f"c{n}", "x"), n=n) for n in range(2, 12)),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "_POLL_S", 0.05)
    monkeypatch.setattr(replica_module, "_APPLY_RETRY_S", 0.01)
    monkeypatch.setattr(replica_module, "_BARRIER_TIMEOUT_S", 0.1)


def make(log: MemoryLog, path: Path) -> Replica:
    return Replica(log, path, Hub(1000), Submitter(log, 10, 1), Metrics())


@asynccontextmanager
async def following(log: MemoryLog, path: Path) -> AsyncGenerator[Replica]:
    replica = make(log, path)
    async with trio.open_nursery() as nursery:
        await nursery.start(replica.run)
        yield replica
        nursery.cancel_scope.cancel()


async def append(log: MemoryLog, entries: Sequence[bytes]) -> None:
    for data in entries:
        await log.append(f"e{len(log.entries)}", data)


async def test_it_catches_up_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    log = MemoryLog()
    await append(log, ENTRIES[:5])
    for applied in (5, 11):
        async with following(log, tmp_path / "s") as replica:
            await replica.wait_ready()
            assert replica.applied == 5
            await append(log, ENTRIES[5:] if applied == 11 else [])
            await replica.catch_up()
            assert (replica.applied, replica.head) == (applied, applied)
            assert await replica.read(lambda reader: reader.room("a", "ana")) == RoomView(1, 1, applied, False, "owner")


async def test_two_replicas_of_one_log_agree(tmp_path: Path) -> None:
    log = MemoryLog()
    async with following(log, tmp_path / "one") as one:
        await append(log, ENTRIES)
        async with following(log, tmp_path / "two") as two:
            await one.catch_up()
            await two.catch_up()
            assert one.digest == two.digest != b""


async def test_a_log_that_is_down_makes_it_unready_and_a_join_does_not_hang(tmp_path: Path) -> None:
    log = MemoryLog()
    async with following(log, tmp_path / "s") as replica:
        await replica.wait_ready()
        log.up = False
        with trio.fail_after(1):
            await replica.catch_up()
        assert not replica.ready
        log.up = True
        log.wake()
        with trio.fail_after(1):
            await replica.wait_ready()


async def test_it_is_not_ready_while_entries_do_not_arrive_and_nobody_is_shown_less(tmp_path: Path) -> None:
    log = MemoryLog()
    async with following(log, tmp_path / "s") as replica:
        await replica.wait_ready()
        hidden = [*log.entries, *ENTRIES]
        log.last = _always(len(hidden))  # type: ignore[method-assign]
        with trio.fail_after(1), pytest.raises(RequestError, match="not come so far"):
            await replica.catch_up()
        for _ in range(10):
            assert not replica.ready
            await trio.sleep(0.03)
        await append(log, ENTRIES)
        await replica.wait_ready()


def _always(position: int) -> Callable[[], Coroutine[Any, Any, int]]:
    async def last() -> int:
        await trio.lowlevel.checkpoint()
        return position

    return last


async def test_a_failing_disk_is_waited_for_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply, failures = Store.apply, [sqlite3.OperationalError("database or disk is full")] * 3

    def failing(self: Store, entries: Sequence[tuple[int, bytes]]) -> Applied:
        if failures:
            raise failures.pop()
        return apply(self, entries)

    monkeypatch.setattr(Store, "apply", failing)
    log = MemoryLog()
    async with following(log, tmp_path / "s") as replica:
        await append(log, ENTRIES)
        await until(lambda: replica.applied == len(ENTRIES))
        assert failures == []


async def test_a_file_that_cannot_be_written_makes_it_unready_and_nothing_old_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "_WRITE_EVERY_S", 0.01)
    log = MemoryLog()
    async with following(log, tmp_path / "s") as replica:
        await replica.wait_ready()
        with monkeypatch.context() as patch:

            def full(self: Store) -> None:
                raise sqlite3.OperationalError("database or disk is full")

            patch.setattr(Store, "write", full)
            await append(log, ENTRIES)
            await until(lambda: replica.applied == len(ENTRIES) and replica.caught_up)
            await until(lambda: not replica.ready)
            with trio.fail_after(1):
                with pytest.raises(RequestError) as refused:
                    await replica.read(lambda reader: reader.room("a", "ana"))
                assert refused.value.code is ErrorCode.UNAVAILABLE
                assert await replica.read(lambda reader: reader.room("a", "ana"), stale=True) is None
        with trio.fail_after(1):
            await replica.wait_ready()
        assert await replica.read(lambda reader: reader.room("a", "ana")) == RoomView(1, 1, 11, False, "owner")


@pytest.mark.parametrize(("lot_bytes", "every_s"), [(0, 100), (1_000_000, 0.01)])
async def test_the_file_follows_without_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lot_bytes: int, every_s: float
) -> None:
    monkeypatch.setattr(replica_module, "_LOT_BYTES", lot_bytes)
    monkeypatch.setattr(replica_module, "_WRITE_EVERY_S", every_s)
    log, path = MemoryLog(), tmp_path / "s"
    async with following(log, path):
        await append(log, ENTRIES)
        with closing(Reader(path)) as reader:
            await until(lambda: reader.room("a", "ana") == RoomView(1, 1, 11, False, "owner"))


async def test_a_store_that_goes_bad_is_removed_and_rebuilt_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, path = MemoryLog(), tmp_path / "s"
    await append(log, ENTRIES)
    with monkeypatch.context() as patch:

        def corrupt(*_: object) -> Applied:
            raise StoreCorrupt("page 7")

        patch.setattr(Store, "apply", corrupt)
        with pytest.raises(ExceptionGroup) as ended:
            await make(log, path).run()
        assert ended.group_contains(StoreCorrupt)
        assert not path.exists()
    async with following(log, path) as replica:
        await replica.wait_ready()
        assert replica.applied == len(ENTRIES)


async def test_a_damaged_file_is_rebuilt_at_the_start(tmp_path: Path) -> None:
    log, path = MemoryLog(), tmp_path / "s"
    path.write_bytes(b"?" * 4096)
    await append(log, ENTRIES)
    async with following(log, path) as replica:
        await replica.wait_ready()
        assert replica.applied == len(ENTRIES)


async def test_damage_that_only_a_reader_meets_ends_the_replica_and_is_mended(tmp_path: Path) -> None:
    log, path = MemoryLog(), tmp_path / "s"
    await append(log, ENTRIES)
    with pytest.RaisesGroup(StoreCorrupt, flatten_subgroups=True), trio.fail_after(5):
        async with following(log, path) as replica:
            await replica.wait_ready()
            with closing(sqlite3.connect(path)) as db:
                db.execute("INSERT INTO account VALUES ('ana', '{')")
                db.commit()
            await replica.read(lambda reader: reader.accounts("", 1))
    assert not path.exists()
    async with following(log, path) as replica:
        await replica.wait_ready()
        assert await replica.read(lambda reader: reader.accounts("", 1)) == []


async def test_the_last_digests_on_the_way_are_kept(tmp_path: Path) -> None:
    log = MemoryLog()
    log.entries = [ENTRIES[0], *(entry(SendMessage("ana", 2, "a", f"c{n}", "x"), n=n) for n in range(2, 2051))]
    async with following(log, tmp_path / "s") as replica:
        await replica.wait_ready()
        assert list(replica.digests) == list(range(500, 2001, 100))
        assert len(set(replica.digests.values())) == 16


async def test_reads_do_not_wait_for_each_other_without_end(tmp_path: Path) -> None:
    log = MemoryLog()
    await append(log, ENTRIES)
    async with following(log, tmp_path / "s") as replica:
        await replica.wait_ready()
        seen: list[RoomView | None] = []

        async def look() -> None:
            seen.append(await replica.read(lambda reader: reader.room("a", "ana")))

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(look)
        assert seen == [RoomView(1, 1, 11, False, "owner")] * 50
