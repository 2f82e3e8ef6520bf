"""WebSocket (RFC 6455) on both sides; the only importer of trio_websocket, whose rough edges end here.

Bounded here, because the library does not: handshakes and closes have a deadline, pings do not wait, a write after the
end is an error of one type, and joined frames bypass the per-message path. On the server's side most connections never
need it: it is called with the first bytes that are neither an ordinary message nor a ping or pong.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from node.errors import ChatError, CloseCode
from node.transport.handshake import PATH, Origins, shake_hands
from node.transport.stream import SharedStream

CLOSE_TIMEOUT_S = 2.0
_LAST_WORD_S = 0.1
_RECEIVE_BYTES = 16384
PING_FRAME = b"\x89\x00"
_CLOSE = 0x88
_FAULTS = (1002, 1007)
"""What the library says of a peer that broke the rules of the frames, or sent text that is not UTF-8."""
_MAX_REASON_BYTES = 123
_LIBRARYS_REQUEST = (
    f"GET {PATH} HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
"""The library wants to begin with a handshake; the real one is long past when it is called."""


class Disconnected(ChatError):
    """The other side is gone. ``code`` is its close code, 1006 when there was none."""

    def __init__(self, code: int, reason: str | None) -> None:
        super().__init__(f"{int(code)} {reason or ''}".strip())
        self.code = int(code)
        self.reason = reason or ""


class _LibrarysStream(trio.abc.Stream):
    """A stream as the library sees it: first a handshake of its own, then what it was called for, then the rest."""

    def __init__(self, stream: SharedStream, first: bytes) -> None:
        self._stream = stream
        self._due = [first, _LIBRARYS_REQUEST]
        self._accepted = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if len(self._due) < 2:
            await self._accepted.wait()
        return self._due.pop() if self._due else await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._accepted.is_set():
            # Once goodbye is said, nobody hears what the library still has to say, as its pongs.
            with contextlib.suppress(trio.ClosedResourceError):
                await self._stream.send_all(data)
        self._accepted.set()  # its answer to the handshake is nobody's

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class ServerSocket:
    """The server's end of one accepted connection.

    Args:
        nursery: the connection's own; the library's reader lives there and may raise whatever a peer provokes.
        stream: owned from now on. :meth:`attend` reads it.
        max_frame_bytes: longer messages end the connection.
    """

    def __init__(self, nursery: trio.Nursery, stream: SharedStream, max_frame_bytes: int) -> None:
        self._nursery = nursery
        self._stream = stream
        self._max_frame_bytes = max_frame_bytes
        self._calling = False
        self._attended = trio.Event()
        self._library: WebSocketConnection | None = None

    async def attend(self) -> None:
        """Read what is ordinary, and call the library for the rest; once goodbye is said, nothing more is read."""
        first: bytes | bytearray = b""
        try:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                first = await self._stream.receive_some()
            if not self._stream.closing:
                self._calling = True
                self._library = await self._call_library(bytes(first))
        finally:
            self._attended.set()

    async def _call_library(self, first: bytes) -> WebSocketConnection:
        request = await trio_websocket.wrap_server_stream(
            self._nursery,
            _LibrarysStream(self._stream, first),
            max_message_size=self._max_frame_bytes,
            receive_buffer_size=_RECEIVE_BYTES,
        )
        return await request.accept()

    @property
    def heard_at(self) -> float:
        """``trio.current_time()`` at which the last bytes came in."""
        return self._stream.heard_at

    async def receive(self) -> str | bytes:
        """The next message: str for text, bytes for binary.

        Raises:
            Disconnected: there will be no more.
        """
        text = await self._stream.next_text()
        if text is not None:
            return text
        await self._attended.wait()
        if self._library is None:
            raise Disconnected(1006, None)
        return await _receive(self._library)

    def send_now(self, frames: bytes) -> bool:
        """Send complete server frames, joined, as far as the kernel takes them at once; False if that is not all.

        Then :meth:`send_frames` must follow, with no frames or more: it sends the rest first, or tells what is wrong.
        """
        if self._library is not None and self._library.closed is not None:
            return False
        return self._stream.send_now(frames)

    async def send_frames(self, frames: bytes, timeout_s: float = math.inf) -> None:
        """Send complete server frames, joined, behind what :meth:`send_now` has left.

        Raises:
            Disconnected: they cannot be sent.
            TooSlowError: the peer did not take them in time.
        """
        if self._library is not None and (reason := self._library.closed) is not None:
            raise Disconnected(reason.code, reason.reason)
        try:
            await self._stream.send_all(frames, timeout_s)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Disconnected(1006, str(error)) from None

    async def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye within :data:`CLOSE_TIMEOUT_S`, then tear the connection down whatever happened."""
        gone = (trio.BrokenResourceError, trio.ClosedResourceError)
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True), contextlib.suppress(*gone):
            if self._calling:
                await self._attended.wait()
            # Not by the library, whose reader ends with an error if a ping crosses its goodbye.
            await self._stream.say_last(_close_frame(code, reason))
            if self._library is not None:
                await self._disconnected()
                await self._stream.part()
            else:
                await self._attended.wait()
        await self.abort()

    async def part(self) -> None:
        """The peer has ended it, or broke the protocol: say the last word, and let the peer read that.

        The library answers a close frame, but leaves a peer that broke the protocol without the close frame that the
        RFC asks for (7.1.7).
        """
        lost = (trio.BrokenResourceError, trio.ClosedResourceError)
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True), contextlib.suppress(*lost):
            gone = await self._disconnected()
            if gone.code in _FAULTS and not self._stream.closing:
                await self._stream.say_last(_close_frame(gone.code, gone.reason))
        if self._stream.closing:
            await self._stream.part()

    async def _disconnected(self) -> Disconnected:
        """Wait until the library is done with the peer; what that still says is lost."""
        try:
            while True:
                await self.receive()
        except Disconnected as gone:
            return gone

    async def abort(self) -> None:
        """Tear the connection down at once."""
        await self._stream.abort()


