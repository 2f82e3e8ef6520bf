"""Three nodes as processes on a real three-server NATS cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.nats_cluster import PASSWORD, USER, NatsCluster

from .process import NodeProcess, until

NAMES = ["node1", "node2", "node3"]


class Cluster:
    """See :meth:`running`."""

    def __init__(self, directory: Path, nats: NatsCluster, nodes: list[NodeProcess]) -> None:
        self._directory, self.nats, self.nodes = directory, nats, nodes

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path, own_clock: str = "", /, **settings: object) -> Iterator[Cluster]:
        """Three nodes that serve, and whose processes are gone at the end.

        Args:
            own_clock: name of a node whose clock can be set: see :meth:`set_clock`.
        """
        with ExitStack() as stack:
            (directory / "nats").mkdir()
            nats = stack.enter_context(NatsCluster.running(directory / "nats"))
            nodes = []
            for i, name in enumerate(NAMES):
                urls = ",".join(nats.urls[i:] + nats.urls[:i])  # the nearest first
                own = {"node_id": name, "nats_url": urls, "nats_user": USER, "nats_password": PASSWORD}
                if name == own_clock:
                    own |= _clock(directory / f"{name}.clock")
                nodes.append(stack.enter_context(NodeProcess.running(directory / name, **{**own, **settings})))
            yield cls(directory, nats, nodes)

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def set_clock(self, node: str, ahead_s: int) -> None:
        """Let the clock of the node that has its own be so far ahead of this machine's from now on."""
        file = self._directory / f"{node}.clock"
        assert file.exists(), f"{node} has no clock of its own"
        _write(file, ahead_s)

    def wait_whole(self) -> None:
        """Wait until all nodes are ready, see each other and agree."""
        until(self._whole, 40)

    def _whole(self) -> bool:
        reports = [node.readiness() for node in self.nodes]
        agreed = len({(report["applied"], report["digest"]) for report in reports}) == 1
        return agreed and all(report["ready"] and len(report["peers"]) == 2 for report in reports)


def _clock(file: Path) -> dict[str, str]:
    """Settings that let a process read from a file by how much its time of day is ahead."""
    _write(file, 0)
    return {"pythonpath": str(Path(__file__).with_name("clock")), "clock_file": str(file)}


def _write(file: Path, ahead_s: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(str(ahead_s))
    new.rename(file)
