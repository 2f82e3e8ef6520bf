"""One client, in a nursery that nothing a peer does can escape.

The reader hands one frame after the other to the conversation. What waits for the client is written by the flusher, as
far as the kernel takes it; only where something must be waited for, a writer of the connection's own does the rest.
What time alone brings about, as a ping or a token's end, is looked at for all connections together, by
:meth:`node.server.Server.keep`: a task for each of them would be a fifth of what an idle connection takes.
"""

from __future__ import annotations

import math
import secrets
from functools import partial

import structlog
import trio

from node.conversation import PAGE_BYTES, Conversation, Node
from node.errors import CloseCode, CloseConnection
from node.flusher import Flusher
from node.outbox import Outbox
from node.protocol.frames import text_frame
from node.state.model import Account
from node.state.reader import Reader
from node.transport.websocket import PING_FRAME, Disconnected, ServerSocket

_CLOSE_GRACE_S = 5.0
_WRITE_TIMEOUT_S = 60.0
_DROPS = {CloseCode.SLOW_READER: "slow_reader", CloseCode.NO_PONG: "no_pong"}

logger = structlog.get_logger()


class Connection:
    """A client that has finished the WebSocket handshake.

    Args:
        node: what it shares with the others.
        socket: owned from now on.
        nursery: the connection's own, in which :meth:`run` is called; cancelled when the connection is over.
        flusher: calls when something waits for the client.
    """

    def __init__(self, node: Node, socket: ServerSocket, nursery: trio.Nursery, flusher: Flusher) -> None:
        self.id = secrets.token_hex(8)
        self._node = node
        self._socket = socket
        self._nursery = nursery
        self._outbox = Outbox(node.settings.max_unsent_bytes, self._too_slow, partial(flusher.add, self._flush))
        self._conversation = Conversation(node, self._outbox, self.id)
        self._outbox.on_account = self._account_changed
        if node.tracer is not None:
            self._outbox.spans = []
        self._busy = False
        self._writes = False
        self._asked_at = trio.current_time()
        self._pinged_at = -math.inf
        self._ending: CloseConnection | None = None
        self._gone = False
        self._closed = False

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the connection: what is being written is finished first, if the peer reads on."""
        if self._ending is None:
            self._ending = CloseConnection(code, reason)
            self._finish()
            self._node.metrics.connections_closed.labels(str(int(code))).inc()
            if code in _DROPS:
                self._node.metrics.drops.labels(_DROPS[code]).inc()
            logger.info("closing", conn=self.id, user=self._conversation.user, code=int(code), reason=reason)

    def push(self, payload: bytes) -> None:
        """Send something that belongs to no room."""
        self._outbox.answer(payload)

    def keep(self, now: float, wall_s: float) -> None:
        """End a connection whose time is over; ping a peer that is silent, and give it up when it stays silent.

        Any bytes from it count as life. Called every now and then, for every connection: keep it short.

        Args:
            now: ``trio.current_time()``.
            wall_s: Unix time in seconds.
        """
        if self._over:
            return
        settings, identity = self._node.settings, self._conversation.identity
        if identity is not None and identity.expires_at is not None and identity.expires_at <= wall_s:
            self.end(CloseCode.TOKEN_EXPIRED, "the token has expired")
        elif 0 < settings.inactivity_timeout < now - self._asked_at:
            self.end(CloseCode.GOING_AWAY, "no request for too long")
        elif not self._busy and self._socket.heard_at + settings.heartbeat_interval <= now:
            self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        if self._pinged_at < self._socket.heard_at:
            self._pinged_at = now
            self._outbox.answer_frame(PING_FRAME)
            return
        # A ping behind much else needs time to get out.
        patience_s = self._node.settings.heartbeat_timeout * (2 if self._writes else 1)
        if now - self._pinged_at >= patience_s:
            self.end(CloseCode.NO_PONG, "no pong")

    async def run(self) -> None:
        """Serve the client until one side ends it, and then until it is closed."""
        try:
            await self._serve()
            await trio.sleep_forever()  # the writer says goodbye, then cancels the nursery
        finally:
            self._closed = True

    async def _serve(self) -> None:
        try:
            await self._converse()
        except CloseConnection as close:
            self.end(close.code, close.reason)
        except Disconnected as gone:
            if self._ending is None:
                self._node.metrics.connections_closed.labels(str(gone.code)).inc()
                told = {"conn": self.id, "user": self._conversation.user, "code": gone.code, "reason": gone.reason}
                logger.info("disconnected", **told)
                self._gone = True
                self._finish()
        finally:
            self._conversation.leave()

    async def _converse(self) -> None:
        with trio.move_on_after(self._node.settings.hello_timeout) as patience:
            await self._serve_one()
        if patience.cancelled_caught:
            raise CloseConnection(CloseCode.PROTOCOL_VIOLATION, "no hello in time")
        while True:
            await self._serve_one()

    async def _serve_one(self) -> None:
        text = await self._socket.receive()
        if not isinstance(text, str):
            raise CloseConnection(CloseCode.UNSUPPORTED_DATA, "text frames only")
        self._busy = True
        self._asked_at = trio.current_time()
        try:
            await self._conversation.take(text, self._asked_at)
        finally:
            self._busy = False

    def _flush(self) -> None:
        """Write what waits, if nothing must be waited for. For every receiver of every message: keep it short."""
        if self._writes or self._closed:
            return
        if self._over:
            self._start_writer()
        elif frames := self._outbox.take():
            self._node.metrics.sent_bytes.inc(len(frames))
            if self._socket.send_now(frames):
                self._count_written()
            else:
                self._start_writer()
        if self._outbox.lags:
            self._start_writer()

    def _start_writer(self) -> None:
        if not self._writes:
            self._writes = True
            self._nursery.start_soon(self._write)

    async def _write(self) -> None:
        """Write until nothing waits. Ends the connection if it is over, once what was due by then has been said."""
        try:
            await self._send(b"")  # what the flusher has left
            while not self._over:
                if frames := self._outbox.take() or await self._from_store():
                    await self._send(frames)
                elif not self._outbox.due:
                    self._writes = False
                    return
            await self._take_leave()
        except Disconnected:
            await self._socket.part()
        except trio.TooSlowError:
            pass
        self._nursery.cancel_scope.cancel()

    @property
    def _over(self) -> bool:
        return self._gone or self._ending is not None

    def _finish(self) -> None:
        """Have the writer end the connection, in good time."""
        self._nursery.cancel_scope.deadline = trio.current_time() + _CLOSE_GRACE_S
        self._outbox.call()

    async def _take_leave(self) -> None:
        if self._ending is None:
            await self._socket.part()
            return
        # Once, not until there is no more: a busy room would have the last word for ever.
        await self._send(self._outbox.take())
        await self._socket.close(self._ending.code, self._ending.reason)

    async def _send(self, frames: bytes) -> None:
        self._node.metrics.sent_bytes.inc(len(frames))
        await self._socket.send_frames(frames, _WRITE_TIMEOUT_S)
        self._count_written()

    def _count_written(self) -> None:
        metrics = self._node.metrics
        events, published_at = self._outbox.written()
        metrics.events_delivered.inc(events)
        if published_at < math.inf:
            metrics.delivery.observe(trio.current_time() - published_at)
        if self._node.tracer is not None and self._outbox.spans:
            spans, self._outbox.spans = self._outbox.spans, []
            self._node.tracer.delivered(spans, self.id, self._conversation.user)

    async def _from_store(self) -> bytes:
        """The next events of a room whose cursor is older than its buffer; empty when there are none."""
        lagging = self._outbox.behind()
        if lagging is None:
            return b""
        room, first, last = lagging
        payloads = await self._node.replica.read(partial(_read_events, room.id, first, last), stale=True)
        if not self._outbox.advance(room, first, first + len(payloads)):
            return await self._from_store()
        self._node.metrics.events_delivered.inc(len(payloads))
        return b"".join(map(text_frame, payloads))

    def _account_changed(self, account: Account) -> None:
        close = self._conversation.shut_out(account)
        if close is not None:
            self.end(close.code, close.reason)

    def _too_slow(self) -> None:
        if not self._writes:
            return  # it has not been written to yet, which is not the reader's fault
        self.end(CloseCode.SLOW_READER, "too much unsent output")


def _read_events(room_id: str, first: int, last: int, reader: Reader) -> list[bytes]:
    view = reader.room(room_id, "")
    return reader.events(view.no, first, last, PAGE_BYTES) if view else []
