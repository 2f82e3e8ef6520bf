"""A connection by the ``websockets`` library, written from docs/protocol.md: nothing of it comes from the node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.trio.client import ClientConnection, connect

from tests.faults.history import Recorder

LOST = 1006
_PING_S = 2.0
_PONG_S = 1.9  # less than _PING_S: the library waits for the difference before the next ping
OPEN_S: Final = 5.0
OPEN_SOON_S: Final = 2.0
"""While there are other nodes to be tried: one that is silent must not keep a client from them."""
_CLOSE_S = 2.0
_MAX_FRAME_BYTES = 16 * 2**20
_NARROW_BYTES = 4096

Frame = dict[str, Any]


class Lost(Exception):
    """The connection is over, or there was none. ``code`` as in the closing handshake."""

    def __init__(self, code: int) -> None:
        super().__init__(f"connection lost ({code})")
        self.code = code


@dataclass(frozen=True)
class Answer:
    """An answer that was read at ``at``. ``code`` is the error's, or empty."""

    at: float
    ok: Frame
    code: str = ""
    retry: bool = False
    retry_s: float = 0.0


OnAnswer = Callable[[Answer], None]


class Wire:
    """A connection on which hello was answered. Use :meth:`opened`.

    Attributes:
        welcome: the answer to hello.
        pause_s: waited before every frame is read, to be a slow reader.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._waiting: dict[int, OnAnswer] = {}
        self._last_id = 0
        self.welcome: Frame = {}
        self.pause_s = 0.0

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, url: str, hello: dict[str, str], open_s: float = OPEN_S, *, stalls: bool = False
    ) -> AsyncIterator[Wire]:
        """A connection for as long as the block runs.

        Args:
            hello: who it is, as fields of hello.
            open_s: seconds that the node has to take the connection.
            stalls: it is to be read slowly: little is taken in ahead, and no pong is missed.

        Raises:
            Lost: there is none to be had; not raised once the block runs.
        """
        try:
            stream = await _narrow(url, open_s) if stalls else None
        except OSError:
            raise Lost(LOST) from None
        opening = connect(
            url,
            stream=stream,
            proxy=None,
            compression=None,
            open_timeout=open_s,
            ping_interval=None if stalls else _PING_S,
            ping_timeout=_PONG_S,
            close_timeout=_CLOSE_S / 2,
            max_size=_MAX_FRAME_BYTES,
        )
        inside = False
        try:
            # The library waits for ever to close a connection whose reader has stopped: so it gets a deadline.
            with trio.CancelScope() as leaving:
                async with opening as socket:
                    inside = True
                    try:
                        wire = cls(socket)
                        await wire._hello(hello)
                        yield wire
                    finally:
                        leaving.deadline = trio.current_time() + _CLOSE_S
        except (OSError, EOFError, InvalidHandshake, ConnectionClosed, TimeoutError):
            if inside:
                raise
            raise Lost(LOST) from None

    async def _hello(self, hello: dict[str, str]) -> None:
        with trio.move_on_after(OPEN_S):
            await self._transmit({"id": 0, "op": "hello", "v": [1], "client": "faults", **hello})
            frame = await self._receive()
            if "ok" not in frame:
                raise Lost(LOST)
            self.welcome = frame["ok"]
            return
        raise Lost(LOST)

    async def request(self, on_answer: OnAnswer, **fields: Any) -> None:
        """Send a request; ``on_answer`` is called when its answer has been read, if ever.

        Raises:
            Lost: it may have been sent all the same.
        """
        self._last_id += 1
        self._waiting[self._last_id] = on_answer
        await self._transmit({"id": self._last_id, **fields})

    async def ask(self, **fields: Any) -> Answer:
        """Send a request and wait for the answer, for ever if need be: while another task reads."""
        answers: list[Answer] = []
        done = trio.Event()

        def note(answer: Answer) -> None:
            answers.append(answer)
            done.set()

        await self.request(note, **fields)
        await done.wait()
        return answers[0]

    async def close(self) -> None:
        """End the connection in good order."""
        await self._socket.aclose()

    async def abort(self) -> None:
        """Break the connection off, without a word."""
        await trio.aclose_forcefully(self._socket.stream)

    async def read(self, on_push: Callable[[Frame, float], None]) -> int:
        """Read until the connection is over; returns the close code."""
        try:
            while True:
                frame = await self._receive()
                at = Recorder.now()
                if "op" in frame:
                    on_push(frame, at)
                else:
                    self._take_answer(frame, at)
                if self.pause_s:
                    await trio.sleep(self.pause_s)
        except Lost as lost:
            return lost.code

    def _take_answer(self, frame: Frame, at: float) -> None:
        on_answer = self._waiting.pop(frame["id"], None)
        if on_answer is None:
            return
        error = frame.get("err")
        if error is None:
            on_answer(Answer(at, frame["ok"]))
        else:
            retry_s = error.get("retry_ms", 0) / 1000
            on_answer(Answer(at, {}, error["code"], bool(error["retry"]), retry_s))

    async def _transmit(self, frame: Frame) -> None:
        try:
            await self._socket.send(json.dumps(frame))
        except ConnectionClosed as closed:
            raise Lost(closed.rcvd.code if closed.rcvd else LOST) from None

    async def _receive(self) -> Frame:
        try:
            return dict(json.loads(await self._socket.recv()))
        except ConnectionClosed as closed:
            raise Lost(closed.rcvd.code if closed.rcvd else LOST) from None


async def _narrow(url: str, open_s: float) -> trio.SocketStream:
    """A connection that takes in little while nobody reads."""
    parts = urlsplit(url)
    socket = trio.socket.socket()
    socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, _NARROW_BYTES)
    with trio.move_on_after(open_s):
        await socket.connect((parts.hostname, parts.port))
        return trio.SocketStream(socket)
    raise Lost(LOST)
