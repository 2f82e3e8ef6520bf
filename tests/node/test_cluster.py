"""Three nodes on a real three-server NATS cluster: one chat, whichever part dies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from node.client import open_client
from node.errors import ErrorCode
from node.protocol.pushes import MessageEvent
from node.protocol.requests import Since
from tests.unit.local_node import talking

from .cluster import NAMES, Cluster
from .process import until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = {"heartbeat_timeout": 1, "drain_timeout": 2, "send_rate": 0, "send_timeout": 10}
    with Cluster.running(tmp_path_factory.mktemp("cluster"), **settings) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _whole(cluster: Cluster) -> None:
    cluster.nats.heal()
    cluster.wait_whole()


async def messages(feed: AsyncIterator[Any], count: int) -> list[MessageEvent]:
    found: list[MessageEvent] = []
    with trio.fail_after(30):
        while len(found) < count:
            event = await anext(feed)
            if isinstance(event, MessageEvent):
                found.append(event)
    return found


def dense(events: list[MessageEvent]) -> bool:
    return [event.seq for event in events] == list(range(events[0].seq, events[0].seq + len(events)))


async def test_what_is_sent_on_one_node_is_read_on_another_in_order(cluster: Cluster) -> None:
    one, two, three = cluster.urls
    async with open_client([one], user="ana") as ana, open_client([three], user="bo") as bo:
        await ana.create_room("order")
        feed = aiter(await bo.join("order", limit=0))
        acks = [await ana.send("order", str(i)) for i in range(300)]
        read = await messages(feed, 300)
        assert [(m.seq, m.body) for m in read] == [(ack.seq, str(i)) for i, ack in enumerate(acks)]
        async with open_client([two], user="bo") as elsewhere:
            epoch = cluster.nodes[1].readiness()["epoch"]
            missed = aiter(await elsewhere.join("order", since=Since(epoch, acks[200].seq)))
            assert await messages(missed, 99) == read[201:]


async def test_what_is_acknowledged_is_on_the_next_join_anywhere(cluster: Cluster) -> None:
    async with open_client([cluster.urls[0]], user="ana") as ana:
        await ana.create_room("next")
        for i in range(20):
            ack = await ana.send("next", str(i))
            async with talking(cluster.urls[1 + i % 2], "ana") as reader:
                assert (await reader.ask(op="join", room="next"))["head"] >= ack.seq


async def test_peers_are_seen_and_a_killed_one_is_missed(cluster: Cluster) -> None:
    reports = [node.readiness() for node in cluster.nodes]
    assert [report["peers"] for report in reports] == [[n for n in NAMES if n != name] for name in NAMES]
    assert len({report["epoch"] for report in reports}) == 1
    cluster.nodes[1].kill()
    until(lambda: cluster.nodes[0].readiness()["peers"] == ["node3"], 10)
    cluster.nodes[1].start()
    cluster.nodes[1].wait_serving()
    until(lambda: cluster.nodes[0].readiness()["peers"] == ["node2", "node3"], 10)


@pytest.mark.parametrize("ending", ["kill", "stop"])
async def test_clients_move_when_their_node_ends(cluster: Cluster, ending: str) -> None:
    room = f"move.{ending}"
    async with open_client(cluster.urls, user="ana") as ana, open_client(cluster.urls, user="bo") as bo:
        await ana.create_room(room)
        feed = aiter(await bo.join(room, limit=0))
        for i in range(200):
            await ana.send(room, str(i))
            if i == 50:
                leaving = next(node for node in cluster.nodes if node.readiness()["node"] == bo.node)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, getattr(leaving, ending))
                    for j in range(20):
                        await ana.send(room, f"meanwhile {j}")
        read = await messages(feed, 220)
        assert dense(read)
        assert [m.body for m in read if m.body.isdigit()] == [str(i) for i in range(200)]
        assert bo.connects == 2
    leaving.start()
    leaving.wait_serving()


def leader(cluster: Cluster) -> str:
    """Name of the server that leads the log's stream."""
    for server in cluster.nats.servers:
        details: Any = server.monitor("/jsz?accounts=true&streams=true")
        for account in details["account_details"]:
            for stream in account.get("stream_detail", []):
                return str(stream["cluster"]["leader"])
    raise LookupError("no leader")


