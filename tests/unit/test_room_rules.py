"""Rules about rooms and the people in them: what each does, told by its events."""

from __future__ import annotations

import pytest

from node.errors import ErrorCode
from node.state.model import Standing, State
from node.state.outcome import Accepted
from node.state.records import (
    Ban,
    CreateRoom,
    DeleteRoom,
    Invite,
    JoinRoom,
    Kick,
    LeaveRoom,
    MarkRead,
    Mute,
    OpenDm,
    SendMessage,
    SetRole,
    Unban,
    UpdateRoom,
)

from .states import done, events, pushes, refusal, state_after

ROOM = CreateRoom("ana", 1, "a", "Title")
PRIVATE = CreateRoom("ana", 1, "a", "Title", True)


def join(*users: str) -> list[JoinRoom]:
    return [JoinRoom(user, 1, "a") for user in users]


def roles(state: State, room: str = "a") -> dict[str, str]:
    return {user: standing.role for user, standing in state.rooms[room].standings.items()}


def test_an_update_changes_what_is_given_and_tells_it() -> None:
    state = state_after(ROOM)
    done(state, UpdateRoom("ana", 2, "a", title="New"))
    done(state, UpdateRoom("ana", 3, "a", private=True))
    assert done(state, UpdateRoom("ana", 4, "a", title="New", private=True)) == Accepted(3, 3, dup=True)
    assert [(e["change"], e["title"], e["private"]) for e in events(state)] == [
        ("created", "Title", False),
        ("updated", "New", False),
        ("updated", "New", True),
    ]


def test_an_invitation_opens_a_private_room_and_is_told_to_the_invited() -> None:
    state = state_after(PRIVATE)
    assert refusal(state, JoinRoom("bo", 2, "a")) is ErrorCode.NO_ROOM
    done(state, Invite("ana", 2, "a", "bo"))
    assert done(state, Invite("ana", 2, "a", "bo")).dup
    assert pushes(state) == [("bo", {"op": "invite", "room": "a", "by": "ana"})]
    assert state.rooms["a"].size == 1
    done(state, JoinRoom("bo", 3, "a"))
    assert (roles(state), state.rooms["a"].size) == ({"ana": "owner", "bo": "member"}, 2)
    assert [(e.get("change"), e.get("user"), e.get("by")) for e in events(state)[1:]] == [
        ("invite", "bo", "ana"),
        ("join", "bo", None),
    ]


def test_an_invitation_is_used_up_by_leaving() -> None:
    state = state_after(PRIVATE, Invite("ana", 2, "a", "bo"), *join("bo"), LeaveRoom("bo", 3, "a"))
    assert refusal(state, JoinRoom("bo", 4, "a")) is ErrorCode.NO_ROOM


@pytest.mark.parametrize("kind", [Kick, Ban])
def test_who_is_put_out_receives_nothing_more(kind: type[Kick | Ban]) -> None:
    state = state_after(ROOM, *join("bo"))
    done(state, kind("ana", 2, "a", "bo"))
    assert (state.changes.events[-1].left, state.changes.events[-1].can_wait) == ("bo", False)
    assert (events(state)[-1]["change"], events(state)[-1]["by"]) == (kind.__struct_config__.tag, "ana")
    assert refusal(state, SendMessage("bo", 3, "a", "c", "x")) is ErrorCode.FORBIDDEN
    assert done(state, kind("ana", 3, "a", "bo")).dup


def test_a_ban_keeps_out_until_it_is_lifted_a_kick_does_not() -> None:
    state = state_after(ROOM, *join("bo", "cy"), Kick("ana", 2, "a", "bo"), Ban("ana", 2, "a", "cy"))
    done(state, JoinRoom("bo", 3, "a"))
    assert refusal(state, JoinRoom("cy", 3, "a")) is ErrorCode.FORBIDDEN
    assert refusal(state, Invite("bo", 3, "a", "cy")) is ErrorCode.FORBIDDEN
    done(state, Unban("ana", 4, "a", "cy"))
    assert done(state, Unban("ana", 4, "a", "cy")).dup
    done(state, JoinRoom("cy", 5, "a"))


