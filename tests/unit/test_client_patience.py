"""How long the reference client waits for a node that says nothing, or is slow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node.client import open_client
from node.client_link import Link, connect_timeout_s
from node.transport.websocket import Disconnected

from .local_node import local_node


def test_a_silent_machine_does_not_keep_it_long_from_the_others() -> None:
    assert [connect_timeout_s(failures, addresses=3) for failures in (0, 1, 2, 3)] == [2, 2, 5, 5]
    assert connect_timeout_s(0, addresses=1) == 5


async def test_it_goes_past_a_machine_that_says_nothing(tmp_path: Path) -> None:
    silent = trio.socket.socket()
    await silent.bind(("127.0.0.1", 0))
    silent.listen(1)
    url = f"ws://127.0.0.1:{silent.getsockname()[1]}/ws"
    with silent:
        async with local_node(tmp_path) as node:
            with trio.fail_after(4.5):
                async with open_client([url, node.url], user="ana", shuffle=False) as ana:
                    assert (await ana.whoami()).user == "ana"


async def test_slow_nodes_are_given_time_once_all_were_tried(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    tried: list[tuple[str, float]] = []

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            @asynccontextmanager
            async def connect(url: str, *, timeout_s: float, **_: Any) -> AsyncIterator[None]:
                tried.append((url, timeout_s))
                if url == "dead" or timeout_s < 3:
                    await trio.sleep(timeout_s + 0.001)
                    raise Disconnected(1006, "no answer")
                nursery.cancel_scope.cancel()
                await trio.sleep(3)
                yield

            monkeypatch.setattr("node.client_link.connect", connect)
            nursery.start_soon(Link(["slow", "slower", "dead"], {}, None, 5, None).run)
    assert tried == [("slow", 2), ("slower", 2), ("dead", 5), ("slow", 5)]
