"""All three nodes restarted, one after the other, while fifty people chat with the reference client."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from node.client import ChatClient, open_client
from tests.scenarios import chatting

from .cluster import NAMES, Cluster

PEOPLE = 50


@pytest.mark.timeout(240)
async def test_a_rolling_restart_loses_repeats_and_reorders_nothing(tmp_path: Path) -> None:
    with Cluster.running(tmp_path, heartbeat_timeout=2, drain_timeout=5) as cluster:
        cluster.wait_whole()

        def connect(user: str) -> AbstractAsyncContextManager[ChatClient]:
            return open_client(cluster.urls, user=user)

        async with chatting.crowd(connect, "roll", PEOPLE) as going:
            await trio.sleep(2)
            for node in cluster.nodes:
                assert await trio.to_thread.run_sync(node.stop) == 0
                node.start()
                await trio.to_thread.run_sync(node.wait_serving)
                await trio.to_thread.run_sync(cluster.wait_whole)
            await trio.sleep(2)
        histories = []
        for url in cluster.urls:
            async with open_client([url], user="reader") as reader:
                histories.append(await chatting.history(reader, going.room))
        going.check(histories)
        moved = {name for nodes in going.nodes.values() for name in nodes[1:]}
        print(f"{len(going.acknowledged)} messages; longest wait for a send: {going.longest_silence_s:.1f} s")
        assert len(going.shown) == PEOPLE
        assert moved == set(NAMES), "every node was left for another"
        assert going.longest_silence_s < 15
