"""A client that did not get its answer asks again: that changes nothing, and is answered as done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
import trio

from node.client import ChatClient, open_client
from node.errors import ErrorCode
from node.outbox import Outbox
from node.state.outcome import Accepted
from node.state.records import (
    AnyRecord,
    Ban,
    CreateRoom,
    DeleteMessage,
    DeleteRoom,
    EditMessage,
    Invite,
    JoinRoom,
    Kick,
    LeaveRoom,
    MarkRead,
    Mute,
    OpenDm,
    PutAccount,
    PutNotice,
    React,
    SendMessage,
    SetRole,
    Unban,
    UpdateRoom,
)

from .local_node import local_node
from .states import done, refusal, state_after

WISHES: list[AnyRecord] = [
    CreateRoom("ana", 5, "new", "Title"),
    UpdateRoom("ana", 5, "a", "Other"),
    DeleteRoom("ana", 5, "a"),
    OpenDm("ana", 5, "dm.1", "bo"),
    JoinRoom("dora", 5, "a"),
    LeaveRoom("bo", 5, "a"),
    Invite("ana", 5, "a", "eve"),
    SetRole("ana", 5, "a", "bo", "moderator"),
    SetRole("ana", 5, "a", "ana", "member"),
    Kick("ana", 5, "a", "bo"),
    Ban("ana", 5, "a", "bo"),
    Unban("ana", 5, "a", "dan"),
    Mute("ana", 5, "a", "bo", 99),
    SendMessage("bo", 5, "a", "c", "hi"),
    EditMessage("ana", 5, "a", 7, "hullo"),
    DeleteMessage("ana", 5, "a", 7),
    React("bo", 5, "a", 7, "+", True),
    MarkRead("bo", 5, "a", 3),
    PutNotice("root", 5, "info", "Noon", 99, admin=True),
    PutAccount("root", 5, "ana", disabled=True, admin=True),
]


def beginning(*, private: bool) -> list[AnyRecord]:
    made: list[AnyRecord] = [CreateRoom("ana", 1, "a")]
    made += [JoinRoom(user, 2, "a") for user in ("bo", "cy")]
    made += [SetRole("ana", 3, "a", "cy", "owner"), Ban("ana", 3, "a", "dan"), Invite("ana", 3, "a", "dora")]
    made += [SendMessage("ana", 4, "a", "hello", "hello")]
    made += [PutAccount("root", 4, "ana", "hash", new=True, admin=True)]
    return [*made, UpdateRoom("ana", 4, "a", private=True)] if private else made


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: f"{type(wish).__name__}-{wish.user}")
def test_a_repeat_changes_nothing_and_is_answered_as_done(wish: AnyRecord, private: bool) -> None:
    state = state_after(*beginning(private=private))
    assert not done(state, wish).dup
    before = deepcopy((state.rooms, state.accounts, state.notices))
    told = len(state.changes.events), len(state.changes.pushes)
    wish.ts += 1
    done(state, wish)
    assert (state.rooms, state.accounts, state.notices) == before
    assert (len(state.changes.events), len(state.changes.pushes)) == told


def test_no_kind_of_record_is_forgotten() -> None:
    assert {type(wish) for wish in WISHES} == set(get_args(AnyRecord))


def test_a_room_is_another_s_or_another_one() -> None:
    state = state_after(CreateRoom("ana", 1, "a", "Title"), JoinRoom("bo", 2, "a"))
    assert done(state, CreateRoom("ana", 3, "a", "Title")) == Accepted(2, 2, dup=True)
    for other in (
        CreateRoom("bo", 3, "a", "Title"),
        CreateRoom("ana", 3, "a", "Other"),
        CreateRoom("ana", 3, "a", "Title", private=True),
        CreateRoom("cy", 3, "a", "Title", admin=True),
    ):
        assert refusal(state, other) is ErrorCode.ROOM_EXISTS


def test_only_who_deleted_a_room_is_told_that_it_was_there() -> None:
    state = state_after(CreateRoom("ana", 1, "a"), JoinRoom("bo", 2, "a"), DeleteRoom("ana", 3, "a"))
    assert done(state, DeleteRoom("ana", 4, "a")) == Accepted(3, 3, dup=True)
    assert refusal(state, DeleteRoom("bo", 4, "a")) is ErrorCode.NO_ROOM
    assert refusal(state, DeleteRoom("root", 4, "a", admin=True)) is ErrorCode.NO_ROOM
    done(state, CreateRoom("bo", 5, "a"))
    assert refusal(state, DeleteRoom("ana", 6, "a")) is ErrorCode.FORBIDDEN


def test_a_leave_tells_nobody_whether_there_is_a_room() -> None:
    state = state_after(CreateRoom("ana", 1, "a", private=True))
    assert done(state, LeaveRoom("bo", 2, "a")) == done(state, LeaveRoom("bo", 2, "none")) == Accepted(0, 2, dup=True)


def test_only_who_could_delete_a_message_is_answered_as_having_done_so() -> None:
    state = state_after(*beginning(private=False), DeleteMessage("ana", 5, "a", 7))
    assert refusal(state, DeleteMessage("bo", 6, "a", 7)) is ErrorCode.FORBIDDEN


ASKED: list[Callable[[ChatClient], Awaitable[None]]] = [
    lambda ana: ana.create_room("new", "Title"),
    lambda ana: ana.delete("a", 2),
    lambda ana: ana.leave("a"),
    lambda ana: ana.delete_room("a"),
]


@pytest.mark.parametrize("ask", ASKED)
async def test_the_reference_client_repeats_what_was_lost_with_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[ChatClient], Awaitable[None]]
) -> None:
    async with local_node(tmp_path) as node, open_client([node.url], user="ana") as ana:
        await ana.create_room("a")
        await ana.send("a", "x")
        answer = Outbox.answer
        lost: list[bytes] = []

        def lose_the_first(outbox: Outbox, payload: bytes, **how: Any) -> None:
            if lost:
                answer(outbox, payload, **how)
                return
            lost.append(payload)
            for connection in list(node.server._connections):
                connection._nursery.cancel_scope.cancel()

        monkeypatch.setattr(Outbox, "answer", lose_the_first)
        with trio.fail_after(10):
            await ask(ana)
        assert b'"ok"' in lost[0]
        assert ana.connects == 2
