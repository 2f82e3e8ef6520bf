"""Who may do what: every kind of record, wished by every role, in a public and in a private room."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest

from node.auth import sign_token
from node.errors import ErrorCode
from node.protocol.requests import decode_request
from node.protocol.translate import record_of
from node.state.model import State
from node.state.outcome import Outcome, Rejected
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
from node.state.rules import apply_record

from .fakes import NoDisk
from .local_node import KEY, local_node, talking
from .states import state_after
from .test_wire import REQUESTS

NOW = 1000
ROLES = ["none", "invited", "banned", "muted", "member", "moderator", "owner", "admin"]
ANSWERS = {
    "+": None,
    "=": None,
    "f": ErrorCode.FORBIDDEN,
    "n": ErrorCode.NO_ROOM,
    "e": ErrorCode.ROOM_EXISTS,
}
"""+ done, = nothing to do, or why not."""

THEIRS, OWN = 2, 11
"""Seqs of a message of the room's owner, and of one of the acting user."""


def wish(kind: type[Any], *fields: Any, **named: Any) -> Any:
    """A record of the user x."""
    return kind("x", NOW, "a", *fields, **named)


# What x wishes; then what is answered to each of the roles: in a public room, and in a private one where it differs.
TABLE: list[tuple[str, Any, str, str]] = [
    ("create", wish(CreateRoom), "eeeeee=e", "eeeeeeee"),
    ("title", wish(UpdateRoom, title="T"), "fffff+++", "nfnff+++"),
    ("private", wish(UpdateRoom, private="other"), "ffffff++", "nfnfff++"),
    ("delete room", wish(DeleteRoom), "ffffff++", "nfnfff++"),
    ("dm", OpenDm("x", NOW, "dm.1", "peer"), "++++++++", "++++++++"),
    ("join", wish(JoinRoom), "++f====+", "n+n====+"),
    ("leave", wish(LeaveRoom), "===++++=", "===++++="),
    ("invite", wish(Invite, "new"), "fff+++++", "nfnff+++"),
    ("role", wish(SetRole, "member", "moderator"), "ffffff++", "nfnfff++"),
    ("kick member", wish(Kick, "member"), "fffff+++", "nfnff+++"),
    ("kick moderator", wish(Kick, "moderator"), "ffffff++", "nfnfff++"),
    ("kick owner", wish(Kick, "owner"), "fffffff+", "nfnffff+"),
    ("ban member", wish(Ban, "member"), "fffff+++", "nfnff+++"),
    ("ban moderator", wish(Ban, "moderator"), "ffffff++", "nfnfff++"),
    ("ban owner", wish(Ban, "owner"), "fffffff+", "nfnffff+"),
    ("ban stranger", wish(Ban, "new"), "fffff+++", "nfnff+++"),
    ("unban", wish(Unban, "banned"), "fffff+++", "nfnff+++"),
    ("mute member", wish(Mute, "member", NOW + 1), "fffff+++", "nfnff+++"),
    ("mute moderator", wish(Mute, "moderator", NOW + 1), "ffffff++", "nfnfff++"),
    ("mute owner", wish(Mute, "owner", NOW + 1), "fffffff+", "nfnffff+"),
    ("send", wish(SendMessage, "c", "hi"), "ffff+++f", "nfnf+++f"),
    ("reply", wish(SendMessage, "c", "hi", THEIRS), "ffff+++f", "nfnf+++f"),
    ("edit own", wish(EditMessage, OWN, "hi"), "ffff+++f", "nfnf+++f"),
    ("edit theirs", wish(EditMessage, THEIRS, "hi"), "ffffffff", "nfnfffff"),
    ("delete own", wish(DeleteMessage, OWN), "fff+++++", "nfn+++++"),
    ("delete theirs", wish(DeleteMessage, THEIRS), "fffff+++", "nfnff+++"),
    ("react", wish(React, THEIRS, "+", True), "ffff+++f", "nfnf+++f"),
    ("read", wish(MarkRead, THEIRS), "fff++++f", "nfn++++f"),
    ("notice", PutNotice("x", NOW, "info", "text", NOW + 1), "fffffff+", "fffffff+"),
    ("account", PutAccount("x", NOW, "new", "hash", new=True), "fffffff+", "fffffff+"),
]


def steps(role: str, *, private: bool) -> list[AnyRecord]:
    """What leads to a room with somebody of every role, and x in this one."""
    people = ["member", "moderator", "owner2", "banned", "x"]
    ends: dict[str, list[AnyRecord]] = {
        "none": [LeaveRoom("x", 0, "a")],
        "invited": [LeaveRoom("x", 0, "a"), Invite("owner", 0, "a", "x")],
        "banned": [Ban("owner", 0, "a", "x")],
        "muted": [Mute("owner", 0, "a", "x", NOW + 1)],
        "member": [],
        "moderator": [SetRole("owner", 0, "a", "x", "moderator")],
        "owner": [SetRole("owner", 0, "a", "x", "owner")],
        "admin": [Kick("root", 0, "a", "x", admin=True)],
    }
    return [
        CreateRoom("owner", 0, "a", private=private),
        SendMessage("owner", 0, "a", "1", "theirs"),
        *(JoinRoom(user, 0, "a", admin=True) for user in people),
        SetRole("owner", 0, "a", "moderator", "moderator"),
        SetRole("owner", 0, "a", "owner2", "owner"),
        Ban("owner", 0, "a", "banned"),
        SendMessage("x", 0, "a", "2", "own"),
        *ends[role],
    ]


