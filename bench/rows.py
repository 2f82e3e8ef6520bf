"""What is measured: the rows of the table, most telling first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.measure import NATS_PY, Measure, Spec, measure_cluster, measure_history, measure_load
from bench.servers import CHAT, CLUSTER, EJABBERD, PEERS
from bench.table import Figure, Goal

_ALL = (CHAT, CLUSTER, *PEERS)
_FSYNC_MS = 5.0
"""What one synced commit may take."""


@dataclass(frozen=True)
class Row:
    """One piece of work, and who does it.

    Attributes:
        spec: what the load is told; ``quick``: what is different in a short run; None: not done in one.
        rounds: how often at most.
    """

    servers: tuple[str, ...]
    figures: tuple[Figure, ...]
    spec: Spec
    quick: Spec | None = None
    measure: Measure = field(default=measure_load)
    rounds: int = 9


def _talk(rooms: int, members: int, senders: int, **more: object) -> Spec:
    return {"work": "talk", "rooms": rooms, "members": members, "senders": senders, "seconds": 2.0, **more}


def _ws(least: float, beyond: float) -> Goal:
    return Goal("ws", least, beyond)


def _nats(least: float, beyond: float) -> Goal:
    return Goal("nats", least, beyond)


def _ejabberd(least: float, beyond: float) -> Goal:
    return Goal(EJABBERD, least, beyond)


ROWS: Mapping[str, Row] = {
    "fanout200": Row(
        (*_ALL, EJABBERD),
        (
            Figure(
                "heard_s",
                "1 room x 200, 20 senders",
                "deliveries/s",
                (_ws(10, 10), _nats(0.7, 1), _ejabberd(3, 10)),
            ),
        ),
        _talk(1, 200, 20, window=64),
        quick={"members": 50, "seconds": 0.5},
    ),
    "fanout1000": Row(
        _ALL,
        (Figure("heard_s", "1 room x 1000, 10 senders", "deliveries/s", (_ws(10, 10), _nats(1, 2))),),
        _talk(1, 1000, 10, window=64),
    ),
    "single200": Row(
        _ALL,
        (Figure("heard_s", "1 room x 200, 1 sender, window of 64", "deliveries/s", (_ws(2, 5),)),),
        _talk(1, 200, 1, window=64),
    ),
    "inbound": Row(
        _ALL,
        (Figure("sent_s", "10 rooms x 2, all send", "messages/s", (_ws(0.5, 1),)),),
        _talk(10, 2, 2, window=64),
    ),
    "stored": Row(
        (CHAT, CLUSTER, EJABBERD),
        (
            Figure(
                "sent_s",
                "stored and acknowledged, 20 senders x 16 in flight",
                "messages/s",
                (Goal("", 20e3, 50e3), _ejabberd(3, 10)),
            ),
        ),
        _talk(20, 1, 1, window=16, acknowledged=True),
        quick={"seconds": 0.5},
    ),
    "cluster256": Row(
        (CLUSTER, NATS_PY),
        (
            Figure(
                "sent_s",
                "stored through one node of the cluster, 256 in flight",
                "messages/s",
                (Goal("", 5e3, 5e3), Goal(NATS_PY, 1, 1)),
                server=CLUSTER,
            ),
        ),
        _talk(16, 1, 1, window=16, acknowledged=True),
        measure=measure_cluster,
    ),
    "cluster1": Row(
        (CLUSTER, NATS_PY),
        (
            Figure(
                "delay_p50_s",
                "the same, 1 in flight, p50",
                "ms",
                (Goal("", 6, 6), Goal(NATS_PY, 1, 1)),
                scale=1e-3,
                less=True,
                server=CLUSTER,
            ),
        ),
        _talk(1, 1, 1, window=1, acknowledged=True, timed=True),
        measure=measure_cluster,
    ),
    "latency": Row(
        _ALL,
        tuple(
            Figure(
                f"delay_{part}_s",
                f"latency {part} at 160 messages/s to 200",
                "ms",
                (Goal("ws", 1, 1, plus=_FSYNC_MS),),
                scale=1e-3,
                less=True,
            )
            for part in ("p50", "p99")
        ),
        _talk(1, 200, 20, rate=160, timed=True) | {"seconds": 4.0},
    ),
    "rooms1000": Row(
        _ALL,
        (Figure("server_cpu", "1,000 rooms x 10, 1 message/s each: CPU", "of a core", (_ws(1, 0.5),), less=True),),
        _talk(1000, 10, 10, rooms_each=10, rate=1000) | {"seconds": 4.0},
        rounds=3,
    ),
    "idle": Row(
        _ALL,
        (Figure("bytes_each", "an idle connection of 4,000", "KB", (Goal("", 20, 11),), scale=1e3, less=True),),
        {"work": "idle", "connections": 4000},
        rounds=1,
    ),
    "storm": Row(
        _ALL,
        (Figure("opened_s", "10,000 connect and say hello", "connections/s", (Goal("websockets", 1, 2),)),),
        {"work": "storm", "connections": 10_000},
        quick={"connections": 100},
        rounds=3,
    ),
    "rebuild": Row(
        (CHAT,),
        (Figure("rebuilt_s", "a fresh node rebuilds from the log", "records/s", (Goal("", 20e3, 100e3),)),),
        {"count": 200_000},
        quick={"count": 2000},
        measure=measure_history,
        rounds=3,
    ),
    "history": Row(
        (CHAT,),
        tuple(
            Figure(f"{kind}_p99_s", f"{words} of 1,000,000 messages, p99", "ms", (Goal("", 10, 2),), 1e-3, less=True)
            for kind, words in (("history", "a page"), ("search", "a search"))
        ),
        {"count": 1_000_000, "asked": 300, "pause_s": 0.005},
        measure=measure_history,
        rounds=1,
    ),
}
