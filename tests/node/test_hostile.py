"""Hostile peers of many kinds against a serving node: nobody else notices, and nothing of them stays."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import pytest
import trio

from node.client import open_client
from node.protocol.pushes import MemberEvent, MessageEvent
from tests.frames import say

from .hostile import ATTACKS, websocket
from .process import NodeProcess, until

ROUND_TRIP_S = 2.0
MAX_GROWTH_BYTES = 24 * 2**20
"""What an allocator may keep; a leak of what the attacks send would be many times that."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    quick = {"hello_timeout": 1, "heartbeat_interval": 1, "heartbeat_timeout": 1, "max_unsent_bytes": 262144}
    with NodeProcess.running(tmp_path_factory.mktemp("node"), send_rate=0, request_burst=2000, **quick) as node:
        yield node


class Pair:
    """Two well-behaved clients that chat all the time."""

    def __init__(self) -> None:
        self.said = 0
        self.slowest_s = 0.0

    async def chat(self, url: str, task_status: trio.TaskStatus[None]) -> None:
        async with open_client([url], user="ana") as ana, open_client([url], user="bo") as bo:
            if not (await ana.rooms()).rooms:
                await ana.create_room("a")
            await ana.join("a", limit=0)
            feed = aiter(await bo.join("a", limit=0))
            task_status.started()
            while True:
                began = trio.current_time()
                cid = f"{self.said}-{began}"
                ack = await ana.send("a", "are you there?", cid=cid)
                event = await anext(feed)
                while isinstance(event, MessageEvent | MemberEvent) and event.seq < ack.seq:
                    event = await anext(feed)
                assert isinstance(event, MessageEvent)
                assert (event.seq, event.cid) == (ack.seq, cid)
                self.slowest_s = max(self.slowest_s, trio.current_time() - began)
                self.said += 1
                assert (ana.connects, bo.connects) == (1, 1), "they were thrown out"
                await trio.sleep(0.02)


@pytest.fixture
async def pair(node: NodeProcess) -> AsyncGenerator[Pair]:
    pair = Pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(pair.chat, node.url)
        yield pair
        said = pair.said
        with trio.fail_after(5):
            while pair.said < said + 2:
                await trio.sleep(0.02)
        assert pair.slowest_s < ROUND_TRIP_S
        nursery.cancel_scope.cancel()


def footprint(node: NodeProcess) -> dict[str, int]:
    """What a node holds that peers could make it keep: clients, and sockets of the port for clients."""
    sockets = [one for one in node.process.net_connections() if one.laddr.port == node.port]
    return {"connections": node.readiness()["connections"], "sockets": len(sockets)}


async def wait_for_footprint(node: NodeProcess, wanted: dict[str, int]) -> None:
    with trio.move_on_after(10):
        while footprint(node) != wanted:
            await trio.sleep(0.05)
    assert footprint(node) == wanted


@pytest.mark.parametrize("name", ATTACKS)
async def test_nobody_else_notices(node: NodeProcess, pair: Pair, name: str) -> None:
    before = {"connections": 2, "sockets": 3}  # of which one listens
    await wait_for_footprint(node, before)
    await ATTACKS[name](node.port)
    await wait_for_footprint(node, before)


async def test_a_reader_that_stops_reading_is_let_go_as_slow(node: NodeProcess, pair: Pair) -> None:
    before, slow = footprint(node), node.metric("chat_connections_closed_total", code="4008")
    async with websocket(node.port) as stream, open_client([node.url], user="cy") as cy:
        await stream.send_all(say(id=2, op="join", room="a", limit=0))
        await cy.join("a", limit=0)
        with trio.fail_after(20):
            while node.metric("chat_connections_closed_total", code="4008") == slow:
                for _ in range(20):
                    await cy.send("a", "x" * 16_000)
    await wait_for_footprint(node, before)


async def test_answers_that_are_not_read_count_too(node: NodeProcess, pair: Pair) -> None:
    before, slow = footprint(node), node.metric("chat_connections_closed_total", code="4008")
    async with websocket(node.port) as stream:
        await stream.send_all(say(id=2, op="join", room="a", limit=0))
        with trio.move_on_after(10):
            for _ in range(200):
                await stream.send_all(say(id=3, op="history", room="a", limit=500))
        await trio.to_thread.run_sync(
            until, lambda: node.metric("chat_connections_closed_total", code="4008") > slow, 10
        )
    await wait_for_footprint(node, before)


@pytest.mark.timeout(120)
async def test_memory_comes_back(node: NodeProcess) -> None:
    """All attacks again, several times: the first round warms up, the others must not add."""

    async def attack(name: str) -> None:
        async with at_once:
            await ATTACKS[name](node.port)

    async def all_attacks() -> None:
        async with trio.open_nursery() as nursery:
            for name in ATTACKS:
                nursery.start_soon(attack, name)

    at_once = trio.CapacityLimiter(8)
    before = {"connections": 0, "sockets": 1}
    await wait_for_footprint(node, before)
    await all_attacks()
    await wait_for_footprint(node, before)
    warm, files = node.process.memory_info().rss, node.process.num_fds()
    for _ in range(2):
        await all_attacks()
    await wait_for_footprint(node, before)
    assert node.process.memory_info().rss - warm < MAX_GROWTH_BYTES
    assert node.process.num_fds() <= files + 2  # the operators' port may have some open
    assert node.process.num_threads() < 40


def test_the_node_said_nothing_alarming(node: NodeProcess) -> None:
    """Runs last: what peers do wrong is no error of the node."""
    assert [line for line in node.lines() if line["level"] in ("error", "critical") or "exception" in line] == []