def cases() -> Iterator[Any]:
    for name, record, public, private in TABLE:
        for i, role in enumerate(ROLES):
            for closed, answer in ((False, public[i]), (True, private[i])):
                yield pytest.param(
                    record, role, closed, answer, id=f"{name}-{role}-{'private' if closed else 'public'}"
                )


def as_wished(record: Any, role: str, *, private: bool) -> Any:
    """The record as a node makes it for this user and this room."""
    changes: dict[str, Any] = {"admin": True} if role == "admin" else {}
    if getattr(record, "private", None) == "other":
        changes["private"] = not private
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    return type(record)(**{**values, **changes})


def answer_of(outcome: Outcome) -> ErrorCode | None:
    return outcome.code if isinstance(outcome, Rejected) else None


@pytest.mark.parametrize(("record", "role", "private", "answer"), list(cases()))
def test_who_may_do_what(record: Any, role: str, private: bool, answer: str) -> None:
    state = state_after(*steps(role, private=private))
    before = deepcopy(state.rooms)
    outcome = apply_record(state, as_wished(record, role, private=private))
    assert answer_of(outcome) == ANSWERS[answer]
    if answer != "+":
        assert state.rooms == before, "something happened"
    if not isinstance(outcome, Rejected):
        assert outcome.dup == (answer == "=")


def test_every_kind_of_record_is_in_the_table() -> None:
    assert {type(record) for _, record, _, _ in TABLE} == set(get_args(AnyRecord))
    assert all(len(public) == len(private) == len(ROLES) for _, _, public, private in TABLE)


# What x asks; then what is answered to each of the roles, as above.
QUESTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"op": "history", "room": "a"}, "fff++++f", "nfn++++f"),
    ({"op": "members", "room": "a"}, "fff++++f", "nfn++++f"),
    ({"op": "search", "room": "a", "query": "theirs"}, "fff++++f", "nfn++++f"),
    ({"op": "typing", "room": "a"}, "ffffffff", "ffffffff"),  # this connection has not joined
]


OPEN = {"hello", "ping", "whoami", "rooms"}
"""Refused to nobody; what is in the answers depends on who asks."""


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: str(request["op"]))
def test_every_request_is_in_one_of_the_tables(request_: dict[str, Any]) -> None:
    record = record_of(decode_request(json.dumps({"id": 1, **request_})), "x", NOW, admin=False)
    asked = request_["op"] in {question["op"] for question, _, _ in QUESTIONS}
    changes = type(record) in {type(wished) for _, wished, _, _ in TABLE}
    assert [asked, changes, request_["op"] in OPEN].count(True) == 1


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("role", ROLES)
async def test_who_is_answered_what(tmp_path: Path, role: str, private: bool) -> None:
    token = sign_token(KEY, "x", time.time(), 60, ("admin",) if role == "admin" else ())
    async with local_node(tmp_path) as node, talking(node.url, token=token) as x:
        for record in steps(role, private=private):
            await node.submitter.commit(record)
        for request, *answers in QUESTIONS:
            answer = (await x.ask(**request)).get("code")
            assert answer == ANSWERS[answers[private][ROLES.index(role)]], request
        knows = not private or role not in ("none", "banned", "admin")
        assert [room["room"] for room in (await x.ask(op="rooms"))["rooms"]] == (["a"] if knows else [])
        belongs = role in ("muted", "member", "moderator", "owner")
        assert len((await x.ask(op="search", query="theirs"))["msgs"]) == belongs


@pytest.mark.parametrize("admin", [False, True])
@pytest.mark.parametrize("kind", [UpdateRoom, Invite, SetRole, Kick, Ban, Mute])
def test_nobody_moderates_two_people(kind: type[Any], admin: bool) -> None:
    fields: dict[type[Any], dict[str, Any]] = {
        UpdateRoom: {"title": "T"},
        SetRole: {"peer": "bo", "role": "owner"},
        Mute: {"peer": "bo", "until": NOW},
    }
    state = State(NoDisk())
    apply_record(state, OpenDm("ana", 0, "dm.1", "bo"))
    record = kind(user="ana", ts=0, room="dm.1", admin=admin, **fields.get(kind, {"peer": "bo"}))
    assert answer_of(apply_record(state, record)) is ErrorCode.FORBIDDEN
