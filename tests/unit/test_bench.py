"""The benchmark's pure half: figures, verdicts, the table, and how the load counts."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.dialects import MARK, Chat, Nats, body_of
from bench.growth import keep
from bench.rows import ROWS
from bench.table import Figure, Goal, asked, markdown, median_of, number, percentile, spread, verdict
from bench.wire import Wires, frame, mark_senders

MORE = Figure("rate", "work", "messages/s", (Goal("ws", 2, 4),))
LESS = Figure("delay", "wait", "ms", (Goal("ws", 1, 0.5),), scale=1e-3, less=True)


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1), (0.001, 1)])
def test_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile(range(100, 0, -1), share) == value


def test_spread_of_nothing_is_nothing() -> None:
    assert spread("delay", []) == {}
    assert spread("delay", [0.3, 0.1, 0.2]) == {"delay_p50_s": 0.2, "delay_p99_s": 0.3}


def test_the_middle_round_counts_in_the_figures_unit() -> None:
    assert median_of([{"delay": 0.5}, {"delay": 0.001}, {"delay": 0.002}], LESS) == 2
    assert median_of([{"other": 1.0}], LESS) is None


@pytest.mark.parametrize(
    ("figure", "ours", "word"),
    [(MORE, 19, "**not reached**"), (MORE, 20, "reached"), (MORE, 40, "beyond"),
     (LESS, 11, "**not reached**"), (LESS, 10, "reached"), (LESS, 5, "beyond")],
)  # fmt: skip
def test_verdict_on_a_ratio(figure: Figure, ours: float, word: str) -> None:
    assert verdict(figure, figure.goals[0], {"chat": ours, "ws": 10}) == f"{number(ours / 10)} x ws: {word}"


def test_verdict_on_a_sum_and_on_a_figure_by_itself() -> None:
    plus = Goal("ws", 1, 1, plus=5)
    assert verdict(LESS, plus, {"chat": 14, "ws": 10}) == "ws + 4 ms: reached"
    assert verdict(LESS, plus, {"chat": 16, "ws": 10}) == "ws + 6 ms: **not reached**"
    assert verdict(MORE, Goal("", 20, 30), {"chat": 25}) == "25 messages/s: reached"


@pytest.mark.parametrize("medians", [{"ws": 10.0}, {"chat": 10.0}, {"chat": 1.0, "ws": 0.0}])
def test_no_verdict_without_both_figures(medians: dict[str, float]) -> None:
    assert verdict(MORE, MORE.goals[0], medians) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3_123_456, "3,120,000"), (999, "999"), (12.345, "12.3"), (10, "10"), (0.0456, "0.0456"), (0.5, "0.5")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_table_has_a_line_for_each_figure_and_stars_where_the_load_was_the_limit() -> None:
    results = {"row": {"chat": [{"rate": 30.0, "load_cpu": 0.95}], "ws": [{"rate": 10.0, "load_cpu": 0.2}]}}
    *_, line = markdown({"row": (MORE,)}, results, ["chat", "ws", "nats"]).splitlines()
    assert line == "| work (messages/s) | 30 * | 10 |  | at least 2 (4) x ws | 3 x ws: reached |"


def test_goals_name_peers_that_do_the_work() -> None:
    for row in ROWS.values():
        for figure in row.figures:
            assert {figure.server, *(goal.of for goal in figure.goals if goal.of)} <= set(row.servers)
            assert all(asked(figure, goal) for goal in figure.goals)


def test_a_frame_is_masked_and_whole() -> None:
    for payload in (b"", b"x" * 125, b"y" * 126, b"z" * 4000):
        made = frame(payload, 1)
        wide = 2 if len(payload) > 125 else 0
        mask, masked = made[2 + wide : 6 + wide], made[6 + wide :]
        assert made[1] & 0x80
        assert bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked)) == payload
        length = int.from_bytes(made[2:4], "big") if wide else made[1] & 0x7F
        assert length == len(payload)


@pytest.fixture
def listened() -> Iterator[tuple[Wires, socket.socket]]:
    """One open connection of a load, and its far end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        wires = Wires(Nats(), server.getsockname()[1])
        wire = wires._start([(b"hello", b"\r\n\r\n")])
        far, _ = server.accept()
        with far:
            far.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            assert [wire.opening(wires._take(ready)) for ready in wires._ready(1.0)] == [True]
            wires.all = [wire]
            yield wires, far
            wires.close()


@pytest.mark.parametrize("cut", range(1, 40))
def test_messages_are_counted_once_wherever_a_read_ends(listened: tuple[Wires, socket.socket], cut: int) -> None:
    wires, far = listened
    mark_senders(wires.all, b"")
    own: list[int] = []
    said = b"..".join(body_of(sender, 1, 0).encode() for sender in (0, 1, 0))
    for part in (said[:cut], said[cut : cut + 5], said[cut + 5 :]):
        far.sendall(part)
        assert wires.count(1.0, lambda wire, count: own.append(count))
    assert (wires.heard, sum(own)) == (3, 2)


def test_delays_count_from_when_a_message_was_due(listened: tuple[Wires, socket.socket]) -> None:
    wires, _ = listened
    (wire,) = wires.all
    said = body_of(7, 1, 1_000_000).encode() + body_of(7, 2, 1_500_000).encode()
    wire.note_delays(said[:120], 2.0)
    wire.note_delays(said[120:], 3.0)
    assert wire.delays == [1.0, 1.5]


def test_a_body_has_its_size_and_one_mark() -> None:
    body = body_of(3, 12, 5)
    assert (len(body), body.encode().count(MARK)) == (100, 1)
    assert body in Chat("k").message("r0", 3, 12, body)


def test_a_series_is_kept_beside_those_measured_before(tmp_path: Path) -> None:
    file = tmp_path / "growth.json"
    keep({"history": {1000: 1.0}, "members": {2: 2.0, 10: 3.0}}, file)
    kept = keep({"history": {1000: 4.0}, "rooms": {10: 5.0}}, file)
    assert kept == {"members": {2: 2.0, 10: 3.0}, "rooms": {10: 5.0}, "history": {1000: 4.0}}
    assert {
        name: {int(much): cost for much, cost in costs.items()} for name, costs in json.loads(file.read_text()).items()
    } == kept