async def accept(
    nursery: trio.Nursery,
    transport: trio.abc.HalfCloseableStream,
    *,
    origins: Origins,
    max_frame_bytes: int,
) -> ServerSocket:
    """Do the server's handshake. The caller sets the deadline.

    Args:
        nursery: the connection's own.
        origins: of the pages that may connect.

    Raises:
        HandshakeRefused: and answered.
    """
    early = await shake_hands(transport, origins)
    socket = ServerSocket(nursery, SharedStream(transport, early, max_frame_bytes), max_frame_bytes)
    nursery.start_soon(socket.attend)
    return socket


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
        Disconnected: no WebSocket could be opened within ``timeout_s``.
    """
    # The library's own limit does not end the wait for a peer that takes the connection and then says nothing.
    with trio.move_on_after(timeout_s) as opening:
        async with _opened(url, max_frame_bytes, ssl_context) as connection:
            opening.deadline = math.inf
            yield ClientSocket(connection)
    if opening.cancelled_caught:
        raise Disconnected(1006, f"no WebSocket within {timeout_s:g} s")


@asynccontextmanager
async def _opened(url: str, max_frame_bytes: int, ssl_context: SSLContext | None) -> AsyncIterator[WebSocketConnection]:
    """A connection as the library makes it, but for the ways in which that ends."""
    opened = closing = False
    try:
        async with trio_websocket.open_websocket_url(
            url,
            ssl_context,
            max_message_size=max_frame_bytes,
            connect_timeout=math.inf,
            disconnect_timeout=CLOSE_TIMEOUT_S,
        ) as connection:
            opened = True
            try:
                yield connection
            finally:
                closing = True
                # Once cancelled, the library's reader is gone and will not see the answer to our close: just say it.
                cancelled = trio.current_effective_deadline() == -math.inf
                with trio.move_on_after(_LAST_WORD_S if cancelled else CLOSE_TIMEOUT_S, shield=True):
                    await connection.aclose()
    except trio_websocket.DisconnectionTimeout:
        pass
    except LocalProtocolError:
        # The library answers a ping that crossed our close, and then is told by wsproto that it must not.
        if not closing:
            raise
    except (OSError, ValueError, HandshakeError) as error:
        if opened:
            raise
        raise Disconnected(1006, f"{error.__cause__ or error or type(error).__name__}") from None


def _close_frame(code: int, reason: str) -> bytes:
    payload = struct.pack("!H", code) + _fitting(reason).encode()
    return bytes((_CLOSE, len(payload))) + payload


def _fitting(reason: str) -> str:
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")


async def _receive(connection: WebSocketConnection) -> str | bytes:
    try:
        return await connection.get_message()
    except ConnectionClosed as closed:
        raise _disconnected(closed) from None


def _disconnected(closed: ConnectionClosed) -> Disconnected:
    reason = closed.reason
    return Disconnected(reason.code if reason else 1006, reason.reason if reason else None)
