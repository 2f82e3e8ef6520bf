"""What the node counts: cheap counters that show what the library's own would, and figures that tell what happened."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import trio
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from node.auth import Authenticator
from node.hub import Hub
from node.metrics import Latency, Tally
from node.outbox import Outbox
from node.vitals import Vitals

from .local_node import LocalNode, local_node, talking, until
from .test_room import Member, event

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def shown(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]


def test_a_latency_is_shown_as_the_librarys_histogram_shows_it() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    latency = Latency("wait_seconds", "Waiting", ours)
    histogram = Histogram("wait_seconds", "Waiting", buckets=BOUNDS_S, registry=theirs)
    for seconds in (0.0, 0.001, 0.00101, 0.3, 30.0, 31.0, 0.3):
        latency.observe(seconds)
        histogram.observe(seconds)
    assert shown(ours) == shown(theirs)


def test_a_tally_is_shown_as_the_librarys_counter_shows_it() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally, counter = Tally("things", "Things", ours), Counter("things", "Things", registry=theirs)
    for amount in (1, 5):
        tally.inc(amount)
        counter.inc(amount)
    assert shown(ours) == shown(theirs)


def value(node: LocalNode, name: str, **labels: str) -> float:
    return node.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_message_is_counted_from_its_sender_to_each_reader(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, talking(node.url, "ana") as ana, talking(node.url, "bo") as bo:
        await ana.ask(op="create_room", room="a")
        for talker in (ana, bo):
            await talker.ask(op="join", room="a")
        node.hub.tell_what_waits()
        await ana.pushes(2)  # of bo's coming
        before = value(node, "chat_events_delivered_total")
        for _ in range(2):  # the second is the first once more
            await ana.ask(op="send", room="a", cid="c1", body="hello")
        await bo.pushes(1)
        # Not the events alone: bo's coming, which can wait and has no latency, may be written to bo only now.
        await until(lambda: value(node, "chat_delivery_seconds_count") >= 2)
        assert value(node, "chat_events_delivered_total") >= before + 2
        assert value(node, "chat_messages_in_total") == 2
        assert value(node, "chat_messages_committed_total") == 1
        assert 0 < value(node, "chat_delivery_seconds_sum") < 5
        assert value(node, "chat_commit_seconds_bucket", le="+Inf") == value(node, "chat_commit_seconds_count") == 3


async def test_a_past_that_is_asked_for_is_delivered_and_tells_no_latency(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node:
        async with talking(node.url, "ana") as ana:
            await ana.ask(op="create_room", room="a")
            for number in range(20):
                await ana.ask(op="send", room="a", cid=f"c{number}", body="hello")
        async with talking(node.url, "bo") as bo:
            await bo.ask(op="join", room="a", limit=0)
            measured, delivered = value(node, "chat_delivery_seconds_count"), value(node, "chat_events_delivered_total")
            epoch = node.node.epoch
            await bo.ask(op="join", room="a", since={"epoch": epoch, "seq": 2})
            await bo.pushes(15)
            await until(lambda: value(node, "chat_events_delivered_total") >= delivered + 15)
            assert value(node, "chat_delivery_seconds_count") == measured


async def test_who_is_turned_away_is_counted_by_reason(tmp_path: Path) -> None:
    async with local_node(tmp_path, max_connections=1) as node:
        stream = await trio.open_tcp_stream("127.0.0.1", node.port)
        await stream.send_all(b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n")
        await until(lambda: value(node, "chat_drops_total", reason="handshake") == 1)
        await stream.aclose()
        async with talking(node.url, "ana"):
            with pytest.raises(Exception, match="503"):
                async with talking(node.url, "bo"):
                    pass
            assert value(node, "chat_drops_total", reason="full") == 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.server.drain, 1.0, list)
                await until(lambda: node.server._draining)
                with pytest.raises(Exception, match="503"):
                    async with talking(node.url, "bo"):
                        pass
        assert value(node, "chat_drops_total", reason="draining") == 1


def test_a_reader_is_slow_from_the_event_on_that_waits_until_it_is_written() -> None:
    hub = Hub(10_000)
    ana = Member(hub, "ana")
    ana.follow(head=0, first=1)
    assert ana.outbox.waits_since == math.inf
    ana.outbox.take()
    hub.publish([event(1)], at=10.0)
    hub.publish([event(2)], at=12.0)
    assert (ana.outbox.waits_since, hub.slow_readers(10.0), hub.slow_readers(10.5)) == (10.0, 0, 1)
    ana.outbox.take()
    hub.publish([event(3)], at=13.0)
    assert (ana.outbox.waits_since, hub.slow_readers(10.5)) == (10.0, 1)
    assert ana.outbox.written() == (2, 10.0)
    assert ana.outbox.waits_since == 13.0
    ana.outbox.take()
    assert ana.outbox.written() == (1, 13.0)
    assert (ana.outbox.written(), ana.outbox.waits_since) == ((0, math.inf), math.inf)


async def test_the_gauges_tell_how_large_rooms_and_buffers_are(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node:
        vitals = Vitals(node.metrics, node.replica, node.submitter, node.hub, Authenticator(("guest",), ""), None)
        async with talking(node.url, "ana") as ana, talking(node.url, "bo") as bo:
            for room, talkers in {"a": [ana, bo], "b": [ana]}.items():
                await ana.ask(op="create_room", room=room)
                for talker in talkers:
                    await talker.ask(op="join", room=room)
            await ana.ask(op="send", room="b", cid="c1", body="x" * 1000)
            vitals.refresh()
            assert (value(node, "chat_rooms_received"), value(node, "chat_room_receivers_max")) == (2, 2)
            assert 1000 < value(node, "chat_room_buffer_bytes") < 3000
            assert value(node, "chat_log_position_entries") == node.replica.applied > 0
            ghost = Outbox(10_000, lambda: None)
            node.hub.enter("ghost", ghost)
            ghost.answer(b"x" * 500)
            vitals.refresh()
            assert 500 < value(node, "chat_unsent_answer_bytes") < 600


async def test_a_busy_event_loop_shows(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, trio.open_nursery() as nursery:
        vitals = Vitals(node.metrics, node.replica, node.submitter, node.hub, Authenticator(("guest",), ""), None)
        nursery.start_soon(vitals.run)
        await trio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251 - this is what is to show
        await until(lambda: value(node, "chat_event_loop_delay_seconds_sum") > 0.2)
        nursery.cancel_scope.cancel()
