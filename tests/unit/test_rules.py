"""Every rule, and that the outcome depends on the log alone."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ErrorCode
from node.state.model import MAX_PRODUCERS, Standing, State
from node.state.outcome import Accepted, Rejected
from node.state.records import (
    KNOWN_VERSION,
    AnyRecord,
    CreateRoom,
    DamagedEntry,
    DeleteRoom,
    JoinRoom,
    LeaveRoom,
    SendMessage,
    UnknownVersion,
    decode_batch,
    encode_batch,
)
from node.state.rules import apply_entry, apply_record

from .fakes import NoDisk
from .history import BEGINNING, RECORDS, entry, logs
from .states import code, events, state_after

ROOM = CreateRoom("ana", 100, "a", "Title")


def test_a_room_is_made_once_and_its_maker_is_in_it() -> None:
    state = state_after()
    assert apply_record(state, ROOM) == Accepted(1, 100)
    assert code(apply_record(state, CreateRoom("bo", 101, "a"))) is ErrorCode.ROOM_EXISTS
    assert state.rooms["a"].standings == {"ana": Standing("owner")}
    assert events(state) == [
        {
            "op": "room", "room": "a", "seq": 1, "change": "created",
            "title": "Title", "private": False, "by": "ana", "ts": 100,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "record", [JoinRoom("ana", 1, "x"), DeleteRoom("ana", 1, "x"), SendMessage("ana", 1, "x", "c", "b")]
)
def test_nothing_happens_in_a_room_that_is_not_there(record: AnyRecord) -> None:
    state = state_after()
    assert code(apply_record(state, record)) is ErrorCode.NO_ROOM
    assert not state.changes.events


def test_join_and_leave_are_events_once() -> None:
    state = state_after(ROOM)
    assert apply_record(state, JoinRoom("bo", 101, "a")) == Accepted(2, 101)
    assert apply_record(state, JoinRoom("bo", 102, "a")) == Accepted(2, 101, dup=True)
    assert apply_record(state, LeaveRoom("bo", 103, "a")) == Accepted(3, 103)
    assert apply_record(state, LeaveRoom("bo", 104, "a")) == Accepted(3, 103, dup=True)
    assert [(event["op"], event.get("change"), event.get("user")) for event in events(state)[1:]] == [
        ("member", "join", "bo"),
        ("member", "leave", "bo"),
    ]
    assert [(event.left, event.can_wait) for event in state.changes.events] == [
        (None, False),
        (None, True),
        ("bo", True),
    ]


def test_only_members_may_send() -> None:
    state = state_after(ROOM, JoinRoom("bo", 100, "a"), LeaveRoom("bo", 100, "a"))
    for user in ("bo", "cy"):
        assert code(apply_record(state, SendMessage(user, 101, "a", "c", "hi"))) is ErrorCode.FORBIDDEN
    assert state.rooms["a"].head == 3


def test_a_message_is_said_once_per_user_and_cid() -> None:
    state = state_after(ROOM, JoinRoom("bo", 100, "a"))
    assert apply_record(state, SendMessage("ana", 101, "a", "c", "hi")) == Accepted(3, 101)
    assert apply_record(state, SendMessage("ana", 999, "a", "c", "hi")) == Accepted(3, 101, dup=True)
    assert code(apply_record(state, SendMessage("ana", 999, "a", "c", "ho"))) is ErrorCode.CID_CONFLICT
    assert apply_record(state, SendMessage("bo", 102, "a", "c", "hi")) == Accepted(4, 102)
    assert [event["body"] for event in events(state) if event["op"] == "msg"] == ["hi", "hi"]


def test_the_same_cid_in_another_room_is_another_message() -> None:
    state = state_after(ROOM, CreateRoom("ana", 100, "b"))
    assert apply_record(state, SendMessage("ana", 101, "a", "c", "hi")) == Accepted(2, 101)
    assert apply_record(state, SendMessage("ana", 101, "b", "c", "ho")) == Accepted(2, 101)


def test_a_repeat_after_leaving_is_refused_but_not_said_again() -> None:
    state = state_after(ROOM, SendMessage("ana", 101, "a", "c", "hi"), LeaveRoom("ana", 102, "a"))
    assert code(apply_record(state, SendMessage("ana", 101, "a", "c", "hi"))) is ErrorCode.FORBIDDEN
    apply_record(state, JoinRoom("ana", 103, "a"))
    assert apply_record(state, SendMessage("ana", 104, "a", "c", "hi")) == Accepted(2, 101, dup=True)


def test_times_in_a_room_do_not_go_back_when_a_node_has_a_slow_clock() -> None:
    state = state_after(ROOM, SendMessage("ana", 500, "a", "c", "x"), SendMessage("ana", 300, "a", "d", "x"))
    assert [event["ts"] for event in events(state)] == [100, 500, 500]


def test_an_entry_that_landed_twice_counts_once() -> None:
    state = state_after()
    data = entry(ROOM, SendMessage("ana", 1, "a", "c", "x"))
    first = apply_entry(state, 1, data)
    assert first is not None
    assert (first.producer, first.n, len(first.outcomes)) == ("p", 1, 2)
    assert apply_entry(state, 2, data) is None
    assert (state.position, state.rooms["a"].head) == (2, 2)
    assert apply_entry(state, 3, entry(SendMessage("ana", 1, "a", "d", "x"), producer="q")) is not None


@pytest.mark.parametrize(
    "data", [b"", b"x", b"[]", b'{"v":1}', b'{"v":1,"producer":"p","n":1,"records":[{"k":"fly"}]}', b"[" * 9999]
)
def test_damaged_entries_are_skipped_by_everyone_alike(data: bytes) -> None:
    with pytest.raises(DamagedEntry):
        decode_batch(data)
    state = state_after()
    assert apply_entry(state, 1, data) is None
    assert (state.position, state.digest, state.changes.events) == (1, b"", [])


def test_a_newer_release_s_entry_is_not_guessed_at() -> None:
    data = b'{"v":%d,"what":"ever"}' % (KNOWN_VERSION + 1)
    state = state_after(ROOM)
    with pytest.raises(UnknownVersion):
        apply_entry(state, 1, data)
    assert state.position == 0


def test_an_entry_is_readable_json() -> None:
    data = entry(SendMessage("ana", 7, "a", "c", "hi"), n=3)
    assert json.loads(data) == {
        "v": 1, "producer": "p", "n": 3,
        "records": [{"k": "send", "user": "ana", "ts": 7, "room": "a", "cid": "c", "body": "hi"}],
    }  # fmt: skip
    assert decode_batch(encode_batch("p", 3, [])).records == []


def test_the_longest_silent_producers_are_forgotten() -> None:
    state = state_after()
    for position in range(1, MAX_PRODUCERS + 3):
        apply_entry(state, position, entry(producer=f"p{position}"))
    assert len(state.producers) == MAX_PRODUCERS
    assert "p1" not in state.producers
    assert "p2" not in state.producers
    assert "p3" in state.producers


@given(logs())
def test_rooms_stay_dense_and_consistent(log: list[tuple[int, bytes]]) -> None:
    state = State(NoDisk())
    for position, data in log:
        apply_entry(state, position, data)
    for room in state.rooms.values():
        payloads = [json.loads(event.payload) for event in state.changes.events if event.room == room.id]
        assert [payload["seq"] for payload in payloads] == list(range(1, room.head + 1))
        assert room.size == sum(room.rank(user) > 0 for user in room.standings)
        assert [payload["ts"] for payload in payloads] == sorted(payload["ts"] for payload in payloads)
        said = [(p["from"], p["cid"]) for p in payloads if p["op"] == "msg" and p["seq"] >= room.first]
        assert len(said) == len(set(said))


@given(st.lists(RECORDS, max_size=30))
def test_what_is_refused_changes_nothing(records: list[AnyRecord]) -> None:
    state = state_after(*BEGINNING)
    for record in records:
        before = deepcopy((state.rooms, state.accounts, state.notices, state.changes))
        if isinstance(apply_record(state, record), Rejected):
            assert (state.rooms, state.accounts, state.notices, state.changes) == before


@given(logs())
def test_the_same_log_has_the_same_digest(log: list[tuple[int, bytes]]) -> None:
    digests = []
    for _ in range(2):
        state = State(NoDisk())
        for position, data in log:
            apply_entry(state, position, data)
        digests.append(state.digest)
    assert digests[0] == digests[1]


def test_the_digest_tells_apart_what_was_said_what_was_decided_and_where() -> None:
    def digest(*entries: tuple[int, bytes]) -> bytes:
        state = state_after(ROOM)
        for position, data in entries:
            apply_entry(state, position, data)
        return state.digest

    hi = entry(SendMessage("ana", 1, "a", "c", "hi"))
    digests = {
        digest((1, hi)),
        digest((2, hi)),
        digest((1, entry(SendMessage("ana", 1, "a", "c", "ho")))),
        digest((1, entry(SendMessage("bo", 1, "a", "c", "hi")))),
        digest((1, entry(CreateRoom("bo", 1, "a")))),
        digest((1, hi), (2, entry(SendMessage("ana", 1, "a", "c", "hi"), n=2))),
    }
    assert len(digests) == 6
