"""The examples in docs/protocol.md are read and written by the program, and every field of every struct is in one."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Struct

from node.client_feed import Pushes
from node.errors import CloseCode, ErrorCode, RequestError
from node.protocol import answers
from node.protocol.pushes import Drain, MessageEvent, RoomEvents, encode
from node.protocol.requests import AnyRequest, Request, decode_request
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()
EXAMPLES = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
REQUESTS = {cls.__struct_config__.tag: cls for cls in get_args(AnyRequest)}
PUSHES = {cls.__struct_config__.tag: cls for cls in (*get_args(RoomEvents), *get_args(Pushes), Drain)}
REQUEST_EXAMPLES = [example for example in EXAMPLES if "op" in example and "id" in example]
PUSH_EXAMPLES = [example for example in EXAMPLES if "op" in example and "id" not in example]
ANSWER_EXAMPLES = [example for example in EXAMPLES if "ok" in example]
ANSWERS: list[type[Struct]] = [
    answers.Welcome,
    answers.Self,
    answers.Done,
    answers.RoomList,
    answers.MemberList,
    answers.Joined,
    answers.Acknowledged,
    answers.HistoryPage,
    answers.SearchPage,
]
"""In the order of the page."""

ONLY_IN_HISTORY = {"edited", "deleted", "reactions", "replies"}


def in_examples(examples: list[dict[str, Any]], cls: type[Struct]) -> list[str]:
    """The fields of a struct that no example has."""
    return [name for name in cls.__struct_encode_fields__ if not any(name in example for example in examples)]


def test_every_request_and_every_push_has_an_example() -> None:
    assert {example["op"] for example in REQUEST_EXAMPLES} == set(REQUESTS)
    assert {example["op"] for example in PUSH_EXAMPLES} == set(PUSHES)


@pytest.mark.parametrize("example", REQUEST_EXAMPLES, ids=lambda e: e["op"])
def test_a_request_is_understood_in_every_field(example: dict[str, object]) -> None:
    understood = msgspec.to_builtins(decode_request(json.dumps(example)))
    assert {key: understood[key] for key in example} == example


@pytest.mark.parametrize("op", REQUESTS)
def test_every_field_of_a_request_is_described_and_in_an_example(op: str) -> None:
    request_class: type[Request] = REQUESTS[op]
    section = PAGE.split(f"### {op}\n")[1].split("\n## ")[0].split("\n### ")[0]
    missing = [name for name in request_class.__struct_fields__ if name != "id" and name not in section]
    assert missing == []
    assert in_examples([e for e in REQUEST_EXAMPLES if e["op"] == op], request_class) == []


@pytest.mark.parametrize("example", PUSH_EXAMPLES, ids=lambda e: e["op"])
def test_a_push_is_written_so(example: dict[str, object]) -> None:
    push = msgspec.convert(example, PUSHES[str(example["op"])])
    assert json.loads(encode(push)) == example


@pytest.mark.parametrize("op", PUSHES)
def test_every_field_of_a_push_is_in_an_example(op: str) -> None:
    missing = set(in_examples([e for e in PUSH_EXAMPLES if e["op"] == op], PUSHES[op]))
    assert missing == (ONLY_IN_HISTORY if op == "msg" else set())


@pytest.mark.parametrize(
    ("example", "answer"), list(zip(ANSWER_EXAMPLES, ANSWERS, strict=True)), ids=[cls.__name__ for cls in ANSWERS]
)
def test_an_answer_is_written_so_and_with_every_field(example: dict[str, Any], answer: type[Struct]) -> None:
    ok = msgspec.json.decode(json.dumps(example["ok"]), type=answer)
    assert json.loads(answers.encode_ok(example["id"], ok)) == example
    assert in_examples([example["ok"]], answer) == []


@pytest.mark.parametrize(
    ("listing", "cls"),
    [("rooms", answers.RoomInfo), ("members", answers.MemberInfo), ("limits", answers.Limits), ("msgs", MessageEvent)],
)
def test_what_stands_in_an_answer_has_every_field_in_an_example(listing: str, cls: type[Struct]) -> None:
    found = [
        e["ok"][listing] for e in ANSWER_EXAMPLES if isinstance(e["ok"].get(listing), (list, dict)) and e["ok"][listing]
    ]
    shown = found[0][0] if isinstance(found[0], list) else found[0]
    assert in_examples([shown], cls) == []
    assert json.loads(encode(msgspec.convert(shown, cls))) == shown


def test_an_error_is_written_so() -> None:
    example = next(e for e in EXAMPLES if "err" in e)
    err = example["err"]
    error = RequestError(ErrorCode(err["code"]), err["msg"], err["retry_ms"])
    assert json.loads(answers.encode_error(example["id"], error)) == example


def test_every_code_is_described() -> None:
    assert [code for code in ErrorCode if f"`{code}`" not in PAGE] == []
    assert [int(code) for code in CloseCode if code != CloseCode.NORMAL and str(int(code)) not in PAGE] == []
