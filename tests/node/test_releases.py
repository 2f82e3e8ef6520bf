"""Two releases side by side: a roll, the way back, and what a release does that is too old for the log."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from node.client import open_client
from tests.nats_cluster import PASSWORD, USER, NatsCluster

from .process import CHAT_NODE, NodeProcess, chat_node, until
from .test_crash import whole_history

pytestmark = pytest.mark.timeout(120)
THIS = CHAT_NODE
NEXT = [sys.executable, "-m", "tests.node.next_release", "2", "1"]
"""The release that brings version 2 reads it, and does not write it."""
AFTER_NEXT = [sys.executable, "-m", "tests.node.next_release", "2", "2"]


@pytest.fixture
def nats_settings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    directory = tmp_path / "nats"
    directory.mkdir()
    with NatsCluster.running(directory) as nats:
        yield {
            "nats_url": ",".join(nats.urls), "nats_user": USER, "nats_password": PASSWORD,
            "heartbeat_interval": 0.5, "heartbeat_timeout": 0.5, "drain_timeout": 0.5, "send_rate": 0,
        }  # fmt: skip


@pytest.fixture
def nodes(tmp_path: Path, nats_settings: dict[str, Any]) -> Iterator[list[NodeProcess]]:
    """Two nodes of this release."""
    with ExitStack() as stack:
        names = ["node1", "node2"]
        yield [
            stack.enter_context(NodeProcess.running(tmp_path / name, node_id=name, **nats_settings)) for name in names
        ]


def replace(node: NodeProcess, program: list[str]) -> None:
    """Roll one node to another release."""
    assert node.stop() == 0
    node.program = program
    node.start()
    node.wait_serving()


def written(nats_settings: dict[str, Any]) -> dict[int, int]:
    """How many entries of which version there are in the log."""
    exported = chat_node("export", "-", **nats_settings)
    assert exported.returncode == 0, exported.stderr
    lines = [json.loads(line) for line in exported.stdout.splitlines()[1:-1]]
    return dict(Counter(line["entry"]["v"] for line in lines))


async def say(node: NodeProcess, *bodies: str) -> None:
    async with open_client([node.url], user="ana") as ana:
        await ana.join("a")
        for body in bodies:
            await ana.send("a", body)


def agree(nodes: list[NodeProcess]) -> bool:
    return len({(report["applied"], report["digest"]) for report in map(NodeProcess.readiness, nodes)}) == 1


async def bodies(node: NodeProcess) -> list[str]:
    async with open_client([node.url], user="ana") as ana:
        return [message.body for message in await whole_history(ana, "a")]


async def test_a_roll_and_the_way_back_meet_only_records_that_both_know(
    nodes: list[NodeProcess], nats_settings: dict[str, Any]
) -> None:
    one, two = nodes
    async with open_client([one.url], user="ana") as ana:
        await ana.create_room("a")
    steps: list[tuple[NodeProcess, list[str]]] = [(one, NEXT), (two, NEXT), (two, THIS), (one, THIS)]
    said = []
    for number, (node, program) in enumerate(steps):
        replace(node, program)
        for speaker in nodes:
            said.append(f"{number} on {speaker.port}")
            await say(speaker, said[-1])
        until(lambda: agree(nodes))
    assert await bodies(one) == await bodies(two) == said
    assert set(written(nats_settings)) == {1}


async def test_a_new_version_is_not_written_beside_a_release_that_does_not_know_it(
    nodes: list[NodeProcess], nats_settings: dict[str, Any]
) -> None:
    """As when an operator skips a release."""
    one, two = nodes
    async with open_client([one.url], user="ana") as ana:
        await ana.create_room("a")
    replace(one, AFTER_NEXT)
    assert two.stop() == 0  # it may come back, and does
    await say(one, "while the old one is away")
    two.start()
    two.wait_serving()
    until(lambda: one.readiness()["peers"] == ["node2"])
    await say(one, "beside the old one")
    until(lambda: agree(nodes))
    assert set(written(nats_settings)) == {1}
    replace(two, AFTER_NEXT)
    until(lambda: {node.readiness()["records"] for node in nodes} == {2})
    await say(one, "all know it")
    until(lambda: agree(nodes))
    assert written(nats_settings)[2] == 1
    before = store_of(two)
    assert two.stop() == 0
    two.program = THIS
    two.start()
    assert two.wait_ended() == 1
    assert "there are records of version 2, and this release knows up to 1: use a newer one" in two.output
    assert "Traceback" not in two.output
    assert store_of(two) == before
    assert await bodies(one) == ["while the old one is away", "beside the old one", "all know it"]


def store_of(node: NodeProcess) -> Any:
    """What a node's store holds of the log."""
    return node.meta()["position"], node.meta()["digest"]


def test_a_release_that_is_too_old_applies_nothing_of_what_it_does_not_know(tmp_path: Path) -> None:
    """On SQLite, where there are no others to wait for, the release after the next writes version 2 at once."""
    with NodeProcess.running(tmp_path, drain_timeout=0.5) as node:
        replace(node, AFTER_NEXT)
        sent = chat_node("send", "--url", node.url, "--user", "ana", "--room", "a", "--create", "hello")
        assert sent.returncode == 0
        node.stop()
        exported = chat_node("export", str(tmp_path / "x"), data_dir=tmp_path / "data")
        assert exported.returncode == 0
        for path in (tmp_path / "data").glob("store.sqlite*"):
            path.unlink()
        node.program = THIS
        node.start()
        assert node.wait_ended() == 1
        assert "records of version 2" in node.output
        assert store_of(node) == (0, b"")
        refused = chat_node("import", str(tmp_path / "x"), data_dir=tmp_path / "new")
        assert refused.returncode == 1
        assert "records of version 2" in refused.stderr
