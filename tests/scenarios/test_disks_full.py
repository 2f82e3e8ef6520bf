"""Every log server's disk is full: nothing new is taken, what is there is shown, and it goes on by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
        async with full.strike("all"):
            refusal = await _refused(lab.urls[0], token, kept)
            assert refusal.code in {"overloaded", "unavailable"}
            for url in lab.urls:
                async with _connected(url, token) as wire:
                    page = await wire.ask(op="history", room=ROOM, limit=10)
                    assert page.ok["msgs"][-1]["seq"] == kept[-1]
    async with open_client(lab.urls, token=token) as client:
        with trio.fail_after(60):
            kept.append((await client.send(ROOM, "afterwards")).seq)
    for messages in await chatting.histories(lab, ROOM):
        assert [message.seq for message in messages][-len(kept) :] == kept


async def _refused(url: str, token: str, kept: list[int]) -> Answer:
    """Send until there is no room. ``kept``: gets the seqs of what was acknowledged meanwhile."""
    async with _connected(url, token) as wire:
        while True:
            answer = await wire.ask(op="send", room=ROOM, cid=f"full-{len(kept)}", body=BODY)
            if answer.code not in {"", "rate_limited"}:
                return answer
            if not answer.code:
                kept.append(answer.ok["seq"])
            await trio.sleep(answer.retry_s)


@asynccontextmanager
async def _connected(url: str, token: str) -> AsyncIterator[Wire]:
    """A client that keeps nothing from its user: it does not send again what was refused."""
    with trio.fail_after(120):
        async with Wire.opened(url, {"token": token}) as wire, trio.open_nursery() as nursery:
            nursery.start_soon(wire.read, lambda frame, at: None)
            yield wire
            nursery.cancel_scope.cancel()
