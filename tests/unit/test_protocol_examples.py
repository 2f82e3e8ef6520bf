"""The examples in docs/protocol.md are read by the program, and every field of a request stands in it."""

from __future__ import annotations

import json
import re
from typing import get_args

import msgspec
import pytest
from node.protocol.messages import AnyRequest, Drain, MemberEvent, MessageEvent, RoomEvent

from node.errors import CloseCode, ErrorCode, RequestError
from node.protocol import messages
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()
EXAMPLES = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
REQUESTS = {cls.__struct_config__.tag: cls for cls in get_args(AnyRequest)}
PUSHES = {cls.__struct_config__.tag: cls for cls in (MessageEvent, MemberEvent, RoomEvent, Drain)}


def test_every_request_has_an_example() -> None:
    assert {example["op"] for example in EXAMPLES if "op" in example and "id" in example} == set(REQUESTS)


def test_every_push_has_an_example() -> None:
    assert {example["op"] for example in EXAMPLES if "op" in example and "id" not in example} == set(PUSHES)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "id" in e and "op" in e], ids=lambda e: e["op"])
def test_a_request_is_understood_in_every_field(example: dict[str, object]) -> None:
    request = messages.decode_request(json.dumps(example))
    understood = msgspec.to_builtins(request)
    assert {key: understood[key] for key in example} == example


@pytest.mark.parametrize("request_class", REQUESTS.values(), ids=list(REQUESTS))
def test_every_field_of_a_request_is_described(request_class: type[messages.Request]) -> None:
    section = PAGE.split(f"### {request_class.__struct_config__.tag}\n")[1].split("\n## ")[0].split("\n### ")[0]
    missing = [name for name in request_class.__struct_fields__ if name not in ("id",) and name not in section]
    assert missing == []


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "op" in e and "id" not in e], ids=lambda e: e["op"])
def test_a_push_is_written_so(example: dict[str, object]) -> None:
    push = msgspec.convert(example, PUSHES[str(example["op"])])
    assert json.loads(messages.encode(push)) == example


def test_an_error_is_written_so() -> None:
    example = next(e for e in EXAMPLES if "err" in e)
    err = example["err"]
    error = RequestError(ErrorCode(err["code"]), err["msg"], err["retry_ms"])
    assert json.loads(messages.encode_error(example["id"], error)) == example


def test_every_code_is_described() -> None:
    assert [code for code in ErrorCode if f"`{code}`" not in PAGE] == []
    assert [int(code) for code in CloseCode if code != CloseCode.NORMAL and str(int(code)) not in PAGE] == []
