"""The cluster under test as processes of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from tests.faults.target import FaultKind, Look, Target, look_at
from tests.nats_cluster import NatsServer
from tests.node.cluster import NAMES, Cluster
from tests.node.process import NodeProcess

_CRASH_LIMIT_S = 10.0
_ELECTION_LIMIT_S = 15.0
"""Log servers elect a leader within 4 to 9 s by themselves; everything shares this machine's processors meanwhile."""
_JUMP_S = 3.0


class LocalTarget(Target):
    """Nodes and log servers of a :class:`Cluster`, one of each being a machine.

    Args:
        cluster: running, with guests let in, and with a clock of node1's own.
        http: used to look at the nodes.
    """

    nodes = NAMES

    def __init__(self, cluster: Cluster, http: httpx.AsyncClient) -> None:
        self._cluster = cluster
        self._http = http

    def url(self, node: str) -> str:
        return self._node(node).url

    async def token(self, user: str) -> None:
        return None

    async def look(self, node: str, *, figures: bool = False) -> Look | None:
        return await look_at(self._http, f"http://127.0.0.1:{self._node(node).http_port}", figures=figures)

    async def whole(self) -> None:
        await trio.to_thread.run_sync(self._cluster.nats.wait_healthy)
        await trio.to_thread.run_sync(self._cluster.wait_whole)

    @property
    def faults(self) -> Mapping[str, FaultKind]:
        servers = [server.name for server in self._cluster.nats.servers]
        return {
            "node killed": FaultKind(NAMES, _CRASH_LIMIT_S, self._node_killed),
            "log server killed": FaultKind(servers, _ELECTION_LIMIT_S, self._server_killed),
            "log leader killed": FaultKind(["leader"], _ELECTION_LIMIT_S, self._leader_killed),
            "log server frozen": FaultKind(servers, _ELECTION_LIMIT_S, self._server_frozen),
            "clock jumps": FaultKind(NAMES[:1], _CRASH_LIMIT_S, self._clock_jumps),
            "all killed": FaultKind(["all"], None, self._all_killed),
        }

    def _node(self, name: str) -> NodeProcess:
        return self._cluster.nodes[NAMES.index(name)]

    @asynccontextmanager
    async def _node_killed(self, name: str) -> AsyncIterator[None]:
        node = self._node(name)
        node.kill()
        yield
        node.start()
        await trio.to_thread.run_sync(node.wait_serving)

    @asynccontextmanager
    async def _server_killed(self, name: str) -> AsyncIterator[None]:
        server = self._server(name)
        server.kill()
        yield
        server.start()

    @asynccontextmanager
    async def _leader_killed(self, _: str) -> AsyncIterator[None]:
        async with self._server_killed(await trio.to_thread.run_sync(self._leader)):
            yield

    def _leader(self) -> str:
        """The server that leads the stream of the nodes' log."""
        told: Any = self._cluster.nats.servers[0].monitor("/jsz?streams=true")
        streams = [stream for account in told["account_details"] for stream in account.get("stream_detail", [])]
        return str(streams[0]["cluster"]["leader"])

    @asynccontextmanager
    async def _server_frozen(self, name: str) -> AsyncIterator[None]:
        server = self._server(name)
        server.freeze()
        yield
        server.thaw()

    @asynccontextmanager
    async def _clock_jumps(self, name: str) -> AsyncIterator[None]:
        """An hour ahead, and then two hours back: behind everybody else's, and behind its own of a moment ago."""
        self._cluster.set_clock(name, 3600)
        await trio.sleep(_JUMP_S)
        self._cluster.set_clock(name, -3600)
        yield
        self._cluster.set_clock(name, 0)

    @asynccontextmanager
    async def _all_killed(self, _: str) -> AsyncIterator[None]:
        parts: list[NodeProcess | NatsServer] = [*self._cluster.nats.servers, *self._cluster.nodes]
        for part in parts:
            part.kill()
        yield
        for part in parts:
            part.start()
        for node in self._cluster.nodes:
            await trio.to_thread.run_sync(node.wait_serving)

    def _server(self, name: str) -> NatsServer:
        return self._cluster.nats.server(name)
