"""Every request, push and error of the protocol has a test by its name on both backends."""

from __future__ import annotations

import ast
import re
from typing import get_args

import pytest

from node.client_feed import Pushes
from node.errors import ErrorCode
from node.protocol.pushes import Drain, RoomEvents
from node.protocol.requests import AnyRequest
from tests.documents import ROOT

SOURCE = (ROOT / "tests" / "node" / "test_protocol.py").read_text()
NAMES = [
    node.name
    for node in ast.parse(SOURCE).body
    if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_")
]
REQUESTS = {cls.__struct_config__.tag for cls in get_args(AnyRequest)}
PUSHES = {cls.__struct_config__.tag for cls in (*get_args(RoomEvents), *get_args(Pushes), Drain)}
_ELSEWHERE = {ErrorCode.INTERNAL, ErrorCode.NO_USER, ErrorCode.USER_EXISTS}
ERRORS = {code.value for code in ErrorCode if code not in _ELSEWHERE}
"""No request is answered with ``internal``: the reference client says it of what it cannot understand; accounts are
the admin API's."""


def named(name: str, names: list[str]) -> list[str]:
    """The tests that have a name in theirs, as words of it."""
    return [test for test in names if re.search(rf"_{name}(_|$)", test)]


@pytest.mark.parametrize("name", sorted({*map(str, REQUESTS), *map(str, PUSHES), *ERRORS}))
def test_everything_in_the_protocol_has_a_test_by_name(name: str) -> None:
    assert named(name, NAMES)


def test_a_missing_name_is_seen() -> None:
    assert not named("ban", ["test_unban_lets_in", "test_banana", "test_a_kick"])
    assert named("ban", ["test_ban_keeps_out", "test_a_ban"]) == ["test_ban_keeps_out", "test_a_ban"]


def test_they_run_on_both_backends() -> None:
    assert 'params=["sqlite", "jetstream"]' in (ROOT / "tests" / "node" / "conftest.py").read_text()
    functions = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.AsyncFunctionDef)]
    tests = [node for node in functions if node.name in NAMES]
    assert not [test.name for test in tests if {arg.arg for arg in test.args.args}.isdisjoint({"url", "served"})]
