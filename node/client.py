"""The reference client: it finds a node, keeps its place, and does not lose what it was asked to send.

    async with open_client(["ws://a:8080/ws", "ws://b:8080/ws"], token=token) as client:
        room = await client.join("general")
        ack = await client.send("general", "hello")      # returns when committed, however many reconnects it takes
        async for event in room:                          # in order of seq, no holes, none twice
            print(event)

Resending is safe because a message is known by its cid: the node answers a repeat with the seq of the first.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Any, TypeVar

import msgspec
import structlog
import trio

from node.errors import ChatError, CloseCode, ErrorCode, RequestError
from node.protocol import messages
from node.protocol.messages import Acknowledged, Drain, HistoryPage, Joined, MemberEvent, MessageEvent, RoomEvent, Since
from node.transport.websocket import ClientSocket, Disconnected, connect

_FRAME_BYTES = 16 * 2**20
_CONNECT_TIMEOUT_S = 5.0
_BACKOFF_MIN_S = 0.1
_BACKOFF_MAX_S = 10.0
_RETRY_S = 0.25
_PING_S = 5.0
_FINAL_CODES = range(4500, 5000)
_ROOM_BUFFER_EVENTS = 100_000

RoomEvents = MessageEvent | MemberEvent | RoomEvent
T = TypeVar("T")
logger = structlog.get_logger()


class ClientClosed(ChatError):
    """A node refused this client for good: bad credentials, banned, a version it does not speak."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed by the node ({code}): {reason}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands in a room's events where some could not be had: ``reason`` is the node's word for why."""

    room: str
    reason: str


class _Frame(msgspec.Struct):
    id: int | None = None
    op: str | None = None
    ok: msgspec.Raw = msgspec.Raw()
    err: dict[str, Any] | None = None


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_event = msgspec.json.Decoder(RoomEvents).decode
_decode_drain = msgspec.json.Decoder(Drain).decode


class _Call:
    """A request under way: sent again on every new connection until it is answered."""

    __slots__ = ("answer", "done", "error", "request")

    def __init__(self, request: messages.AnyRequest) -> None:
        self.request = request
        self.answer = b""
        self.error: ChatError | None = None
        self.done = trio.Event()

    def fail(self, error: ChatError) -> None:
        self.error = error
        self.done.set()


class RoomFeed:
    """A joined room: iterate over it for its events. ``epoch`` and ``seq`` are the position reached."""

    def __init__(self, room: str, limit: int, since: Since | None) -> None:
        self.room = room
        self.epoch = since.epoch if since else ""
        self.seq = since.seq if since else 0
        self._limit = limit
        self._put, self._get = trio.open_memory_channel[RoomEvents | Gap](_ROOM_BUFFER_EVENTS)

    def __aiter__(self) -> AsyncIterator[RoomEvents | Gap]:
        return self._get

    def request(self, request_id: int) -> messages.Join:
        """The join that goes on where this feed is."""
        since = Since(self.epoch, self.seq) if self.epoch else None
        return messages.Join(id=request_id, room=self.room, since=since, limit=self._limit)

    def joined(self, joined: Joined) -> None:
        """Take the answer to a join: from here on events come after this position."""
        if joined.recovered is False:
            self._put.send_nowait(Gap(self.room, joined.reason or "unknown"))
        if not joined.recovered:
            self.seq = max(0, joined.head - self._limit)
        self.epoch = joined.epoch

    async def deliver(self, event: RoomEvents) -> None:
        """Take an event, unless it has been seen. When cancelled, it has not been, and comes again after a join."""
        if event.seq > self.seq:
            await self._put.send(event)
            self.seq = event.seq

    def close(self) -> None:
        """End the iteration."""
        self._put.close()

    def abandon(self, reason: str) -> None:
        """End the iteration with a :class:`Gap` that says why."""
        with contextlib.suppress(trio.WouldBlock):
            self._put.send_nowait(Gap(self.room, reason))
        self._put.close()


