"""Mutated inputs, the same at every run; ``make fuzz`` runs as many others as are asked for."""

from __future__ import annotations

import random
from typing import Any

import pytest

from node.protocol.session import Session
from node.server import Server
from tests import fuzz

SEED = "check"
SESSION_INPUTS, SOCKET_INPUTS = 18_500, 1_500


async def test_18500_mutated_requests_end_in_an_answer_or_a_close_code() -> None:
    await fuzz.run("session", 0, SESSION_INPUTS, SEED)


async def test_1500_mutated_connections_end_in_an_answer_or_a_close_code() -> None:
    await fuzz.run("socket", 0, SOCKET_INPUTS, SEED)


async def test_what_broke_a_connection_once() -> None:
    """A ping that the library was to answer when it had said goodbye."""
    await fuzz.run("socket", 6992, 1, "12")


@pytest.mark.parametrize("make", [fuzz.mutated_text, fuzz.mutated_bytes])
def test_an_input_depends_on_seed_and_number_alone(make: Any) -> None:
    random.seed(1)
    first = [make(random.Random(f"s:{i}")) for i in range(50)]
    random.seed(2)
    assert [make(random.Random(f"s:{i}")) for i in range(50)] == first
    assert len(set(first)) > 40


@pytest.mark.parametrize(("level", "owner", "name"), [("session", Session, "handle"), ("socket", Server, "_serve")])
async def test_a_planted_error_is_told_with_its_input(
    monkeypatch: pytest.MonkeyPatch, level: str, owner: type, name: str
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(ExceptionGroup) as failed:
        await fuzz.run(level, 3, 1, "s")
    assert failed.group_contains(AssertionError, match=f"tests.fuzz {level} 3 s: ")
