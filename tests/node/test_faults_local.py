"""Three nodes on this machine, people who chat on them, and parts that die under them: nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
import trio

from tests.faults.check_liveness import Limits
from tests.faults.checker import check_index
from tests.faults.history import Recorder, read
from tests.faults.index import Index
from tests.faults.local import LocalTarget
from tests.faults.report import as_text, report
from tests.faults.target import struck
from tests.faults.workload import Shape, workload

from .cluster import Cluster

_PATIENCE = 3
"""This machine does other work as well."""


@pytest.mark.timeout(180)
async def test_what_clients_saw_while_parts_died_breaks_no_invariant(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    with (
        Cluster.running(tmp_path, "node1", heartbeat_timeout=2, drain_timeout=2, max_unsent_bytes=524288) as cluster,
        file.open("wb") as out,
    ):
        cluster.wait_whole()
        recorder = Recorder(out)
        async with httpx.AsyncClient() as http:
            target = LocalTarget(cluster, http)
            async with workload(target, recorder, Shape(seed=7, pause_s=0.15, storm_s=5)):
                await trio.sleep(3)
                async with struck(target, recorder, "node killed", "node2"):
                    await trio.sleep(3)
                async with struck(target, recorder, "log leader killed", "leader"):
                    await trio.sleep(3)
                async with struck(target, recorder, "clock jumps", "node1"):
                    await trio.sleep(2)
                await trio.sleep(3)
    index = Index(read(file))
    found = check_index(index, Limits(patience=_PATIENCE))
    made = report(index, found)
    print(as_text(made, found))
    assert not found
    assert made.acknowledged > 200
    assert {fault.name for fault in made.faults} == {"node killed", "log leader killed", "clock jumps"}
    assert made.refusals["cid_conflict"]
    assert made.resent
    assert max(push.event.ts for _, push in index.pushes) / 1000 > time.time() + 3000, "the clock did not jump"
