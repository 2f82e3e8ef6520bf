"""Logs as files and back: from either kind into either kind, while they are used, and broken off in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
from nats.js.errors import NotFoundError

from node.errors import LogChanged, LogNotEmpty, LogUnavailable
from node.export import save
from node.log.base import Log
from node.restore import Report, restore, verify
from node.state.outcome import Accepted
from node.state.records import CreateRoom, JoinRoom, SendMessage
from node.state.store import Store
from tests.nats_cluster import PASSWORD, USER
from tests.unit.history import entry

from .conftest import Backend, JetStreamBackend, SqliteBackend
from .reading import append_surely, read

ENTRIES = [
    entry(CreateRoom("ana", 1, "a"), JoinRoom("bo", 2, "a"), n=1),
    entry(*(SendMessage("bo", 3, "a", f"c{i}", "x" * 100) for i in range(1000)), n=2),
    b"\xff no record",
    entry(SendMessage("ana", 4, "a", "c1", "Ünï"), n=3),
    entry(SendMessage("ana", 4, "a", "c1", "Ünï"), n=3),
    *(entry(SendMessage("ana", n, "a", f"k{n}", "y"), n=n) for n in range(4, 600)),
]
KINDS = ["sqlite", "jetstream"]


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@asynccontextmanager
async def opened(backend: Backend) -> AsyncIterator[Log]:
    log = backend.log()
    async with aclosing(log):
        await log.open()
        yield log


async def fill(log: Log) -> None:
    for n, data in enumerate(ENTRIES):
        await append_surely(log, f"p:{n}", data)


async def export_of(backend: Backend, path: Path) -> Path:
    async with aclosing(backend.source()) as source:
        await source.open()
        await save(source, path, quiet)
    return path


async def import_into(backend: Backend, path: Path) -> tuple[Report, str]:
    async with aclosing(backend.loader()) as loader:
        return await restore(path, loader, None, quiet)


def outcome_of(directory: Path, epoch: str, entries: Sequence[tuple[int, bytes]], data: bytes) -> tuple[str, Accepted]:
    """The digest of the state after some entries, and what then becomes of the one record in ``data``."""
    with closing(Store(directory / f"{epoch}.sqlite", epoch)) as store:
        store.apply(entries)
        digest = store.state.digest.hex()
        (batch,) = store.apply([(len(entries) + 1, data)]).batches
    (outcome,) = batch.outcomes
    assert isinstance(outcome, Accepted)
    return digest, outcome


@pytest.mark.parametrize("target_kind", KINDS)
@pytest.mark.parametrize("source_kind", KINDS)
async def test_an_export_of_either_kind_imports_into_either(
    source_kind: str, target_kind: str, tmp_path: Path, jetstream: JetStreamBackend
) -> None:
    kinds: dict[str, Callable[[str], Backend]] = {
        "sqlite": lambda name: SqliteBackend(tmp_path / name),
        "jetstream": lambda _: jetstream,
    }
    backend = kinds[source_kind]("from")
    async with opened(backend) as log:
        await fill(log)
        before, epoch = await read(log, len(ENTRIES)), log.epoch
        path = await export_of(backend, tmp_path / "export.gz")  # beside the node that has it open
    await jetstream.destroy()
    target = kinds[target_kind]("to")
    report, new_epoch = await import_into(target, path)
    async with opened(target) as log:
        assert (report.epoch, log.epoch) == (epoch, new_epoch)
        assert new_epoch != epoch
        after = await read(log, len(ENTRIES))
        again = entry(SendMessage("ana", 99, "a", "c1", "Ünï"), producer="q", n=1)
        assert await log.append("q:1", again) == len(ENTRIES) + 1
    assert after == before
    digest, _ = outcome_of(tmp_path, epoch, before, again)
    new_digest, outcome = outcome_of(tmp_path, new_epoch, after, again)
    assert report.digest == digest == new_digest
    assert (outcome.dup, outcome.ts) == (True, 4)  # a repeat of what was said before the export is known as one


async def test_an_export_is_consistent_while_messages_flow(backend: Backend, log: Log, tmp_path: Path) -> None:
    await fill(log)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def go_on() -> None:
                n = 600
                while True:
                    await append_surely(log, f"more:{n}", entry(SendMessage("ana", n, "a", f"k{n}", "y"), n=n))
                    n += 1

            nursery.start_soon(go_on)
            for name in ("one", "two"):
                begun = await log.last()
                report = await trio.to_thread.run_sync(
                    verify, await export_of(backend, tmp_path / name), tmp_path, quiet
                )
                assert begun <= report.last == report.count < await log.last()
            scope.cancel()


async def test_a_log_with_entries_is_refused_and_goes_on(backend: Backend, tmp_path: Path) -> None:
    async with opened(backend) as log:
        await log.append("p:1", ENTRIES[0])
        path, epoch = await export_of(backend, tmp_path / "export"), log.epoch
    with pytest.raises(LogNotEmpty, match="has 1 entries: an import wants an empty log"):
        await import_into(backend, path)
    async with opened(backend) as log:
        assert log.epoch == epoch
        assert await log.append("p:2", b"x") == 2


async def test_an_empty_log_that_was_used_by_nodes_can_be_filled(backend: Backend, tmp_path: Path) -> None:
    path = await export_of_entries(tmp_path)
    async with opened(backend) as log:
        epoch = log.epoch
    _, new_epoch = await import_into(backend, path)
    async with opened(backend) as log:
        assert log.epoch == new_epoch != epoch
        assert await log.last() == len(ENTRIES)


async def export_of_entries(tmp_path: Path) -> Path:
    backend = SqliteBackend(tmp_path / "other")
    async with opened(backend) as log:
        await fill(log)
        return await export_of(backend, tmp_path / "export")


async def test_an_import_that_is_broken_off_serves_nobody_and_is_repeated(backend: Backend, tmp_path: Path) -> None:
    path = await export_of_entries(tmp_path)
    async with aclosing(backend.loader()) as loader:
        await loader.begin()
        await loader.load(ENTRIES[:100])
        with pytest.raises(LogUnavailable):
            async with opened(backend):
                pass
    _, epoch = await import_into(backend, path)
    async with opened(backend) as log:
        assert log.epoch == epoch
        assert [found.data for found in await read(log, len(ENTRIES))] == ENTRIES
        assert await log.last() == len(ENTRIES)


def _settings(backend: Backend, directory: Path) -> dict[str, str]:
    """The environment in which the commands find a backend's log."""
    if isinstance(backend, JetStreamBackend):
        nats = {"NATS_URL": ",".join(backend.cluster.urls), "NATS_USER": USER, "NATS_PASSWORD": PASSWORD}
        return nats | {"DATA_DIR": str(directory / "data")}
    return {"DATA_DIR": str(directory)}


