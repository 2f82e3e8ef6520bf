"""The reference client: it finds a node, keeps its place, and does not lose what it was asked to send.

    async with open_client(["ws://a:8080/ws", "ws://b:8080/ws"], token=token) as client:
        room = await client.join("general")
        ack = await client.send("general", "hello")      # returns when committed, however many reconnects it takes
        async for event in room:                          # in order of seq, no holes, none twice
            print(event)

Pushes that are no events (invitations, presence, typing, read markers, notices) come from ``client.pushes``.

Resending is safe because a message is known by its cid: the node answers a repeat with the seq of the first.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Literal

import msgspec
import trio

from node.client_feed import Connected, ConnectionLost, Gap, PushFeed, Resumed, RoomFeed, Told
from node.client_link import ClientClosed, Link, TokenProvider
from node.protocol import answers, requests
from node.protocol.pushes import MessageEvent
from node.protocol.requests import DEFAULT_PAGE, Since

__all__ = [
    "ChatClient",
    "ClientClosed",
    "Connected",
    "ConnectionLost",
    "Gap",
    "PushFeed",
    "Resumed",
    "RoomFeed",
    "Since",
    "TokenProvider",
    "Told",
    "open_client",
]

_PING_S = 5.0


class ChatClient:
    """See :func:`open_client`. Every method returns when the node has answered for good.

    Each raises ``RequestError`` when the node refuses the request, and ``ClientClosed`` when it refuses the client.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._cid_prefix = secrets.token_hex(8)

    @property
    def node(self) -> str | None:
        """The node it is connected to now, or None."""
        return self._link.node

    @property
    def connects(self) -> int:
        """How often it has connected."""
        return self._link.connects

    @property
    def pushes(self) -> PushFeed:
        """Invitations, presence, typing, read markers, notices, and how the connection is; for one reader."""
        return self._link.pushes

    async def whoami(self) -> answers.Self:
        """Who the node takes this client for."""
        return await self._link.ask(requests.Whoami(id=self._id()), answers.Self)

    # --- messages ---

    async def send(
        self, room: str, body: str, *, cid: str | None = None, reply_to: int | None = None
    ) -> answers.Acknowledged:
        """Send a message and wait until it is committed.

        Args:
            cid: the message's identity for repeats; by default a new one.
            reply_to: seq of the message that it answers.
        """
        number = self._id()
        cid = cid or f"{self._cid_prefix}-{number}"
        send = requests.Send(id=number, room=room, cid=cid, body=body, reply_to=reply_to)
        return await self._link.ask(send, answers.Acknowledged)

    async def edit(self, room: str, seq: int, body: str) -> None:
        """Give a message of one's own another body."""
        await self._do(requests.Edit(id=self._id(), room=room, seq=seq, body=body))

    async def delete(self, room: str, seq: int) -> None:
        """Take a message back."""
        await self._do(requests.Delete(id=self._id(), room=room, seq=seq))

    async def react(self, room: str, seq: int, emoji: str, *, on: bool = True) -> None:
        """Put an emoji to a message, or take one's own away."""
        await self._do(requests.React(id=self._id(), room=room, seq=seq, emoji=emoji, on=on))

    async def history(
        self, room: str, *, before: int | None = None, limit: int = DEFAULT_PAGE, thread: int | None = None
    ) -> list[MessageEvent]:
        """The messages before a seq (or the last), in ascending order; with ``thread`` only those of that thread."""
        request = requests.History(id=self._id(), room=room, before=before, limit=limit, thread=thread)
        return _messages((await self._link.ask(request, answers.HistoryPage)).msgs)

    async def search(
        self, query: str, *, room: str | None = None, limit: int = DEFAULT_PAGE, before: int | None = None
    ) -> tuple[list[MessageEvent], int | None]:
        """Messages with all the words, newest first, and the ``before`` of the next page, None after the last."""
        request = requests.Search(id=self._id(), query=query, room=room, limit=limit, before=before)
        page = await self._link.ask(request, answers.SearchPage)
        return _messages(page.msgs), page.next

    async def mark_read(self, room: str, seq: int) -> None:
        """Say how far the user has read."""
        await self._do(requests.Read(id=self._id(), room=room, seq=seq))

    async def typing(self, room: str) -> None:
        """Say that the user is typing."""
        await self._do(requests.Typing(id=self._id(), room=room))

    # --- rooms ---

    async def join(self, room: str, *, since: Since | None = None, limit: int = DEFAULT_PAGE) -> RoomFeed:
        """Join a room, and receive its events from ``since`` on, or the last ``limit`` and what follows."""
        link, feed = self._link, RoomFeed(room, limit, since)
        previous = link.feeds.get(room)
        link.feeds[room] = feed
        try:
            await link.ask(feed.request(self._id()), answers.Joined)
        except BaseException:
            link.feeds.pop(room)
            raise
        if previous is not None:
            previous.close()
        return feed

    async def leave(self, room: str) -> None:
        """End the membership of this user."""
        await self._do(requests.Leave(id=self._id(), room=room))
        feed = self._link.feeds.pop(room, None)
        if feed is not None:
            feed.close()

    async def create_room(self, room: str, title: str = "", *, private: bool = False) -> None:
        """Make a room; refused with ``room_exists`` if there is another under its id."""
        await self._do(requests.CreateRoom(id=self._id(), room=room, title=title, private=private))

    async def update_room(self, room: str, *, title: str | None = None, private: bool | None = None) -> None:
        """Change what is given."""
        await self._do(requests.UpdateRoom(id=self._id(), room=room, title=title, private=private))

    async def delete_room(self, room: str) -> None:
        """Take a room and all that was said in it away."""
        await self._do(requests.DeleteRoom(id=self._id(), room=room))

    async def dm(self, user: str) -> str:
        """Open the room of this user and another; returns its id, to be joined."""
        done = await self._link.ask(requests.Dm(id=self._id(), user=user), answers.Done)
        return done.room or ""

    async def rooms(
        self, prefix: str = "", *, limit: int = DEFAULT_PAGE, after: str = "", mine: bool = False
    ) -> answers.RoomList:
        """A page of rooms in order of id; with ``mine`` only those that the user belongs to or is invited to."""
        request = requests.Rooms(id=self._id(), prefix=prefix, limit=limit, after=after, mine=mine)
        return await self._link.ask(request, answers.RoomList)

    async def members(self, room: str, *, limit: int = DEFAULT_PAGE, after: str = "") -> answers.MemberList:
        """A page of members in order of name."""
        request = requests.Members(id=self._id(), room=room, limit=limit, after=after)
        return await self._link.ask(request, answers.MemberList)

    # --- moderation ---

    async def invite(self, room: str, user: str) -> None:
        """Let somebody in."""
        await self._do(requests.Invite(id=self._id(), room=room, user=user))

    async def set_role(self, room: str, user: str, role: Literal["owner", "moderator", "member"]) -> None:
        """Give a member a role."""
        await self._do(requests.Role(id=self._id(), room=room, user=user, role=role))

    async def kick(self, room: str, user: str) -> None:
        """End somebody's membership."""
        await self._do(requests.Kick(id=self._id(), room=room, user=user))

    async def ban(self, room: str, user: str) -> None:
        """End somebody's membership, and keep them out."""
        await self._do(requests.Ban(id=self._id(), room=room, user=user))

    async def unban(self, room: str, user: str) -> None:
        """Let a banned user in again."""
        await self._do(requests.Unban(id=self._id(), room=room, user=user))

    async def mute(self, room: str, user: str, until: int) -> None:
        """Let a member say nothing until ``until`` (Unix ms); 0 lets them speak again."""
        await self._do(requests.Mute(id=self._id(), room=room, user=user, until=until))

    async def notice(self, text: str, until: int, level: Literal["info", "warning"] = "info") -> None:
        """Tell everyone something, kept until ``until`` (Unix ms). For server admins."""
        await self._do(requests.Notice(id=self._id(), text=text, until=until, level=level))

    def _id(self) -> int:
        return next(self._link.ids)

    async def _do(self, request: requests.AnyRequest) -> None:
        await self._link.ask(request, answers.Done)


