"""The wire: every request there and back, what is refused and what ends the connection."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import CloseCode, CloseConnection, ErrorCode, RequestError
from node.protocol import answers, pushes, requests
from node.protocol.answers import encode_error, encode_ok
from node.protocol.frames import text_frame
from node.protocol.pushes import encode
from node.protocol.requests import RefusedRequest, decode_request

REQUESTS: list[dict[str, Any]] = [
    {"op": "hello", "v": [1, 2], "token": "t", "client": "web/1.0"},
    {"op": "hello", "v": [1], "user": "ana"},
    {"op": "ping"},
    {"op": "create_room", "room": "general", "title": "Ünïcode 🎉"},
    {"op": "rooms", "prefix": "g", "limit": 3, "after": "general"},
    {"op": "join", "room": "general", "since": {"epoch": "k3", "seq": 41}},
    {"op": "join", "room": "0", "limit": 0},
    {"op": "leave", "room": "a.b_c-d"},
    {"op": "send", "room": "general", "cid": "c-18", "body": "hello"},
    {"op": "history", "room": "general", "before": 42, "limit": 500, "thread": 7},
    {"op": "hello", "v": [1], "user": "ana", "password": "correct horse"},
    {"op": "whoami"},
    {"op": "create_room", "room": "general", "private": True},
    {"op": "create_room", "room": "dm", "title": ""},
    {"op": "update_room", "room": "general", "title": "", "private": False},
    {"op": "delete_room", "room": "general"},
    {"op": "rooms", "mine": True},
    {"op": "dm", "user": "Bo.B@example.org"},
    {"op": "members", "room": "general", "limit": 500, "after": "ana"},
    *({"op": op, "room": "general", "user": "bo"} for op in ("invite", "kick", "ban", "unban")),
    {"op": "role", "room": "general", "user": "bo", "role": "owner"},
    {"op": "mute", "room": "general", "user": "bo", "until": 0},
    {"op": "send", "room": "general", "cid": "c-18", "body": "hello", "reply_to": 42},
    {"op": "edit", "room": "general", "seq": 42, "body": "hello"},
    {"op": "delete", "room": "general", "seq": 42},
    {"op": "react", "room": "general", "seq": 42, "emoji": "🏳️‍🌈", "on": False},
    {"op": "read", "room": "general", "seq": 42},
    {"op": "typing", "room": "general"},
    {"op": "search", "query": "a b", "room": "general", "limit": 1, "before": 7340032},
    {"op": "notice", "text": "soon", "until": 2**53, "level": "warning"},
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: str(request["op"]))
@pytest.mark.parametrize("request_id", [0, -1, 2**53, "", "x" * 64])
def test_every_request_is_read_as_written(request_: dict[str, Any], request_id: int | str) -> None:
    wanted = {"id": request_id, **request_}
    decoded = decode_request(json.dumps({**wanted, "unknown": {"later": True}}))
    found = json.loads(encode(decoded))
    assert {name: found[name] for name in wanted} == wanted


def refused(frame: str | bytes) -> RefusedRequest:
    with pytest.raises(RefusedRequest) as caught:
        decode_request(frame)
    assert caught.value.error.code is ErrorCode.BAD_REQUEST
    return caught.value


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "op"),
    ({"op": "fly"}, "fly"),
    ({"op": 7}, "$.op"),
    ({"op": "send", "room": "general", "cid": "c"}, "body"),
    ({"op": "send", "room": "general", "cid": "c", "body": ""}, "$.body"),
    ({"op": "send", "room": "general", "cid": "", "body": "x"}, "$.cid"),
    ({"op": "send", "room": "general", "cid": "c" * 65, "body": "x"}, "$.cid"),
    ({"op": "send", "room": "general", "cid": 1, "body": "x"}, "$.cid"),
    *(({"op": "leave", "room": room}, "$.room") for room in ("", "General", "-a", "a b", "a\n", "ü", "x" * 65, 5)),
    ({"op": "join", "room": "a", "since": 41}, "$.since"),
    ({"op": "join", "room": "a", "since": {"epoch": "k", "seq": -1}}, "$.since.seq"),
    ({"op": "join", "room": "a", "limit": 501}, "$.limit"),
    ({"op": "history", "room": "a", "limit": 0}, "$.limit"),
    ({"op": "rooms", "limit": 501}, "$.limit"),
    ({"op": "create_room", "room": "a", "title": "t" * 201}, "$.title"),
    *(({"op": "create_room", "room": room}, "$.room") for room in ("General", "a\n", "x" * 65, "dm.", "dm.0f")),
    ({"op": "hello", "v": "1"}, "$.v"),
    *(({"op": "kick", "room": "a", "user": user}, "$.user") for user in ("", "a b", "-a", "x" * 65, "bo\n", None)),
    ({"op": "role", "room": "a", "user": "bo", "role": "admin"}, "$.role"),
    ({"op": "role", "room": "a", "user": "bo"}, "role"),
    ({"op": "mute", "room": "a", "user": "bo", "until": -1}, "$.until"),
    ({"op": "react", "room": "a", "seq": 1, "emoji": "x" * 33}, "$.emoji"),
    ({"op": "react", "room": "a", "seq": 1, "emoji": ""}, "$.emoji"),
    ({"op": "edit", "room": "a", "seq": 1, "body": ""}, "$.body"),
    ({"op": "search", "query": ""}, "$.query"),
    ({"op": "search", "query": "q" * 201}, "$.query"),
    ({"op": "notice", "text": "x", "until": 1, "level": "panic"}, "$.level"),
    ({"op": "notice", "text": "x" * 1001, "until": 1}, "$.text"),
]


def test_no_request_is_left_out() -> None:
    every = {cls.__struct_config__.tag for cls in get_args(requests.AnyRequest)}
    assert {request["op"] for request in REQUESTS} == every


@pytest.mark.parametrize(("request_", "named"), BAD)
def test_a_bad_request_is_answered_under_its_id_and_names_the_field(request_: dict[str, Any], named: str) -> None:
    error = refused(json.dumps({"id": 7, **request_}))
    assert error.request_id == 7
    assert named in error.error.msg


@pytest.mark.parametrize(
    "frame", ["[]", "[1,2]", "null", "7", '"hello"', "{}", '{"id":true,"op":"ping"}', '{"id":[],"op":"ping"}']
)
def test_json_without_a_usable_id_is_refused_under_no_id(frame: str) -> None:
    assert refused(frame).request_id is None


@pytest.mark.parametrize("request_id", [2**53 + 1, -(2**53) - 1, 1.5, "x" * 65, None, {}])
def test_ids_that_a_browser_could_not_tell_apart_are_refused(request_id: Any) -> None:
    refused(json.dumps({"id": request_id, "op": "ping"}))


@pytest.mark.parametrize(
    "frame",
    [
        "",
        " ",
        "hello",
        "{",
        '{"id":1,}',
        "{'id':1}",
        '{"id":1,"op":"ping"}{"id":2}',
        b'{"id":1,"op":"\xff"}',
        '{"id":1,"op":"ping","x":' + "[" * 100_000,
    ],
)
def test_what_is_not_json_ends_the_connection(frame: str | bytes) -> None:
    with pytest.raises(CloseConnection) as caught:
        decode_request(frame)
    assert caught.value.code is CloseCode.PROTOCOL_VIOLATION


def test_json_in_an_ignored_field_may_be_deep_but_not_bottomless() -> None:
    frame = '{{"id":1,"op":"ping","x":{}}}'
    assert decode_request(frame.format("[" * 100 + "]" * 100)) == requests.Ping(id=1)
    with pytest.raises(CloseConnection):
        decode_request(frame.format("[" * 30_000 + "]" * 30_000))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_frame_is_a_request_a_refusal_or_the_end(frame: str | bytes) -> None:
    with contextlib.suppress(RefusedRequest, CloseConnection):
        decode_request(frame)


def test_answers_carry_the_id_and_refusals_say_whether_to_retry() -> None:
    assert json.loads(encode_ok("a", answers.Done())) == {"id": "a", "ok": {}}
    assert json.loads(encode_ok(3, answers.Acknowledged(45, 9, False))) == {
        "id": 3,
        "ok": {"seq": 45, "ts": 9, "dup": False},
    }
    limited = RequestError(ErrorCode.RATE_LIMITED, "slow down", retry_ms=50)
    assert json.loads(encode_error(None, limited)) == {
        "id": None,
        "err": {"code": "rate_limited", "msg": "slow down", "retry": True, "retry_ms": 50},
    }
    assert json.loads(encode_error(1, RequestError(ErrorCode.FORBIDDEN, "no")))["err"] == {
        "code": "forbidden",
        "msg": "no",
        "retry": False,
    }


def test_pushes_look_as_in_the_protocol() -> None:
    event = pushes.MessageEvent("general", 42, "c-17", "bo", 1763805600123, "hi")
    assert json.loads(encode(event)) == {
        "op": "msg", "room": "general", "seq": 42, "cid": "c-17", "from": "bo", "ts": 1763805600123, "body": "hi",
    }  # fmt: skip
    joined = answers.Joined("general", "k3", 1, 44)
    assert json.loads(encode(joined)) == {"room": "general", "epoch": "k3", "first": 1, "head": 44}


@given(
    st.text().map(lambda text: text.encode("utf-8", "ignore")) | st.sampled_from([125, 126, 65535, 65536]).map(bytes)
)
def test_frames_are_read_back_by_another_implementation(payload: bytes) -> None:
    from websockets.frames import Frame
    from websockets.streams import StreamReader

    reader = StreamReader()
    reader.feed_data(text_frame(payload))
    parse = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parse)
    frame = parsed.value.value
    assert (frame.fin, frame.opcode, bytes(frame.data)) == (True, 1, payload)


def test_history_embeds_messages_as_they_were_pushed() -> None:
    page = answers.HistoryPage([msgspec.Raw(b'{"op":"msg"}')], first=1, head=9)
    assert encode(page) == b'{"msgs":[{"op":"msg"}],"first":1,"head":9}'
