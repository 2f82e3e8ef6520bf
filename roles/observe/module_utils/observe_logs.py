"""Log lines of containers: read, understood, chosen. Nodes write JSON, log servers text with a level in brackets."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]

LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}
BRACKETS = {"TRC": "debug", "DBG": "debug", "INF": "info", "WRN": "warning", "ERR": "error", "FTL": "critical"}
BRACKETED = re.compile(r"^\[\d+\] \S+ \S+ \[([A-Z]{3})\] (.*)$")
LONGEST_LINE = 8_000


class Choice:
    """Which lines are wanted: those that have all of it.

    Args:
        grep: a regular expression somewhere in the line, "" for any.
        level: the lowest level; a line that has none, as of a traceback, is always wanted.
        room_id: the room a line is about, "" for any.
    """

    def __init__(self, grep: str = "", level: str = "", room_id: str = "") -> None:
        self._grep = re.compile(grep) if grep else None
        self._lowest = LEVELS[level.lower()] if level else 0
        self._room_id = room_id

    def wants(self, entry: Json, line: str) -> bool:
        if self._grep and not self._grep.search(line):
            return False
        if self._room_id and self._room_id not in (entry.get("room_id"), entry.get("room")):
            return False
        level = entry.get("level", "")
        return level not in LEVELS or LEVELS[level] >= self._lowest


def understand(line: str) -> Json:
    """A line's fields, `level` and `event` where they can be told."""
    if line.startswith("{"):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
    bracketed = BRACKETED.match(line)
    if bracketed:
        return {"level": BRACKETS.get(bracketed[1], "info"), "event": bracketed[2]}
    return {"event": line}


def choose(lines: Iterable[str], choice: Choice, tail: int) -> list[Json]:
    """The last `tail` wanted lines (0: all) of `docker logs --timestamps`, as {at, line, ...fields}."""
    kept: deque[Json] = deque(maxlen=tail or None)
    for stamped in lines:
        at, _, line = stamped.rstrip("\n").partition(" ")
        entry = understand(line[:LONGEST_LINE])
        if choice.wants(entry, line):
            kept.append({"at": at, "line": line[:LONGEST_LINE], "fields": entry})
    return list(kept)


def read(container: str, *, since: str = "", follow_s: float = 0, timeout_s: float = 20) -> Iterator[str]:
    """A container's lines with their times, oldest first; with `follow_s`, also those of the next so many seconds."""
    command = ["docker", "logs", "--timestamps"]
    command += ["--since", since] if since else []
    command += ["--follow"] if follow_s else []
    process = subprocess.Popen(
        [*command, container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    timer = threading.Timer(follow_s or timeout_s, process.kill)
    timer.start()
    try:
        yield from process.stdout or ()
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def merge(hosts: dict[str, list[Json]]) -> list[Json]:
    """The lines of all hosts in the order of their times."""
    return sorted(
        ({"host": host} | line for host, lines in hosts.items() for line in lines), key=lambda line: str(line["at"])
    )


def as_text(line: Json) -> str:
    """A line for people: time, service, level, event, and the other fields as name=value."""
    entry = dict(line["fields"])
    level, event = str(entry.pop("level", "")).upper(), entry.pop("event", "")
    for told in ("timestamp", "node", "logger"):
        entry.pop(told, None)
    rest = " ".join(f"{name}={value}" for name, value in entry.items())
    return " ".join(str(part) for part in (line["at"][:23], line["service"].ljust(5), level, event, rest) if part != "")
