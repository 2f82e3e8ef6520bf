"""How long a reader of the log waits for the consumer that it has asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from node.errors import LogUnavailable
from node.log.base import MAX_ENTRY_BYTES, TAIL_BATCH_BYTES, TAIL_BATCH_ENTRIES, Entry
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


@pytest.mark.parametrize(("size", "answers_in_s"), [(MAX_ENTRY_BYTES, 0.0), (10, 0.0), (10, 0.2)])
async def test_what_the_leader_is_asked_for_is_little_and_soon_there(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, size: int, answers_in_s: float
) -> None:
    log = JetStreamLog(["nats://127.0.0.1:1"], None, None, 1)

    async def call(ask: Callable[..., Any]) -> Entry:
        assert isinstance(ask, partial)
        await trio.sleep(answers_in_s)
        if ask.func is not entry_at:
            raise LogUnavailable("nobody hears it")
        return Entry(ask.args[0], b"x" * size)

    monkeypatch.setattr(log.nats, "call", call)
    with trio.fail_after(2):
        batch = await anext(log.tail(0))
    assert [entry.position for entry in batch] == list(range(1, len(batch) + 1))
    assert len(batch) <= TAIL_BATCH_ENTRIES
    assert sum(len(entry.data) for entry in batch) <= TAIL_BATCH_BYTES
    assert trio.current_time() < 1.5 if answers_in_s else len(batch) > 2
