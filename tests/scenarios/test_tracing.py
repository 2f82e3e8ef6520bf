"""One message, from its sender at one node to its readers at the others, by one id in the logs of all."""

from __future__ import annotations

import json
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from node.client import open_client
from node.tracing import trace_id
from tests.node.test_traces import OF_EVERY_NODE, OF_THE_SENDERS_NODE
from tests.scenarios import chatting
from tests.scenarios.lab import Lab, Play, playbook

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


async def test_a_message_is_followed_through_all_nodes_by_its_trace(lab: Lab, tmp_path: Path) -> None:
    await _play("configure", "-e", '{"chat_env": {"LOG_LEVEL": "DEBUG"}}')
    try:
        cid = secrets.token_hex(8)
        await _say(lab, cid)
        export = tmp_path / "logs.jsonl"
        trace = trace_id("scenario.trace", "node1-ann", cid)
        given = ("-e", "since=10m", "-e", "tail=0", "-e", f"grep={trace}", "-e", f"export={export}")
        await _play("logs", *given)
    finally:
        await _play("rollback")
    told: dict[str, set[str]] = {"node1": set(), "node2": set(), "node3": set()}
    for line in map(json.loads, export.read_text().splitlines()):
        told[line["service"]].add(json.loads(line["line"])["event"])
    assert told["node1"] == OF_THE_SENDERS_NODE
    assert told["node2"] == told["node3"] == OF_EVERY_NODE


async def _say(lab: Lab, cid: str) -> None:
    """A message from a client at node1, which is shown to one at each node."""
    async with AsyncExitStack() as stack:
        people = [
            await stack.enter_async_context(open_client([lab.url(node)], token=lab.token(f"{node}-ann")))
            for node in ("node1", "node2", "node3")
        ]
        feeds = [aiter(await chatting.join(person, "scenario.trace")) for person in people]
        sent = await people[0].send("scenario.trace", "follow me", cid=cid)
        with trio.fail_after(20):
            for feed in feeds:
                while getattr(await anext(feed), "seq", 0) < sent.seq:
                    pass


async def _play(name: str, *arguments: str) -> Play:
    play = await trio.to_thread.run_sync(lambda: playbook(name, *arguments))
    assert play.code == 0, play.output[-3000:]
    return play
