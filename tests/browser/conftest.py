"""A browser, one node, and two nodes on a log of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.nats_cluster import PASSWORD, USER, NatsCluster, free_ports
from tests.node.process import NodeProcess, program, until

# No requests but those of the page.
CHROMIUM = [
    "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-proxy-server",
]  # fmt: skip


def page_of(node: NodeProcess) -> str:
    """Address of a node's page."""
    return f"http://127.0.0.1:{node.http_port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. One for a module: Playwright's event loop must not run beside the Trio of other tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def nobody_stays(browser: Browser) -> Iterator[None]:
    """Who came in a test goes at its end, also when it failed."""
    before = browser.contexts
    yield
    for context in browser.contexts:
        if context not in before:
            context.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that takes guests."""
    with NodeProcess.running(tmp_path_factory.mktemp("node"), send_rate=0, typing_rate=0) as node:
        yield node


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NodeProcess]]:
    """Two nodes that know of each other, and take each other's pages."""
    directory = tmp_path_factory.mktemp("nodes")
    ports = free_ports(4)
    origins = ",".join(f"http://127.0.0.1:{port}" for port in ports[2:])
    with ExitStack() as stack:
        nats = stack.enter_context(NatsCluster.running(_made(directory / "nats")))
        shared: dict[str, object] = {"nats_url": nats.urls[0], "nats_user": USER, "nats_password": PASSWORD}
        shared |= {"allowed_origins": origins, "drain_timeout": 2, "send_rate": 0}
        found = []
        for name, port, http_port in zip(("node1", "node2"), ports[:2], ports[2:], strict=True):
            own = {
                "node_id": name,
                "websocket_port": port,
                "http_port": http_port,
                "public_url": f"ws://127.0.0.1:{port}/ws",
            }
            found.append(stack.enter_context(NodeProcess.running(directory / name, **shared, **own)))
        until(lambda: all(node.readiness()["peers"] for node in found))
        yield found


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