@asynccontextmanager
async def _watching(backend: Backend, directory: Path) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """A question: is the import in the middle of the work?"""
    if not isinstance(backend, JetStreamBackend):
        unfinished = trio.Path(directory / "log.sqlite.import")

        async def file_grows() -> bool:
            return await unfinished.exists() and (await unfinished.stat()).st_size > 100_000

        yield file_grows
        return
    async with backend.connection() as nats:

        async def stream_grows() -> bool:
            try:
                stream = await nats.call(lambda client: client.jsm().stream_info("CHAT"))
            except (NotFoundError, LogUnavailable):  # it has no leader yet
                return False
            return stream.state.last_seq > 100

        yield stream_grows


# The command itself, pausing after each batch: else it may be through before it is seen at work.
SLOW_IMPORT = """
import time
from node.cli import main
from node.log import jetstream_copy, sqlite_copy

def slow(loader):
    async def load(self, entries, load=loader.load):
        await load(self, entries)
        time.sleep(0.5)
    loader.load = load

slow(jetstream_copy.JetStreamLoader)
slow(sqlite_copy.SqliteLoader)
main()
"""


@pytest.mark.timeout(120)
async def test_an_import_whose_process_is_killed_can_be_repeated(backend: Backend, tmp_path: Path) -> None:
    big = SqliteBackend(tmp_path / "big")
    entries = [ENTRIES[0], *(entry(SendMessage("ana", n, "a", f"k{n}", "y"), n=n) for n in range(2, 20_000))]
    async with aclosing(big.loader()) as loader:
        await loader.begin()
        await loader.load(entries)
        await loader.finish()
    path = await export_of(big, tmp_path / "export")
    command = [sys.executable, "-c", SLOW_IMPORT, "import", str(path)]
    async with _watching(backend, tmp_path) as in_the_middle:
        process = subprocess.Popen(command, env=_settings(backend, tmp_path))  # noqa: ASYNC220 - starts at once
        with trio.fail_after(60):
            while not await in_the_middle():
                await trio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert await trio.to_thread.run_sync(process.wait) == -signal.SIGKILL
    if isinstance(backend, JetStreamBackend):
        with pytest.raises(LogUnavailable, match="an import into stream CHAT is not finished"):
            async with opened(backend):
                pass
    else:
        assert not (tmp_path / "log.sqlite").exists()  # so nothing can be served from it
    _, epoch = await import_into(backend, path)
    async with opened(backend) as log:
        assert (log.epoch, await log.last()) == (epoch, len(entries))


async def test_nodes_that_have_the_empty_log_open_find_another(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream) as log, aclosing(jetstream.loader()) as loader:
        async with aclosing(log.tail(0)) as tail:
            await loader.begin()
            await loader.load(ENTRIES[:10])
            with trio.fail_after(20), pytest.raises(LogChanged):  # and not the entries of a log that is not whole
                await anext(tail)
        with pytest.raises(LogChanged):
            await log.append("p:1", b"x")


async def test_an_import_goes_on_through_the_loss_of_a_leader(jetstream: JetStreamBackend, tmp_path: Path) -> None:
    async with aclosing(jetstream.loader()) as loader:
        await loader.begin()
        await loader.load(ENTRIES[:100])
        await trio.to_thread.run_sync(jetstream.cluster.server(await jetstream.leader()).kill)
        await loader.load(ENTRIES[100:])
        epoch = await loader.finish()
    async with opened(jetstream) as log:
        assert log.epoch == epoch
        assert [found.data for found in await read(log, len(ENTRIES))] == ENTRIES


async def test_a_source_makes_no_log(backend: Backend) -> None:
    for _ in range(2):
        async with aclosing(backend.source()) as source:
            with pytest.raises((LogUnavailable, LogChanged)):
                await source.open()
