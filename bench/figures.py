"""The measured figures that docs/scaling.md calculates with, each with its source.

They are read from docs/bench, so that a rerun of the benchmark carries over.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.rows import ROWS
from bench.servers import CHAT, CLUSTER
from bench.table import Results

Round = Mapping[str, float]


class NotMeasured(Exception):
    """A row that is calculated with has no figures."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        value: in ``unit``.
        meaning: what it is.
        source: where it was measured.
    """

    value: float
    unit: str
    meaning: str
    source: str


def read(directory: Path) -> dict[str, Figure]:
    """Name -> figure.

    Args:
        directory: with ``results.json`` of ``bench`` and ``footprint.json`` of ``bench.footprint``.

    Raises:
        NotMeasured: a row is missing that is needed; the message has the remedy.
    """
    results: Results = json.loads((directory / "results.json").read_text())["rows"]
    sizes: Mapping[str, float] = json.loads((directory / "footprint.json").read_text())
    found = {
        "stored_cpu_s": _of(results, "stored", CHAT, _cpu_each, "CPU s", "a message taken, stored and applied"),
        "joined_cpu_s": _of(results, "fanout200", CHAT, _cpu_heard, "CPU s", "a delivery among many in one write"),
        "stream_s": _of(results, "cluster256", CLUSTER, _sent, "messages/s", "through one leader of the log"),
        "applied_s": _of(results, "rebuild", CHAT, lambda found: found["rebuilt_s"], "messages/s", "applied by a node"),
        "opened_s": _of(results, "storm", CHAT, lambda found: found["opened_s"], "connections/s", "taken by a node"),
    }
    stored_s = found["stored_cpu_s"].value
    found["written_cpu_s"] = _written(results, stored_s)
    found["connection_bytes"] = _connection(results)
    return found | {name: Figure(value, "bytes", _SIZES[name], "footprint.json") for name, value in sizes.items()}


_SIZES = {
    "room_bytes": "memory of a room, without its members",
    "standing_bytes": "memory of one member of one room",
    "account_bytes": "memory of an account",
    "logged_message_bytes": "a message in the log",
    "stored_message_bytes": "a message in the store, with its place in the search",
    "frame_bytes": "a message on its way to a client",
}


def _cpu_each(found: Round) -> float:
    return found["server_cpu"] / found["sent_s"]


def _cpu_heard(found: Round) -> float:
    return found["server_cpu"] / found["heard_s"]


def _sent(found: Round) -> float:
    return found["sent_s"]


def _of(results: Results, row: str, server: str, take: Callable[[Round], float], unit: str, meaning: str) -> Figure:
    """The median round of a row."""
    rounds = results.get(row, {}).get(server, ())
    if not rounds:
        raise NotMeasured(f"there is no figure of {server} in the row {row}: run `make bench`")
    return Figure(statistics.median(map(take, rounds)), unit, meaning, f"results.json, row {row}, {server}")


def _written(results: Results, stored_s: float) -> Figure:
    """A delivery that is a write by itself: what a quiet room costs, after the message is paid for.

    Not of the row rooms1000: there each message is a commit of its own, and costs more than its ten deliveries.
    """
    spec = ROWS["latency"].spec

    def each(found: Round) -> float:
        return float((found["server_cpu"] / spec["rate"] - stored_s) / spec["members"])

    return _of(results, "latency", CHAT, each, "CPU s", "a delivery that is a write by itself")


def _connection(results: Results) -> Figure:
    """Memory of a connection; until the row is measured, what one run with 1,000 of them gave."""
    if results.get("idle", {}).get(CHAT):
        return _of(results, "idle", CHAT, lambda found: found["bytes_each"], "bytes", "memory of a connection")
    source = "one run with 1,000 connections, not kept; the row idle takes its place when it is measured"
    return Figure(38_500, "bytes", "memory of a connection", source)
