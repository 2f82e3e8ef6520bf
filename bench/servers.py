"""The servers that are measured: each a process on the servers' core, which ends with the block that started it."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.nats_cluster import PASSWORD, USER, NatsCluster, die_with_parent
from tests.node.process import CHAT_NODE, NodeProcess, until

KEY = "a-key-that-is-long-enough-for-hs256"
_PEERS = Path(__file__).with_name("peers")
_START_TIMEOUT_S = 20.0
_REBUILD_TIMEOUT_S = 1200.0
"""A node that starts on ten million messages takes minutes."""
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]

CHAT, CLUSTER = "chat", "chat (cluster)"
PEERS = ("nats", "ws", "socketio", "websockets")
EJABBERD = "ejabberd"
"""The peer that stores what it delivers."""


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        kind: its name in the table.
        pids: its processes, whose CPU and memory count.
        node: the chat node, if it is one.
    """

    kind: str
    port: int
    pids: list[int] = field(default_factory=list)
    node: NodeProcess | None = None


def pinned(core: int, command: list[str]) -> list[str]:
    """The command, bound to one core."""
    return ["taskset", "--cpu-list", str(core), *command]


@contextmanager
def running(kind: str, directory: Path) -> Iterator[Server]:
    """A peer, or the chat node on one of its logs; its files are in ``directory``."""
    with ExitStack() as stack:
        if kind in (*PEERS, EJABBERD):
            yield stack.enter_context(_peer(kind, directory))
        else:
            yield stack.enter_context(chat_node(directory, clustered=kind == CLUSTER))


@contextmanager
def chat_node(directory: Path, *, clustered: bool = False) -> Iterator[Server]:
    """The real node: tokens, a durable log, and all limits but those of rates."""
    settings: dict[str, object] = {"auth_mode": "token", "jwt_key": KEY, "heartbeat_interval": 25}
    settings |= {"send_rate": 0, "request_rate": 0}
    with ExitStack() as stack:
        if clustered:
            nats = stack.enter_context(NatsCluster.running(directory))
            settings |= {"nats_url": ",".join(nats.urls), "nats_user": USER, "nats_password": PASSWORD}
        node = NodeProcess(directory / "node", **settings)
        node.program = pinned(SERVER_CORE, CHAT_NODE)
        stack.callback(node.kill)
        node.start()
        node.wait_serving(_REBUILD_TIMEOUT_S)
        until(lambda: node.readiness()["ready"], _REBUILD_TIMEOUT_S)
        yield Server(CLUSTER if clustered else CHAT, node.port, [node.process.pid], node)


@contextmanager
def _peer(kind: str, directory: Path) -> Iterator[Server]:
    command = {
        "ws": [_node_js(), str(_PEERS / "ws.js")],
        "socketio": [_node_js(), str(_PEERS / "socketio.js")],
        "websockets": [sys.executable, str(_PEERS / "broadcast.py")],
        "nats": [sys.executable, str(_PEERS / "nats_server.py"), str(directory)],
        EJABBERD: [sys.executable, str(_PEERS / "ejabberd.py"), str(directory)],
    }[kind]
    process = subprocess.Popen(pinned(SERVER_CORE, command), stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        yield Server(kind, _announced_port(process), [process.pid])
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _node_js() -> str:
    """The real program: one in the Python environment is a script that runs it as a child, and would be measured."""
    own = Path(sys.executable).parent
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != own)
    found = shutil.which("node", path=path)
    if found is None:
        raise FileNotFoundError("Node.js is not installed: make tools")
    return found


def _announced_port(process: subprocess.Popen[bytes]) -> int:
    """The first line that a peer prints."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _START_TIMEOUT_S)[0]:
        raise TimeoutError(f"{process.args!r} does not start")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} has ended: see above (bench/peers/install installs what it needs)")
    return int(line)
