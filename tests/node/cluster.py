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

    def __init__(self, nats: NatsCluster, nodes: list[NodeProcess]) -> None:
        self.nats, self.nodes = nats, nodes

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path, **settings: object) -> Iterator[Cluster]:
        """Three nodes that serve, and whose processes are gone at the end."""
        with ExitStack() as stack:
            (directory / "nats").mkdir()
            nats = stack.enter_context(NatsCluster.running(directory / "nats"))
            nodes = []
            for i, name in enumerate(NAMES):
                urls = ",".join(nats.urls[i:] + nats.urls[:i])  # the nearest first
                log = {"node_id": name, "nats_url": urls, "nats_user": USER, "nats_password": PASSWORD}
                nodes.append(stack.enter_context(NodeProcess.running(directory / name, **{**log, **settings})))
            yield cls(nats, nodes)

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def wait_whole(self) -> None:
        """Wait until all nodes are ready, see each other and agree."""
        until(self._whole, 40)

    def _whole(self) -> bool:
        reports = [node.readiness() for node in self.nodes]
        agreed = len({(report["applied"], report["digest"]) for report in reports}) == 1
        return agreed and all(report["ready"] and len(report["peers"]) == 2 for report in reports)
