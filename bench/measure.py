"""One measurement: a server is started, a load does its work against it, both end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.history import ROOM, WORDS, write_log
from bench.servers import KEY, LOAD_CORE, Server, chat_node, pinned, running
from tests.nats_cluster import PASSWORD, USER, NatsCluster, die_with_parent

Spec = dict[str, Any]
Measured = dict[str, float]
Measure = Callable[[str, Path, Spec], Measured]
"""Server, a directory of its own, what to do."""

_TIMEOUT_S = 180.0
_NATS_PY = Path(__file__).with_name("peers") / "nats_py.py"
NATS_PY = "nats-py"


def measure_load(kind: str, directory: Path, spec: Spec) -> Measured:
    """What the load says of one server."""
    with running(kind, directory) as server:
        return load(server, spec)


def measure_cluster(kind: str, directory: Path, spec: Spec) -> Measured:
    """The same through a node on the cluster, or nats-py on such a cluster by itself."""
    if kind != NATS_PY:
        return measure_load(kind, directory, spec)
    with NatsCluster.running(directory) as cluster:
        in_flight = spec["window"] * spec["rooms"]
        arguments = [",".join(cluster.urls), USER, PASSWORD, str(in_flight), str(spec["seconds"])]
        return _run([sys.executable, str(_NATS_PY), *arguments])


def measure_history(kind: str, directory: Path, spec: Spec) -> Measured:
    """A node starts on a log with a long past, and is asked about it."""
    data_dir = directory / "node" / "data"
    write_log(data_dir, spec["count"])
    began = time.monotonic()
    with chat_node(directory) as server:
        figures = {"rebuilt_s": spec["count"] / (time.monotonic() - began)}
        if spec.get("asked"):
            figures |= load(server, {"work": "questions", "room": ROOM, "words": WORDS, **spec})
    return figures


def load(server: Server, spec: Spec) -> Measured:
    """What the load says that does this to a server."""
    told = {**spec, "server": server.kind, "port": server.port, "pids": server.pids, "key": KEY}
    return _run([sys.executable, "-m", "bench.load", json.dumps(told)])


def _run(command: list[str]) -> Measured:
    """Run a load on its core; its figures are the line it prints."""
    done = subprocess.run(
        pinned(LOAD_CORE, command),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        preexec_fn=die_with_parent,
        check=False,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["the load said nothing"])[-1])
    figures: Measured = json.loads(done.stdout)
    return figures
