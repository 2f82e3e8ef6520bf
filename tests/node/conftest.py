"""One node on each kind of log, for tests that must pass on both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nats_cluster import PASSWORD, USER, NatsCluster

from .process import NodeProcess, until

KEY = "a-key-that-is-long-enough-for-hs256"
SEND_TIMEOUT_S, MAX_PENDING = 1.5, 60


class Served:
    """A node, and how to cut it off from its log."""

    def __init__(self, node: NodeProcess, directory: Path, nats: NatsCluster | None) -> None:
        self.node, self._directory, self._nats = node, directory, nats

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Meanwhile the log takes nothing: its file is locked, or two of three servers hang."""
        if self._nats is None:
            with sqlite3.connect(self._directory / "data" / "log.sqlite", isolation_level=None) as lock:
                lock.execute("BEGIN IMMEDIATE")
                yield
                lock.execute("ROLLBACK")
        else:
            for server in self._nats.servers[1:]:
                server.freeze()
            yield
            self._nats.heal()
        until(lambda: self.node.readiness()["ready"])


@pytest.fixture(scope="module", params=["sqlite", "jetstream"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings: dict[str, object] = {"auth_mode": "token,guest", "jwt_key": KEY, "drain_timeout": 2, "request_rate": 0}
    settings |= {"send_timeout": SEND_TIMEOUT_S, "max_pending": MAX_PENDING, "heartbeat_interval": 5}
    directory = tmp_path_factory.mktemp("node")
    if request.param == "sqlite":
        with NodeProcess.running(directory, **settings) as node:
            yield Served(node, directory, None)
        return
    with NatsCluster.running(tmp_path_factory.mktemp("nats")) as nats:
        settings |= {"nats_url": ",".join(nats.urls), "nats_user": USER, "nats_password": PASSWORD}
        with NodeProcess.running(directory, **settings) as node:
            yield Served(node, directory, nats)