def test_who_never_came_can_be_banned_and_an_invitation_ends_with_it() -> None:
    state = state_after(PRIVATE, Invite("ana", 2, "a", "bo"), Ban("ana", 3, "a", "bo"))
    assert state.changes.events[-1].left is None
    assert refusal(state, JoinRoom("bo", 4, "a")) is ErrorCode.NO_ROOM


def test_a_mute_ends_by_itself_and_leaving_does_not_lift_it() -> None:
    state = state_after(ROOM, *join("bo"), Mute("ana", 2, "a", "bo", 50))
    for record in (LeaveRoom("bo", 3, "a"), JoinRoom("bo", 4, "a")):
        done(state, record)
    assert refusal(state, SendMessage("bo", 49, "a", "c", "x")) is ErrorCode.FORBIDDEN
    done(state, SendMessage("bo", 50, "a", "c", "x"))
    assert events(state)[2]["until"] == 50


def test_a_mute_of_who_left_is_forgotten_when_it_is_over() -> None:
    state = state_after(ROOM, *join("bo"), Mute("ana", 2, "a", "bo", 50), LeaveRoom("bo", 60, "a"))
    assert "bo" not in state.rooms["a"].standings


def test_a_mute_until_the_past_lets_speak_again() -> None:
    state = state_after(ROOM, *join("bo"), Mute("ana", 2, "a", "bo", 50), Mute("ana", 3, "a", "bo", 0))
    done(state, SendMessage("bo", 4, "a", "c", "x"))
    assert [e["change"] for e in events(state)[2:4]] == ["mute", "unmute"]
    assert done(state, Mute("ana", 5, "a", "bo", 0)).dup


def test_a_repeat_of_what_was_said_before_a_mute_is_still_recognised() -> None:
    state = state_after(ROOM, *join("bo"), SendMessage("bo", 2, "a", "c", "x"), Mute("ana", 3, "a", "bo", 50))
    assert done(state, SendMessage("bo", 4, "a", "c", "x")) == Accepted(3, 2, dup=True)


def test_roles_are_given_by_owners_and_the_only_owner_stays() -> None:
    state = state_after(ROOM, *join("bo"))
    assert refusal(state, SetRole("ana", 2, "a", "ana", "member")) is ErrorCode.FORBIDDEN
    assert refusal(state, SetRole("ana", 2, "a", "cy", "owner")) is ErrorCode.FORBIDDEN
    done(state, SetRole("ana", 2, "a", "bo", "owner"))
    done(state, SetRole("ana", 3, "a", "ana", "member"))
    assert done(state, SetRole("bo", 4, "a", "bo", "owner")).dup
    assert roles(state) == {"ana": "member", "bo": "owner"}
    assert [(e["user"], e["role"]) for e in events(state) if e.get("change") == "role"] == [
        ("bo", "owner"),
        ("ana", "member"),
    ]


@pytest.mark.parametrize(
    ("people", "moderators", "next_owner"),
    [(["zoe", "bo"], [], "bo"), (["bo", "cy", "zoe"], ["zoe", "cy"], "cy"), ([], [], None)],
)
def test_when_the_last_owner_goes_the_highest_left_is_owner(
    people: list[str], moderators: list[str], next_owner: str | None
) -> None:
    state = state_after(ROOM, *join(*people), *(SetRole("ana", 2, "a", user, "moderator") for user in moderators))
    left = done(state, LeaveRoom("ana", 3, "a"))
    assert [user for user, role in roles(state).items() if role == "owner"] == ([next_owner] if next_owner else [])
    if next_owner:
        last = events(state)[-1]
        assert (last["change"], last["user"], last["role"], last["seq"]) == ("role", next_owner, "owner", left.seq + 1)


def test_an_owner_who_goes_while_another_stays_changes_nobody() -> None:
    state = state_after(ROOM, *join("bo", "cy"), SetRole("ana", 2, "a", "cy", "owner"), LeaveRoom("ana", 3, "a"))
    assert roles(state) == {"bo": "member", "cy": "owner"}


def test_an_empty_room_is_entered_as_a_member_only() -> None:
    state = state_after(ROOM, LeaveRoom("ana", 2, "a"), JoinRoom("bo", 3, "a"))
    assert (roles(state), state.rooms["a"].size) == ({"bo": "member"}, 1)


