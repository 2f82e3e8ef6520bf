"""What the nodes of a cluster count of themselves, of each other and of their clients, as it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from websockets.sync.client import connect

from node.client import open_client

from .cluster import Cluster
from .process import NodeProcess, until


async def becomes(node: NodeProcess, name: str, value: float) -> None:
    """Wait until a metric has a value."""
    await trio.to_thread.run_sync(until, lambda: node.metric(name) == value)


@pytest.mark.timeout(120)
async def test_a_clusters_metrics_follow_what_happens(tmp_path: Path) -> None:
    with Cluster.running(tmp_path, heartbeat_timeout=1, drain_timeout=5) as cluster:
        cluster.wait_whole()
        near, other = cluster.nodes[0], cluster.nodes[1]
        await becomes(near, "chat_peers", 2)
        await becomes(near, "chat_connections", 0)
        tasks, sent = near.metric("chat_tasks"), near.metric("chat_sent_bytes_total")
        async with open_client([near.url], user="ana") as ana, open_client([other.url], user="bo") as bo:
            await ana.create_room("a")
            await bo.join("a")
            await ana.send("a", "hello")
            await becomes(near, "chat_connections", 1)
            await becomes(near, "chat_log_lag_entries", 0)
            await becomes(near, "chat_pending_records", 0)
            assert near.metric("chat_tasks") > tasks
            assert near.metric("chat_sent_bytes_total") > sent
            assert near.metric("chat_events_applied_total") == other.metric("chat_events_applied_total") > 0
            cluster.nodes[2].kill()
            await becomes(near, "chat_peers", 1)
            async with open_client([near.url], user="cy") as cy:
                await cy.whoami()
                await becomes(near, "chat_connections", 2)
            await becomes(near, "chat_connections", 1)
        assert near.metric("chat_draining") == 0
        with connect(near.url) as stays:
            stays.send('{"op": "hello", "id": 1, "v": [1], "user": "dora"}')
            stays.recv(5)
            near.process.terminate()
            await becomes(near, "chat_draining", 1)
