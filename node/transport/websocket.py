"""WebSocket (RFC 6455) on both sides; the only importer of trio_websocket, whose rough edges end here.

Bounded here, because the library does not: handshakes and closes have a deadline, pings do not wait, a write after the
end is an error of one type, and joined frames bypass the per-message path.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext
from urllib.parse import urlsplit

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection

from node.errors import ChatError, CloseCode
from node.transport.stream import SharedStream

PATH = "/ws"
CLOSE_TIMEOUT_S = 2.0
_LAST_WORD_S = 0.1
_RECEIVE_BYTES = 16384
_PING_FRAME = b"\x89\x00"
_MAX_REASON_BYTES = 123


class Disconnected(ChatError):
    """The other side is gone. ``code`` is its close code, 1006 when there was none."""

    def __init__(self, code: int, reason: str | None) -> None:
        super().__init__(f"{int(code)} {reason or ''}".strip())
        self.code = int(code)
        self.reason = reason or ""


class HandshakeRefused(ChatError):
    """No WebSocket came about: wrong path, wrong origin, or no answer like one."""


class ServerSocket:
    """The server's end of one accepted connection."""

    def __init__(self, connection: WebSocketConnection, stream: SharedStream) -> None:
        self._connection = connection
        self._stream = stream

    @property
    def heard_at(self) -> float:
        """``trio.current_time()`` at which the last bytes came in."""
        return self._stream.heard_at

    async def receive(self) -> str | bytes:
        """The next message: str for text, bytes for binary.

        Raises:
            Disconnected: there will be no more.
        """
        return await _receive(self._connection)

    async def send_frames(self, frames: bytes) -> None:
        """Send complete server frames, joined.

        Raises:
            Disconnected: they cannot be sent.
        """
        if self._connection.closed:
            raise Disconnected(self._connection.closed.code, self._connection.closed.reason)
        try:
            await self._stream.send_all(frames)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Disconnected(1006, str(error)) from None

    async def ping(self) -> None:
        """Send a ping and do not wait: whatever comes in afterwards shows as :attr:`heard_at`."""
        await self.send_frames(_PING_FRAME)

    async def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye within :data:`CLOSE_TIMEOUT_S`, then tear the connection down whatever happened."""
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            if not self._stream.torn:
                await self._connection.aclose(code, reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore"))
        await self.abort()

    async def abort(self) -> None:
        """Tear the connection down at once."""
        await trio.aclose_forcefully(self._stream)


async def accept(
    nursery: trio.Nursery, transport: trio.abc.Stream, *, allowed_origins: tuple[str, ...], max_frame_bytes: int
) -> ServerSocket:
    """Do the server's handshake. The caller sets the deadline.

    Args:
        nursery: the connection's own; the library's reader lives there and may raise whatever a peer provokes.
        allowed_origins: for browsers; ``*`` for any; empty: only pages of the same host.

    Raises:
        HandshakeRefused: answered with 403 or 404.
    """
    stream = SharedStream(transport)
    request = await trio_websocket.wrap_server_stream(
        nursery, stream, max_message_size=max_frame_bytes, receive_buffer_size=_RECEIVE_BYTES
    )
    if urlsplit(request.path).path != PATH:
        await request.reject(404, body=b"the WebSocket is at /ws\n")
        raise HandshakeRefused(f"path {request.path[:80]}")
    headers = {name.lower(): value.decode("latin-1") for name, value in request.headers}
    if not _origin_allowed(headers.get(b"origin"), headers.get(b"host", ""), allowed_origins):
        await request.reject(403, body=b"this origin is not allowed\n")
        raise HandshakeRefused(f"origin {headers[b'origin'][:80]}")
    return ServerSocket(await request.accept(), stream)


def _origin_allowed(origin: str | None, host: str, allowed: tuple[str, ...]) -> bool:
    if origin is None or "*" in allowed:
        return True
    return origin in allowed if allowed else urlsplit(origin).netloc == host


class ClientSocket:
    """The client's end of a connection."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            Disconnected: there will be no more.
        """
        return await _receive(self._connection)

    async def send(self, text: str) -> None:
        """Send one text message.

        Raises:
            Disconnected: it cannot be sent.
        """
        try:
            await self._connection.send_message(text)
        except ConnectionClosed as closed:
            raise _disconnected(closed) from None

    async def check_alive(self, timeout_s: float) -> None:
        """Ping and wait for the pong.

        Raises:
            Disconnected: it did not come in time, or the connection is closed.
        """
        try:
            with trio.fail_after(timeout_s):
                await self._connection.ping()
        except trio.TooSlowError:
            raise Disconnected(1006, "no pong") from None
        except ConnectionClosed as closed:
            raise _disconnected(closed) from None


@asynccontextmanager
async def connect(
    url: str, *, timeout_s: float, max_frame_bytes: int, ssl_context: SSLContext | None = None
) -> AsyncIterator[ClientSocket]:
    """Connect as a client; on leaving the block the connection is closed.

    Raises:
        Disconnected: no WebSocket could be opened.
    """
    opened = False
    try:
        async with trio_websocket.open_websocket_url(
            url,
            ssl_context,
            max_message_size=max_frame_bytes,
            connect_timeout=timeout_s,
            disconnect_timeout=CLOSE_TIMEOUT_S,
        ) as connection:
            opened = True
            try:
                yield ClientSocket(connection)
            finally:
                # Once cancelled, the library's reader is gone and will not see the answer to our close: just say it.
                cancelled = trio.current_effective_deadline() == -math.inf
                with trio.move_on_after(_LAST_WORD_S if cancelled else CLOSE_TIMEOUT_S, shield=True):
                    await connection.aclose()
    except trio_websocket.DisconnectionTimeout:
        pass
    except (OSError, ValueError, HandshakeError, trio_websocket.ConnectionTimeout) as error:
        if opened:
            raise
        raise Disconnected(1006, f"{error.__cause__ or error or type(error).__name__}") from None


async def _receive(connection: WebSocketConnection) -> str | bytes:
    try:
        return await connection.get_message()
    except ConnectionClosed as closed:
        raise _disconnected(closed) from None


def _disconnected(closed: ConnectionClosed) -> Disconnected:
    reason = closed.reason
    return Disconnected(reason.code if reason else 1006, reason.reason if reason else None)
