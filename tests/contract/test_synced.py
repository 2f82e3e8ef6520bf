"""Nobody can pull the plug here, so the system calls have to show it: synced to disks first, acknowledged then."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.client import open_client
from node.log.jetstream import JetStreamLog
from tests.nats_cluster import PASSWORD, USER, NatsCluster
from tests.node.process import NodeProcess

from .reading import append_surely, surely
from .system_calls import calls, sent_at, synced_at, traced

_TOLD_S = 1.0
"""A call is told when it has ended, which may be after what it sent has come."""
MARK = "a-body-that-is-written-nowhere-else"


@pytest.mark.parametrize(("interval", "safe"), [("always", True), ("2m", False)])
async def test_a_majority_of_the_log_servers_has_synced_before_the_acknowledgement(
    tmp_path: Path, interval: str, safe: bool
) -> None:
    with NatsCluster.running(tmp_path, sync_interval=interval) as cluster:
        log = JetStreamLog(cluster.urls, USER, PASSWORD, replicas=3)
        try:
            await surely(log.open)
            await append_surely(log, "e:1", b"before")
            async with traced([server.pid for server in cluster.servers], tmp_path) as files:
                position = await append_surely(log, "e:2", MARK.encode())
                await trio.sleep(_TOLD_S)
        finally:
            await log.aclose()
    servers = [calls(file) for file in files]
    answers = [sent_at(server, rf"\"seq\":{position}}}") for server in servers]
    left = min(at for at in answers if at is not None)
    synced = [at for at in (synced_at(server, MARK) for server in servers) if at is not None and at <= left]
    assert (len(synced) >= 2) is safe, f"{len(synced)} servers had synced"


UNSYNCED = """
import sqlite3

class Unsynced(sqlite3.Connection):
    def execute(self, sql, *arguments):
        return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *arguments)

connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **how: connect(*arguments, factory=Unsynced, **how)
"""
"""What Python runs at its start: a node whose log does not sync, which this test has to see."""


@pytest.mark.parametrize("safe", [True, False])
async def test_a_single_node_has_synced_before_its_answer_leaves(tmp_path: Path, safe: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text("" if safe else UNSYNCED)
    with NodeProcess.running(tmp_path, pythonpath=tmp_path) as node:
        async with open_client([node.url], user="ana") as client:
            await client.create_room("room")
            await client.join("room", limit=0)
            async with traced([node.process.pid], tmp_path) as [file]:
                acknowledged = await client.send("room", MARK)
                await trio.sleep(_TOLD_S)
    done = calls(file)
    synced, pushed = synced_at(done, MARK), sent_at(done, MARK)
    answered = sent_at(done, rf"\"seq\":{acknowledged.seq}")
    assert answered is not None
    assert pushed is not None
    assert (synced is not None and synced <= min(answered, pushed)) is safe
