"""The engine's API on its own socket, and the network of a container, for everything that looks at a host.

The socket and not the `docker` command: one look asks thirty questions, and thirty processes take longer than that.
Nothing here changes anything. Uses the standard library alone, because it also runs without Ansible (the hourly check).
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import socket
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any, TypeVar

SOCKET_PATH = "/var/run/docker.sock"
CLONE_NEWNET = 0x40000000  # <linux/sched.h>
T = TypeVar("T")


class EngineError(Exception):
    """The engine did not answer, or refused; the message is its own."""


class _SocketConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET_PATH)


class Engine:
    """Questions to the engine of this machine.

    Args:
        timeout_s: how long one answer may take; a manager without a quorum takes its time to say so.
    """

    def __init__(self, timeout_s: float = 8.0) -> None:
        self._timeout_s = timeout_s

    def get(self, path: str, **query: Any) -> Any:
        """The answer to GET. Values that are no text are sent as JSON, as the API wants its filters.

        Raises:
            EngineError: no answer, or one that tells of an error.
        """
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
        target = f"{path}?{urllib.parse.urlencode(texts)}" if texts else path
        connection = _SocketConnection("docker", timeout=self._timeout_s)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise EngineError(f"{path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise EngineError(f"{path}: {content.get('message', answer.status)}")
        return content

    def containers(self, stack: str, *, ended: bool = False) -> list[dict[str, Any]]:
        """The stack's containers on this machine as inspected; with `ended`, those of former tasks too."""
        labels = {"label": [f"com.docker.stack.namespace={stack}"]}
        listed = self.get("/containers/json", all="1" if ended else "0", filters=labels)
        found = []
        for item in listed:
            try:
                found.append(self.get(f"/containers/{item['Id']}/json"))
            except EngineError:
                continue  # it went between the two questions
        return found


def http_get(host: str, port: int, path: str, timeout_s: float) -> str:
    """The body of an answer of whatever status. Raises OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode(errors="replace")
    finally:
        connection.close()


def in_network_of(pid: int, act: Callable[[], T]) -> T:
    """Call `act` where the network is that of the process `pid`, and return what it returns.

    In a thread of its own: a thread, not a process, belongs to a network, and this one ends with the call.
    Raises what `act` raises, and OSError when the process is gone.
    """
    outcome: list[Any] = []

    def enter_and_act() -> None:
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(namespace)
            outcome.extend([act(), None])
        except Exception as error:
            outcome[:] = [None, error]

    thread = threading.Thread(target=enter_and_act)
    thread.start()
    thread.join()
    result, error = outcome
    if error is not None:
        raise error
    found: T = result
    return found
