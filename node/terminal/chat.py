"""The terminal client as a whole: rooms, what is typed, and how things are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from node.client import ChatClient, ConnectionLost, Resumed, Told
from node.errors import RequestError
from node.protocol.pushes import InvitePush, MessageEvent, NoticePush, PresencePush, TypingPush
from node.terminal import words
from node.terminal.commands import Entered, NotUnderstood, help_lines, parse
from node.terminal.conversation import Conversation
from node.terminal.screen import Screen

_TICK_S = 0.5
_LISTED = 50
_OPENING = frozenset({"join", "dm"})


async def chat(client: ChatClient, room: str, silence: Callable[[], None]) -> None:
    """Chat in a terminal until the person has enough.

    Args:
        client: connected, or about to be.
        room: joined first; it must exist.
        silence: called before the screen is taken, so that nothing else writes to it.

    Raises:
        RequestError: the room cannot be joined.
        ClientClosed: the nodes refuse the client.
    """
    me = (await client.whoami()).user
    first = await Conversation.open(client, me, room)
    silence()
    async with trio.open_nursery() as nursery:
        await _Chat(client, me, nursery).run(first)
        nursery.cancel_scope.cancel()


class _Chat:
    def __init__(self, client: ChatClient, me: str, nursery: trio.Nursery) -> None:
        self._client, self._me, self._nursery = client, me, nursery
        self._screen = Screen(self._entered, self._typed, self._end)
        self._rooms: dict[str, Conversation] = {}
        self._lost = ""
        self._asked_to_end = False
        self._opening = False

    async def run(self, first: Conversation) -> None:
        self._add(first)
        self._nursery.start_soon(self._listen)
        self._nursery.start_soon(self._tick)
        await self._screen.run()

    def _add(self, room: Conversation) -> None:
        self._rooms[room.name] = room
        self._nursery.start_soon(room.follow)
        self._nursery.start_soon(room.deliver)
        self._look_at(room)

    def _look_at(self, room: Conversation) -> None:
        self._room = room
        self._screen.show(room.pane)
        self._say_how_it_is()

    # --- how things are ---

    async def _tick(self) -> None:
        while True:
            self._say_how_it_is()
            await trio.sleep(_TICK_S)

    def _say_how_it_is(self) -> None:
        room, node = self._room, self._client.node
        room.unread = 0
        here = f"here: {words.names(sorted(room.here))}" if node else "who is here is not known"
        title = f"{room.name} - {f'on {node}' if node else 'not connected'} as {self._me} - {here}"
        self._screen.say_how_it_is(title, self._status(), alert=not node)

    def _status(self) -> str:
        if self._client.node is None:
            return f"reconnecting: {words.one_line(self._lost)}"
        parts = [f"{words.names(self._room.typing, 3)} typing" if self._room.typing else ""]
        parts += [f"{room.name}: {room.unread} new" for room in self._rooms.values() if room.unread]
        return ", ".join(part for part in parts if part) or "/help"

    async def _listen(self) -> None:
        async for told in self._client.pushes:
            await self._take(told)
            self._say_how_it_is()
        await self._client.whoami()  # raises what closed the client

    async def _take(self, told: Told) -> None:
        match told:
            case ConnectionLost(reason):
                self._lost = reason
            case Resumed(room) if room in self._rooms:  # before this, presence is not told
                self._nursery.start_soon(self._attempt, self._rooms[room].refresh)
            case PresencePush(room, user, online) if room in self._rooms:
                (self._rooms[room].here.add if online else self._rooms[room].here.discard)(user)
            case TypingPush(room, user) if room in self._rooms:
                self._rooms[room].has_typed(user)
            case InvitePush(room, by):
                self._room.note(f"{by} invites you: /join {room}", "alert")
            case NoticePush(level, text):
                self._room.note(f"{level} from the operators: {words.printable(text)}", "alert")

    # --- what is typed ---

    def _typed(self, line: str) -> None:
        if line and not line.startswith("/"):
            self._nursery.start_soon(self._room.say_typing)

    def _entered(self, line: str) -> bool:
        self._room.pane.follows = True
        if not line.strip():
            return True
        try:
            entered = parse(line)
        except NotUnderstood as error:
            self._room.note(str(error), "alert")
            return False
        if entered.name == "quit":
            self._end()
            return True
        if self._opening:  # it may be meant for that room, and not for the ears of this one
            self._room.note("another room is being opened; enter this when you see it", "alert")
            return False
        if entered.name == "send":
            return self._say(entered.rest)
        self._opening = entered.name in _OPENING
        self._nursery.start_soon(self._do, entered)
        return True

    async def _do(self, entered: Entered) -> None:
        await self._attempt(getattr(self, f"_do_{entered.name}"), entered)
        if entered.name in _OPENING:
            self._opening = False

    def _say(self, body: str, reply_to: int | None = None) -> bool:
        if not self._room.is_open:
            self._room.note("this room has ended for you; /join opens another", "alert")
            return False
        self._room.say(body, reply_to)
        return True

    async def _attempt(self, act: Callable[..., Awaitable[None]], *arguments: Entered) -> None:
        """Do what needs a node's answer; a refusal is shown."""
        room = self._room
        if self._client.node is None:
            room.note("not connected: this is done when the connection is back")
        try:
            await act(*arguments)
        except (RequestError, NotUnderstood) as error:
            room.note(str(error), "alert")
        self._say_how_it_is()

    def _end(self) -> None:
        unsent = sum(len(room.unsent) for room in self._rooms.values())
        if unsent and not self._asked_to_end:
            self._asked_to_end = True
            self._room.note(f"not sent yet: {unsent}; once more leaves without sending", "alert")
            return
        self._nursery.cancel_scope.cancel()

    def _seq(self, entered: Entered, *, mine: bool) -> int:
        """The message that is meant: the one named, or the latest of this user, or of another."""

        def wanted(message: MessageEvent) -> bool:
            return (message.from_ == self._me) is mine

        seq = entered.seq if entered.seq is not None else self._room.transcript.last(wanted)
        if seq is None:
            raise NotUnderstood(f"there is no message; name one: /{entered.name} #N")
        return seq

    # --- commands ---

    async def _do_help(self, _: Entered) -> None:
        for line in help_lines():
            self._room.note(line)

    async def _do_join(self, entered: Entered) -> None:
        await self._open(entered.rest)

    async def _do_dm(self, entered: Entered) -> None:
        await self._open(await self._client.dm(entered.rest))

    async def _open(self, name: str) -> None:
        room = self._rooms.get(name)
        if room is None or not room.is_open:
            self._add(await Conversation.open(self._client, self._me, name))
        else:
            self._look_at(room)

    async def _do_leave(self, _: Entered) -> None:
        await self._client.leave(self._room.name)

    async def _do_rooms(self, entered: Entered) -> None:
        page = await self._client.rooms(entered.rest, limit=_LISTED)
        for room in page.rooms:
            mine = f", you: {room.role}" if room.role else ""
            self._room.note(f"{room.room}  {words.one_line(room.title)}  ({room.members} members{mine})")
        if page.more or not page.rooms:
            self._room.note("there are more: /rooms PREFIX" if page.more else "there are none")

    async def _do_who(self, _: Entered) -> None:
        page = await self._client.members(self._room.name, limit=_LISTED)
        marked = [f"{'*' if member.online else ''}{member.user} ({member.role})" for member in page.members]
        self._room.note(", ".join(marked) + (" and more" if page.more else ""))

    async def _do_reply(self, entered: Entered) -> None:
        self._say(entered.rest, self._seq(entered, mine=False))

    async def _do_react(self, entered: Entered) -> None:
        seq, emoji = self._seq(entered, mine=False), entered.rest
        message = self._room.transcript.messages.get(seq)
        on = message is None or self._me not in message.reactions.get(emoji, [])
        await self._client.react(self._room.name, seq, emoji, on=on)

    async def _do_edit(self, entered: Entered) -> None:
        await self._client.edit(self._room.name, self._seq(entered, mine=True), entered.rest)

    async def _do_delete(self, entered: Entered) -> None:
        await self._client.delete(self._room.name, self._seq(entered, mine=True))
