"""What a running node tells Prometheus, held against Prometheus's own checker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trio

from node.tracing import trace_id
from tests.unit.local_node import talking

from .process import NodeProcess, until

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".make" / "tools"


def check(text: str) -> tuple[int, str]:
    """What Prometheus's checker thinks of metrics."""
    assert (TOOLS / "promtool").exists(), "promtool is missing: run `make tools`"
    done = subprocess.run(
        [TOOLS / "promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_a_nodes_metrics_are_as_prometheus_wants_them(tmp_path: Path, level: str) -> None:
    with NodeProcess.running(tmp_path, node_id="node7", log_level=level) as node:
        async with talking(node.url, "ana") as ana:
            await ana.ask(op="create_room", room="a")
            await ana.ask(op="join", room="a")
            await ana.ask(op="send", room="a", cid="c1", body="hello")
        status, text = node.get("/metrics")
        assert status == 200
        assert check(text) == (0, "")
        assert node.metric("chat_messages_committed_total") == 1
        assert node.metric("chat_events_delivered_total") >= 1
        await trio.to_thread.run_sync(until, lambda: node.metric("chat_event_loop_delay_seconds_count") > 0)
        assert 'chat_build_info{node="node7"' in text
        traced = [line["event"] for line in node.lines() if line.get("trace") == trace_id("a", "ana", "c1")]
        assert ("message delivered" in traced) == (level == "DEBUG")
