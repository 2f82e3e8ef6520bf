"""What nodes know of each other, on a bus that may lose everything."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
import trio.testing

from node.cluster import SUBJECT, Beat, Peers

from .fakes import MemoryBus

INTERVAL_S, TIMEOUT_S = 25.0, 8.0


class Host:
    """A node as its peers see it."""

    def __init__(self, bus: MemoryBus, name: str) -> None:
        self.changes = 0
        self.beat = Beat(name, f"ws://{name}/ws", "1", "", ready=True, applied=0, connections=0)
        self.peers = Peers(bus, lambda: self.beat, INTERVAL_S, TIMEOUT_S, self._note_change)

    def _note_change(self) -> None:
        self.changes += 1

    @property
    def knows(self) -> list[str]:
        return [beat.node for beat in self.peers.alive]


@asynccontextmanager
async def cluster(bus: MemoryBus, *names: str) -> AsyncGenerator[list[Host]]:
    hosts = [Host(bus, name) for name in names]
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(host.peers.run)
            await trio.testing.wait_all_tasks_blocked()
        yield hosts
        nursery.cancel_scope.cancel()


async def test_nodes_know_each_other_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(MemoryBus(), "c", "a", "b") as (c, a, b):
        assert (a.knows, b.knows, c.knows) == (["b", "c"], ["a", "c"], ["a", "b"])
        assert a.peers.ready_urls == ["ws://b/ws", "ws://c/ws"]
        assert trio.current_time() < 1


async def test_a_change_of_readiness_is_known_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(MemoryBus(), "a", "b") as (a, b):
        changes = a.changes
        b.beat.ready = False
        b.peers.announce()
        await trio.testing.wait_all_tasks_blocked()
        assert (a.knows, a.peers.ready_urls, a.changes) == (["b"], [], changes + 1)
        await trio.sleep(10 * INTERVAL_S)
        assert a.changes == changes + 1  # beats without news are no news


async def test_who_leaves_is_gone_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(MemoryBus(), "a", "b") as (a, b):
        b.peers.announce(leaving=True)
        await trio.testing.wait_all_tasks_blocked()
        assert a.knows == []


async def test_who_falls_silent_is_lost_but_not_too_soon(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, "a", "b") as (a, _):
        await trio.sleep(1)
        bus.cut = True
        await trio.sleep(INTERVAL_S)
        assert a.knows == ["b"]
        await trio.sleep(2 * INTERVAL_S + TIMEOUT_S)
        assert a.knows == []
        bus.cut = False
        await trio.sleep(INTERVAL_S)
        assert a.knows == ["b"]


async def test_nonsense_on_the_bus_does_no_harm(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, "a", "b") as (a, b):
        for data in (b"", b"{}", b"\xff", b'{"node":1}', b'{"node":"\xff"}'):
            bus.publish(SUBJECT, data)
        await trio.testing.wait_all_tasks_blocked()
        b.beat.ready = False
        b.peers.announce()
        await trio.testing.wait_all_tasks_blocked()
        assert a.peers.ready_urls == []


async def test_newcomers_do_not_start_an_avalanche(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, *"abcdef"):
        assert len(bus.published) <= 6 + 6 * 5


async def test_a_new_version_of_records_waits_until_all_know_it(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, "a", "b", "c") as (a, b, c):
        a.beat.records = c.beat.records = 2
        versions = [a.peers.common_version(2)]
        await trio.sleep(INTERVAL_S + TIMEOUT_S)  # everybody had the time to be heard
        versions.append(a.peers.common_version(2))
        b.peers.announce(leaving=True)
        await trio.sleep(INTERVAL_S / 2)
        versions.append(a.peers.common_version(2))  # it may come back as it was
        bus.cut = True
        await trio.sleep(3 * INTERVAL_S)
        versions.append(a.peers.common_version(2))
        assert versions == [1, 1, 1, 1]
        bus.cut = False
        b.beat.records = 3
        b.peers.announce()
        await trio.testing.wait_all_tasks_blocked()
        assert (a.peers.common_version(2), a.peers.common_version(1)) == (2, 1)


async def test_a_node_that_was_just_started_writes_the_version_before(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(MemoryBus(), "a") as (a,):
        assert [a.peers.common_version(own) for own in (1, 2, 3)] == [1, 1, 2]
        await trio.sleep(INTERVAL_S + TIMEOUT_S)
        assert [a.peers.common_version(own) for own in (1, 2, 3)] == [1, 2, 3]
