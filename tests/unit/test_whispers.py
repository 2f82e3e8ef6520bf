"""Whispers: what is told of a room without a seq, as who is online and who is typing."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from node.hub import Hub
from node.outbox import Outbox

from .test_room import BUFFER_BYTES, Member, event, frames


@pytest.fixture
def hub() -> Hub:
    return Hub(BUFFER_BYTES)


def test_whispers_go_to_who_receives_the_room_but_one(hub: Hub) -> None:
    ana, bo, cy = Member(hub, "ana"), Member(hub, "bo"), Member(hub, "cy")
    for member in (ana, bo):
        member.follow(0, 1)
    hub.subscribe(cy.outbox, "a")
    hub.whisper("a", b"frame", besides="ana")
    hub.whisper("none", b"frame", besides="")
    hub.tell_what_waits()
    assert (ana.outbox.take(), bo.outbox.take(), cy.outbox.take()) == (b"", b"frame", b"")


def test_whispers_of_one_moment_go_together_behind_the_events(hub: Hub) -> None:
    ana, bo = Member(hub, "ana"), Member(hub, "bo")
    for member in (ana, bo):
        member.follow(0, 1)
    for user in ("ana", "bo", "cy"):
        hub.whisper("a", user.encode(), besides=user)
    hub.publish([event(1)])
    assert (hub.tell_what_waits(), hub.tell_what_waits()) == (2, 0)
    assert ana.outbox.queued_bytes == len(b"bocy")
    assert (ana.outbox.take(), bo.outbox.take()) == (frames(1) + b"bocy", frames(1) + b"anacy")
    assert ana.outbox.queued_bytes == 0


def test_who_gets_the_same_events_and_whispers_gets_the_same_bytes(hub: Hub) -> None:
    """Else what a large room's slow readers have yet to read would be there once for each of them."""
    members = [Member(hub, f"u{i}") for i in range(3)]
    for member in members:
        member.follow(0, 1)
    hub.publish([event(1, can_wait=True)])
    hub.whisper("a", b"whisper", besides="u0")
    hub.tell_what_waits()
    alone, first, second = (member.outbox.take() for member in members)
    assert (alone, first) == (frames(1), frames(1) + b"whisper")
    assert second is first


def test_who_comes_is_not_told_what_was_whispered_before(hub: Hub) -> None:
    ana, bo = Member(hub, "ana"), Member(hub, "bo")
    ana.follow(0, 1)
    hub.whisper("a", b"before", besides="")
    bo.follow(0, 1)
    hub.whisper("a", b"after", besides="")
    hub.tell_what_waits()
    assert (ana.outbox.take(), bo.outbox.take()) == (b"beforeafter", b"after")
    hub.whisper("a", b"later", besides="")
    hub.tell_what_waits()
    assert bo.outbox.take() == b"later"


def test_whispers_that_wait_are_not_told_to_who_has_left(hub: Hub) -> None:
    ana, bo = Member(hub, "ana"), Member(hub, "bo")
    for member in (ana, bo):
        member.follow(0, 1)
    hub.whisper("a", b"told", besides="")
    hub.tell_what_waits()
    hub.whisper("a", b"waits", besides="")
    hub.publish([event(1, left="ana")])
    hub.tell_what_waits()
    assert (ana.outbox.queued_bytes, ana.outbox.take(), bo.outbox.take()) == (0, b"", frames(1) + b"toldwaits")


def test_whispers_make_a_slow_reader_too(hub: Hub) -> None:
    slow: list[str] = []
    outbox = Outbox(10, lambda: slow.append("ana"))
    hub.enter("ana", outbox)
    outbox.follow(hub.subscribe(outbox, "a"), 1)
    for frame in (b"12345", b"67890", b"1"):
        assert not slow
        hub.whisper("a", frame, besides="")
        hub.tell_what_waits()
    assert slow == ["ana"]


async def test_whispers_go_at_once_while_it_is_quiet_and_pause_as_many_are_told(
    hub: Hub, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    members = [Member(hub, f"u{number}") for number in range(800)]
    for member in members:
        member.follow(0, 1)
    nursery.start_soon(hub.run)
    hub.whisper("a", b"1", besides="")
    await trio.testing.wait_all_tasks_blocked()
    assert members[0].outbox.take() == b"1"
    hub.whisper("a", b"2", besides="")
    await trio.sleep(0.15)
    assert members[0].outbox.take() == b""
    await trio.sleep(0.1)
    assert members[0].outbox.take() == b"2"
