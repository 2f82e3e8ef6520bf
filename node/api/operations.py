"""What an admin can ask over HTTP, one function each, and the table of them all.

What changes something becomes the record that a chat client's request becomes, and takes the same way through the log.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Struct

from node.api import bodies, problems
from node.api.problems import Kind, Refused
from node.auth import Identity
from node.cluster import Beat
from node.conversation import Node
from node.protocol import answers, requests
from node.protocol.translate import record_of
from node.state.model import Account, Notice
from node.state.outcome import Accepted
from node.state.reader import RoomRow
from node.state.records import PutAccount


class Host(Protocol):
    """The node as a whole."""

    @property
    def node(self) -> Node | None:
        """What takes part in the chat; None while the node starts."""

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` tells."""

    def beats(self) -> tuple[Beat, list[tuple[Beat, float]]]:
        """This node as the others see it; and the others, with the seconds since they were heard of."""

    def export(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The log as :mod:`node.export` writes it, piece by piece.

        Raises:
            RequestError: ``overloaded``: too many exports at once.
            LogError: the log cannot be read.
        """

    def stop(self) -> None:
        """Begin to drain."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked.

    Attributes:
        path: what stands in the path, by name.
        query, body: as the operation's types.
    """

    host: Host
    identity: Identity
    path: dict[str, str]
    query: Any
    body: Any

    @property
    def node(self) -> Node:
        """The node, once it takes part.

        Raises:
            Refused: 503.
        """
        if self.host.node is None:
            raise not_ready("the node starts: the log does not answer yet")
        return self.host.node

    async def commit(self, request: requests.AnyRequest) -> Accepted:
        """Do what a chat client would ask for so."""
        record = record_of(request, self.identity.user, _now_ms(), admin=True)
        assert record is not None, f"{type(request).__name__} changes nothing"  # noqa: S101 - a slip in this file
        return await self.node.submitter.commit(record)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer: a body, or a long one as it comes, or none; ``then`` is called when it has been sent."""

    body: Struct | None = None
    headers: dict[str, str] = field(default_factory=dict)
    then: Callable[[], None] | None = None
    pieces: AbstractAsyncContextManager[AsyncIterator[bytes]] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked.

    Attributes:
        name: in the OpenAPI document, and in log lines.
        summary: one line for people.
        query, body, answer: what travels; None for nothing.
        problems: those of its own, besides what any operation may answer.
        media_type: of the answer.
        synced: whether it wants a node that is ready, and up to date with what was acknowledged anywhere.
    """

    method: str
    path: str
    name: str
    summary: str
    act: Callable[[Call], Awaitable[Reply]]
    query: type[Struct] = bodies.NoQuery
    body: type[Struct] | None = None
    answer: type[Struct] | None = None
    status: int = 200
    media_type: str = "application/json"
    problems: tuple[Kind, ...] = ()
    synced: bool = True


def not_ready(detail: str) -> Refused:
    """The node cannot do that now."""
    return Refused(problems.NOT_READY, detail, {"Retry-After": str(problems.RETRY_AFTER_S)})


# --- accounts ---


async def _list_users(call: Call) -> Reply:
    page: bodies.Page = call.query
    accounts = await call.node.replica.read(lambda reader: reader.accounts(page.after, page.limit + 1))
    users = [_user(account) for account in accounts[: page.limit]]
    return Reply(bodies.UserList(users, more=len(accounts) > page.limit))


async def _add_user(call: Call) -> Reply:
    new: bodies.NewUser = call.body
    password_hash = await call.node.passwords.hash(new.password)
    await _put(call, PutAccount(call.identity.user, _now_ms(), new.user, password_hash, list(new.roles), new=True))
    return Reply(bodies.User(new.user, list(new.roles), disabled=False), {"Location": f"users/{new.user}"})


async def _get_user(call: Call) -> Reply:
    return Reply(_user(_account(call)))


async def _change_user(call: Call) -> Reply:
    change: bodies.UserChange = call.body
    _account(call)  # a password is not worth its hash for nobody
    record = PutAccount(call.identity.user, _now_ms(), call.path["user"])
    if change.password is not UNSET:
        record.password_hash = await call.node.passwords.hash(change.password)
    if change.disabled is not UNSET:
        record.disabled = change.disabled
    if change.roles is not UNSET:
        record.roles = list(change.roles)
    await _put(call, record)
    return Reply(_user(_account(call)))


async def _put(call: Call, record: PutAccount) -> None:
    record.admin = True
    await call.node.submitter.commit(record)


def _account(call: Call) -> Account:
    name = call.path["user"]
    account = call.node.replica.account(name)
    if account is None:
        raise Refused(problems.NO_USER, f"there is no account {name}")
    return account


def _user(account: Account) -> bodies.User:
    return bodies.User(account.name, account.roles, account.disabled)


# --- rooms ---


async def _list_rooms(call: Call) -> Reply:
    page: bodies.RoomPage = call.query
    rows = await call.node.replica.read(lambda reader: reader.all_rooms(page.prefix, page.after, page.limit + 1))
    return Reply(answers.RoomList([_room_info(row) for row in rows[: page.limit]], more=len(rows) > page.limit))


async def _create_room(call: Call) -> Reply:
    new: bodies.NewRoom = call.body
    await call.commit(requests.CreateRoom(id=0, room=new.room, title=new.title, private=new.private))
    return Reply(_room_info(await _room(call, new.room)), {"Location": f"rooms/{new.room}"})


async def _get_room(call: Call) -> Reply:
    return Reply(_room_info(await _room(call, call.path["room"])))


async def _change_room(call: Call) -> Reply:
    change: bodies.RoomChange = call.body
    title = None if change.title is UNSET else change.title
    private = None if change.private is UNSET else change.private
    await call.commit(requests.UpdateRoom(id=0, room=call.path["room"], title=title, private=private))
    return await _get_room(call)


async def _delete_room(call: Call) -> Reply:
    await call.commit(requests.DeleteRoom(id=0, room=call.path["room"]))
    return Reply()


async def _list_members(call: Call) -> Reply:
    page: bodies.Page = call.query
    room_id, node = call.path["room"], call.node
    view = await node.replica.read(lambda reader: reader.room(room_id, ""))
    if view is None:
        raise _no_room(room_id)
    rows = await node.replica.read(lambda reader: reader.members(view.no, page.after, page.limit + 1))
    members = [
        answers.MemberInfo(row.user, row.role, node.presence.is_online(room_id, row.user), row.muted_until)
        for row in rows[: page.limit]
    ]
    return Reply(answers.MemberList(members, more=len(rows) > page.limit))


async def _room(call: Call, room_id: str) -> RoomRow:
    rows = await call.node.replica.read(lambda reader: reader.all_rooms(room_id, "", 1))
    if not rows or rows[0].id != room_id:
        raise _no_room(room_id)
    return rows[0]


def _no_room(room_id: str) -> Refused:
    return Refused(problems.NO_ROOM, f"there is no room {room_id}")


def _room_info(row: RoomRow) -> answers.RoomInfo:
    return answers.RoomInfo(row.id, row.title, row.members, row.head, row.private, row.dm)


# --- the operators' word ---


async def _list_notices(call: Call) -> Reply:
    notices = [bodies.NoticeInForce(notice.level, notice.text, notice.until) for notice in _in_force(call)]
    return Reply(bodies.NoticeList(notices))


async def _post_notice(call: Call) -> Reply:
    new: bodies.NewNotice = call.body
    await call.commit(new.as_request())
    return Reply(bodies.NoticeInForce(new.level, new.text, new.until))


async def _clear_notices(call: Call) -> Reply:
    for notice in _in_force(call):
        await call.commit(bodies.NewNotice(notice.text, 0).as_request())
    return Reply()


def _in_force(call: Call) -> list[Notice]:
    now_ms = _now_ms()
    return [notice for notice in call.node.replica.notices() if notice.until > now_ms]


# --- the node ---


async def _status(call: Call) -> Reply:
    return Reply(msgspec.convert(call.host.readiness(), bodies.Status))


async def _peers(call: Call) -> Reply:
    here, others = call.host.beats()
    return Reply(bodies.PeerList(here, [bodies.Peer(beat, round(age_s, 1)) for beat, age_s in others]))


async def _drain(call: Call) -> Reply:
    return Reply(bodies.Draining(draining=True), then=call.host.stop)


async def _export(call: Call) -> Reply:
    return Reply(pieces=call.host.export())


def _now_ms() -> int:
    return int(time.time() * 1000)


OPERATIONS = [
    Operation(
        "GET", "/users", "list_users", "Local accounts, in order of name",
        _list_users, query=bodies.Page, answer=bodies.UserList,
    ),
    Operation(
        "POST", "/users", "add_user", "Make a local account",
        _add_user, body=bodies.NewUser, answer=bodies.User, status=201, problems=(problems.USER_EXISTS,),
    ),
    Operation(
        "GET", "/users/{user}", "get_user", "One account",
        _get_user, answer=bodies.User, problems=(problems.NO_USER,),
    ),
    Operation(
        "PATCH", "/users/{user}", "change_user", "Set the password or the roles, disable or enable",
        _change_user, body=bodies.UserChange, answer=bodies.User, problems=(problems.NO_USER,),
    ),
    Operation(
        "GET", "/rooms", "list_rooms", "All rooms, private ones too, in order of id",
        _list_rooms, query=bodies.RoomPage, answer=answers.RoomList,
    ),
    Operation(
        "POST", "/rooms", "create_room", "Make a room",
        _create_room, body=bodies.NewRoom, answer=answers.RoomInfo, status=201, problems=(problems.ROOM_EXISTS,),
    ),
    Operation(
        "GET", "/rooms/{room}", "get_room", "One room",
        _get_room, answer=answers.RoomInfo, problems=(problems.NO_ROOM,),
    ),
    Operation(
        "PATCH", "/rooms/{room}", "change_room", "Change the title, or who may see the room",
        _change_room, body=bodies.RoomChange, answer=answers.RoomInfo, problems=(problems.NO_ROOM,),
    ),
    Operation(
        "DELETE", "/rooms/{room}", "delete_room", "Take a room and all that was said in it away",
        _delete_room, status=204, problems=(problems.NO_ROOM,),
    ),
    Operation(
        "GET", "/rooms/{room}/members", "list_members", "Members of a room, in order of name",
        _list_members, query=bodies.Page, answer=answers.MemberList, problems=(problems.NO_ROOM,),
    ),
    Operation(
        "GET", "/notices", "list_notices", "The notices that are in force",
        _list_notices, answer=bodies.NoticeList,
    ),
    Operation(
        "POST", "/notices", "post_notice", "Tell everyone something; the same text again replaces it",
        _post_notice, body=bodies.NewNotice, answer=bodies.NoticeInForce,
    ),
    Operation("DELETE", "/notices", "clear_notices", "Take all notices back", _clear_notices, status=204),
    Operation(
        "GET", "/status", "get_status", "How the node is: what /readyz tells, always with 200",
        _status, answer=bodies.Status, synced=False,
    ),
    Operation(
        "GET", "/peers", "list_peers", "This node and the others that it hears of",
        _peers, answer=bodies.PeerList, synced=False,
    ),
    Operation(
        "GET", "/export", "export", "The log as JSON lines, up to its end now; chat-node verify checks them",
        _export, media_type="application/x-ndjson", problems=(problems.OVERLOADED, problems.UNAVAILABLE),
    ),
    Operation(
        "POST", "/drain", "drain", "Move the clients away and end, as SIGTERM does",
        _drain, answer=bodies.Draining, status=202, synced=False,
    ),
]  # fmt: skip
"""All that can be asked."""