async def test_sends_go_on_when_the_leading_log_server_is_killed(cluster: Cluster) -> None:
    async with open_client(cluster.urls, user="ana") as ana, open_client(cluster.urls, user="bo") as bo:
        await ana.create_room("leader")
        feed = aiter(await bo.join("leader", limit=0))
        slowest_s = 0.0
        for i in range(300):
            if i == 100:
                cluster.nats.server(leader(cluster)).kill()
            began = trio.current_time()
            await ana.send("leader", str(i))
            slowest_s = max(slowest_s, trio.current_time() - began)
        assert slowest_s < 15
        read = await messages(feed, 300)
        assert [m.body for m in read] == [str(i) for i in range(300)]
        assert dense(read)


async def test_without_a_quorum_it_says_so_and_recovers(cluster: Cluster) -> None:
    one, two, _ = cluster.nats.servers
    async with talking(cluster.urls[2], "ana") as ana, open_client([cluster.urls[2]], user="bo") as bo:
        await ana.ask(op="create_room", room="quorum")
        first = await ana.ask(op="send", room="quorum", cid="before", body="x")
        one.kill()
        two.kill()
        await trio.to_thread.run_sync(until, lambda: not cluster.nodes[2].readiness()["ready"], 15)
        assert cluster.nodes[2].get("/readyz")[0] == 503
        assert cluster.nodes[2].get("/livez")[0] == 200

        ids = [await ana.say(op="send", room="quorum", cid=f"c{i}", body="x") for i in range(5)]
        answers: dict[int, Any] = {}
        with trio.fail_after(30):
            while len(answers) < 5:
                frame = await hear_patiently(ana)
                answers[frame["id"]] = frame["err"]
        assert {answers[i]["code"] for i in ids} <= {ErrorCode.OUTCOME_UNKNOWN, ErrorCode.UNAVAILABLE}
        assert all(answer["retry"] for answer in answers.values())

        async with trio.open_nursery() as nursery:  # the reference client holds on by itself
            nursery.start_soon(bo.join, "quorum")
            one.start()
            two.start()
        await trio.to_thread.run_sync(cluster.wait_whole)
        acks = [await ana.ask(op="send", room="quorum", cid=f"c{i}", body="x") for i in range(5)]
        seqs = [ack["seq"] for ack in acks]
        assert len(set(seqs)) == 5
        page = await ana.ask(op="history", room="quorum")
        assert sorted(m["seq"] for m in page["msgs"]) == sorted([first["seq"], *seqs])
        assert sorted(m["cid"] for m in page["msgs"]) == ["before", *(f"c{i}" for i in range(5))]


async def hear_patiently(talker: Any) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await talker.socket.receive())
    return frame


async def test_replicas_can_be_compared_while_messages_flow(cluster: Cluster) -> None:
    compared: set[int] = set()

    async def say(url: str, number: int) -> None:
        async with open_client([url], user=f"talker{number}") as client:
            await client.create_room(f"talk{number}")
            for count in range(250):
                await client.send(f"talk{number}", str(count))

    async def compare() -> None:
        while True:
            reports = [await trio.to_thread.run_sync(node.readiness) for node in cluster.nodes]
            for position in set.intersection(*(set(report["digests"]) for report in reports)):
                assert len({report["digests"][position] for report in reports}) == 1
                compared.add(int(position))
            await trio.sleep(0.05)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(compare)
            async with trio.open_nursery() as talkers:
                for number, url in enumerate(cluster.urls):
                    talkers.start_soon(say, url, number)
            await trio.sleep(0.3)
            nursery.cancel_scope.cancel()
    assert len(compared) >= 3
