"""One open room on the screen: its lines, who is in it, and what was typed but is not acknowledged."""

from __future__ import annotations

import itertools
import math
import secrets
import time
from contextlib import suppress

import trio

from node.client import ChatClient, Gap, RoomFeed
from node.errors import RequestError
from node.protocol.pushes import MemberEvent, MessageEvent, RoomEvent, RoomEvents
from node.terminal import words
from node.terminal.screen import Pane
from node.terminal.transcript import Transcript

_HISTORY = 50
_TYPING_SHOWN_S = 6.0
_TYPING_SAID_EVERY_S = 3.0


class Conversation:
    """See :meth:`open`. The tasks :meth:`follow` and :meth:`deliver` keep it going.

    Attributes:
        here: who receives the room now.
        unread: messages since it was last looked at.
        unsent: own messages that are not acknowledged, cid -> body.
    """

    def __init__(self, client: ChatClient, me: str, feed: RoomFeed) -> None:
        self.name = feed.room
        self.pane = Pane()
        self.transcript = Transcript()
        self.here: set[str] = set()
        self.unread = 0
        self.unsent: dict[str, str] = {}
        self.is_open = True
        self._client, self._me, self._feed = client, me, feed
        self._typing: dict[str, float] = {}
        self._said_typing = -math.inf
        self._cids = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        self._notes = (f"note-{number}" for number in itertools.count())
        self._day = ""
        self._enqueue, self._queue = trio.open_memory_channel[tuple[str, str, int | None]](math.inf)

    @classmethod
    async def open(cls, client: ChatClient, me: str, room: str) -> Conversation:
        """Join a room, and show its latest messages as they stand now.

        Raises:
            RequestError: the room cannot be joined.
        """
        conversation = cls(client, me, await client.join(room, limit=0))
        await conversation._load()
        return conversation

    async def _load(self) -> None:
        for message in await self._client.history(self.name, limit=_HISTORY):
            self._take(message)
        await self.refresh()

    async def refresh(self) -> None:
        """Ask anew who is here."""
        here, after, more = set(), "", True
        while more:
            page = await self._client.members(self.name, after=after, limit=500)
            here |= {member.user for member in page.members if member.online}
            after, more = page.members[-1].user if page.members else after, page.more
        self.here = here

    # --- what arrives ---

    async def follow(self) -> None:
        """Show what happens in the room, until that ends."""
        async for event in self._feed:
            if isinstance(event, Gap):
                await self._begin_anew(event.reason)
            else:
                self._take(event)
        self.is_open = False
        self.note("this room has ended for you; /join opens another")

    async def _begin_anew(self, reason: str) -> None:
        self.transcript = Transcript()
        self.pane.clear()
        self.note(f"some messages could not be had: {reason}", "alert")
        try:
            await self._load()
        except RequestError as error:
            self.note(str(error), "alert")

    def _take(self, event: RoomEvents) -> None:
        self._show_day(event.ts)
        for seq in self.transcript.take(event):
            self._draw(seq)
        for seq in self.transcript.outdated():
            self.pane.drop(seq)
        if isinstance(event, MessageEvent):
            self._typing.pop(event.from_, None)
            self.unread += event.from_ != self._me
            if event.from_ == self._me:
                self._settled(event.cid)
        elif isinstance(event, MemberEvent | RoomEvent):
            self.note(words.described(event).removeprefix("-- "), ts=event.ts)

    def _draw(self, seq: int) -> None:
        message = self.transcript.messages[seq]
        answered = self.transcript.messages.get(message.reply_to) if message.reply_to is not None else None
        self.pane.put(seq, words.clock(message.ts), words.message(message, self._me, answered))

    def _show_day(self, ts: int) -> None:
        day = words.clock(ts, "%A %d %B %Y")
        if day != self._day:
            self._day = day
            self.pane.put(next(self._notes), "", [("dim", f"-- {day} --")])

    def note(self, text: str, style: str = "dim", ts: int | None = None) -> None:
        """Show a line that is no message."""
        self.pane.put(next(self._notes), words.clock(ts or _now()), [(style, f"-- {text}")])

    # --- what is said ---

    def say(self, body: str, reply_to: int | None = None) -> None:
        """Send a message when there is a connection, and show it as pending until it is acknowledged."""
        cid = next(self._cids)
        self.unsent[cid] = body
        self.pane.put(cid, words.clock(_now()), words.unsent(self._me, body, "not sent yet"), pending=True)
        self._enqueue.send_nowait((cid, body, reply_to))

    async def deliver(self) -> None:
        """Send what was said, one message after the other, each over as many connections as it takes."""
        async for cid, body, reply_to in self._queue:
            try:
                await self._client.send(self.name, body, cid=cid, reply_to=reply_to)
            except RequestError as error:
                self.unsent.pop(cid, None)
                line = words.unsent(self._me, body, f"not sent: {error}", "alert")
                self.pane.put(cid, words.clock(_now()), line, pending=True)
            else:
                self._acknowledged(cid, body)

    def _acknowledged(self, cid: str, body: str) -> None:
        """The message itself comes as an event, before this or after."""
        if self.unsent.pop(cid, None) is not None:
            self.pane.put(cid, words.clock(_now()), words.unsent(self._me, body, "sent"), pending=True)

    def _settled(self, cid: str) -> None:
        self.unsent.pop(cid, None)
        self.pane.drop(cid)

    # --- who types ---

    async def say_typing(self) -> None:
        """Tell the others, if it is time and there is a connection; nobody waits for this."""
        now = trio.current_time()
        if self._client.node is not None and now - self._said_typing > _TYPING_SAID_EVERY_S:
            self._said_typing = now
            # Asked again over a new connection it is refused, for the room is not joined there yet.
            with trio.move_on_after(1), suppress(RequestError):
                await self._client.typing(self.name)

    def has_typed(self, user: str) -> None:
        """Somebody is typing."""
        self._typing[user] = trio.current_time()

    @property
    def typing(self) -> list[str]:
        """Who was typing a moment ago."""
        now = trio.current_time()
        return sorted(user for user, since in self._typing.items() if now - since < _TYPING_SHOWN_S)


def _now() -> int:
    return int(time.time() * 1000)