def test_a_deleted_room_is_gone_and_a_new_one_of_its_name_counts_on() -> None:
    state = state_after(
        ROOM, *join("bo"), Ban("ana", 2, "a", "cy"), SendMessage("ana", 3, "a", "c", "old"), DeleteRoom("ana", 4, "a")
    )
    assert state.changes.events[-1].closed
    assert (events(state)[-1]["op"], events(state)[-1]["change"], events(state)[-1]["seq"]) == ("room", "deleted", 5)
    for record in (JoinRoom("bo", 5, "a"), SendMessage("ana", 5, "a", "c", "old"), DeleteRoom("bo", 5, "a")):
        assert refusal(state, record) is ErrorCode.NO_ROOM
    assert done(state, CreateRoom("bo", 6, "a", private=True)) == Accepted(6, 6)
    room = state.rooms["a"]
    assert (room.first, room.head, room.size, roles(state)) == (6, 6, 1, {"bo": "owner"})
    assert done(state, SendMessage("bo", 7, "a", "c", "new")) == Accepted(7, 7)
    assert refusal(state, SendMessage("bo", 7, "a", "d", "x", 4)) is ErrorCode.NO_MESSAGE


def test_the_former_owner_s_cid_is_free_in_the_new_room() -> None:
    state = state_after(
        ROOM,
        SendMessage("ana", 2, "a", "c", "old"),
        DeleteRoom("ana", 3, "a"),
        ROOM,
        SendMessage("ana", 4, "a", "c", "new"),
    )
    assert events(state)[-1]["seq"] == 5


def test_a_direct_room_has_two_people_and_is_the_same_from_both_sides() -> None:
    state = state_after(OpenDm("ana", 1, "dm.1", "bo"))
    room = state.rooms["dm.1"]
    assert (room.private, room.dm, room.size, roles(state, "dm.1")) == (
        True,
        True,
        2,
        {"ana": "member", "bo": "member"},
    )
    assert pushes(state) == [("bo", {"op": "invite", "room": "dm.1", "by": "ana"})]
    assert done(state, OpenDm("bo", 2, "dm.1", "ana")).dup
    done(state, SendMessage("bo", 3, "dm.1", "c", "psst"))
    for record in (JoinRoom("cy", 4, "dm.1"), SendMessage("cy", 4, "dm.1", "c", "x")):
        assert refusal(state, record) is ErrorCode.NO_ROOM
    assert refusal(state, OpenDm("ana", 4, "dm.2", "ana")) is ErrorCode.BAD_REQUEST


def test_who_left_a_direct_room_comes_back_by_opening_it() -> None:
    state = state_after(OpenDm("ana", 1, "dm.1", "bo"), LeaveRoom("bo", 2, "dm.1"))
    assert state.changes.events[-1].left == "bo"
    done(state, OpenDm("bo", 3, "dm.1", "ana"))
    assert roles(state, "dm.1") == {"ana": "member", "bo": "member"}


def test_the_read_marker_goes_forward_only_and_not_past_the_head() -> None:
    state = state_after(ROOM, SendMessage("ana", 2, "a", "c", "x"))
    assert done(state, MarkRead("ana", 3, "a", 1)).seq == 1
    assert done(state, MarkRead("ana", 3, "a", 99)).seq == 2
    assert done(state, MarkRead("ana", 3, "a", 1)) == Accepted(2, 2, dup=True)
    assert state.rooms["a"].standings["ana"] == Standing("owner", read=2)
    assert pushes(state) == [("ana", {"op": "read", "room": "a", "seq": seq}) for seq in (1, 2)]
    assert state.rooms["a"].head == 2


def test_a_change_of_role_keeps_marker_and_mute() -> None:
    state = state_after(
        ROOM,
        *join("bo"),
        MarkRead("bo", 2, "a", 2),
        Mute("ana", 2, "a", "bo", 50),
        SetRole("ana", 3, "a", "bo", "moderator"),
    )
    assert state.rooms["a"].standings["bo"] == Standing("moderator", 50, 2)
