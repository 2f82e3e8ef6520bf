"""One message, by one id, in the logs of three nodes: from its sender at one of them to its readers at all."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from node.client import open_client
from node.tracing import trace_id

from .cluster import Cluster
from .process import NodeProcess, until

OF_EVERY_NODE = {"message applied", "message delivered"}
OF_THE_SENDERS_NODE = OF_EVERY_NODE | {"message received", "message appended", "message acknowledged"}


@pytest.mark.timeout(120)
async def test_a_message_has_one_trace_on_all_nodes(tmp_path: Path) -> None:
    trace = trace_id("traced", "user0", "c1")

    def told(node: NodeProcess) -> set[str]:
        return {line["event"] for line in node.lines() if line.get("trace") == trace}

    with Cluster.running(tmp_path, log_level="DEBUG") as cluster:
        cluster.wait_whole()
        async with AsyncExitStack() as stack:
            people = [
                await stack.enter_async_context(open_client([url], user=f"user{number}"))
                for number, url in enumerate(cluster.urls)
            ]
            await people[0].create_room("traced")
            for person in people:
                await person.join("traced")
            await people[0].send("traced", "follow me", cid="c1")
            for node, wanted in zip(cluster.nodes, [OF_THE_SENDERS_NODE, OF_EVERY_NODE, OF_EVERY_NODE], strict=True):
                await trio.to_thread.run_sync(until, lambda node=node, wanted=wanted: told(node) == wanted)
