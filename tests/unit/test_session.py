"""A conversation as a pure state machine: what each frame leads to, in which state, within which limits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from node.auth import Identity
from node.config import Settings
from node.errors import CloseCode, CloseConnection, ErrorCode
from node.protocol.requests import Hello, History, Join, Ping, RefusedRequest, Rooms, decode_request
from node.protocol.session import Session, limits_of
from node.protocol.translate import dm_room_id
from node.state.records import CreateRoom, JoinRoom, LeaveRoom, PutNotice, SendMessage

from .test_wire import REQUESTS

UNIX = 1_700_000_000.5
TS = 1_700_000_000_500
SETTINGS = Settings(auth_mode=("token", "guest"))


class Talk:
    """A session and its clock."""

    def __init__(self, settings: Settings = SETTINGS, *, greeted: bool = True) -> None:
        self.now = 0.0
        self.session = Session(settings, self.now)
        if greeted:
            self.session.let_in(Identity("ana"))

    def say(self, **request: Any) -> Any:
        return self.session.handle(json.dumps({"id": 1, **request}), self.now, lambda: UNIX)

    def refused(self, **request: Any) -> RefusedRequest:
        with pytest.raises(RefusedRequest) as caught:
            self.say(**request)
        return caught.value

    def closed(self, **request: Any) -> CloseCode:
        with pytest.raises(CloseConnection) as caught:
            self.say(**request)
        return caught.value.code


def test_hello_comes_first_and_lets_nobody_in_by_itself() -> None:
    talk = Talk(greeted=False)
    command = talk.say(op="hello", v=[7, 1], user="ana")
    assert command.request == Hello(id=1, v=[7, 1], user="ana")
    assert command.record is None
    assert talk.session.identity is None
    assert talk.closed(op="ping") is CloseCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"op": "hello", "v": [2], "user": "ana"}, CloseCode.UNSUPPORTED_VERSION),
        ({"op": "hello", "v": [], "user": "ana"}, CloseCode.UNSUPPORTED_VERSION),
        ({"op": "hello", "v": "1", "user": "ana"}, CloseCode.PROTOCOL_VIOLATION),
        ({"op": "ping"}, CloseCode.PROTOCOL_VIOLATION),
        ({"op": "send", "room": "a", "cid": "c", "body": "x"}, CloseCode.PROTOCOL_VIOLATION),
        ({"op": "fly"}, CloseCode.PROTOCOL_VIOLATION),
    ],
)
def test_anything_but_a_good_hello_first_ends_it(hello: dict[str, Any], code: CloseCode) -> None:
    talk = Talk(greeted=False)
    assert talk.closed(**hello) is code
    assert talk.session.identity is None


def test_each_request_becomes_its_command_with_user_and_time() -> None:
    talk = Talk()
    assert talk.say(op="send", room="a", cid="c", body="x").record == SendMessage("ana", TS, "a", "c", "x")
    assert talk.say(op="create_room", room="a", title="t").record == CreateRoom("ana", TS, "a", "t")
    assert talk.say(op="leave", room="a").record == LeaveRoom("ana", TS, "a")
    join = talk.say(op="join", room="a")
    assert (join.request, join.record) == (Join(id=1, room="a"), JoinRoom("ana", TS, "a"))
    for request in ({"op": "history", "room": "a"}, {"op": "rooms"}, {"op": "ping"}):
        command = talk.say(**request)
        assert isinstance(command.request, History | Rooms | Ping)
        assert command.record is None


def test_what_changes_something_has_a_record_and_a_question_has_none() -> None:
    talk = Talk()
    questions = {"hello", "ping", "whoami", "rooms", "members", "typing", "history", "search"}
    for request in REQUESTS:
        if request["op"] not in ("hello", "notice"):
            record = talk.say(**request).record
            assert (record is None) == (request["op"] in questions), request
            assert record is None or (record.user, record.ts, record.admin) == ("ana", TS, False)
            if request["op"] == "typing":
                talk.now += 2


def test_the_record_of_an_admin_says_so_and_only_an_admin_sends_notices() -> None:
    talk = Talk(greeted=False)
    talk.session.let_in(Identity("root", frozenset({"admin"})))
    assert talk.say(op="delete_room", room="a").record.admin
    assert talk.say(op="notice", text="soon", until=9).record == PutNotice("root", TS, "info", "soon", 9, admin=True)
    assert Talk().refused(op="notice", text="soon", until=9).error.code is ErrorCode.FORBIDDEN
    assert talk.refused(op="delete_room", room="dm.0f").error.code is ErrorCode.FORBIDDEN


def test_a_direct_room_has_one_id_from_both_sides_and_another_for_others() -> None:
    ids = {dm_room_id(*pair) for pair in (("ana", "bo"), ("bo", "ana"), ("ana", "bob"), ("an", "abo"))}
    assert len(ids) == 3
    for room_id in ids:
        decode_request(json.dumps({"id": 1, "op": "join", "room": room_id}))


def test_a_user_cannot_speak_for_another() -> None:
    assert Talk().say(op="send", room="a", cid="c", body="x", user="bo").record.user == "ana"


def test_a_second_hello_is_refused_and_changes_nothing() -> None:
    talk = Talk()
    refused = talk.refused(id=9, op="hello", v=[1], user="bo")
    assert (refused.request_id, refused.error.code) == (9, ErrorCode.BAD_REQUEST)
    assert talk.say(op="leave", room="a").record.user == "ana"


def test_a_bad_request_does_not_end_the_conversation_but_what_is_not_json_does() -> None:
    talk = Talk()
    assert talk.refused(op="fly").error.code is ErrorCode.BAD_REQUEST
    assert talk.say(op="ping")
    with pytest.raises(CloseConnection) as caught:
        talk.session.handle("}", talk.now, lambda: UNIX)
    assert caught.value.code is CloseCode.PROTOCOL_VIOLATION


def test_the_body_is_measured_in_bytes() -> None:
    talk = Talk(replace(SETTINGS, max_body_bytes=4))
    assert talk.say(op="send", room="a", cid="c", body="éé")
    refused = talk.refused(id=5, op="send", room="a", cid="c", body="ééx")
    assert (refused.request_id, refused.error.code) == (5, ErrorCode.TOO_LARGE)


def test_sends_are_limited_and_told_when_to_come_again() -> None:
    talk = Talk(replace(SETTINGS, send_rate=10.0, send_burst=2))
    send = {"op": "send", "room": "a", "cid": "c", "body": "x"}
    talk.say(**send)
    talk.say(**send)
    error = talk.refused(**send).error
    assert error.code is ErrorCode.RATE_LIMITED
    assert error.retry
    assert error.retry_ms is not None
    assert talk.say(op="ping")  # other requests have a limit of their own
    talk.now += error.retry_ms / 1000
    assert talk.say(**send)


def test_a_body_too_large_costs_no_send() -> None:
    talk = Talk(replace(SETTINGS, send_rate=1.0, send_burst=1, max_body_bytes=4))
    talk.refused(op="send", room="a", cid="c", body="xxxxx")
    assert talk.say(op="send", room="a", cid="c", body="x")


def test_too_many_requests_end_the_connection_for_a_while() -> None:
    talk = Talk(replace(SETTINGS, request_rate=1.0, request_burst=3))
    for _ in range(3):
        talk.say(op="ping")
    assert talk.closed(op="ping") is CloseCode.TOO_MANY_REQUESTS


def test_limits_are_told_as_they_are_enforced() -> None:
    limits = limits_of(SETTINGS)
    assert (limits.frame_bytes, limits.body_bytes, limits.rooms) == (65536, 16384, 200)
    assert (limits.sends_per_s, limits.send_burst, limits.unsent_bytes, limits.user_connections) == (20, 40, 2**20, 10)
