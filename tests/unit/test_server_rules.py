"""Rules about the server as a whole: notices and local accounts."""

from __future__ import annotations

from typing import Any

import pytest

from node.errors import ErrorCode
from node.state.model import Account, Notice
from node.state.records import CreateRoom, PutAccount, PutNotice

from .states import done, pushes, refusal, state_after

ONE, TWO = "hash one", "hash two"


def notice(ts: int, text: str, until: int) -> PutNotice:
    return PutNotice("root", ts, "info", text, until, admin=True)


def account(name: str = "ana", **fields: Any) -> PutAccount:
    return PutAccount("root", 1, name, admin=True, **fields)


def test_notices_are_told_to_everybody_and_kept_while_they_are_in_force() -> None:
    state = state_after(notice(1, "one", 10), notice(2, "two", 20), notice(15, "three", 30))
    assert state.notices == [Notice("info", "two", 20), Notice("info", "three", 30)]
    assert [(user, push["op"], push["text"]) for user, push in pushes(state)] == [
        (None, "notice", text) for text in ("one", "two", "three")
    ]


def test_a_notice_is_replaced_and_taken_back_by_its_text() -> None:
    state = state_after(notice(1, "one", 10), notice(2, "two", 20), notice(3, "one", 30))
    assert state.notices == [Notice("info", "two", 20), Notice("info", "one", 30)]
    done(state, notice(4, "one", 0))
    assert state.notices == [Notice("info", "two", 20)]
    assert [push["until"] for _, push in pushes(state)] == [10, 20, 30, 0]


def test_a_notice_that_is_over_already_is_told_but_not_kept() -> None:
    state = state_after(notice(5, "now", 5))
    assert (state.notices, len(pushes(state))) == ([], 1)


def test_an_account_is_made_once_and_changed_in_part() -> None:
    state = state_after(account(password_hash=ONE, new=True))
    assert refusal(state, account(password_hash=TWO, new=True)) is ErrorCode.USER_EXISTS
    done(state, account(roles=["admin"]))
    done(state, account(disabled=True))
    assert state.accounts == {"ana": Account("ana", ONE, ["admin"], disabled=True)}
    done(state, account(password_hash=TWO, disabled=False))
    assert state.accounts == {"ana": Account("ana", TWO, ["admin"])}


@pytest.mark.parametrize("record", [account(password_hash=ONE), account(new=True), account(disabled=True)])
def test_there_is_no_account_to_change_or_no_password_for_a_new_one(record: PutAccount) -> None:
    state = state_after()
    assert refusal(state, record) is ErrorCode.NO_USER
    assert state.accounts == {}


def test_an_admin_is_who_the_node_says_not_who_made_the_room() -> None:
    state = state_after(CreateRoom("ana", 1, "a"))
    assert refusal(state, PutNotice("ana", 1, "info", "x", 9)) is ErrorCode.FORBIDDEN