@asynccontextmanager
async def open_client(
    urls: Sequence[str],
    *,
    token: str | TokenProvider | None = None,
    user: str | None = None,
    password: str | None = None,
    ping_s: float = _PING_S,
    shuffle: bool = True,
    ssl_context: SSLContext | None = None,
) -> AsyncIterator[ChatClient]:
    """A client that stays connected while the block runs.

    Args:
        urls: addresses of the nodes, ``ws://HOST:8080/ws``, tried in turn.
        token: a JWT, or a function (async or not) that is called for one before every connection, so that a client
            outlives its token. When it has expired and there is no other, the client is closed with 4014.
        user: instead of a token, a guest's name, or with ``password`` that of a local account.
        shuffle: begin with any of the addresses instead of the first, so that many clients spread.
        ping_s: seconds between pings, and to wait for their answers; a dead node is left after twice that at most.
    """
    start = random.randrange(len(urls)) if shuffle else 0  # noqa: S311 - spreads load
    hello = {"user": user, "password": password, "client": "chat-node"}
    link = Link([*urls[start:], *urls[:start]], hello, token, ping_s, ssl_context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        yield ChatClient(link)
        nursery.cancel_scope.cancel()


def _messages(payloads: list[msgspec.Raw]) -> list[MessageEvent]:
    return [msgspec.json.decode(payload, type=MessageEvent) for payload in payloads]
