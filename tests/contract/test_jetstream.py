"""The JetStream log when servers crash, hang, come back, and when several nodes use it at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from node.errors import LogChanged, LogUnavailable
from node.log.base import Entry, Log
from node.log.jetstream import JetStreamLog
from node.log.stream import STREAM
from tests.nats_cluster import PASSWORD, USER, WITHOUT_CONSUMERS

from .conftest import JetStreamBackend
from .reading import Follower, append_surely, read, surely


@asynccontextmanager
async def opened(backend: JetStreamBackend, count: int = 3) -> AsyncIterator[list[JetStreamLog]]:
    """Logs of ``count`` nodes, each connected to a server of its own."""
    logs = [backend.log(first=i) for i in range(count)]
    try:
        async with trio.open_nursery() as nursery:
            for log in logs:
                nursery.start_soon(log.open)
        yield logs
    finally:
        for log in logs:
            await log.aclose()


async def in_thread(call: object) -> None:
    await trio.to_thread.run_sync(call)  # type: ignore[arg-type]


async def append_all(log: Log, writer: str, count: int, acknowledged: dict[str, int]) -> None:
    for i in range(count):
        entry_id = f"{writer}:{i}"
        acknowledged[entry_id] = await append_surely(log, entry_id, entry_id.encode())


async def test_concurrent_opens_make_one_log(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream, 6) as logs:
        assert len({log.epoch for log in logs}) == 1
        positions = [await append_surely(log, f"e:{i}", b"x") for i, log in enumerate(logs)]
        assert positions == [1, 2, 3, 4, 5, 6]


async def test_the_stream_is_made_to_last(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream, 1), jetstream.connection() as nats:
        config = (await nats.call(lambda client: client.jsm().stream_info(STREAM))).config
    assert config.num_replicas == 3
    assert (config.storage, config.discard, config.retention) == ("file", "new", "limits")
    assert config.deny_delete
    assert config.deny_purge
    assert not config.allow_direct
    assert config.duplicate_window >= 600


async def test_a_killed_leader_loses_and_repeats_nothing(jetstream: JetStreamBackend) -> None:
    acknowledged: dict[str, int] = {}
    async with opened(jetstream) as logs, trio.open_nursery() as nursery:
        followers = [Follower(log) for log in logs]
        for follower in followers:
            nursery.start_soon(follower.run)
        async with trio.open_nursery() as writers:
            for i, log in enumerate(logs):
                writers.start_soon(append_all, log, f"w{i}", 300, acknowledged)
            await followers[0].reach(150)
            leader = jetstream.cluster.server(await jetstream.leader())
            await in_thread(leader.kill)
        end = max(acknowledged.values())
        for follower in followers:
            await follower.reach(end)
        nursery.cancel_scope.cancel()
    entries = followers[0].entries[:end]
    assert [entry.position for entry in entries] == list(range(1, end + 1))
    assert len({entry.data for entry in entries}) == end == 900
    assert {entry.data.decode(): entry.position for entry in entries} == acknowledged
    assert all(follower.entries[:end] == entries for follower in followers)


async def test_a_frozen_leader_is_left_behind(jetstream: JetStreamBackend) -> None:
    acknowledged: dict[str, int] = {}
    async with opened(jetstream) as logs, trio.open_nursery() as nursery:
        followers = [Follower(log) for log in logs]
        for follower in followers:
            nursery.start_soon(follower.run)
        leader = jetstream.cluster.server(await jetstream.leader())
        async with trio.open_nursery() as writers:
            for i, log in enumerate(logs):
                writers.start_soon(append_all, log, f"w{i}", 100, acknowledged)
            await followers[0].reach(50)
            leader.freeze()
        end = max(acknowledged.values())
        for follower in followers:
            await follower.reach(end)
        leader.thaw()
        nursery.cancel_scope.cancel()
    assert end == 300
    assert {entry.data.decode(): entry.position for entry in followers[0].entries} == acknowledged
    assert followers[0].entries == followers[1].entries == followers[2].entries


async def test_without_quorum_nothing_is_known_until_it_is_back(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream, 1) as [log]:
        assert await log.append("e:1", b"1") == 1
        for server in jetstream.cluster.servers[1:]:
            await in_thread(server.kill)
        with trio.fail_after(15), pytest.raises(LogUnavailable):
            await log.append("e:2", b"2")
        reachable = log.reachable
        assert not reachable
        await trio.sleep(3)
        with trio.fail_after(15), pytest.raises(LogUnavailable):
            await log.last()
        jetstream.cluster.start()
        await in_thread(jetstream.cluster.wait_healthy)
        assert await append_surely(log, "e:2", b"2") == 2
        assert await surely(log.last) == 2
        assert log.reachable


async def test_a_reader_without_a_consumer_is_answered_by_the_leader(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream, 1) as [log], trio.open_nursery() as nursery:
        for number in range(100):
            await append_surely(log, f"e:{number}", b"%d" % number)
        reader = jetstream.log(user=WITHOUT_CONSUMERS)
        await reader.open()
        follower = Follower(reader)
        nursery.start_soon(follower.run)
        await follower.reach(100)
        for number in range(100, 103):
            position = await append_surely(log, f"e:{number}", b"%d" % number)
            await follower.reach(position)
        nursery.cancel_scope.cancel()
    await reader.aclose()
    assert follower.entries == [Entry(number + 1, b"%d" % number) for number in range(103)]


async def test_a_reader_without_a_consumer_sees_that_the_log_is_another(jetstream: JetStreamBackend) -> None:
    reader = jetstream.log(user=WITHOUT_CONSUMERS)
    async with opened(jetstream, 1) as [log]:
        await append_surely(log, "e:1", b"1")
        await reader.open()
    await jetstream.destroy()
    async with opened(jetstream, 1) as [log]:
        await append_surely(log, "e:1", b"1")
        with trio.fail_after(10), pytest.raises(LogChanged):
            await read(reader, 1)
    await reader.aclose()


async def test_a_tail_that_cannot_begin_leaves_nothing_behind(jetstream: JetStreamBackend) -> None:
    [first, *others] = jetstream.cluster.servers
    async with opened(jetstream, 1) as [log], trio.open_nursery() as nursery:
        await append_surely(log, "e:1", b"1")
        for server in others:
            await in_thread(server.kill)
        follower = Follower(log)
        nursery.start_soon(follower.run)
        await trio.sleep(13)  # for four tries, or many where they are refused at once
        told: Any = first.monitor("/connz")
        assert max(connection["subscriptions"] for connection in told["connections"]) <= 2
        jetstream.cluster.start()
        await append_surely(log, "e:2", b"2")
        await follower.reach(2)
        nursery.cancel_scope.cancel()


async def test_tails_and_appends_go_on_across_a_rolling_restart(jetstream: JetStreamBackend) -> None:
    acknowledged: dict[str, int] = {}
    async with opened(jetstream) as logs, trio.open_nursery() as nursery:
        followers = [Follower(log) for log in logs]
        for follower in followers:
            nursery.start_soon(follower.run)
        async with trio.open_nursery() as writers:
            writers.start_soon(append_all, logs[0], "w", 600, acknowledged)
            for server in jetstream.cluster.servers:
                await in_thread(server.stop)
                server.start()
                await in_thread(jetstream.cluster.wait_healthy)
        for follower in followers:
            await follower.reach(600)
        nursery.cancel_scope.cancel()
    assert acknowledged == {f"w:{i}": i + 1 for i in range(600)}
    for follower in followers:
        assert [entry.data for entry in follower.entries] == [f"w:{i}".encode() for i in range(600)]


async def test_all_servers_restarted_keep_the_log(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream, 1) as [log]:
        for i in range(20):
            await log.append(f"e:{i}", b"%d" % i)
        for server in jetstream.cluster.servers:
            await in_thread(server.kill)
        with pytest.raises(LogUnavailable):
            await log.append("e:20", b"20")
        jetstream.cluster.start()
        await in_thread(jetstream.cluster.wait_healthy)
        assert await append_surely(log, "e:20", b"20") == 21
        assert await append_surely(log, "e:3", b"3") == 4
        assert [entry.data for entry in await read(log, 21)] == [b"%d" % i for i in range(21)]


async def test_another_log_in_its_place_is_not_mistaken_for_it(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream, 1) as [old]:
        await old.append("e:1", b"old")
        await jetstream.destroy()
        async with opened(jetstream, 1) as [new]:
            assert new.epoch != old.epoch
            with pytest.raises(LogChanged):
                await old.append("e:2", b"old")
            with pytest.raises(LogChanged):
                await old.last()
            with pytest.raises(LogChanged):
                await old.open()
            with trio.fail_after(10), pytest.raises(LogChanged):
                await read(old, 100)
            assert await new.last() == 0


async def test_a_slow_reader_is_sent_no_more_than_it_takes(jetstream: JetStreamBackend) -> None:
    async with opened(jetstream, 1) as [log]:
        async with trio.open_nursery() as nursery:
            for i in range(60):
                nursery.start_soon(append_surely, log, f"e:{i}", bytes(500_000))
        tail = log.tail(0)
        await anext(tail)
        await trio.sleep(1)
        received = await log.nats.call(_bytes_received)
        assert received < 12 * 1024 * 1024
        await tail.aclose()


async def _bytes_received(client: object) -> int:
    return int(client.stats["in_bytes"])  # type: ignore[attr-defined]


async def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.log.jetstream._CONNECT_TIMEOUT_S", 1)
    log = JetStreamLog(["nats://127.0.0.1:1"], USER, PASSWORD, replicas=3)
    try:
        with pytest.raises(LogUnavailable, match=r"no NATS server of nats://127\.0\.0\.1:1 answers"):
            await log.open()
    finally:
        await log.aclose()


async def test_a_wrong_password_is_named(jetstream: JetStreamBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.log.jetstream._CONNECT_TIMEOUT_S", 4)
    log = JetStreamLog(jetstream.cluster.urls, USER, "wrong", replicas=3)
    try:
        with pytest.raises(LogUnavailable, match="Authorization Violation"):
            await log.open()
    finally:
        await log.aclose()


async def test_nothing_is_printed_when_servers_vanish(
    jetstream: JetStreamBackend, capfd: pytest.CaptureFixture[str]
) -> None:
    async with opened(jetstream, 2):
        for server in jetstream.cluster.servers[:2]:
            await in_thread(server.kill)
        await trio.sleep(1)
    assert capfd.readouterr().err == ""
