"""What a client says, carried out: hello, commits, joins and questions.

Requests are carried out one after the other, so they take effect in the order in which they came. Commits do not wait:
their answers arrive with the outcome.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog
import trio

from node.accounts import Passwords
from node.auth import ADMIN_ROLE, Authenticator, Identity, UnknownKey, refuse_credentials
from node.config import Settings
from node.errors import CloseCode, CloseConnection, ErrorCode, RequestError
from node.hub import Hub
from node.jwks import JwksFetcher
from node.metrics import Metrics
from node.outbox import Outbox
from node.presence import Presence
from node.protocol import answers, requests
from node.protocol.pushes import NoticePush, encode
from node.protocol.session import Command, Session, limits_of
from node.replica import Replica
from node.room import Room
from node.state.model import Account
from node.state.outcome import Outcome, Rejected
from node.state.reader import RoomView
from node.state.records import AnyRecord
from node.submitter import Submitter
from node.tracing import Tracer

PAGE_BYTES = 256 * 1024
"""Of a room's past, this much is read, held and sent at once."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Node:
    """What all connections of a node share."""

    settings: Settings
    epoch: str
    authenticator: Authenticator
    passwords: Passwords
    hub: Hub
    replica: Replica
    submitter: Submitter
    presence: Presence
    metrics: Metrics
    jwks: JwksFetcher | None = None
    tracer: Tracer | None = None

    async def identify(self, *, token: str | None, user: str | None) -> Identity:
        """Check a token, or take a guest's name. For a key that is not known, those published now are looked at.

        Raises:
            RequestError: ``unauthorized``, ``token_expired``; or ``unavailable`` while nobody can tell.
        """
        check = partial(self.authenticator.identify, token=token, user=user)
        try:
            return check(now=time.time())
        except UnknownKey:
            if self.jwks is None:
                raise
        fetched = False
        with trio.move_on_after(self.settings.hello_timeout / 2):
            fetched = await self.jwks.refresh()
        try:
            return check(now=time.time())
        except UnknownKey:
            if fetched:
                raise
            raise RequestError(ErrorCode.UNAVAILABLE, "the keys of tokens cannot be fetched now") from None


