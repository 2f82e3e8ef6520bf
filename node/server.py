"""The WebSocket listener: accepts, guards, counts and drains connections."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
import trio

from node.connection import Connection
from node.conversation import Node
from node.errors import CloseCode
from node.flusher import Flusher
from node.protocol.pushes import Drain, encode
from node.transport.handshake import HandshakeRefused, Origins, refuse
from node.transport.websocket import accept

_DRAIN_BATCHES = 10
_REFUSALS_AT_ONCE = 256
_REFUSAL_TIMEOUT_S = 2.0
_RETRY_AFTER_S = 5
_REFUSALS = {"draining": "this node goes away; try another", "full": "this node is full; try another"}
_KEEP_PAUSE_S = 1.0
_KEPT_AT_ONCE = 200
_LINGER_S = 2.0
"""How long closed connections have to finish their closing handshake before the process ends."""

logger = structlog.get_logger()


class Server:
    """All connections of this node.

    Args:
        node: what the connections share.
    """

    def __init__(self, node: Node) -> None:
        settings = node.settings
        self._node = node
        edges = tuple(f"https://{urlsplit(url).netloc}" for url in settings.edge_urls)
        self._origins = Origins(settings.allowed_origins, settings.http_port, edges)
        self._flusher = Flusher()
        self._connections: set[Connection] = set()
        self._handshakes = 0
        self._refusals = 0
        self._draining = False
        self._left = trio.Event()

    @property
    def connection_count(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    async def listen(self, socket: trio.socket.SocketType) -> None:
        """Serve whoever connects, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keep)
            nursery.start_soon(self._flusher.run)
            await trio.serve_listeners(self.serve, [trio.SocketListener(socket)], handler_nursery=nursery)

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve one peer, from its first byte to its last. Whatever it does ends here, never in the caller."""
        try:
            async with trio.open_nursery() as nursery:
                await self._serve(stream, nursery)
        except* (HandshakeRefused, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except* Exception:
            # trio-websocket and wsproto raise a variety of errors on what peers send (trio-websocket #184).
            logger.debug("a peer broke its connection", exc_info=True)
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.HalfCloseableStream, nursery: trio.Nursery) -> None:
        settings = self._node.settings
        reason = self._why_not()
        if reason is not None:
            self._node.metrics.drops.labels(reason).inc()
            await self._refuse(stream, _REFUSALS[reason])
            nursery.cancel_scope.cancel()
            return
        self._handshakes += 1
        try:
            with trio.fail_after(settings.hello_timeout):
                socket = await accept(
                    nursery,
                    stream,
                    origins=self._origins,
                    max_frame_bytes=settings.max_frame_bytes,
                )
        except (trio.TooSlowError, HandshakeRefused):
            self._node.metrics.drops.labels("handshake").inc()
            nursery.cancel_scope.cancel()
            return
        finally:
            self._handshakes -= 1
        connection = Connection(self._node, socket, nursery, self._flusher)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._left.set()
            self._left = trio.Event()

    async def keep(self) -> None:
        """Have every connection looked at, again and again, for what time alone brings about."""
        settings = self._node.settings
        pause_s = min(_KEEP_PAUSE_S, settings.heartbeat_interval / 4, settings.heartbeat_timeout / 4)
        while True:
            await trio.sleep(pause_s)
            for number, connection in enumerate(list(self._connections), 1):
                connection.keep(trio.current_time(), time.time())
                if number % _KEPT_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()

    def _why_not(self) -> str | None:
        if self._draining:
            return "draining"
        if len(self._connections) + self._handshakes >= self._node.settings.max_connections:
            return "full"
        return None

    async def _refuse(self, stream: trio.abc.HalfCloseableStream, reason: str) -> None:
        """Say why in an answer, as long as not too many want one at once."""
        if self._refusals < _REFUSALS_AT_ONCE:
            self._refusals += 1
            try:
                with trio.move_on_after(_REFUSAL_TIMEOUT_S):
                    await refuse(stream, reason, _RETRY_AFTER_S)
            finally:
                self._refusals -= 1

    async def drain(self, timeout_s: float, prefer: Callable[[], list[str]]) -> None:
        """Ask all clients to move away, each at a moment of its own; after ``timeout_s`` close those that are left.

        Nobody new is let in from now on.

        Args:
            prefer: addresses of nodes that are ready.
        """
        self._draining = True
        reconnect_within_s = timeout_s * 0.5
        for connection in list(self._connections):
            after_ms = int(random.uniform(0, reconnect_within_s) * 1000)  # noqa: S311 - spreads load, guards nothing
            connection.push(encode(Drain(int(timeout_s * 1000), after_ms, prefer())))
        with trio.move_on_after(timeout_s * 0.8):
            await self._empty()
        stay = list(self._connections)
        for batch in range(_DRAIN_BATCHES):
            for connection in stay[batch::_DRAIN_BATCHES]:
                connection.end(CloseCode.DRAIN, "this node goes away")
            await trio.sleep(timeout_s * 0.2 / _DRAIN_BATCHES if stay else 0)
        with trio.move_on_after(_LINGER_S):
            await self._empty()

    async def _empty(self) -> None:
        while self._connections:
            await self._left.wait()
