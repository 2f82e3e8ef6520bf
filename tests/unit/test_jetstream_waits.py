"""How long a reader of the log waits for the consumer that it has asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio.testing

from node.errors import LogUnavailable
from node.log.jetstream import JetStreamLog, consume_timeout_s
from node.log.stream import API_TIMEOUT_S, entry_at

_ELECTION_S = 9.0
"""By nats-server, 4 to 9 s; a dead consumer is noticed after three of them."""
_NOTICED_S = 3.0


def test_a_question_lost_in_an_election_is_soon_asked_again() -> None:
    asked = [consume_timeout_s(lost) for lost in range(12)]
    assert max(asked) <= 0.5
    assert sum(asked) >= _ELECTION_S - _NOTICED_S


def test_a_slow_server_is_given_more_and_more_time() -> None:
    later = [consume_timeout_s(lost) for lost in range(13, 20)]
    assert later == sorted(later)
    assert (later[0], later[-1]) == (1.0, API_TIMEOUT_S)
    assert consume_timeout_s(10_000) == API_TIMEOUT_S


async def test_a_reader_counts_what_was_lost(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    log, waited = JetStreamLog(["nats://127.0.0.1:1"], None, None, 1), list[float]()
    leader_asked = 0

    async def call(ask: Callable[..., Any]) -> None:
        nonlocal leader_asked
        assert isinstance(ask, partial)
        if ask.func is entry_at:
            leader_asked += 1
            raise LogUnavailable("nor this")
        waited.append(ask.args[1])
        if len(waited) == 16:
            raise EOFError
        raise LogUnavailable("nobody hears it")

    monkeypatch.setattr(log.nats, "call", call)
    with pytest.raises(EOFError):
        await anext(log.tail(0))
    assert waited == [consume_timeout_s(lost) for lost in range(16)]
    assert waited[-1] > waited[0]
    assert leader_asked == 15
