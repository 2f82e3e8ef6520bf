"""One client: reader, writer and keepalive in one nursery that nothing a peer does can escape.

The reader carries out one command after the other, so requests take effect in the order in which they came. Sends do
not wait: their answers arrive with the outcome. The writer alone writes.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog
import trio

from node.auth import Authenticator
from node.config import Settings
from node.errors import CloseCode, CloseConnection, ErrorCode, RequestError
from node.hub import Hub
from node.metrics import Metrics
from node.outbox import Outbox
from node.protocol import messages
from node.protocol.frames import text_frame
from node.protocol.session import Command, Commit, Enter, Greet, Query, Session, limits_of
from node.replica import Replica
from node.room import Room
from node.state.rules import Accepted, Outcome, Rejected
from node.state.store import Reader, RoomView
from node.submitter import Submitter
from node.transport.websocket import Disconnected, ServerSocket

_CLOSE_GRACE_S = 5.0
_WRITE_TIMEOUT_S = 60.0
_PAGE_BYTES = 256 * 1024
"""Of a room's past, this much is read, held and sent at once."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Node:
    """What all connections of a node share."""

    settings: Settings
    epoch: str
    authenticator: Authenticator
    hub: Hub
    replica: Replica
    submitter: Submitter
    metrics: Metrics


