"""People who chat while something happens, and the check of what they saw."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from node.client import ChatClient, Gap, RoomFeed, open_client
from node.errors import ErrorCode, RequestError
from node.protocol.answers import Acknowledged
from node.protocol.pushes import MessageEvent
from tests.scenarios.lab import Lab


@dataclass
class Talk:
    """One sender's acknowledged messages and what each tail was shown, as a scenario goes on."""

    room: str
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    shown: dict[str, list[MessageEvent]] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)
    longest_silence_s: float = 0.0
    enough: bool = False
    finished: trio.Event = field(default_factory=trio.Event)

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
        going.enough = True
        with trio.fail_after(60):
            await going.finished.wait()
        await going.caught_up()
        nursery.cancel_scope.cancel()


async def _send(lab: Lab, going: Talk, pause_s: float) -> None:
    async with open_client(lab.urls, token=lab.token("sender"), ping_s=2) as client:
        await join(client, going.room)
        while not going.enough:
            body = f"m{len(going.acknowledged) + 1}"
            began = trio.current_time()
            going.acknowledged[body] = await client.send(going.room, body)
            going.longest_silence_s = max(going.longest_silence_s, trio.current_time() - began)
            await trio.sleep(pause_s)
    going.finished.set()


async def _tail(
    lab: Lab,
    going: Talk,
    name: str,
    urls: list[str],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    shown = going.shown[name] = []
    nodes = going.nodes[name] = []
    async with open_client(urls, token=lab.token(name), ping_s=2, shuffle=False) as client:
        feed = await join(client, going.room)
        nodes.append(client.node or "")
        task_status.started()
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
        messages: list[MessageEvent] = []
        async with open_client([url], token=lab.token("reader")) as client:
            await join(client, room)
            while page := await client.history(room, before=messages[0].seq if messages else None, limit=500):
                messages = page + messages
        found.append(messages)
    return found
