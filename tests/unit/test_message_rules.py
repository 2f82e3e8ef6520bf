"""Rules about what is said: edits, deletions, reactions, threads and mentions, as told and as folded in."""

from __future__ import annotations

import pytest

from node.errors import ErrorCode
from node.protocol.pushes import MessageEvent
from node.state.message_rules import MAX_EMOJIS, MAX_MENTIONS
from node.state.model import State
from node.state.outcome import Accepted
from node.state.records import (
    AnyRecord,
    CreateRoom,
    DeleteMessage,
    EditMessage,
    JoinRoom,
    LeaveRoom,
    React,
    SendMessage,
)

from .states import done, events, refusal, state_after

HELLO = 3


def room(*records: AnyRecord) -> State:
    """Ana and Bo in a room, and Ana's hello."""
    return state_after(
        CreateRoom("ana", 1, "a"), JoinRoom("bo", 1, "a"), SendMessage("ana", 1, "a", "hello", "hello"), *records
    )


def message(state: State, seq: int = HELLO) -> MessageEvent:
    found = state.message(state.rooms["a"], seq)
    assert found is not None
    return found


def test_an_edit_is_an_event_and_changes_the_message_in_its_place() -> None:
    state = room()
    assert done(state, EditMessage("ana", 5, "a", HELLO, "hello @bo")) == Accepted(4, 5)
    assert events(state)[-1] == {
        "op": "edit", "room": "a", "seq": 4, "target": HELLO, "from": "ana", "ts": 5,
        "body": "hello @bo", "mentions": ["bo"],
    }  # fmt: skip
    found = message(state)
    assert (found.seq, found.ts, found.body, found.mentions, found.edited) == (HELLO, 1, "hello @bo", ["bo"], 5)
    assert done(state, EditMessage("ana", 6, "a", HELLO, "hello @bo")) == Accepted(4, 5, dup=True)


def test_an_edited_message_is_still_known_by_its_cid_and_first_body() -> None:
    state = room(EditMessage("ana", 5, "a", HELLO, "other"))
    assert done(state, SendMessage("ana", 6, "a", "hello", "hello")) == Accepted(HELLO, 1, dup=True)
    assert refusal(state, SendMessage("ana", 6, "a", "hello", "other")) is ErrorCode.CID_CONFLICT
    assert refusal(state, SendMessage("ana", 6, "a", "hello", "hello", HELLO)) is ErrorCode.CID_CONFLICT


def test_a_deleted_message_stays_in_its_place_without_what_it_said() -> None:
    state = room(React("bo", 2, "a", HELLO, "+", True), DeleteMessage("ana", 5, "a", HELLO))
    assert events(state)[-1] == {"op": "delete", "room": "a", "seq": 5, "target": HELLO, "from": "ana", "ts": 5}
    found = message(state)
    assert (found.seq, found.body, found.reactions, found.deleted) == (HELLO, "", {}, True)


@pytest.mark.parametrize("seq", [HELLO, 1, 0, 4, 99])
def test_what_is_no_message_or_none_any_more_cannot_be_changed(seq: int) -> None:
    state = room(DeleteMessage("ana", 5, "a", HELLO))
    for record in (
        EditMessage("ana", 6, "a", seq, "x"),
        React("ana", 6, "a", seq, "+", True),
        SendMessage("ana", 6, "a", "c", "x", seq),
    ):
        assert refusal(state, record) is ErrorCode.NO_MESSAGE
    if seq != HELLO:
        assert refusal(state, DeleteMessage("ana", 6, "a", seq)) is ErrorCode.NO_MESSAGE
    assert state.rooms["a"].head == 4


def test_reactions_are_counted_by_user_and_once() -> None:
    state = room(React("bo", 2, "a", HELLO, "+", True), React("ana", 3, "a", HELLO, "+", True))
    assert message(state).reactions == {"+": ["bo", "ana"]}
    assert done(state, React("bo", 4, "a", HELLO, "+", True)) == Accepted(5, 3, dup=True)
    done(state, React("bo", 5, "a", HELLO, "+", False))
    assert done(state, React("bo", 6, "a", HELLO, "+", False)).dup
    assert message(state).reactions == {"+": ["ana"]}
    done(state, React("ana", 7, "a", HELLO, "+", False))
    assert message(state).reactions == {}
    assert [(e["emoji"], e["on"]) for e in events(state) if e["op"] == "react"] == [
        ("+", True),
        ("+", True),
        ("+", False),
        ("+", False),
    ]


def test_a_message_takes_so_many_emojis() -> None:
    state = room(*(React("bo", 2, "a", HELLO, f"e{i}", True) for i in range(MAX_EMOJIS)))
    assert refusal(state, React("bo", 2, "a", HELLO, "one more", True)) is ErrorCode.FORBIDDEN
    done(state, React("ana", 2, "a", HELLO, "e0", True))


def test_an_answer_belongs_to_the_thread_of_what_it_answers() -> None:
    state = room(
        SendMessage("bo", 2, "a", "1", "first", HELLO),
        SendMessage("ana", 3, "a", "2", "second", 4),
        SendMessage("ana", 4, "a", "3", "aside"),
    )
    told = [(e["seq"], e.get("reply_to"), e.get("thread")) for e in events(state) if e["op"] == "msg"]
    assert told == [(3, None, None), (4, 3, 3), (5, 4, 3), (6, None, None)]
    assert [message(state, seq).replies for seq in (3, 4, 5)] == [2, 0, 0]


def test_the_first_of_a_thread_may_be_deleted_while_it_is_answered() -> None:
    """The thread goes on: what it answers is still there, only its first message is not."""
    state = room(SendMessage("bo", 2, "a", "1", "first", HELLO), DeleteMessage("ana", 3, "a", HELLO))
    assert done(state, SendMessage("ana", 4, "a", "2", "second", 4)).seq == 6
    assert (message(state).replies, message(state).deleted) == (2, True)


@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        ("hi", []),
        ("@bo", ["bo"]),
        ("@bo, @ana: @bo.", ["bo", "ana"]),
        ("(@bo)", ["bo"]),
        ("mail ana@bo or @bob or @b o", []),
        ("@nobody", []),
        ("@", []),
        ("é@bo", ["bo"]),
        ("@bo@ana", []),
    ],
)
def test_mentions_are_of_members(body: str, mentions: list[str]) -> None:
    state = room()
    done(state, SendMessage("ana", 2, "a", "c", body))
    assert events(state)[-1].get("mentions", []) == mentions


def test_mentions_are_bounded_and_who_left_is_not_mentioned() -> None:
    people = [f"u{i}" for i in range(MAX_MENTIONS + 5)]
    state = room(*(JoinRoom(user, 2, "a") for user in people), LeaveRoom("u0", 3, "a"))
    done(state, SendMessage("ana", 4, "a", "c", " ".join(f"@{user}" for user in people)))
    assert events(state)[-1]["mentions"] == people[1 : MAX_MENTIONS + 1]
