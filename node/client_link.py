"""The connection behind a client: it finds a node, says hello, repeats what was not answered, and comes back."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ssl import SSLContext
from typing import Any, TypeVar

import msgspec
import structlog
import trio

from node.client_feed import Connected, ConnectionLost, Pushes, PushFeed, Resumed, RoomFeed
from node.errors import ChatError, CloseCode, ErrorCode, RequestError
from node.protocol.answers import Joined, Welcome
from node.protocol.pushes import Drain, RoomEvent, RoomEvents, encode
from node.protocol.requests import PROTOCOL_VERSION, AnyRequest, Delete, Edit, Hello, Join, React, Read
from node.transport.websocket import ClientSocket, Disconnected, connect

_FRAME_BYTES = 16 * 2**20
_CONNECT_TIMEOUT_S = 5.0
_CONNECT_SOON_S = 2.0
"""While there are others to be tried: a machine that died without a word must not keep a client from them."""
_BACKOFF_MIN_S = 0.1
_BACKOFF_MAX_S = 4.0
_STEADY_S = 5.0
_RETRY_S = 0.25
_FINAL_CODES = range(4500, 5000)

T = TypeVar("T")
TokenProvider = Callable[[], str | Awaitable[str]]
"""Called before every connection for the token to show. What it raises ends the client, as does the same expired token
twice running."""

logger = structlog.get_logger()


class ClientClosed(ChatError):
    """A node refused this client for good: bad credentials, an expired token and no other, disabled, a version it
    does not speak. ``code`` is the close code.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed by the node ({code}): {reason}")
        self.code = code


class _Frame(msgspec.Struct):
    id: int | None = None
    op: str | None = None
    ok: msgspec.Raw = msgspec.Raw()
    err: dict[str, Any] | None = None


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_push = msgspec.json.Decoder(RoomEvents | Pushes).decode
_decode_drain = msgspec.json.Decoder(Drain).decode


class _Call:
    """A request under way: sent again on every new connection until it is answered."""

    __slots__ = ("answer", "done", "error", "request")

    def __init__(self, request: AnyRequest) -> None:
        self.request = request
        self.answer = b""
        self.error: ChatError | None = None
        self.done = trio.Event()

    def fail(self, error: ChatError) -> None:
        self.error = error
        self.done.set()


