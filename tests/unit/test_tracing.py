"""One id for a message on its whole way: only where it is asked for, and the same on every node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from node.tracing import Tracer, trace_id

from .fakes import MemoryLog
from .local_node import local_node, talking, until

WAY = ["message received", "message appended", "message applied", "message acknowledged", "message delivered"]


@pytest.fixture(autouse=True)
def _everything_is_logged() -> Any:
    """Whatever another test has set up."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


def stations(lines: list[Any], trace: str) -> list[str]:
    return [line["event"] for line in lines if line.get("trace") == trace]


async def test_a_message_is_found_by_one_id_on_its_whole_way(tmp_path: Path) -> None:
    log = MemoryLog()
    with capture_logs() as lines:
        async with (
            local_node(tmp_path, log=log, node_id="one", tracer=Tracer()) as one,
            local_node(tmp_path, log=log, node_id="two", tracer=Tracer()) as two,
            talking(one.url, "ana") as ana,
            talking(two.url, "bo") as bo,
        ):
            await ana.ask(op="create_room", room="a")
            for talker in (ana, bo):
                await talker.ask(op="join", room="a")
            await ana.ask(op="send", room="a", cid="c1", body="secret words")
            await bo.pushes(2)
            trace = trace_id("a", "ana", "c1")
            await until(lambda: stations(lines, trace).count("message delivered") == 2)
            await ana.ask(op="send", room="a", cid="c1", body="other words")
    found = stations(lines, trace)
    assert sorted(found) == sorted(
        [*WAY, "message applied", "message delivered", "message received", "message appended", "message refused"]
    )
    assert found.index("message received") < found.index("message appended") < found.index("message acknowledged")
    delivered = [line for line in lines if line["event"] == "message delivered" and line["trace"] == trace]
    assert {(line["user"], line["room_id"]) for line in delivered} == {("ana", "a"), ("bo", "a")}
    assert "words" not in repr(lines)


async def test_without_a_tracer_no_message_leaves_a_line(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with local_node(tmp_path) as node, talking(node.url, "ana") as ana:
            await ana.ask(op="create_room", room="a")
            await ana.ask(op="join", room="a")
            await ana.ask(op="send", room="a", cid="c1", body="x")
    assert not any("message" in line["event"] or "trace" in line for line in lines)


def test_ids_differ_by_room_sender_and_cid() -> None:
    assert (
        len({trace_id(*names) for names in [("a", "b", "c"), ("ab", "", "c"), ("a", "b", "d"), ("a", "bc", "")]}) == 4
    )
    assert trace_id("a", "b", "c") == trace_id("a", "b", "c")