class ChatClient:
    """See :func:`open_client`."""

    def __init__(self, urls: Sequence[str], hello: dict[str, Any], ping_s: float, ssl: SSLContext | None) -> None:
        self._urls = list(urls)
        self._hello = hello
        self._ping_s = ping_s
        self._ssl = ssl
        self._ids = itertools.count(1)
        self._cid_prefix = secrets.token_hex(8)
        self._calls: dict[int | str, _Call] = {}
        self._feeds: dict[str, RoomFeed] = {}
        self._socket: ClientSocket | None = None
        self._closed: ClientClosed | None = None
        self.node: str | None = None
        self.connects = 0

    async def send(self, room: str, body: str, *, cid: str | None = None) -> Acknowledged:
        """Send a message and wait until it is committed.

        Args:
            cid: the message's identity for repeats; by default a new one.

        Raises:
            RequestError: the node refused it for good.
            ClientClosed: the node refused this client.
        """
        number = next(self._ids)
        send = messages.Send(id=number, room=room, cid=cid or f"{self._cid_prefix}-{number}", body=body)
        return await self._ask(send, Acknowledged)

    async def join(self, room: str, *, since: Since | None = None, limit: int = messages.DEFAULT_PAGE) -> RoomFeed:
        """Join a room, and receive its events from ``since`` on, or the last ``limit`` and what follows."""
        feed = RoomFeed(room, limit, since)
        previous = self._feeds.get(room)
        self._feeds[room] = feed
        try:
            await self._ask(feed.request(next(self._ids)), Joined)
        except BaseException:
            self._feeds.pop(room)
            raise
        if previous is not None:
            previous.close()
        return feed

    async def leave(self, room: str) -> None:
        """End the membership of this user."""
        await self._ask(messages.Leave(id=next(self._ids), room=room), messages.Done)
        feed = self._feeds.pop(room, None)
        if feed is not None:
            feed.close()

    async def create_room(self, room: str, title: str = "") -> None:
        """Make a room.

        Raises:
            RequestError: ``room_exists``, among others.
        """
        await self._ask(messages.CreateRoom(id=next(self._ids), room=room, title=title), messages.Done)

    async def rooms(self, prefix: str = "", *, limit: int = 50, after: str = "") -> messages.RoomList:
        """A page of rooms in order of id."""
        request = messages.Rooms(id=next(self._ids), prefix=prefix, limit=limit, after=after)
        return await self._ask(request, messages.RoomList)

    async def history(self, room: str, *, before: int | None = None, limit: int = 50) -> list[MessageEvent]:
        """The messages before a seq (or the last), in ascending order."""
        request = messages.History(id=next(self._ids), room=room, before=before, limit=limit)
        page = await self._ask(request, HistoryPage)
        return [msgspec.json.decode(message, type=MessageEvent) for message in page.msgs]

    async def _ask(self, request: messages.AnyRequest, answer: type[T]) -> T:
        """Send a request until it has an answer that settles it."""
        while True:
            if self._closed is not None:
                raise self._closed
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
                await socket.send(messages.encode(call.request).decode())
            except Disconnected:
                if self._socket is socket:
                    self._socket = None

    async def run(self) -> None:
        """Stay connected until there is no coming back; :func:`open_client` runs this."""
        failures = 0
        urls = self._urls
        while self._closed is None:
            url = urls[0]
            connects = self.connects
            end = await self._live(url)
            self._socket = self.node = None
            logger.info("connection ended, will connect again", url=url, reason=str(end))
            if isinstance(end, Disconnected) and end.code in _FINAL_CODES:
                self._give_up(ClientClosed(end.code, end.reason))
            failures = 0 if self.connects > connects else failures + 1
            urls = _next_urls(urls, url, end.prefer if isinstance(end, Drain) else [], self._urls)
            if not isinstance(end, Drain):
                ceiling_s = min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2 ** (failures // len(urls)))
                await trio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - full jitter

    async def _live(self, url: str) -> Drain | Disconnected:
        """One connection, from the handshake to its end. Returns why it ended."""
        ends: list[Drain | Disconnected] = []
        try:
            async with connect(
                url, timeout_s=_CONNECT_TIMEOUT_S, max_frame_bytes=_FRAME_BYTES, ssl_context=self._ssl
            ) as socket:
                await self._say_hello(socket)
                async with trio.open_nursery() as nursery:

                    async def run(task: Callable[[], Awaitable[Drain | Disconnected]]) -> None:
                        ends.append(await task())
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(run, partial(self._receive, socket, nursery))
                    nursery.start_soon(run, partial(self._keepalive, socket))
                    for call in list(self._calls.values()):
                        await self._transmit(call)
                    for feed in self._feeds.values():
                        if feed.epoch:
                            nursery.start_soon(self._rejoin, feed)
        except Disconnected as gone:
            return gone
        return ends[0]

    async def _say_hello(self, socket: ClientSocket) -> None:
        hello = messages.Hello(id=0, v=[messages.PROTOCOL_VERSION], **self._hello)
        await socket.send(messages.encode(hello).decode())
        with trio.move_on_after(_CONNECT_TIMEOUT_S):
            welcome = _decode_frame(await socket.receive())
            if not welcome.ok:
                raise Disconnected(CloseCode.PROTOCOL_VIOLATION, f"hello was refused: {welcome.err}")
            self.node = msgspec.json.decode(welcome.ok, type=messages.Welcome).node
            self._socket = socket
            self.connects += 1
            return
        raise Disconnected(1006, "no answer to hello")

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
                    await self._take_event(data)
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
            await self._ask(feed.request(next(self._ids)), Joined)
        except ChatError as error:
            if self._feeds.pop(feed.room, None) is feed:
                feed.abandon(str(error))

    async def _take_event(self, data: str | bytes) -> None:
        try:
            event = _decode_event(data)
        except msgspec.ValidationError:
            return  # an event of a later version of the protocol
        feed = self._feeds.get(event.room)
        if feed is not None:
            await feed.deliver(event)

    def _take_answer(self, frame: _Frame) -> None:
        call = self._calls.get(frame.id) if frame.id is not None else None
        if call is None:
            return
        if frame.err is not None:
            code = ErrorCode(frame.err["code"])
            call.fail(RequestError(code, frame.err["msg"], frame.err.get("retry_ms")))
            return
        call.answer = bytes(frame.ok)
        if isinstance(call.request, messages.Join) and call.request.room in self._feeds:
            self._feeds[call.request.room].joined(msgspec.json.decode(call.answer, type=Joined))
        call.done.set()

    def _give_up(self, error: ClientClosed) -> None:
        self._closed = error
        for call in self._calls.values():
            call.fail(error)
        for feed in self._feeds.values():
            feed.abandon(str(error))


@asynccontextmanager
async def open_client(
    urls: Sequence[str],
    *,
    token: str | None = None,
    user: str | None = None,
    ping_s: float = _PING_S,
    shuffle: bool = True,
    ssl_context: SSLContext | None = None,
) -> AsyncIterator[ChatClient]:
    """A client that stays connected while the block runs.

    Args:
        urls: addresses of the nodes, ``ws://HOST:8080/ws``, tried in turn.
        token: a JWT; or else ``user``: a guest's name.
        shuffle: begin with any of the addresses instead of the first, so that many clients spread.
        ping_s: seconds between pings, and to wait for their answers; a dead node is left after twice that at most.
    """
    start = random.randrange(len(urls)) if shuffle else 0  # noqa: S311 - spreads load
    hello = {"token": token, "user": user, "client": "chat-node"}
    client = ChatClient([*urls[start:], *urls[:start]], hello, ping_s, ssl_context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


def _next_urls(urls: list[str], current: str, prefer: list[str], known: list[str]) -> list[str]:
    """In which order to try next: the preferred first, the one just lost last.

    The others keep their order, so that each has its turn however many fail. What only a node named, and is not
    ``known`` from the start, is tried once.
    """
    others = [url for url in urls if url != current and url not in prefer]
    return [*random.sample(prefer, len(prefer)), *others, *([current] if current in known else [])]