class Connection:
    """A client that has finished the WebSocket handshake.

    Args:
        node: what it shares with the others.
        socket: owned from now on.
        nursery: the connection's own, in which :meth:`run` is called; cancelled when the connection is over.
    """

    def __init__(self, node: Node, socket: ServerSocket, nursery: trio.Nursery) -> None:
        self.id = secrets.token_hex(8)
        self._node = node
        self._socket = socket
        self._nursery = nursery
        self._session = Session(node.settings, node.authenticator, trio.current_time())
        self._outbox = Outbox(node.settings.max_unsent_bytes, self._too_slow)
        self._busy = False
        self._asked_at = trio.current_time()
        self._ending: CloseConnection | None = None
        self._log = logger.bind(conn=self.id)

    @property
    def user(self) -> str | None:
        """Who this is, once hello has been accepted."""
        return self._session.identity.user if self._session.identity else None

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the connection: what is being written is finished first, if the peer reads on."""
        if self._ending is None:
            self._ending = CloseConnection(code, reason)
            self._nursery.cancel_scope.deadline = trio.current_time() + _CLOSE_GRACE_S
            self._outbox.wake()
            self._node.metrics.closed_total.labels(str(int(code))).inc()
            self._log.info("closing", user=self.user, code=int(code), reason=reason)

    def push(self, payload: bytes) -> None:
        """Send something that belongs to no room."""
        self._outbox.answer(payload)

    async def run(self) -> None:
        """Serve the client until one side ends it."""
        self._nursery.start_soon(self._write)
        try:
            await self._converse()
        except CloseConnection as close:
            self.end(close.code, close.reason)
        except Disconnected as gone:
            if self._ending is None:  # otherwise the writer waits for the peer's goodbye, then cancels
                self._node.metrics.closed_total.labels(str(gone.code)).inc()
                self._log.info("disconnected", user=self.user, code=gone.code, reason=gone.reason)
                self._nursery.cancel_scope.cancel()
        finally:
            if self.user is not None:
                self._node.hub.exit(self.user, self._outbox)

    async def _converse(self) -> None:
        with trio.move_on_after(self._node.settings.hello_timeout) as patience:
            await self._serve_one()
        if patience.cancelled_caught:
            raise CloseConnection(CloseCode.PROTOCOL_VIOLATION, "no hello in time")
        self._nursery.start_soon(self._keepalive)
        while True:
            await self._serve_one()

    async def _serve_one(self) -> None:
        text = await self._socket.receive()
        if not isinstance(text, str):
            raise CloseConnection(CloseCode.UNSUPPORTED_DATA, "text frames only")
        self._busy = True
        self._asked_at = trio.current_time()
        try:
            await self._carry_out(self._session.handle(text, self._asked_at, time.time))
        except messages.RefusedRequest as refused:
            self._refuse(refused.request_id, refused.error)
        finally:
            self._busy = False

    async def _carry_out(self, command: Command) -> None:
        try:
            match command:
                case Commit():
                    self._commit(command)
                case Enter():
                    await self._enter(command)
                case Query(messages.History() as request):
                    await self._history(request)
                case Query(messages.Rooms() as request):
                    await self._rooms(request)
                case Greet():
                    self._greet(command)
                case _:
                    self._answer(command.request.id, messages.Done())
        except RequestError as error:
            self._refuse(command.request.id, error)

    def _greet(self, command: Greet) -> None:
        settings, user = self._node.settings, command.identity.user
        if not self._node.replica.ready:
            raise CloseConnection(CloseCode.TRY_AGAIN_LATER, "this node is not ready; try another")
        if self._node.hub.enter(user, self._outbox) > settings.max_user_connections:
            raise CloseConnection(CloseCode.TOO_MANY_CONNECTIONS, "too many connections of this user")
        if command.identity.expires_at is not None:
            self._nursery.start_soon(self._expire, command.identity.expires_at - time.time())
        self._node.metrics.connections_total.inc()
        self._log.info("connected", user=user, client=command.request.client)
        welcome = messages.Welcome(
            v=messages.PROTOCOL_VERSION,
            user=user,
            conn=self.id,
            node=settings.node_id,
            heartbeat_s=settings.heartbeat_interval,
            epoch=self._node.epoch,
            limits=limits_of(settings),
        )
        self._answer(command.request.id, welcome)

    def _commit(self, command: Commit) -> None:
        if isinstance(command.request, messages.Send):
            self._node.metrics.messages_in_total.inc()
        self._node.submitter.submit(command.record, partial(self._committed, command.request, trio.current_time()))

    def _committed(self, request: messages.AnyRequest, asked_at: float, outcome: Outcome) -> None:
        """The outcome of a record: runs inside the replica's loop, so it only queues the answer."""
        self._node.metrics.commit_seconds.observe(trio.current_time() - asked_at)
        if isinstance(outcome, Rejected):
            self._refuse(request.id, RequestError(outcome.code, outcome.msg))
        elif isinstance(request, messages.Send):
            acknowledged = messages.Acknowledged(outcome.seq, outcome.ts, outcome.dup)
            self._answer(request.id, acknowledged, after_events=True)
        else:
            self._answer(request.id, _done(request, outcome), after_events=True)

    async def _enter(self, command: Enter) -> None:
        """Subscribe first, then look where the room stands: what is committed in between waits in the room's buffer."""
        request, outbox, node = command.request, self._outbox, self._node
        if len(outbox.cursors) >= node.settings.max_rooms and request.room not in _room_ids(outbox):
            raise RequestError(ErrorCode.FORBIDDEN, f"a connection joins at most {node.settings.max_rooms} rooms")
        await node.replica.catch_up()
        view = await self._view(request.room)
        if not view.member:
            await node.submitter.commit(command.record)
        room = node.hub.subscribe(outbox, request.room)
        try:
            view = await self._view(request.room)
            if not view.member or outbox not in room.receivers:
                raise RequestError(ErrorCode.FORBIDDEN, f"no longer a member of {request.room}")
        except BaseException:
            node.hub.unsubscribe(outbox, room)
            raise
        self._follow(request, room, view)

    def _follow(self, request: messages.Join, room: Room, view: RoomView) -> None:
        joined = messages.Joined(room.id, self._node.epoch, first=1, head=view.head)
        first = max(1, view.head - request.limit + 1)
        if request.since is not None:
            joined.reason = self._unservable(request.since, view.head)
            joined.recovered = joined.reason is None
            if joined.recovered:
                first = request.since.seq + 1
        room.start_after(view.head)
        self._answer(request.id, joined)
        self._outbox.follow(room, first)
        self._log.info("joined", user=self.user, room_id=room.id, head=view.head)

    def _unservable(self, since: messages.Since, head: int) -> str | None:
        if since.epoch != self._node.epoch:
            return "epoch_changed"
        return "position_ahead" if since.seq > head else None

    async def _history(self, request: messages.History) -> None:
        view = await self._view(request.room)
        if not view.member:
            raise RequestError(ErrorCode.FORBIDDEN, f"not a member of {request.room}")
        before = view.head + 1 if request.before is None else request.before
        payloads = await self._node.replica.read(
            lambda reader: reader.messages(view.no, before, request.limit, _PAGE_BYTES)
        )
        page = messages.HistoryPage([msgspec.Raw(payload) for payload in payloads], first=1, head=view.head)
        self._answer(request.id, page)

    async def _rooms(self, request: messages.Rooms) -> None:
        rows = await self._node.replica.read(
            lambda reader: reader.rooms(request.prefix, request.after, request.limit + 1)
        )
        rooms = [messages.RoomInfo(row.id, row.title, row.members, row.head) for row in rows[: request.limit]]
        self._answer(request.id, messages.RoomList(rooms, more=len(rows) > request.limit))

    async def _view(self, room_id: str) -> RoomView:
        user = self.user or ""
        view = await self._node.replica.read(lambda reader: reader.room(room_id, user))
        if view is None:
            raise RequestError(ErrorCode.NO_ROOM, f"there is no room {room_id}")
        return view

    def _answer(self, request_id: int | str, ok: msgspec.Struct, *, after_events: bool = False) -> None:
        self._outbox.answer(messages.encode_ok(request_id, ok), after_events=after_events)

    def _refuse(self, request_id: int | str | None, error: RequestError) -> None:
        self._node.metrics.requests_refused_total.labels(error.code.value).inc()
        self._outbox.answer(messages.encode_error(request_id, error), after_events=True)

    async def _write(self) -> None:
        """The only writer of data. Ends the connection, once what was due by then has been said."""
        try:
            while self._ending is None:
                await self._outbox.wait()
                while self._ending is None and (frames := self._outbox.take() or await self._from_store()):
                    await self._send(frames)
            # Once, not until there is no more: a busy room would have the last word for ever.
            await self._send(self._outbox.take())
            await self._socket.close(self._ending.code, self._ending.reason)
        except (Disconnected, trio.TooSlowError):
            pass
        self._nursery.cancel_scope.cancel()

    async def _send(self, frames: bytes) -> None:
        self._node.metrics.bytes_out_total.inc(len(frames))
        with trio.fail_after(_WRITE_TIMEOUT_S):
            await self._socket.send_frames(frames)

    async def _from_store(self) -> bytes:
        """The next events of a room whose cursor is older than its buffer; empty when there are none."""
        lagging = self._outbox.behind()
        if lagging is None:
            return b""
        room, first, last = lagging
        payloads = await self._node.replica.read(partial(_read_events, room.id, first, last))
        if not self._outbox.advance(room, first + len(payloads)):
            return await self._from_store()
        return b"".join(map(text_frame, payloads))

    async def _keepalive(self) -> None:
        """Ping a silent peer; give it up when it stays silent. Any bytes from it count as life."""
        settings = self._node.settings
        while True:
            await trio.sleep_until(self._socket.heard_at + settings.heartbeat_interval)
            self._check_activity()
            if self._busy or trio.current_time() < self._socket.heard_at + settings.heartbeat_interval:
                await trio.sleep(settings.heartbeat_timeout / 10)
                continue
            pinged_at = trio.current_time()
            await self._ping()
            await trio.sleep(settings.heartbeat_timeout)
            if self._socket.heard_at < pinged_at and not self._busy:
                self.end(CloseCode.NO_PONG, "no pong")
                return

    def _check_activity(self) -> None:
        patience_s = self._node.settings.inactivity_timeout
        if patience_s and trio.current_time() - self._asked_at > patience_s:
            self.end(CloseCode.GOING_AWAY, "no request for too long")

    async def _ping(self) -> None:
        with trio.move_on_after(self._node.settings.heartbeat_timeout):
            try:
                await self._socket.ping()
            except Disconnected:
                self._nursery.cancel_scope.cancel()

    async def _expire(self, after_s: float) -> None:
        await trio.sleep(max(after_s, 0))
        self.end(CloseCode.TOKEN_EXPIRED, "the token has expired")

    def _too_slow(self) -> None:
        self.end(CloseCode.SLOW_READER, "too much unsent output")


def _read_events(room_id: str, first: int, last: int, reader: Reader) -> list[bytes]:
    view = reader.room(room_id, "")
    return reader.events(view.no, first, last, _PAGE_BYTES) if view else []


def _room_ids(outbox: Outbox) -> set[str]:
    return {room.id for room in outbox.cursors}


def _done(request: messages.AnyRequest, outcome: Accepted) -> messages.Done:
    return messages.Done(getattr(request, "room", None), outcome.seq)
