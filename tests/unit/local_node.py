"""A whole node but its log and its process: real sockets on loopback, a log in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from node.accounts import Passwords
from node.auth import Authenticator
from node.config import Settings
from node.conversation import Node
from node.hub import Hub
from node.jwks import JwksFetcher
from node.metrics import Metrics
from node.presence import Presence
from node.replica import Replica
from node.server import Server
from node.submitter import Submitter
from node.tracing import Tracer
from node.transport.websocket import ClientSocket, Disconnected, connect

from .fakes import MemoryBus, MemoryLog

KEY = "a-key-that-is-long-enough-for-hs256"
SETTINGS = Settings(auth_mode=("token", "accounts", "guest"), jwt_key=KEY, send_rate=0, request_rate=0, typing_rate=0)


class LocalNode:
    """The parts of a node, wired as ``node.app`` does. Use :func:`local_node`."""

    def __init__(
        self,
        log: MemoryLog,
        directory: Path,
        settings: Settings,
        bus: MemoryBus | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.log = log
        self.metrics = Metrics()
        self.hub = Hub(settings.max_unsent_bytes)
        self.submitter = Submitter(log, settings.max_pending, settings.send_timeout, tracer=tracer)
        path = directory / f"{settings.node_id}.sqlite"
        self.replica = Replica(log, path, self.hub, self.submitter, self.metrics, tracer)
        authenticator = Authenticator(settings.auth_mode, settings.jwt_key)
        self.jwks = None
        if settings.jwks_url:
            take = authenticator.replace_fetched
            self.jwks = JwksFetcher(settings.jwks_url, settings.jwks_max_age, take, min_interval_s=0.2)
        self.presence = Presence(self.hub, settings.node_id, bus)
        self.settings = settings
        self.node = Node(
            settings=settings,
            epoch=log.epoch,
            authenticator=authenticator,
            passwords=Passwords(),
            hub=self.hub,
            replica=self.replica,
            submitter=self.submitter,
            presence=self.presence,
            metrics=self.metrics,
            jwks=self.jwks,
            tracer=tracer,
        )
        self.server = Server(self.node)
        self.port = 0
        self._scope = trio.CancelScope()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def closed(self, code: int) -> float:
        """How many connections ended with a close code."""
        return self.metrics.registry.get_sample_value("chat_connections_closed_total", {"code": str(code)}) or 0.0

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                await self._serve(nursery, task_status)

    def crash(self) -> None:
        """End at once, without a word to anyone."""
        self._scope.cancel()

    async def _serve(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        await nursery.start(self.replica.run)
        nursery.start_soon(self.submitter.run)
        nursery.start_soon(self.hub.run)
        nursery.start_soon(self.presence.listen)
        if self.jwks is not None:
            nursery.start_soon(self.jwks.run)
        await self.replica.wait_ready()
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await self.server.listen(listeners[0].socket)


@asynccontextmanager
async def local_node(
    directory: Path,
    *,
    log: MemoryLog | None = None,
    bus: MemoryBus | None = None,
    port: int = 0,
    tracer: Tracer | None = None,
    **settings: Any,
) -> AsyncGenerator[LocalNode]:
    """A node that serves while the block runs, and then ends without a word, as a crash would."""
    node = LocalNode(log or MemoryLog(), directory, replace(SETTINGS, **settings), bus, tracer)
    node.port = port
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield node
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for something to become true."""
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.sleep(0.01)


class Talker:
    """A client that says what it is told and shows what it hears."""

    def __init__(self, socket: ClientSocket) -> None:
        self.socket = socket
        self._id = 0

    async def say(self, **request: Any) -> int:
        """Send a request; returns its id."""
        self._id += 1
        await self.socket.send(json.dumps({"id": self._id, **request}))
        return self._id

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        with trio.fail_after(5):
            heard: dict[str, Any] = json.loads(await self.socket.receive())
            return heard

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer, ``ok`` or ``err``; pushes before it are passed over."""
        request_id = await self.say(**request)
        while (frame := await self.hear()).get("id") != request_id:
            pass
        answer: dict[str, Any] = frame["ok" if "ok" in frame else "err"]
        return answer

    async def pushes(self, count: int) -> list[dict[str, Any]]:
        """The next pushes; answers in between are passed over."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = await self.hear()
            if "op" in frame:
                found.append(frame)
        return found

    async def end(self) -> int:
        """The close code, once everything before it has been heard."""
        try:
            while True:
                await self.hear()
        except Disconnected as gone:
            return gone.code


@asynccontextmanager
async def talking(
    url: str, user: str | None = None, timeout_s: float = 5, token: str | None = None
) -> AsyncGenerator[Talker]:
    """A connection to a node, with hello said if there is a user, or a token."""
    async with connect(url, timeout_s=timeout_s, max_frame_bytes=16 * 2**20) as socket:
        talker = Talker(socket)
        if user is not None:
            assert (await talker.ask(op="hello", v=[1], user=user))["user"] == user
        if token is not None:
            assert "user" in await talker.ask(op="hello", v=[1], token=token)
        yield talker