class Link:
    """A client's side of the conversation, over as many connections as it takes.

    Args:
        urls: addresses of the nodes, in the order in which they are tried.
        hello: who the client is, as fields of ``hello``.
        token: shown in ``hello``; from a provider, a new one for every connection.
        ping_s: seconds between pings, and to wait for their answers.
        ssl_context: for ``wss``.

    Attributes:
        ids: of requests.
        feeds: joined rooms.
        node: the node it is connected to, or None.
        epoch: of the log, as the last node told it; empty before.
        connects: how often it has connected.
    """

    def __init__(
        self,
        urls: Sequence[str],
        hello: dict[str, Any],
        token: str | TokenProvider | None,
        ping_s: float,
        ssl_context: SSLContext | None,
    ) -> None:
        self._urls = list(urls)
        self._hello = hello
        self._token = token
        self._shown_token: str | None = None
        self._expired_token: str | None = None
        self._ping_s = ping_s
        self._ssl = ssl_context
        self._calls: dict[int | str, _Call] = {}
        self._socket: ClientSocket | None = None
        self._closed: ClientClosed | None = None
        self.ids = itertools.count(1)
        self.feeds: dict[str, RoomFeed] = {}
        self.pushes = PushFeed()
        self.node: str | None = None
        self.epoch = ""
        self.connects = 0

    async def ask(self, request: AnyRequest, answer: type[T]) -> T:
        """Send a request until it has an answer that settles it, or the log that it names a position of is no more."""
        epoch = self.epoch
        while True:
            if self._closed is not None:
                raise self._closed
            if epoch not in ("", self.epoch) and _names_position(request):
                raise _another_log()
            call = self._calls[request.id] = _Call(request)
            try:
                await self._transmit(call)
                await call.done.wait()
            finally:
                self._calls.pop(request.id, None)
            if call.error is None:
                return msgspec.json.decode(call.answer, type=answer)
            if not (isinstance(call.error, RequestError) and call.error.retry):
                raise call.error
            await trio.sleep((call.error.retry_ms or 0) / 1000 + random.uniform(0, _RETRY_S))  # noqa: S311 - jitter

    async def _transmit(self, call: _Call) -> None:
        """Send it now if there is a connection; otherwise, or if that fails, the next one will."""
        socket = self._socket
        if socket is not None:
            try:
                await socket.send(encode(call.request).decode())
            except Disconnected:
                if self._socket is socket:
                    self._socket = None

    async def run(self) -> None:
        """Stay connected until there is no coming back; :func:`open_client` runs this."""
        failures = 0
        urls = self._urls
        while self._closed is None:
            url, began = urls[0], trio.current_time()
            end = await self._live(url, connect_timeout_s(failures, len(urls)))
            steady = self.node is not None and trio.current_time() - began > _STEADY_S
            self._socket = self.node = None
            reason = str(end) if isinstance(end, Disconnected) else "the node goes away (drain)"
            logger.info("connection ended, will connect again", url=url, reason=reason)
            self.pushes.deliver(ConnectionLost(reason))
            if isinstance(end, Disconnected) and self._is_final(end):
                self._give_up(ClientClosed(end.code, end.reason))
                return
            urls = next_urls(urls, url, end.prefer if isinstance(end, Drain) else [], self._urls)
            if not isinstance(end, Drain):
                # A node that takes this client and soon drops it must not be asked again at once, over and over.
                failures = 0 if steady else failures + 1
                await trio.sleep(random.uniform(0, backoff_s(failures // len(urls))))  # noqa: S311 - full jitter

    def _is_final(self, end: Disconnected) -> bool:
        if end.code != CloseCode.TOKEN_EXPIRED:
            return end.code in _FINAL_CODES
        again = self._shown_token == self._expired_token
        self._expired_token = self._shown_token
        return again or not callable(self._token)

    async def _next_token(self) -> str | None:
        token = self._token() if callable(self._token) else self._token
        self._shown_token = await token if inspect.isawaitable(token) else token
        return self._shown_token

    async def _live(self, url: str, connect_timeout_s: float) -> Drain | Disconnected:
        """One connection, from the handshake to its end. Returns why it ended."""
        ends: list[Drain | Disconnected] = []
        try:
            token = await self._next_token()
            async with connect(
                url, timeout_s=connect_timeout_s, max_frame_bytes=_FRAME_BYTES, ssl_context=self._ssl
            ) as socket:
                await self._say_hello(socket, token)
                async with trio.open_nursery() as nursery:

                    async def run(task: Callable[[], Awaitable[Drain | Disconnected]]) -> None:
                        ends.append(await task())
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(run, partial(self._receive, socket, nursery))
                    nursery.start_soon(run, partial(self._keepalive, socket))
                    for call in list(self._calls.values()):
                        await self._transmit(call)
                    for feed in self.feeds.values():
                        if feed.epoch:
                            nursery.start_soon(self._rejoin, feed)
        except Disconnected as gone:
            return gone
        return ends[0]

    async def _say_hello(self, socket: ClientSocket, token: str | None) -> None:
        hello = Hello(id=0, v=[PROTOCOL_VERSION], token=token, **self._hello)
        await socket.send(encode(hello).decode())
        with trio.move_on_after(_CONNECT_TIMEOUT_S):
            welcome = _decode_frame(await socket.receive())
            if not welcome.ok:
                raise Disconnected(CloseCode.PROTOCOL_VIOLATION, f"hello was refused: {welcome.err}")
            told = msgspec.json.decode(welcome.ok, type=Welcome)
            self.node = told.node
            self._enter_log(told.epoch)
            self._socket = socket
            self.connects += 1
            self.pushes.deliver(Connected(self.node))
            return
        raise Disconnected(1006, "no answer to hello")

    def _enter_log(self, epoch: str) -> None:
        """In another log, as one from a backup, the same position is another message's."""
        if self.epoch not in ("", epoch):
            for call in [call for call in self._calls.values() if _names_position(call.request)]:
                del self._calls[call.request.id]
                call.fail(_another_log())
        self.epoch = epoch

    async def _receive(self, socket: ClientSocket, nursery: trio.Nursery) -> Drain | Disconnected:
        moving = trio.CancelScope()
        drains: list[Drain] = []

        async def move(drain: Drain) -> None:
            await trio.sleep(drain.reconnect_after_ms / 1000)
            drains.append(drain)
            moving.cancel()

        with moving:
            while True:
                try:
                    data = await socket.receive()
                except Disconnected as gone:
                    return gone
                frame = _decode_frame(data)
                if frame.op == "drain":
                    nursery.start_soon(move, _decode_drain(data))
                elif frame.op is not None:
                    await self._take_push(data)
                else:
                    self._take_answer(frame)
        return drains[0]

    async def _keepalive(self, socket: ClientSocket) -> Disconnected:
        """Find out early that a node is gone without a word, as when its machine dies."""
        while True:
            await trio.sleep(self._ping_s)
            try:
                await socket.check_alive(self._ping_s)
            except Disconnected as gone:
                return gone

    async def _rejoin(self, feed: RoomFeed) -> None:
        try:
            await self.ask(feed.request(next(self.ids)), Joined)
        except ChatError as error:
            if self.feeds.pop(feed.room, None) is feed:
                feed.abandon(str(error))
        else:
            self.pushes.deliver(Resumed(feed.room))

    async def _take_push(self, data: str | bytes) -> None:
        try:
            push = _decode_push(data)
        except msgspec.ValidationError:
            return  # of a later version of the protocol
        if isinstance(push, Pushes):
            self.pushes.deliver(push)
            return
        feed = self.feeds.get(push.room)
        if feed is not None:
            await feed.deliver(push)
            if isinstance(push, RoomEvent) and push.change == "deleted":
                self.feeds.pop(push.room, None)
                feed.close()

    def _take_answer(self, frame: _Frame) -> None:
        call = self._calls.get(frame.id) if frame.id is not None else None
        if call is None:
            return
        if frame.err is not None:
            call.fail(refusal(frame.err))
            return
        call.answer = bytes(frame.ok)
        if isinstance(call.request, Join) and call.request.room in self.feeds:
            self.feeds[call.request.room].joined(msgspec.json.decode(call.answer, type=Joined))
        call.done.set()

    def _give_up(self, error: ClientClosed) -> None:
        self._closed = error
        for call in self._calls.values():
            call.fail(error)
        for feed in self.feeds.values():
            feed.abandon(str(error))
        self.pushes.close()


def _names_position(request: AnyRequest) -> bool:
    return isinstance(request, Edit | Delete | React | Read)


def _another_log() -> RequestError:
    return RequestError(ErrorCode.NO_MESSAGE, "the log is another one now, with other messages at its positions")


def connect_timeout_s(failures: int, addresses: int) -> float:
    """How many seconds an address has to take the connection, after so many tries without one that lasted."""
    return _CONNECT_SOON_S if failures < addresses - 1 else _CONNECT_TIMEOUT_S


def backoff_s(rounds: int) -> float:
    """The most seconds to wait after so many rounds of all addresses without a connection that lasted."""
    # The power is bounded before it is taken: after a thousand rounds it would be too large for a float.
    return min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2.0 ** min(rounds, 30))


def refusal(err: dict[str, Any]) -> RequestError:
    """An ``err`` answer as an exception."""
    try:
        code = ErrorCode(err["code"])
    except ValueError:  # of a later version of the protocol
        code = ErrorCode.UNAVAILABLE if err.get("retry") else ErrorCode.INTERNAL
    return RequestError(code, err["msg"], err.get("retry_ms"))


def next_urls(urls: list[str], current: str, prefer: list[str], known: list[str]) -> list[str]:
    """In which order to try next: the preferred first, the one just lost last.

    The others keep their order, so that each has its turn however many fail. What only a node named, and is not
    ``known`` from the start, is tried once. Who came over TLS goes nowhere without it, whatever a node prefers.
    """
    if current.startswith("wss:"):
        prefer = [url for url in prefer if url.startswith("wss:")]
    others = [url for url in urls if url != current and url not in prefer]
    return [*random.sample(prefer, len(prefer)), *others, *([current] if current in known else [])]
