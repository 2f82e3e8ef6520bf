"""Rooms, outboxes and the hub: one encoding for all, cursors, who is too slow, and that leaving ends delivery."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from node.hub import Hub
from node.outbox import Outbox
from node.protocol.frames import text_frame
from node.room import Room
from node.state.model import Event, Push

BUFFER_BYTES = 1000


def event(
    seq: int, room: str = "a", size: int = 20, left: str | None = None, closed: bool = False, can_wait: bool = False
) -> Event:
    payload = json.dumps({"room": room, "seq": seq}).encode().ljust(size)
    return Event(room, 1, seq, payload, left, closed, can_wait)


def frames(*seqs: int, room: str = "a", size: int = 20) -> bytes:
    return b"".join(text_frame(event(seq, room, size).payload) for seq in seqs)


class Member:
    """An outbox in a hub, and how often it was found too slow."""

    def __init__(self, hub: Hub, user: str, max_unsent_bytes: int = 10_000) -> None:
        self.hub, self.user, self.slow = hub, user, 0
        self.outbox = Outbox(max_unsent_bytes, self._note_slow)
        hub.enter(user, self.outbox)

    def _note_slow(self) -> None:
        self.slow += 1

    def follow(self, head: int, first: int, room_id: str = "a") -> Room:
        room = self.hub.subscribe(self.outbox, room_id)
        room.let_in(self.outbox, head)
        self.outbox.follow(room, first)
        return room


@pytest.fixture
def hub() -> Hub:
    return Hub(BUFFER_BYTES)


def test_members_at_the_same_place_are_handed_the_same_bytes(hub: Hub) -> None:
    members = [Member(hub, f"u{i}") for i in range(3)]
    for member in members:
        member.follow(head=0, first=1)
    hub.publish([event(1), event(2), event(3)])
    taken = [member.outbox.take() for member in members]
    assert taken[0] == frames(1, 2, 3)
    assert taken[0] is taken[1] is taken[2]


def test_each_member_has_a_place_of_its_own(hub: Hub) -> None:
    quick, slow = Member(hub, "quick"), Member(hub, "slow")
    quick.follow(0, 1)
    slow.follow(0, 1)
    for seq in range(1, 4):
        hub.publish([event(seq)])
        assert quick.outbox.take() == frames(seq)
    assert quick.outbox.take() == b""
    assert slow.outbox.take() == frames(1, 2, 3)
    hub.publish([event(4)])
    assert (quick.outbox.take(), slow.outbox.take()) == (frames(4), frames(4))


def test_an_event_that_the_store_showed_already_is_not_sent_twice(hub: Hub) -> None:
    member = Member(hub, "ana")
    member.follow(head=3, first=4)  # the store had 3 before the hub was told of it
    hub.publish([event(2), event(3), event(4)])
    assert member.outbox.take() == frames(4)


def test_an_event_between_subscribing_and_following_is_kept(hub: Hub) -> None:
    member = Member(hub, "ana")
    room = hub.subscribe(member.outbox, "a")
    hub.publish([event(7)])
    assert member.outbox.take() == b""
    room.start_after(7)
    member.outbox.follow(room, 7)
    hub.publish([event(8)])
    assert member.outbox.take() == frames(7, 8)


def test_who_is_behind_the_buffer_is_served_from_the_store_first(hub: Hub) -> None:
    member = Member(hub, "ana")
    room = member.follow(head=10, first=5)
    hub.publish([event(11)])
    assert member.outbox.take() == b""
    assert member.outbox.behind() == (room, 5, 10)
    assert member.outbox.advance(room, 5, 8)
    assert member.outbox.behind() == (room, 8, 10)
    assert member.outbox.advance(room, 8, 11)
    assert member.outbox.behind() is None
    assert member.outbox.take() == frames(11)


def test_what_is_read_for_an_earlier_join_does_not_count_for_a_later_one(hub: Hub) -> None:
    member = Member(hub, "ana")
    room = member.follow(head=10, first=5)
    member.outbox.take()
    assert member.outbox.behind() == (room, 5, 10)
    member.follow(head=10, first=2)
    assert not member.outbox.advance(room, 5, 8)
    member.outbox.take()
    assert member.outbox.behind() == (room, 2, 10)


def test_rooms_that_are_not_behind_do_not_wait_for_one_that_is(hub: Hub) -> None:
    member = Member(hub, "ana")
    member.follow(head=10, first=5, room_id="a")
    member.follow(head=0, first=1, room_id="b")
    hub.publish([event(1, room="b")])
    assert member.outbox.take() == frames(1, room="b")


def test_the_buffer_forgets_the_oldest_and_stays_bounded(hub: Hub) -> None:
    reader, sleeper = Member(hub, "reader"), Member(hub, "sleeper")
    room = reader.follow(0, 1)
    sleeper.follow(0, 1)
    for seq in range(1, 201):
        hub.publish([event(seq, size=100)])
        assert reader.outbox.take() == frames(seq, size=100)
        assert room.unsent_bytes(room.base or 0) <= 2 * BUFFER_BYTES + 110
    assert room.base is not None
    assert room.base > 150
    assert sleeper.outbox.take() == b""
    assert sleeper.outbox.behind() == (room, 1, room.base - 1)
    sleeper.outbox.advance(room, 1, room.base)
    assert sleeper.outbox.behind() is None
    assert sleeper.outbox.take() == frames(*range(room.base, 201), size=100)


def test_a_reader_too_far_behind_is_slow_and_others_are_not(hub: Hub) -> None:
    reader, sleeper = Member(hub, "reader", 500), Member(hub, "sleeper", 500)
    reader.follow(0, 1)
    sleeper.follow(0, 1)
    for seq in range(1, 10):
        hub.publish([event(seq, size=100)])
        reader.outbox.take()
    assert reader.slow == 0
    assert sleeper.slow > 0


def test_answers_that_nobody_reads_make_a_reader_slow(hub: Hub) -> None:
    member = Member(hub, "ana", 300)
    for _ in range(3):
        member.outbox.answer(b"x" * 90)
    assert (member.slow, member.outbox.queued_bytes) == (0, 276)
    member.outbox.answer(b"x" * 90)
    assert member.slow == 1
    member.outbox.take()
    assert member.outbox.queued_bytes == 0
    member.outbox.answer(b"x" * 90)
    assert member.slow == 1


def test_acknowledgements_come_after_the_events_and_join_answers_before(hub: Hub) -> None:
    member = Member(hub, "ana")
    member.follow(0, 1)
    member.outbox.answer(b"sent", after_events=True)
    member.outbox.answer(b"joined")
    hub.publish([event(1)])
    assert member.outbox.take() == text_frame(b"joined") + frames(1) + text_frame(b"sent")


def test_nothing_follows_a_leave_on_any_connection_of_the_user(hub: Hub) -> None:
    leaver, elsewhere, other = Member(hub, "ana"), Member(hub, "ana"), Member(hub, "bo")
    for member in (leaver, elsewhere, other):
        member.follow(0, 1)
    hub.publish([event(1)])
    hub.publish([event(2), event(3, left="ana"), event(4)])
    hub.publish([event(5)])
    assert (leaver.outbox.take(), elsewhere.outbox.take()) == (b"", b"")
    assert other.outbox.take() == frames(1, 2, 3, 4, 5)


def test_a_leave_from_before_the_place_where_one_was_let_in_ends_nothing(hub: Hub) -> None:
    """The store knew that the user had come back, by event 3; the hub is told all of it only now."""
    before, back = Member(hub, "ana"), Member(hub, "ana")
    before.follow(head=1, first=2)
    back.follow(head=3, first=4)
    hub.publish([event(2, left="ana"), event(3), event(4)])
    assert (before.outbox.take(), back.outbox.take()) == (b"", frames(4))
    hub.publish([event(5, left="ana"), event(6)])
    assert back.outbox.take() == b""


def test_the_end_of_a_room_from_before_one_was_let_in_ends_nothing(hub: Hub) -> None:
    before, back = Member(hub, "bo"), Member(hub, "ana")
    before.follow(head=1, first=2)
    back.follow(head=3, first=4)
    hub.publish([event(2, closed=True), event(3), event(4)])
    assert (before.outbox.take(), back.outbox.take()) == (frames(2), frames(4))


def test_the_end_of_a_room_is_its_last_word_and_comes_before_answers_to_it(hub: Hub) -> None:
    ana, bo, late = Member(hub, "ana"), Member(hub, "bo"), Member(hub, "late")
    parted: list[str] = []

    def part(user: str, outbox: Outbox, room: Room) -> None:
        parted.append(user)
        hub.whisper("a", b"parted", besides=user)

    hub.on_part = part
    for member in (ana, bo):
        member.follow(0, 1)
    hub.subscribe(late.outbox, "a")  # has not been told where the room stands
    ana.outbox.answer(b"sent", after_events=True)
    hub.publish([event(1), event(2, closed=True), event(3)])
    assert ana.outbox.take() == frames(1, 2) + text_frame(b"sent")
    assert (bo.outbox.take(), late.outbox.take()) == (frames(1, 2), b"")
    assert (hub.room_count, sorted(parted), bo.outbox.cursors) == (0, ["ana", "bo", "late"], {})
    room = bo.follow(3, 3)  # event 3 is of the new room, and in the store
    hub.publish([event(4)])
    assert (bo.outbox.take(), bo.outbox.behind()) == (b"", (room, 3, 3))


def test_who_is_behind_the_buffer_is_told_the_end_too(hub: Hub) -> None:
    member = Member(hub, "ana")
    member.follow(head=10, first=5)
    hub.publish([event(11, closed=True)])
    assert member.outbox.take() == frames(11)


def test_pushes_go_to_one_user_or_to_everybody(hub: Hub) -> None:
    ana, elsewhere, bo = Member(hub, "ana"), Member(hub, "ana"), Member(hub, "bo")
    hub.publish([], [Push("ana", b"one"), Push("nobody", b"none"), Push(None, b"all")])
    assert ana.outbox.take() == elsewhere.outbox.take() == text_frame(b"one") + text_frame(b"all")
    assert bo.outbox.take() == text_frame(b"all")
    hub.exit("bo", bo.outbox)
    hub.publish([], [Push(None, b"all")])
    assert bo.outbox.take() == b""


def test_events_that_can_wait_go_with_the_next_that_cannot_or_soon(hub: Hub) -> None:
    member = Member(hub, "ana")
    member.follow(0, 1)
    assert member.outbox.take() == b""
    hub.publish([event(1, can_wait=True)], at=5.0)
    assert member.outbox.take() == b""
    hub.publish([event(2), event(3, can_wait=True)], at=6.0)
    assert (member.outbox.waits_since, member.outbox.take()) == (6.0, frames(1, 2, 3))
    hub.publish([event(4, can_wait=True)])
    hub.publish([event(5, can_wait=True)])
    assert (hub.tell_what_waits(), hub.tell_what_waits()) == (1, 0)
    assert member.outbox.take() == frames(4, 5)


def test_parting_is_told_once_for_each_room_left(hub: Hub) -> None:
    member = Member(hub, "ana")
    parted: list[tuple[str, str]] = []
    hub.on_part = lambda user, outbox, room: parted.append((user, room.id))
    for room_id in ("a", "b"):
        member.follow(0, 1, room_id)
    hub.publish([event(1, left="ana"), event(2, left="ana")])
    assert parted == [("ana", "a")]
    hub.exit("ana", member.outbox)
    assert parted == [("ana", "a"), ("ana", "b")]


def test_a_forgotten_room_is_not_read_from_the_store_either(hub: Hub) -> None:
    member = Member(hub, "ana")
    room = member.follow(head=10, first=5)
    member.outbox.take()
    hub.unsubscribe(member.outbox, room)
    assert member.outbox.behind() is None
    assert not member.outbox.advance(room, 5, 8)


def test_rooms_and_users_are_forgotten_with_their_last_connection(hub: Hub) -> None:
    first, second = Member(hub, "ana"), Member(hub, "ana")
    assert hub.enter("ana", first.outbox) == 2
    first.follow(0, 1)
    second.follow(0, 1)
    hub.exit("ana", first.outbox)
    assert hub.room_count == 1
    hub.exit("ana", second.outbox)
    assert hub.room_count == 0
    hub.publish([event(1, left="ana")])
    assert hub.enter("ana", first.outbox) == 1


def test_what_all_rooms_keep_is_bounded_and_whoever_is_behind_reads_the_store() -> None:
    hub = Hub(BUFFER_BYTES, all_rooms_bytes=2000)
    member, names = Member(hub, "ana"), [f"room{i}" for i in range(20)]
    rooms = {name: member.follow(0, 1, name) for name in names}
    for seq in range(1, 10):
        for name in names:
            hub.publish([event(seq, name)])
            assert hub.buffer_bytes == sum(room.buffer_bytes for room in rooms.values()) <= 2000
    assert {rooms[name].base for name in names} <= set(range(5, 11))
    member.outbox.take()
    assert member.outbox.behind() is not None
    for name in names:
        assert member.outbox.advance(rooms[name], 1, 10)
    assert member.outbox.behind() is None
    hub.publish([event(10, "room3")])
    assert member.outbox.take() == frames(10, room="room3")
    hub.exit("ana", member.outbox)
    assert hub.buffer_bytes == 0


def test_it_is_said_once_that_something_waits_until_it_is_taken(hub: Hub) -> None:
    calls: list[None] = []
    outbox = Outbox(10_000, lambda: None, lambda: calls.append(None))
    hub.enter("ana", outbox)
    room = hub.subscribe(outbox, "a")
    room.let_in(outbox, 0)
    somethings: list[Callable[[], object]] = [
        lambda: outbox.follow(room, 1),
        lambda: hub.publish([event(1)]),
        lambda: outbox.answer(b"x"),
        lambda: outbox.whisper(room, b"x"),
        outbox.call,
    ]
    for number, something in enumerate(somethings, 1):
        assert not outbox.due
        something()
        outbox.call()
        assert (outbox.due, len(calls)) == (True, number)
        outbox.take()
