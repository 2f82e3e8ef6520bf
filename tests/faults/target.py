"""What a cluster under test is to a workload and to a nemesis."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.history import Fault, Recorder

_LOOK_TIMEOUT_S = 2.0


class FaultError(Exception):
    """The fault itself could not be brought about, or not be taken away."""


@dataclass(frozen=True)
class Look:
    """How a node is now. Figures are 0 when they were not asked for.

    Attributes:
        readyz: what it tells under ``/readyz``.
        tasks: of Trio, in the node.
    """

    ready: bool
    readyz: dict[str, Any]
    memory_bytes: int = 0
    descriptors: int = 0
    tasks: int = 0


@dataclass(frozen=True)
class FaultKind:
    """Something that can be done to a cluster.

    Attributes:
        targets: to what: names of machines, or of the one thing that there is to hit.
        limit_s: the longest that a send may take meanwhile; None when too little is left to serve.
        strike: hits one of the targets; the fault lasts while its block runs, and its cause is taken away at the end
            of it. What comes back need not serve yet: :meth:`Target.whole` waits for that.
    """

    targets: Sequence[str]
    limit_s: float | None
    strike: Callable[[str], AbstractAsyncContextManager[None]]


class Target(ABC):
    """A cluster under test.

    A kind of fault is named after what is hit and how, so that reports of different clusters can be laid side by side.
    By SIGKILL or the plug: ``node killed``, ``log server killed``, ``log leader killed``, ``engine killed``,
    ``host killed``, ``all killed``. By SIGSTOP: ``node frozen``, ``log server frozen``. By the net: ``host cut off``,
    ``host hears nothing``, ``log servers cut off``, ``clients cut off``. By what runs out: ``node disk full``,
    ``log disk full``, ``all log disks full``, ``descriptors exhausted``. Others: ``clock jumps``, ``rolling update``,
    ``rollback``.
    """

    nodes: Sequence[str]
    """Names of the nodes, as they call themselves."""

    @abstractmethod
    def url(self, node: str) -> str:
        """Where clients find a node: ``ws://HOST:PORT/ws``."""

    @abstractmethod
    async def token(self, user: str) -> str | None:
        """A token for a user; None where a name is enough."""

    @abstractmethod
    async def look(self, node: str, *, figures: bool = False) -> Look | None:
        """How a node is, with its resource figures if wanted; None when it does not answer within a few seconds."""

    @abstractmethod
    async def whole(self) -> None:
        """Wait until all nodes are ready, see each other and agree.

        Raises:
            TimeoutError: they do not get there by themselves.
        """

    @property
    @abstractmethod
    def faults(self) -> Mapping[str, FaultKind]:
        """Name -> what can be done to this cluster."""


@asynccontextmanager
async def struck(target: Target, recorder: Recorder, name: str, at: str) -> AsyncIterator[None]:
    """A fault that lasts while the block runs, written down; returns when the cluster is whole again."""
    kind = target.faults[name]
    begin = recorder.now()
    end = whole = 0.0
    try:
        async with kind.strike(at):
            yield
        end = recorder.now()
        await target.whole()
        whole = recorder.now()
    finally:
        recorder.note(Fault(name, at, begin, end or recorder.now(), kind.limit_s, whole))


async def look_at(http: httpx.AsyncClient, address: str, *, figures: bool) -> Look | None:
    """How the node is whose operators' port is at ``http://HOST:PORT``."""
    try:
        answer = await http.get(f"{address}/readyz", timeout=_LOOK_TIMEOUT_S)
        readyz = answer.json()
        metrics = (await http.get(f"{address}/metrics", timeout=_LOOK_TIMEOUT_S)).text if figures else ""
    except (httpx.HTTPError, ValueError):
        return None
    found = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    memory, descriptors, tasks = (
        int(float(found.get(name, 0))) for name in ("process_resident_memory_bytes", "process_open_fds", "chat_tasks")
    )
    return Look(bool(readyz["ready"]), readyz, memory, descriptors, tasks)
