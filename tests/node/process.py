"""Nodes as processes: started, watched, killed and asked how they are."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.nats_cluster import die_with_parent

CHAT_NODE = [sys.executable, "-m", "node"]
START_TIMEOUT_S = 30.0


def environment(**settings: object) -> dict[str, str]:
    """An environment with these settings and none of the developer's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return kept | {name.upper(): str(value) for name, value in settings.items()}


def chat_node(*arguments: str, timeout_s: float = 30, text: str = "", **settings: object) -> Any:
    """Run a command to its end."""
    return subprocess.run(
        [*CHAT_NODE, *arguments],
        env=environment(**settings),
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def program(name: str) -> str:
    """Where a program is that the tests want."""
    found = shutil.which(name)
    assert found, f"{name} is missing: run `make tools`"
    return found


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true after {timeout_s} s")
        time.sleep(0.05)


class NodeProcess:
    """``chat-node serve`` on free ports, which it keeps over restarts."""

    def __init__(self, directory: Path, **settings: object) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.program = CHAT_NODE
        """What is started: the command without its arguments."""
        self._output = directory / "output"
        self._settings: dict[str, object] = {"websocket_port": 0, "http_port": 0, "auth_mode": "guest"}
        self._settings |= {"data_dir": directory / "data", "heartbeat_interval": 1, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path, **settings: object) -> Iterator[NodeProcess]:
        """A node that serves, and whose process is gone at the end."""
        node = cls(directory, **settings)
        try:
            node.start()
            node.wait_serving()
            yield node
        finally:
            node.kill()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._settings['websocket_port']}/ws"

    @property
    def port(self) -> int:
        return int(str(self._settings["websocket_port"]))

    @property
    def http_port(self) -> int:
        return int(str(self._settings["http_port"]))

    @property
    def data_dir(self) -> Path:
        return Path(str(self._settings["data_dir"]))

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """Start the process. Its output begins anew."""
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*self.program, "serve"],
                env=environment(**self._settings),
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    def wait_ended(self) -> int:
        """Wait until the process has ended by itself; returns its exit code."""
        assert self._process is not None
        return self._process.wait(START_TIMEOUT_S)

    @property
    def output(self) -> str:
        """All it printed since its start."""
        return self._output.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]

    def wait_serving(self, patience_s: float = START_TIMEOUT_S) -> None:
        """Wait for the line that says so, and learn the ports from it."""

        def serving() -> dict[str, Any] | None:
            assert self._process is not None
            assert self._process.poll() is None, self.output
            return next((line for line in self.lines() if line["event"] == "serving"), None)

        until(serving, patience_s)
        line = serving()
        assert line is not None
        self._settings["websocket_port"] = line["websocket"].rpartition(":")[2]
        self._settings["http_port"] = line["http"].rpartition(":")[2]

    def kill(self) -> None:
        """End the process as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End the process as an operator would; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_s: float = 40) -> int:
        """Wait for the process to end by itself; returns its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def meta(self) -> dict[str, Any]:
        """What the node's store says of itself."""
        with contextlib.closing(sqlite3.connect(Path(str(self._settings["data_dir"])) / "store.sqlite")) as db:
            return dict(db.execute("SELECT key, value FROM meta"))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of the operators' port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` tells."""
        report: dict[str, Any] = json.loads(self.get("/readyz")[1])
        return report

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 when it is not there yet."""
        wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
        for line in self.get("/metrics")[1].splitlines():
            found, _, value = line.rpartition(" ")
            if found == wanted:
                return float(value)
        return 0.0
