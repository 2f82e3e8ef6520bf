"""A TCP stream that several writers may share, that knows when it last heard something, and whose reader takes the
ordinary messages out before the WebSocket library sees anything."""

from __future__ import annotations

import contextlib
import errno
import math
import os

import trio

from node.transport.inbound import Inbound

_LINGER_S = 1.0
_DISCARD_BYTES = 65536
_RECEIVE_BYTES = 65536
_CLOSE_FRAME = b"\x88"
_PONG = 0x8A
_TEXTS_AHEAD = 64
"""So many messages may wait before no more is read; as many are handed out without a turn for others."""


class SharedStream(trio.abc.Stream):
    """Serialises writers: trio-websocket's control frames and our joined frames go out whole, in turn.

    A cancelled ``send_all`` may have sent half a frame. From then on every write fails and the stream can only be
    torn down; see :attr:`torn`.

    Args:
        stream: the transport, owned from now on.
        early: what came behind the handshake; the first to be received here.
        max_frame_bytes: as in :class:`~node.transport.inbound.Inbound`.

    Attributes:
        closing: whether a close frame has been sent.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, early: bytes, max_frame_bytes: int) -> None:
        self._stream = stream
        self._early = early
        self._ended = False
        self._inbound = Inbound(max_frame_bytes)
        self._heard = trio.Event()
        self._taken: trio.Event | None = None
        self._lock = trio.StrictFIFOLock()
        self._rest: bytes | memoryview = b""
        self.torn = False
        self.closing = False
        self.heard_at = trio.current_time()

    def send_now(self, data: bytes) -> bool:
        """Send what the kernel takes at once; False if that is not all. The rest then goes ahead of what is sent next.

        This is the hot path. Not to be called again before the rest has gone.
        """
        if self._ended or self.closing:
            return False
        sent = 0 if self._lock.locked() or self.torn else send_at_once(self._stream, data)
        if sent == len(data):
            return True
        self._rest = memoryview(data)[sent:]  # no copy: many may wait for the same
        return False

    async def send_all(self, data: bytes | bytearray | memoryview, timeout_s: float = math.inf) -> None:
        """Send everything, after whoever sends now, and after the rest of :meth:`send_now`.

        Args:
            timeout_s: how long it may take where it must be awaited.

        Raises:
            TooSlowError: it took longer.
        """
        if self._ended or self.closing:
            raise trio.ClosedResourceError("the connection is over")
        await self.say_last(data, timeout_s)

    async def say_last(self, data: bytes | bytearray | memoryview, timeout_s: float = math.inf) -> None:
        """As :meth:`send_all`, also when the library has closed its side."""
        await self._take_turn(timeout_s)
        try:
            if self.closing:
                raise trio.ClosedResourceError("goodbye has been said")
            if self.torn:
                raise trio.BrokenResourceError("an earlier write was cut short")
            self.torn = True
            rest, self._rest = self._rest, b""
            await send(self._stream, b"".join((rest, data)) if rest and data else rest or data, timeout_s)
            self.torn = False
            if bytes(data[:1]) == _CLOSE_FRAME:
                self.closing = True
                self._let_go_on()
        finally:
            self._lock.release()

    async def _take_turn(self, timeout_s: float) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            with trio.fail_after(timeout_s):
                await self._lock.acquire()

    async def wait_send_all_might_not_block(self) -> None:
        """As in ``trio.abc.SendStream``."""
        async with self._lock:
            await self._stream.wait_send_all_might_not_block()

    async def next_text(self) -> str | None:
        """The next ordinary message; None once there are no more of them, and the library is to be asked."""
        texts = self._inbound.texts
        while not texts:
            if self._inbound.over:
                return None
            await self._heard.wait()
            self._heard = trio.Event()
        if len(texts) % _TEXTS_AHEAD == 0:
            await trio.lowlevel.checkpoint()
        if len(texts) <= _TEXTS_AHEAD:
            self._let_go_on()
        return texts.pop(0)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive what is the library's, and note the time. What is ordinary until then is read on the way."""
        while True:
            try:
                data = await self._receive(max_bytes)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._leave_to_library()
                raise
            if not data:
                self._leave_to_library()
            passed = self._inbound.take(data)
            if self._inbound.texts or self._inbound.over:
                self._heard.set()
            await self._answer_ping()
            if passed or not data:
                return passed
            await self._let_catch_up()

    async def _answer_ping(self) -> None:
        ping, self._inbound.ping = self._inbound.ping, None
        if ping is not None and not self.closing:
            await self.say_last(bytes((_PONG, len(ping))) + ping)

    async def _let_catch_up(self) -> None:
        """Wait while much is heard that has not been taken up; who was told goodbye is heard no more."""
        texts = self._inbound.texts
        while len(texts) >= _TEXTS_AHEAD and not self.closing:
            self._taken = trio.Event()
            await self._taken.wait()
        if self.closing:
            texts.clear()

    def _let_go_on(self) -> None:
        if self._taken is not None:
            self._taken.set()
            self._taken = None

    async def _receive(self, max_bytes: int | None) -> bytes:
        if self._ended:
            raise trio.ClosedResourceError("the connection is over")
        if self._early:
            data, self._early = self._early, b""
        else:
            data = await receive(self._stream, max_bytes or _RECEIVE_BYTES)
        self.heard_at = trio.current_time()
        return data

    def _leave_to_library(self) -> None:
        self._inbound.give_up()
        self._heard.set()

    async def aclose(self) -> None:
        """No more is sent or received. The transport stays open for :meth:`part`, and is closed by :meth:`abort`."""
        self._ended = True
        self._leave_to_library()
        await trio.lowlevel.checkpoint()

    async def part(self) -> None:
        """Let the peer read what was said last."""
        self._ended = True
        await part(self._stream)

    async def abort(self) -> None:
        """Close the transport at once."""
        self._ended = True
        await trio.aclose_forcefully(self._stream)


