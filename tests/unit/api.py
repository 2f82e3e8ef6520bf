"""The admin API of a node in this process, and an admin who asks it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from node import admin_key
from node.admin_key import AdminKey
from node.api.gate import Gate
from node.api.routes import BASE, mount
from node.cluster import Beat
from node.conversation import Node
from node.http import make_app

from .local_node import LocalNode, local_node


class FakeHost:
    """What :class:`node.app.App` is to the API.

    Attributes:
        node: None for a node that starts.
        stopped: whether it was told to drain.
        trouble: what an export meets.
    """

    def __init__(self, local: LocalNode) -> None:
        self._local = local
        self.node: Node | None = local.node
        self.stopped = False
        self.trouble: Exception | None = None

    def readiness(self) -> dict[str, Any]:
        replica = self._local.replica
        return {
            "ready": replica.ready,
            "reason": None if replica.ready else "cut off from the log",
            "node": "node1",
            "version": "1",
            "release": None,
            "epoch": "memory",
            "applied": replica.applied,
            "head": replica.head,
            "digest": replica.digest.hex(),
            "records": 1,
            "peers": ["node2"],
            "connections": self._local.server.connection_count,
            "token_keys": 1,
            "jwks_age_s": None,
        }

    def beats(self) -> tuple[Beat, list[tuple[Beat, float]]]:
        one, two = (Beat(name, "", "1", "", True, 1, 0) for name in ("node1", "node2"))
        return one, [(two, 0.5)]

    @asynccontextmanager
    async def export(self) -> AsyncGenerator[AsyncGenerator[bytes]]:
        await trio.lowlevel.checkpoint()
        if self.trouble is not None:
            raise self.trouble
        async with aclosing(_lines()) as lines:
            yield lines

    def stop(self) -> None:
        self.stopped = True


async def _lines() -> AsyncGenerator[bytes]:
    for line in (b"{}\n", b"{}\n"):
        await trio.lowlevel.checkpoint()
        yield line


class Admin:
    """Asks the API with a token; ``ask`` gives the status, the body and the headers."""

    def __init__(self, client: httpx.AsyncClient, key: AdminKey, local: LocalNode, host: FakeHost) -> None:
        self.client = client
        self.key = key
        self.local = local
        self.host = host
        self.headers = {"Authorization": f"Bearer {key.sign('operator', time.time(), 60)}"}

    async def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        headers = {**self.headers, **how.pop("headers", {})}
        return await self.client.request(method, BASE + path, headers=headers, **how)

    async def ask(self, method: str, path: str, **how: Any) -> tuple[int, Any]:
        response = await self.request(method, path, **how)
        return response.status_code, response.json() if response.content else None

    async def refused(self, method: str, path: str, **how: Any) -> tuple[int, str]:
        """Status and kind of problem."""
        response = await self.request(method, path, **how)
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["status"] == response.status_code
        assert problem.keys() == {"type", "title", "status", "detail"}
        return response.status_code, problem["type"].removeprefix("urn:problem-type:chat-node:")


@asynccontextmanager
async def administering(directory: Path, **settings: Any) -> AsyncGenerator[Admin]:
    """A node, and its admin."""
    async with local_node(directory, **settings) as local:
        key = admin_key.provide(directory, local.settings.node_id)
        host = FakeHost(local)
        api = mount(host, Gate(local.settings, key), local.settings.max_frame_bytes)
        transport = httpx.ASGITransport(make_app(host.readiness, lambda: local.metrics.registry, api))
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            yield Admin(client, key, local, host)
