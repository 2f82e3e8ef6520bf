"""The load: one process, on a core of its own, which does one piece of work against one server and says how it went.

    python -m bench.load '{"work": "talk", "server": "ws", "port": 8080, ...}'

The one line it prints is JSON. Whatever is not as it should be (a message lost, doubled, a connection closed) is an
error: then there is no figure.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import sys
import time
from contextlib import closing
from typing import Any

from bench.dialects import Step, dialect_of
from bench.table import spread
from bench.talk import Cost, Figures, Talk
from bench.wire import LoadError, Wires, ask, mark_senders

_SAMPLED = 10
"""Of so many connections one has the delays of its messages noted."""
_HISTORY_PAGE = 50

Spec = dict[str, Any]


def talk(wires: Wires, spec: Spec) -> Figures:
    """Groups of ``members`` connections, each in ``rooms_each`` rooms of its own; ``senders`` of each group send."""
    members, each = spec["members"], spec.get("rooms_each", 1)
    groups = [[f"r{group * each + i}" for i in range(each)] for group in range(spec["rooms"] // each)]
    steps = [
        wires.dialect.hello(user) + wires.dialect.join(rooms, user)
        for group, rooms in enumerate(groups)
        for user in range(group * members, (group + 1) * members)
    ]
    _make_rooms(wires, [room for rooms in groups for room in rooms], user=len(steps))
    opened = wires.open(steps)
    senders = [wire for place, wire in enumerate(opened) if place % members < spec["senders"]]
    mark_senders(senders, wires.dialect.acknowledgement if spec.get("acknowledged") else b"")
    wires.settle()
    rooms = [groups[place // spec["senders"]] for place in range(len(senders))]
    talking = Talk(wires, senders, rooms, audience=members, pids=spec["pids"])
    timed = opened[::_SAMPLED] if spec.get("timed") else []
    for wire in timed:
        wire.timed = True
    if "rate" in spec:
        figures = talking.paced(spec["rate"], spec["seconds"])
    else:
        figures = talking.windowed(spec["window"], spec["seconds"])
    if not figures["sent_s"]:
        raise LoadError("nothing came back in time")
    figures["message_s"] = figures["server_cpu"] / figures["sent_s"]
    return figures | spread("delay", [delay for wire in timed for delay in wire.delays])


def storm(wires: Wires, spec: Spec) -> Figures:
    """Connections that come all at once and say who they are."""
    cost, began = Cost(spec["pids"]), time.monotonic()
    wires.open([wires.dialect.hello(user) for user in range(spec["connections"])])
    return {"opened_s": spec["connections"] / (time.monotonic() - began), **cost.figures()}


def idle(wires: Wires, spec: Spec) -> Figures:
    """What a connection costs in memory that is in one room with all others and silent."""
    _make_rooms(wires, ["r0"], user=spec["connections"])
    wires.open([[*wires.dialect.hello(0), *wires.dialect.join(["r0"], 0)]])
    wires.settle()
    cost = Cost(spec["pids"])
    before = cost.memory()
    count = spec["connections"] - 1
    wires.open([wires.dialect.hello(user) + wires.dialect.join(["r0"], user) for user in range(1, count + 1)])
    wires.settle()
    return {"bytes_each": (cost.memory() - before) / count, "memory": cost.memory()}


def memory(wires: Wires, spec: Spec) -> Figures:
    """What a server takes that nobody asks anything."""
    return {"memory": Cost(spec["pids"]).memory()}


def questions(wires: Wires, spec: Spec) -> Figures:
    """Pages of history and searches, one after the other, in a long room, while a message is said with every one."""
    room, chance = spec["room"], random.Random(spec["count"])  # noqa: S311 - the same questions every time
    (asker,) = wires.open([wires.dialect.hello(0) + wires.dialect.join([room], 0)])
    speaker = Wires(wires.dialect, spec["port"])
    with closing(speaker):
        (mouth,) = speaker.open([wires.dialect.hello(1) + wires.dialect.join([room], 1)])
        delays: dict[str, list[float]] = {"history": [], "search": []}
        for number in range(10, 10 + 2 * spec["asked"]):
            said = wires.dialect.message(room, 1, number, f"live {number}")
            ask(mouth, said.encode(), None)
            page = {"op": "history", "room": room, "before": chance.randrange(_HISTORY_PAGE, spec["count"])}
            search = {"op": "search", "room": room, "query": spec["words"][number % len(spec["words"])]}
            kind, question = ("history", page) if number % 2 else ("search", search)
            asked = json.dumps({"id": number, "limit": _HISTORY_PAGE, **question}).encode()
            delays[kind].append(ask(asker, asked, b'{"id":%d,' % number))
            time.sleep(spec["pause_s"])
    return spread("history", delays["history"]) | spread("search", delays["search"])


def _make_rooms(wires: Wires, rooms: list[str], user: int) -> None:
    """Who makes a room is its first member, but listens to none."""
    steps: list[Step] = wires.dialect.make(rooms)
    if steps:
        maker = Wires(wires.dialect, wires.port)
        with closing(maker):
            maker.open([[*wires.dialect.hello(user), *steps]])


def main() -> None:
    """Do the work that the argument says, and print the figures."""
    spec: Spec = json.loads(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    work = {"talk": talk, "storm": storm, "idle": idle, "memory": memory, "questions": questions}[spec["work"]]
    with closing(Wires(dialect_of(spec["server"], spec.get("key", "")), spec["port"])) as wires:
        try:
            print(json.dumps(work(wires, spec)))
        except (LoadError, OSError) as error:
            sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
