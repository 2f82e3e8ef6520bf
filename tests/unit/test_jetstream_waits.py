"""How long a reader of the log waits for the consumer that it has asked for."""

from __future__ import annotations

from node.log.jetstream import consume_timeout_s
from node.log.stream import API_TIMEOUT_S

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
