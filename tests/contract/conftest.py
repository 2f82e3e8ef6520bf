"""The two kinds of log, behind one face for the tests that both must pass."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from nats.js.errors import NotFoundError

from node.log.base import Loader, Log
from node.log.jetstream import JetStreamLog
from node.log.jetstream_copy import JetStreamLoader
from node.log.nats_thread import NatsThread
from node.log.sqlite import SqliteLog
from node.log.sqlite_copy import SqliteLoader, SqliteSource
from node.log.stream import STREAM
from tests.nats_cluster import PASSWORD, USER, NatsCluster

from .reading import surely


class Backend(Protocol):
    """One place where a log is kept, empty at first."""

    def log(self, max_bytes: int | None = None) -> Log:
        """A log object, not opened."""

    def source(self) -> Any:
        """The log as an export reads it beside a node, not opened."""

    def loader(self) -> Loader:
        """What fills the log."""

    async def destroy(self) -> None:
        """Take the log away under those who use it."""


class SqliteBackend:
    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, max_bytes: int | None = None) -> SqliteLog:
        return SqliteLog(self._path, max_bytes=max_bytes)

    def source(self) -> SqliteSource:
        return SqliteSource(self._path)

    def loader(self) -> SqliteLoader:
        return SqliteLoader(self._path)

    async def destroy(self) -> None:
        for suffix in ("", "-wal", "-shm", ".lock"):
            await trio.Path(f"{self._path}{suffix}").unlink(missing_ok=True)


class JetStreamBackend:
    def __init__(self, cluster: NatsCluster) -> None:
        self.cluster = cluster

    def log(self, max_bytes: int | None = None, first: int = 0, user: str = USER) -> JetStreamLog:
        """As promised; connects to the server with index ``first`` while that is up."""
        urls = self.cluster.urls[first:] + self.cluster.urls[:first]
        return JetStreamLog(urls, user, PASSWORD, replicas=3, max_bytes=max_bytes)

    def source(self) -> JetStreamLog:
        return JetStreamLog(self.cluster.urls, USER, PASSWORD, replicas=3, create=False)

    def loader(self) -> JetStreamLoader:
        return JetStreamLoader(self.cluster.urls, USER, PASSWORD, replicas=3)

    async def destroy(self) -> None:
        with contextlib.suppress(NotFoundError):
            async with self.connection() as nats:
                await surely(lambda: nats.call(lambda client: client.jsm().delete_stream(STREAM)))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[NatsThread]:
        nats = NatsThread(self.cluster.urls, USER, PASSWORD, name="test")
        nats.start()
        try:
            await nats.wait_connected(10)
            yield nats
        finally:
            await nats.aclose()

    async def leader(self) -> str:
        """Name of the server that leads the stream."""
        async with self.connection() as nats:
            while True:
                info = await nats.call(lambda client: client.jsm().stream_info(STREAM))
                if info.cluster is not None and info.cluster.leader:
                    return info.cluster.leader
                await trio.sleep(0.1)


@pytest.fixture(scope="session")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster.running(tmp_path_factory.mktemp("nats")) as cluster:
        yield cluster


@pytest.fixture
async def jetstream(nats_cluster: NatsCluster) -> JetStreamBackend:
    nats_cluster.heal()
    backend = JetStreamBackend(nats_cluster)
    await backend.destroy()
    return backend


@pytest.fixture(params=["sqlite", "jetstream"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "sqlite":
        return SqliteBackend(tmp_path / "log.sqlite")
    found: Backend = request.getfixturevalue("jetstream")
    return found


@pytest.fixture
async def log(backend: Backend) -> AsyncGenerator[Log]:
    """An opened, empty log."""
    log = backend.log()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(log.aclose)
        await log.open()
        yield log