def send_at_once(stream: trio.abc.SendStream, data: bytes | bytearray | memoryview) -> int:
    """How much the kernel takes without waiting. An error shows again to who waits."""
    if not isinstance(stream, trio.SocketStream):
        return 0
    try:
        return os.write(stream.socket.fileno(), data)
    except OSError:
        return 0


async def send(stream: trio.abc.SendStream, data: bytes | bytearray | memoryview, timeout_s: float = math.inf) -> None:
    """As :meth:`trio.SocketStream.send_all`, in less time where the kernel takes it at once.

    Raises:
        TooSlowError: it took longer than ``timeout_s``.
    """
    sent = send_at_once(stream, data)
    if sent < len(data):
        with trio.fail_after(timeout_s), memoryview(data)[sent:] as rest:
            await stream.send_all(rest)


async def receive(stream: trio.abc.ReceiveStream, max_bytes: int) -> bytes:
    """As :meth:`trio.SocketStream.receive_some`, in less time, and with less that is kept while it waits."""
    if not isinstance(stream, trio.SocketStream):
        return bytes(await stream.receive_some(max_bytes))
    await trio.lowlevel.checkpoint()
    while True:
        try:
            return os.read(stream.socket.fileno(), max_bytes)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(stream.socket)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise trio.ClosedResourceError("the connection is over") from None
            raise trio.BrokenResourceError(str(error)) from error


async def part(stream: trio.abc.HalfCloseableStream) -> None:
    """Let the peer read what was said last, before the stream is closed.

    Who closes with input unread resets the connection, and that may take back what the peer has not read yet.
    """
    gone = (trio.BrokenResourceError, trio.ClosedResourceError)
    with trio.move_on_after(_LINGER_S, shield=True), contextlib.suppress(*gone):
        await stream.send_eof()
        while await stream.receive_some(_DISCARD_BYTES):
            pass
