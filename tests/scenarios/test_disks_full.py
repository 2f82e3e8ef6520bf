"""Every log server's disk is full: nothing new is taken, what is there is shown, and it goes on by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import trio

from node.client import open_client
from tests.faults.clients.wire import Answer, Wire
from tests.faults.lab import LabTarget
from tests.scenarios import chatting
from tests.scenarios.lab import Lab

ROOM = "scenario.disks-full"
BODY = "x" * 4000


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_no_disk_has_room_for_the_log(lab: Lab) -> None:
    token = lab.token("packrat")
    async with httpx.AsyncClient() as http:
        full = LabTarget(lab, http).faults["all log disks full"]
        async with open_client(lab.urls, token=token) as client:
            await chatting.join(client, ROOM)
            kept = [(await client.send(ROOM, "before")).seq]
        # A node without its log lets nobody in; who is there already stays.
        async with _connected(lab.urls, token) as wires, full.strike("all"):
            with trio.fail_after(120):
                refusal = await _refused(wires[0], kept)
                assert refusal.code in {"overloaded", "unavailable"}
                for wire in wires:
                    page = await wire.ask(op="history", room=ROOM, limit=10)
                    assert page.ok["msgs"][-1]["seq"] == kept[-1]
    async with open_client(lab.urls, token=token) as client:
        with trio.fail_after(60):
            kept.append((await client.send(ROOM, "afterwards")).seq)
    for messages in await chatting.histories(lab, ROOM):
        assert [message.seq for message in messages if message.seq in kept] == kept


async def _refused(wire: Wire, kept: list[int]) -> Answer:
    """Send until there is no room. ``kept``: gets the seqs of what was acknowledged meanwhile.

    Of the message that was under way when the disks were full nobody knows, and it is sent again.
    """
    while True:
        answer = await wire.ask(op="send", room=ROOM, cid=f"full-{len(kept)}", body=BODY)
        if answer.code not in {"", "rate_limited", "outcome_unknown"}:
            return answer
        if not answer.code:
            kept.append(answer.ok["seq"])
        await trio.sleep(answer.retry_s)


@asynccontextmanager
async def _connected(urls: list[str], token: str) -> AsyncIterator[list[Wire]]:
    """A client on each node that keeps nothing from its user: it does not send again what was refused."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire.opened(url, {"token": token})) for url in urls]
        async with trio.open_nursery() as nursery:
            for wire in wires:
                nursery.start_soon(wire.read, lambda frame, at: None)
            yield wires
            nursery.cancel_scope.cancel()
