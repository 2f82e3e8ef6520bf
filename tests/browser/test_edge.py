"""The page through the edge: one address for everything, and TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.node.edge import EdgeProcess, make_root
from tests.node.process import NodeProcess

from .people import Person

pytestmark = pytest.mark.timeout(120)


def test_people_chat_through_the_edge_and_stay_when_it_is_configured_anew(
    browser: Browser, node: NodeProcess, tmp_path: Path
) -> None:
    edge = EdgeProcess(tmp_path / "edge", make_root(tmp_path), (node.port, node.http_port), edge_nodes=["127.0.0.1"])
    with edge.running():
        # Whether the certificate is trusted, other tests see; a browser's own store of roots is not touched.
        ana = Person(browser.new_context(ignore_https_errors=True), "ana")
        sockets: list[str] = []
        ana.page.on("websocket", lambda socket: sockets.append(socket.url))
        ana.sign_in(f"https://127.0.0.1:{edge.https_port}/")
        ana.create("edge", "Edge")
        ana.say("through the edge")
        ana.sees("through the edge")
        edge.reload(edge_idle_timeout_s=77)
        ana.say("and still there")
        ana.sees("and still there")
        expect(ana.status).to_contain_text("Connected to")
        assert sockets == [edge.url]
        assert ana.problems == []
        ana.context.close()
