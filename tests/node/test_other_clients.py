"""Clients that nobody here wrote hold the whole conversation: Python's ``websockets``, Node.js's ``ws``, Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.documents import ROOT
from tests.nats_cluster import die_with_parent

from .process import NodeProcess, chat_node, program

pytestmark = pytest.mark.timeout(120)
CLIENTS = ROOT / "tests" / "clients"
ROOM = "general"
PATIENCE_S = 60.0
# A browser that keeps to itself: no requests but those of the page.
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
]  # fmt: skip
HELLO = "hello \N{WAVING HAND SIGN}"


class Talker:
    """A connection by ``websockets``, which shares no code with the node."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._frames: list[dict[str, Any]] = []
        self._last_id = 0

    @classmethod
    @contextlib.contextmanager
    def connected(cls, url: str, user: str) -> Iterator[tuple[Talker, dict[str, Any]]]:
        """A connection that has said hello, and the answer."""
        with connect(url, open_timeout=10, proxy=None) as socket:
            talker = cls(socket)
            yield talker, talker.ask(op="hello", v=[1], user=user)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request; returns the answer's ``ok``."""
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, **request}))
        answer = self.hear(id=self._last_id)
        assert "ok" in answer, answer
        return dict(answer["ok"])

    def hear(self, **wanted: object) -> dict[str, Any]:
        """The first frame, heard already or yet to come, with these fields."""
        while True:
            for frame in self._frames:
                if all(frame.get(name) == value for name, value in wanted.items()):
                    self._frames.remove(frame)
                    return frame
            self._frames.append(json.loads(self._socket.recv(timeout=PATIENCE_S)))


def converse_python(url: str, user: str) -> dict[str, Any]:
    """The conversation of ``tests/clients/conversation.js``."""
    with Talker.connected(url, user) as (first, welcome):
        joined = first.ask(op="join", room=ROOM, limit=0)
        sent = first.ask(op="send", room=ROOM, cid="c-1", body=HELLO)
        pushed = first.hear(op="msg", body="welcome")
    code = first._socket.close_code
    with Talker.connected(url, user) as (second, _):
        missed = second.ask(op="send", room=ROOM, cid="c-2", body="after")
        again = second.ask(op="send", room=ROOM, cid="c-1", body=HELLO)
        resumed = second.ask(op="join", room=ROOM, since={"epoch": joined["epoch"], "seq": pushed["seq"]})
        caught_up = second.hear(op="msg", body="after")
        history = second.ask(op="history", room=ROOM)
    return {
        "welcome": welcome, "joined": joined, "sent": sent, "pushed": pushed, "code": code, "missed": missed,
        "again": again, "resumed": resumed, "caughtUp": caught_up, "history": history,
    }  # fmt: skip


def converse_node_js(url: str, user: str) -> dict[str, Any]:
    """The conversation by Node.js and ``ws``."""
    assert (CLIENTS / "ws" / "node_modules" / "ws").exists(), "ws is missing: run `make tools`"
    done = subprocess.run(
        [program("node"), str(CLIENTS / "ws" / "converse.js"), url, user, ROOM],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


class _Pages(SimpleHTTPRequestHandler):
    """Serves the page and its script, and takes its report."""

    def __init__(self, reports: queue.Queue[dict[str, Any]], *arguments: Any) -> None:
        self._reports = reports
        super().__init__(*arguments, directory=str(CLIENTS))

    def do_POST(self) -> None:
        self._reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Website:
    """A website whose page is a client. Use :meth:`running`."""

    def __init__(self) -> None:
        self._reports: queue.Queue[dict[str, Any]] = queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, self._reports))
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Website]:
        site = cls()
        thread = threading.Thread(target=site.server.serve_forever)
        thread.start()
        try:
            yield site
        finally:
            site.server.shutdown()
            thread.join()
            site.server.server_close()

    def visit(self, profile: Path, url: str, user: str) -> dict[str, Any]:
        """Let Chromium open the page; returns its report."""
        page = f"{self.origin}/page.html?{urlencode({'url': url, 'user': user, 'room': ROOM})}"
        browser = subprocess.Popen(
            [program("chromium"), *CHROMIUM, f"--user-data-dir={profile}", "--remote-debugging-port=0", page],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(profile)},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            return self._reports.get(timeout=PATIENCE_S)
        finally:
            os.killpg(browser.pid, 9)
            browser.wait()


@pytest.fixture(scope="module")
def site() -> Iterator[Website]:
    with Website.running() as site:
        yield site


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, site: Website) -> Iterator[NodeProcess]:
    with NodeProcess.running(tmp_path_factory.mktemp("node"), allowed_origins=site.origin) as node:
        yield node


@contextlib.contextmanager
def greeter(node: NodeProcess, room: str, greeted: str) -> Iterator[None]:
    """Somebody who answers the first hello of another with "welcome", by the reference client's command."""
    arguments = ("--user", "host", "--room", room, "--create")
    assert chat_node("send", *arguments, "the room is open", chat_url=node.url).returncode == 0

    def greet() -> None:
        with Talker.connected(node.url, "greeter") as (talker, _):
            talker.ask(op="join", room=room, limit=0)
            ready.set()
            talker.hear(op="msg", body=HELLO, **{"from": greeted})
            talker.ask(op="send", room=room, cid=f"for-{greeted}", body="welcome")

    ready = threading.Event()
    thread = threading.Thread(target=greet)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield
    finally:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def check(told: dict[str, Any], user: str) -> None:
    """What a client must have been told."""
    assert "error" not in told, told
    assert told["welcome"]["user"] == user
    assert told["code"] == 1000
    assert told["pushed"]["from"] == "greeter"
    assert told["pushed"]["seq"] == told["sent"]["seq"] + 1
    assert told["again"] == {**told["sent"], "dup": True}
    assert told["resumed"]["recovered"] is True
    assert told["caughtUp"]["seq"] == told["missed"]["seq"] == told["pushed"]["seq"] + 1
    last = [(message["from"], message["body"]) for message in told["history"]["msgs"][-3:]]
    assert last == [(user, HELLO), ("greeter", "welcome"), (user, "after")]


def test_python_websockets(node: NodeProcess) -> None:
    with greeter(node, ROOM, "python"):
        told = converse_python(node.url, "python")
    check(told, "python")


def test_node_js_ws(node: NodeProcess) -> None:
    with greeter(node, ROOM, "nodejs"):
        told = converse_node_js(node.url, "nodejs")
    check(told, "nodejs")


def test_chromium_from_a_page_that_is_allowed(node: NodeProcess, site: Website, tmp_path: Path) -> None:
    with greeter(node, ROOM, "browser"):
        told = site.visit(tmp_path, node.url, "browser")
    check(told, "browser")


def test_chromium_from_another_page_is_refused(node: NodeProcess, tmp_path: Path) -> None:
    let_in = node.metric("chat_connections_opened_total")
    with Website.running() as elsewhere:
        assert elsewhere.visit(tmp_path, node.url, "browser") == {"error": "Error: the connection was refused"}
    assert node.metric("chat_connections_opened_total") == let_in
