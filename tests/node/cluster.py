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
        """Let the clock of the node that has its own be so far ahead of this machine's, from now or in a second on."""
        (self._directory / f"{node}.clock").write_text(f"{ahead_s:+d}")

    def wait_whole(self) -> None:
        """Wait until all nodes are ready, see each other and agree."""
        until(self._whole, 40)

    def _whole(self) -> bool:
        reports = [node.readiness() for node in self.nodes]
        agreed = len({(report["applied"], report["digest"]) for report in reports}) == 1
        return agreed and all(report["ready"] and len(report["peers"]) == 2 for report in reports)


def _clock(file: Path) -> dict[str, str]:
    """Settings that let a process read its time of day, but no other time, from a file."""
    file.write_text("+0")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    assert library is not None, "there is no faketime: `make tools` installs it"
    return {
        "ld_preload": str(library),
        "faketime_timestamp_file": str(file),
        "faketime_dont_fake_monotonic": "1",
        "faketime_cache_duration": "1",
    }
