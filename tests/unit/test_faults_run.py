"""A run that cannot go on: what was seen until then is read, written and judged all the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from tests.faults import workload
from tests.faults.__main__ import judge
from tests.faults.history import Final, Recorder, Send, Stopped, read
from tests.faults.nemesis import Blow
from tests.faults.run import run
from tests.faults.target import FaultError, FaultKind, Look, Target
from tests.faults.workload import Shape

from .local_node import local_node

SHAPE = Shape(seed=1, raw=1, references=1, stalled=0, moderated=0, rooms=1, pause_s=0.02)


@asynccontextmanager
async def _fails(_: str) -> AsyncIterator[None]:
    """As a fault does that has several things to do at once."""
    await trio.sleep(0.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_docker)
    yield


async def _docker() -> None:
    raise FaultError("docker exec: no such container")


@asynccontextmanager
async def _works(_: str) -> AsyncIterator[None]:
    yield


class OneNode(Target):
    """A cluster of one node.

    Args:
        whole: how often it is whole when somebody looks; never any more afterwards.
    """

    nodes = ("node1",)

    def __init__(self, url: str, whole: int) -> None:
        self._url, self._whole = url, whole

    def url(self, node: str) -> str:
        return self._url

    async def token(self, user: str) -> None:
        return None

    async def look(self, node: str, *, figures: bool = False) -> Look | None:
        return Look(True, {"applied": 1, "epoch": "memory", "digest": "d", "digests": {}})

    async def whole(self) -> None:
        await trio.lowlevel.checkpoint()
        self._whole -= 1
        if self._whole < 0:
            raise TimeoutError("not whole after 300 s")

    @property
    def faults(self) -> Mapping[str, FaultKind]:
        return {"fails": FaultKind(self.nodes, 10, _fails), "works": FaultKind(self.nodes, 10, _works)}


@contextmanager
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(workload, "_QUIET_S", 0.2)
        yield


async def _run(history: Path, blow: str, whole: int) -> list[str]:
    told: list[str] = []
    with history.open("wb") as out:
        async with local_node(history.parent) as node:
            target = OneNode(node.url, whole)
            await run(target, Recorder(out), SHAPE, iter([Blow(blow, "node1", 0.5, 0.1)] * 2), 60, told.append)
    return told


@pytest.mark.parametrize(
    ("blow", "whole", "reasons"),
    [
        ("fails", 9, ["docker exec: no such container"]),
        ("works", 1, ["not whole after 300 s"] * 2),
        ("fails", 1, ["docker exec: no such container", "not whole after 300 s"]),
    ],
)
async def test_what_was_seen_is_read_and_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    blow: str,
    whole: int,
    reasons: list[str],
) -> None:
    history, report, plot = (tmp_path / name for name in ("history.jsonl", "report.json", "availability.png"))
    with _quick(monkeypatch):
        told = await _run(history, blow, whole)
    assert [line for line in told if "cannot" in line] == [f"cannot go on: {reason}" for reason in reasons]
    entries = list(read(history))
    assert [entry.reason for entry in entries if isinstance(entry, Stopped)] == reasons
    assert any(isinstance(entry, Send) and entry.outcome == "ok" for entry in entries)
    assert any(isinstance(entry, Final) for entry in entries)
    assert judge(history, report, plot, patience=1) == 1
    printed = capsys.readouterr().out
    assert "all 13 invariants hold" in printed
    assert all(f"the run could not go on: {reason}" in printed for reason in reasons)
    assert json.loads(report.read_bytes())["stopped"] == reasons
    assert plot.read_bytes().startswith(b"\x89PNG")


async def test_a_cluster_that_is_not_whole_at_the_start_is_reported(tmp_path: Path) -> None:
    history, plot = tmp_path / "history.jsonl", tmp_path / "availability.png"
    assert await _run(history, "works", whole=0) == ["cannot go on: not whole after 300 s"]
    assert judge(history, None, plot, patience=1) == 1
    assert plot.exists()


async def test_an_error_of_the_run_itself_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _quick(monkeypatch), pytest.raises(ExceptionGroup) as raised:
        await _run(tmp_path / "history.jsonl", "unknown", whole=9)
    assert raised.group_contains(KeyError)
