"""Looks at all nodes from outside while something happens, as a load balancer would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import trio

from tests.scenarios.lab import Lab

INTERVAL_S = 0.2


@dataclass
class Samples:
    """How many nodes were ready, at each look."""

    ready: list[int] = field(default_factory=list)

    @property
    def fewest(self) -> int:
        """The fewest nodes that were ready at once."""
        return min(self.ready)


@asynccontextmanager
async def ready_nodes(lab: Lab) -> AsyncIterator[Samples]:
    """Sample ``/readyz`` of every node until the block ends."""
    samples = Samples()
    async with httpx.AsyncClient(timeout=2) as http, trio.open_nursery() as nursery:
        nursery.start_soon(_sample, http, lab, samples)
        yield samples
        nursery.cancel_scope.cancel()
    assert len(samples.ready) > 1, "nothing was sampled"


async def _sample(http: httpx.AsyncClient, lab: Lab, samples: Samples) -> None:
    """A look begins every 200 ms, whether or not the answers to the one before are there."""
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(_look, http, lab, samples)
            await trio.sleep(INTERVAL_S)


async def _look(http: httpx.AsyncClient, lab: Lab, samples: Samples) -> None:
    answers: list[bool] = []
    async with trio.open_nursery() as nursery:
        for host in lab.hosts.values():
            nursery.start_soon(_ask, http, f"http://{host['ansible_host']}:9090/readyz", answers)
    samples.ready.append(sum(answers))


async def _ask(http: httpx.AsyncClient, url: str, answers: list[bool]) -> None:
    try:
        answers.append((await http.get(url)).status_code == 200)
    except httpx.HTTPError:
        answers.append(False)