class Conversation:
    """One client's conversation, whatever carries it.

    Args:
        node: what it shares with the others.
        outbox: where answers go.
        conn_id: the connection's id, as in the logs.
    """

    def __init__(self, node: Node, outbox: Outbox, conn_id: str) -> None:
        self._node = node
        self._outbox = outbox
        self._conn_id = conn_id
        self._session = Session(node.settings, trio.current_time())
        self._account: Account | None = None
        # An answer alone must not make its reader too slow.
        self._page_bytes = min(PAGE_BYTES, node.settings.max_unsent_bytes // 2)

    @property
    def identity(self) -> Identity | None:
        """Who this is, once hello has been accepted."""
        return self._session.identity

    @property
    def user(self) -> str:
        """The user's name; empty before hello."""
        return self.identity.user if self.identity else ""

    @property
    def _admin(self) -> bool:
        return self.identity is not None and ADMIN_ROLE in self.identity.roles

    def leave(self) -> None:
        """The client is gone."""
        if self.identity is not None:
            self._node.hub.exit(self.user, self._outbox)

    def shut_out(self, account: Account) -> CloseConnection | None:
        """Why the user may not stay, now that this is the account of their name; None if they may.

        A disabled account closes its name to whoever comes under it. Its password and roles bind those who used them.
        """
        if "accounts" not in self._node.settings.auth_mode:
            return None
        if account.disabled:
            return CloseConnection(CloseCode.ACCOUNT_DISABLED, "this account is disabled")
        used = self._account
        if used is not None and used.password_hash != account.password_hash:
            return CloseConnection(CloseCode.BAD_CREDENTIALS, "the password has been changed")
        if used is not None and used.roles != account.roles:
            return CloseConnection(CloseCode.TOKEN_EXPIRED, "the roles have been changed")
        return None

    async def take(self, text: str, now: float) -> None:
        """Take one frame, and do what it asks.

        Args:
            now: ``trio.current_time()``, which is dear where it is asked for every message.

        Raises:
            CloseConnection: the conversation is over.
        """
        try:
            command = self._session.handle(text, now, time.time)
        except requests.RefusedRequest as refused:
            self._refuse(refused.request_id, refused.error)
            return
        try:
            await self._carry_out(command, now)
        except RequestError as error:
            self._refuse(command.request.id, error)

    async def _carry_out(self, command: Command, now: float) -> None:
        request, record = command
        if record is not None and not isinstance(request, requests.Join):
            self._commit(request, record, now)
            return
        match request:
            case requests.Hello():
                await self._greet(request)
            case requests.Join():
                await self._enter(request, record)
            case requests.History():
                await self._history(request)
            case requests.Rooms():
                await self._rooms(request)
            case requests.Members():
                await self._members(request)
            case requests.Search():
                await self._search(request)
            case requests.Typing():
                self._typing(request)
            case requests.Whoami():
                self._whoami(request)
            case requests.Ping():
                self._answer(request.id, answers.Done())
            case _:
                raise AssertionError(f"{type(request).__name__} is carried out by nobody")

    # --- hello ---

    async def _greet(self, request: requests.Hello) -> None:
        node, settings = self._node, self._node.settings
        if not node.replica.ready:
            raise CloseConnection(CloseCode.TRY_AGAIN_LATER, "this node is not ready; try another")
        identity = await self._identify(request)
        if node.hub.enter(identity.user, self._outbox) > settings.max_user_connections:
            node.hub.exit(identity.user, self._outbox)
            raise CloseConnection(CloseCode.TOO_MANY_CONNECTIONS, "too many connections of this user")
        # Once it is in the hub it is told of changes; what was changed while the password was looked at shows here.
        account = node.replica.account(identity.user)
        close = self.shut_out(account) if account is not None else None
        if close is not None:
            node.hub.exit(identity.user, self._outbox)
            raise close
        self._session.let_in(identity)
        node.metrics.connections_opened.inc()
        logger.info("connected", conn=self._conn_id, user=identity.user, client=request.client)
        welcome = answers.Welcome(
            v=requests.PROTOCOL_VERSION,
            user=identity.user,
            conn=self._conn_id,
            node=settings.node_id,
            heartbeat_s=settings.heartbeat_interval,
            epoch=node.epoch,
            limits=limits_of(settings),
        )
        self._answer(request.id, welcome)
        for notice in node.replica.notices():
            if notice.until > time.time() * 1000:
                self._outbox.answer(encode(NoticePush(notice.level, notice.text, notice.until)))

    async def _identify(self, request: requests.Hello) -> Identity:
        try:
            if request.token is None and request.user is not None and "accounts" in self._node.settings.auth_mode:
                account = self._node.replica.account(request.user)
                if account is not None or request.password is not None:
                    return await self._from_account(account, request.password or "")
            return await self._node.identify(token=request.token, user=request.user)
        except RequestError as error:
            raise refuse_credentials(error) from None

    async def _from_account(self, account: Account | None, password: str) -> Identity:
        """The owner of an account. A name that has one is nobody else's: guests may not take it."""
        fits = await self._node.passwords.match(account.password_hash if account else None, password)
        if account is None or not fits:
            raise RequestError(ErrorCode.UNAUTHORIZED, "no such user, or another password")
        self._account = account
        return Identity(account.name, frozenset(account.roles))

    # --- what goes into the log ---

    def _commit(self, request: requests.AnyRequest, record: AnyRecord, now: float) -> None:
        if isinstance(request, requests.Send):
            self._node.metrics.messages_in.inc()
        if self._node.tracer is not None:
            self._node.tracer.received(record, self._conn_id)
        self._node.submitter.submit(record, partial(self._committed, request, record, now))

    def _committed(self, request: requests.AnyRequest, record: AnyRecord, asked_at: float, outcome: Outcome) -> None:
        """The outcome of a record: runs inside the replica's loop, so it only queues the answer."""
        self._node.metrics.commit.observe(trio.current_time() - asked_at)
        if self._node.tracer is not None:
            self._node.tracer.acknowledged(record, outcome, self._conn_id)
        if isinstance(outcome, Rejected):
            self._refuse(request.id, RequestError(outcome.code, outcome.msg))
        elif isinstance(request, requests.Send):
            if not outcome.dup:
                self._node.metrics.messages_committed.inc()
            acknowledged = answers.Acknowledged(outcome.seq, outcome.ts, outcome.dup)
            self._answer(request.id, acknowledged, after_events=True)
        else:
            done = answers.Done(getattr(record, "room", None), outcome.seq or None)
            self._answer(request.id, done, after_events=True)

    # --- joining ---

    async def _enter(self, request: requests.Join, record: AnyRecord | None) -> None:
        outbox, node = self._outbox, self._node
        if len(outbox.cursors) >= node.settings.max_rooms and request.room not in outbox.room_ids:
            raise RequestError(ErrorCode.FORBIDDEN, f"a connection joins at most {node.settings.max_rooms} rooms")
        await node.replica.catch_up()
        if await self._enter_as_member(request):
            return
        if record is not None:
            if request.since is not None and request.since.epoch == node.epoch:
                # Coming back is not coming: a client that resumes by itself must not undo a kick.
                raise RequestError(ErrorCode.FORBIDDEN, f"no longer a member of {request.room}")
            await node.submitter.commit(record)
            if await self._enter_as_member(request):
                return
        raise RequestError(ErrorCode.FORBIDDEN, f"not a member of {request.room}")

    async def _enter_as_member(self, request: requests.Join) -> bool:
        """Let a member in; False for who is none. Who subscribes before looking finds what comes meanwhile buffered."""
        outbox, hub, entered = self._outbox, self._node.hub, False
        room = hub.subscribe(outbox, request.room)
        received = room in outbox.cursors  # and goes on, whatever becomes of this
        try:
            view = await self._view(request.room, request.since)
            if view.member:
                if outbox not in room.receivers:
                    raise RequestError(ErrorCode.FORBIDDEN, f"no longer a member of {request.room}")
                self._follow(request, room, view)
                self._node.presence.joined(self.user, outbox, room)
                entered = True
        finally:
            if not entered and not received:
                hub.unsubscribe(outbox, room)
        return entered

    def _follow(self, request: requests.Join, room: Room, view: RoomView) -> None:
        joined = answers.Joined(room.id, self._node.epoch, first=view.first, head=view.head)
        first = max(view.first, view.head - request.limit + 1)
        if request.since is not None:
            joined.reason = self._unservable(request.since, view)
            joined.recovered = joined.reason is None
            if joined.recovered:
                first = request.since.seq + 1
        room.let_in(self._outbox, view.head)
        self._answer(request.id, joined)
        self._outbox.follow(room, first)
        logger.info("joined", conn=self._conn_id, user=self.user, room_id=room.id, head=view.head)

    def _require_reached(self, since: requests.Since | None, head: int) -> None:
        """Refuse, while this node lags behind the log, a position that another one has shown already."""
        ahead = since is not None and since.epoch == self._node.epoch and since.seq > head
        if ahead and not self._node.replica.ready:
            raise RequestError(ErrorCode.UNAVAILABLE, "this node has not come so far yet; ask again, or another node")

    def _unservable(self, since: requests.Since, view: RoomView) -> str | None:
        if since.epoch != self._node.epoch:
            return "epoch_changed"
        if since.seq > view.head:
            return "position_ahead"
        return "position_gone" if since.seq < view.first - 1 else None

    # --- questions ---

    async def _history(self, request: requests.History) -> None:
        view = await self._member_view(request.room)
        # What is said from here on is in no page that names this head.
        end = view.head + 1
        before = end if request.before is None else min(request.before, end)
        payloads = await self._node.replica.read(
            lambda reader: reader.messages(view.no, before, request.limit, self._page_bytes, request.thread)
        )
        page = answers.HistoryPage([msgspec.Raw(payload) for payload in payloads], view.first, view.head)
        self._answer(request.id, page)

    async def _rooms(self, request: requests.Rooms) -> None:
        rows = await self._node.replica.read(
            lambda reader: reader.rooms(self.user, request.prefix, request.after, request.limit + 1, request.mine)
        )
        rooms = [
            answers.RoomInfo(row.id, row.title, row.members, row.head, row.private, row.dm, row.role, row.unread)
            for row in rows[: request.limit]
        ]
        self._answer(request.id, answers.RoomList(rooms, more=len(rows) > request.limit))

    async def _members(self, request: requests.Members) -> None:
        view = await self._member_view(request.room)
        rows = await self._node.replica.read(lambda reader: reader.members(view.no, request.after, request.limit + 1))
        members = [
            answers.MemberInfo(
                row.user, row.role, self._node.presence.is_online(request.room, row.user), row.muted_until
            )
            for row in rows[: request.limit]
        ]
        self._answer(request.id, answers.MemberList(members, more=len(rows) > request.limit))

    async def _search(self, request: requests.Search) -> None:
        room_no = (await self._member_view(request.room)).no if request.room is not None else None
        payloads, end = await self._node.replica.read(
            lambda reader: reader.search(
                self.user, request.query, request.limit, self._page_bytes, request.before, room_no
            )
        )
        self._answer(request.id, answers.SearchPage([msgspec.Raw(payload) for payload in payloads], end))

    def _typing(self, request: requests.Typing) -> None:
        if request.room not in self._outbox.room_ids:
            raise RequestError(ErrorCode.FORBIDDEN, f"join {request.room} first")
        self._node.presence.typing(self.user, request.room)
        self._answer(request.id, answers.Done())

    def _whoami(self, request: requests.Whoami) -> None:
        assert self.identity is not None  # noqa: S101 - the session lets nothing pass before hello
        identity = self.identity
        node = self._node.settings.node_id
        who = answers.Self(identity.user, sorted(identity.roles), self._conn_id, node, identity.expires_at)
        self._answer(request.id, who)

    # --- shared ---

    async def _view(self, room_id: str, since: requests.Since | None = None) -> RoomView:
        """The room, if the user may know of it, and this node has come as far there as ``since``."""
        view = await self._node.replica.read(lambda reader: reader.room(room_id, self.user))
        if view is not None and view.private and not view.known and not self._admin:
            view = None
        self._require_reached(since, view.head if view else 0)
        if view is None:
            raise RequestError(ErrorCode.NO_ROOM, f"there is no room {room_id}")
        return view

    async def _member_view(self, room_id: str) -> RoomView:
        view = await self._view(room_id)
        if not view.member:
            raise RequestError(ErrorCode.FORBIDDEN, f"not a member of {room_id}")
        return view

    def _answer(self, request_id: int | str, ok: msgspec.Struct, *, after_events: bool = False) -> None:
        self._outbox.answer(answers.encode_ok(request_id, ok), after_events=after_events)

    def _refuse(self, request_id: int | str | None, error: RequestError) -> None:
        self._node.metrics.requests_refused.labels(error.code.value).inc()
        self._outbox.answer(answers.encode_error(request_id, error), after_events=True)
