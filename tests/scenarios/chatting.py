"""People who chat while something happens, and the check of what they saw."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import trio

from node.client import ChatClient, Gap, RoomFeed, open_client
from node.errors import ErrorCode, RequestError
from node.protocol.answers import Acknowledged
from node.protocol.pushes import MessageEvent
from tests.scenarios.lab import Lab

Connect = Callable[[str], AbstractAsyncContextManager[ChatClient]]
"""A client for the user with this name."""


@dataclass
class Talk:
    """What was acknowledged to senders and shown to tails, as a scenario goes on.

    Attributes:
        acknowledged: a body, which names its sender and its number, in the order in which they were sent.
        nodes: on which nodes a tail was.
        longest_silence_s: the longest time that any sender waited for an acknowledgement.
    """

    room: str
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    shown: dict[str, list[MessageEvent]] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)
    longest_silence_s: float = 0.0
    enough: bool = False
    senders: int = 0

    async def end(self) -> None:
        """Let everyone finish, and every tail be shown the last acknowledged message."""
        self.enough = True
        with trio.fail_after(60):
            while self.senders:
                await trio.sleep(0.05)
        await self.caught_up()

    async def caught_up(self, timeout_s: float = 60) -> None:
        """Wait until every tail has been shown the last acknowledged message."""
        last = max(ack.seq for ack in self.acknowledged.values())
        with trio.fail_after(timeout_s):
            while any(not events or events[-1].seq < last for events in self.shown.values()):
                await trio.sleep(0.05)

    def check(self, histories: list[list[MessageEvent]]) -> None:
        """Acknowledged is there, exactly once, at its seq; every tail and every node show the same, in one order."""
        for events in [*self.shown.values(), *histories]:
            seqs = [event.seq for event in events]
            assert seqs == sorted(set(seqs)), "repeated or out of order"
            found = {event.body: event.seq for event in events}
            assert len(found) == len(events), "a message was shown twice"
            lost = [body for body, ack in self.acknowledged.items() if found.get(body) != ack.seq]
            assert not lost, f"{len(lost)} acknowledged messages lost or moved, the first: {lost[0]}"
        by_sender = defaultdict(list)
        for body, ack in self.acknowledged.items():
            by_sender[body.partition(" ")[0]].append(ack.seq)
        assert all(seqs == sorted(seqs) for seqs in by_sender.values()), "a sender's messages changed their order"
        first, *others = [[(e.seq, e.from_, e.body) for e in events] for events in histories]
        assert all(other == first for other in others), "the nodes do not agree"


async def join(client: ChatClient, room: str, limit: int = 0) -> RoomFeed:
    """Join, making the room if need be."""
    try:
        await client.create_room(room)
    except RequestError as error:
        if error.code is not ErrorCode.ROOM_EXISTS:
            raise
    return await client.join(room, limit=limit)


@asynccontextmanager
async def talk(lab: Lab, room: str, pause_s: float = 0.06) -> AsyncIterator[Talk]:
    """One sender and a tail on each node, until the block ends. The room's name gets an ending of its own."""
    going = Talk(f"{room}.{secrets.token_hex(4)}")
    async with trio.open_nursery() as nursery:
        for number, url in enumerate(lab.urls, 1):
            await nursery.start(_tail, lab, going, f"tail{number}", [url, *[u for u in lab.urls if u != url]])
        nursery.start_soon(_send, lab, going, pause_s)
        yield going
        await going.end()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def crowd(connect: Connect, room: str, people: int, pause_s: float = 2.0) -> AsyncIterator[Talk]:
    """People who all send and all are shown what the others send, until the block ends."""
    going = Talk(f"{room}.{secrets.token_hex(4)}")
    async with connect("founder") as founder:
        await founder.create_room(going.room)
    all_in = trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(people):
            await nursery.start(_chat, connect, going, f"person{number}", pause_s, all_in)
        all_in.set()
        yield going
        await going.end()
        nursery.cancel_scope.cancel()


async def _chat(
    connect: Connect,
    going: Talk,
    name: str,
    pause_s: float,
    all_in: trio.Event,
    task_status: trio.TaskStatus[None],
) -> None:
    async with connect(name) as client, trio.open_nursery() as nursery:
        feed = await client.join(going.room, limit=0)
        nursery.start_soon(_listen, client, going, name, feed)
        task_status.started()
        await all_in.wait()
        await _say(client, going, name, pause_s)


async def _send(lab: Lab, going: Talk, pause_s: float) -> None:
    async with open_client(lab.urls, token=_tokens(lab, "sender"), ping_s=2) as client:
        await join(client, going.room)
        await _say(client, going, "sender", pause_s)


async def _tail(lab: Lab, going: Talk, name: str, urls: list[str], task_status: trio.TaskStatus[None]) -> None:
    async with open_client(urls, token=_tokens(lab, name), ping_s=2, shuffle=False) as client:
        feed = await join(client, going.room)
        task_status.started()
        await _listen(client, going, name, feed)


def _tokens(lab: Lab, user: str) -> Callable[[], Awaitable[str]]:
    """A new token for each connection, as long-lived clients want it."""
    return lambda: trio.to_thread.run_sync(lab.token, user)


async def _say(client: ChatClient, going: Talk, name: str, pause_s: float) -> None:
    """Send one message after the other until it is enough."""
    number = 0
    going.senders += 1
    while not going.enough:
        await trio.sleep(random.uniform(0, 2 * pause_s))
        number += 1
        body = f"{name} {number}"
        began = trio.current_time()
        going.acknowledged[body] = await client.send(going.room, body)
        going.longest_silence_s = max(going.longest_silence_s, trio.current_time() - began)
    going.senders -= 1


async def _listen(client: ChatClient, going: Talk, name: str, feed: RoomFeed) -> None:
    """Note every message that is shown, and on which node."""
    shown = going.shown[name] = []
    nodes = going.nodes[name] = [client.node or ""]
    async for event in feed:
        assert not isinstance(event, Gap), event
        if client.node and client.node != nodes[-1]:
            nodes.append(client.node)
        if isinstance(event, MessageEvent):
            shown.append(event)


async def histories(lab: Lab, room: str) -> list[list[MessageEvent]]:
    """All messages of a room, as each node has them."""
    found = []
    for url in lab.urls:
        async with open_client([url], token=lab.token("reader")) as client:
            found.append(await history(client, room))
    return found


async def history(client: ChatClient, room: str) -> list[MessageEvent]:
    """All messages of a room."""
    await join(client, room)
    messages: list[MessageEvent] = []
    while page := await client.history(room, before=messages[0].seq if messages else None, limit=500):
        messages = page + messages
    return messages
