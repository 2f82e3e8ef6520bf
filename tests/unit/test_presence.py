"""Who is online and who is typing: told once, over all nodes, however they find and lose each other."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from node.hub import Hub
from node.outbox import Outbox
from node.presence import Presence, Word
from node.protocol.pushes import encode
from node.room import Room

from .fakes import MemoryBus


class Host:
    """A node reduced to its hub and its knowledge of who is where."""

    def __init__(self, bus: MemoryBus | None, name: str) -> None:
        self.hub = Hub(10_000)
        self.presence = Presence(self.hub, name, bus)
        self.users: dict[str, Outbox] = {}

    def join(self, user: str, room_id: str = "a") -> Outbox:
        outbox = self.users[user] = Outbox(10_000, lambda: None)
        self.hub.enter(user, outbox)
        room = self.hub.subscribe(outbox, room_id)
        room.start_after(0)
        outbox.follow(room, 1)
        self.presence.joined(user, outbox, room)
        return outbox

    def heard(self, user: str) -> list[tuple[Any, ...]]:
        """What a user was told since the last time."""
        self.hub.tell_what_waits()
        return [
            (told["op"], told["user"], *([told["online"]] if "online" in told else []))
            for told in frames(self.users[user].take())
        ]

    def online(self, *users: str) -> list[str]:
        return [user for user in users if self.presence.is_online("a", user)]


def frames(data: bytes) -> list[dict[str, Any]]:
    """The JSON in short frames."""
    found = []
    while data:
        assert data[1] < 126
        found.append(json.loads(data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return found


@asynccontextmanager
async def cluster(bus: MemoryBus, *names: str) -> AsyncGenerator[list[Host]]:
    hosts = [Host(bus, name) for name in names]
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(host.presence.listen)
            await settled()
        yield hosts
        nursery.cancel_scope.cancel()


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def test_coming_and_going_is_told_to_the_others_in_the_room() -> None:
    host = Host(None, "one")
    for user, room in (("ana", "a"), ("bo", "a"), ("cy", "b")):
        host.join(user, room)
    assert host.heard("ana") == [("presence", "bo", True)]
    assert host.heard("bo") == host.heard("cy") == []
    host.hub.exit("bo", host.users["bo"])
    assert host.heard("ana") == [("presence", "bo", False)]
    assert host.online("ana", "bo", "cy") == ["ana"]


def test_several_connections_of_a_user_are_one_presence() -> None:
    host = Host(None, "one")
    host.join("ana")
    first, second = host.join("bo"), host.join("bo")
    room = next(iter(second.cursors))
    host.presence.joined("bo", second, room)  # joined again
    assert host.heard("ana") == [("presence", "bo", True)]
    host.hub.exit("bo", first)
    assert host.heard("ana") == []
    host.hub.exit("bo", second)
    assert host.heard("ana") == [("presence", "bo", False)]


def test_typing_is_told_to_the_others() -> None:
    host = Host(None, "one")
    for user in ("ana", "bo"):
        host.join(user)
    host.heard("ana")
    host.presence.typing("bo", "a")
    assert (host.heard("ana"), host.heard("bo")) == ([("typing", "bo")], [])


async def test_other_nodes_are_told(autojump_clock: trio.testing.MockClock) -> None:
    async with cluster(MemoryBus(), "one", "two") as (one, two):
        one.join("ana")
        await settled()
        two.join("bo")
        await settled()
        assert (one.heard("ana"), two.heard("bo")) == ([("presence", "bo", True)], [])
        assert one.online("ana", "bo") == two.online("ana", "bo") == ["ana", "bo"]
        two.presence.typing("bo", "a")
        await settled()
        assert one.heard("ana") == [("typing", "bo")]
        two.hub.exit("bo", two.users["bo"])
        await settled()
        assert one.heard("ana") == [("presence", "bo", False)]


async def test_moving_to_another_node_is_no_going_when_the_new_one_is_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with cluster(MemoryBus(), "one", "two", "three") as (one, two, three):
        one.join("ana")
        two.join("bo")
        await settled()
        three.join("bo")
        await settled()
        two.hub.exit("bo", two.users["bo"])
        await settled()
        assert one.heard("ana") == [("presence", "bo", True)]


async def test_a_newcomer_learns_who_is_there(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, "one") as (one,):
        one.join("ana")
        async with cluster(bus, "two") as (two,):
            assert two.online("ana") == ["ana"]


async def test_what_a_lost_node_told_is_forgotten_and_learnt_again(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, "one", "two") as (one, two):
        one.join("ana")
        two.join("bo")
        await settled()
        bus.cut = True
        one.presence.peers_changed([])
        two.join("cy")
        two.hub.exit("bo", two.users["bo"])
        assert (one.heard("ana"), one.online("bo", "cy")) == ([("presence", "bo", True), ("presence", "bo", False)], [])
        bus.cut = False
        one.presence.peers_changed(["two"])  # only one of them had lost the other
        await settled()
        assert (one.heard("ana"), one.online("bo", "cy")) == ([("presence", "cy", True)], ["cy"])


async def test_a_node_that_restarted_is_known_anew(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, "one") as (one,):
        one.join("ana")
        async with cluster(bus, "two") as (two,):
            two.join("bo")
            await settled()
            assert one.online("bo") == ["bo"]
        async with cluster(bus, "two"):
            assert one.online("bo") == []
            assert one.heard("ana") == [("presence", "bo", True), ("presence", "bo", False)]


async def test_everything_is_told_a_part_at_a_time(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.presence._PAIRS_AT_ONCE", 2)
    bus = MemoryBus()
    users = [f"u{i}" for i in range(5)]
    async with cluster(bus, "one") as (one,):
        for user in users:
            one.join(user)
        async with cluster(bus, "two") as (two,):
            assert two.online(*users) == users


async def test_garbage_and_echoes_are_passed_over(autojump_clock: trio.testing.MockClock) -> None:
    bus = MemoryBus()
    async with cluster(bus, "one") as (one,):
        for data in (b"", b"\xff", b'{"node":1}', encode(Word("one", came=[("a", "me")]))):
            bus.publish("chat.peer.presence", data)
        bus.publish("chat.peer.presence", encode(Word("two", came=[("a", "bo")])))
        await settled()
        assert one.online("me", "bo") == ["bo"]


def test_a_room_that_nobody_receives_is_not_told() -> None:
    host = Host(None, "one")
    outbox = Outbox(1000, lambda: None)
    host.hub.enter("ana", outbox)
    host.hub.unsubscribe(outbox, Room("b", 10))
    assert outbox.take() == b""
