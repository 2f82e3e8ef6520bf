"""What a watch over the chat makes of its samples. Pure; the module brings them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

ERROR_CODES = ("internal", "outcome_unknown", "overloaded", "unavailable")
"""Refusals that the service is to blame for, not the client."""

_REFUSED = re.compile(r'^chat_requests_refused_total\{code="(\w+)"\} (\S+)$', re.MULTILINE)


def errors_of(metrics: str) -> int:
    """How many requests a node refused through its own fault, from what `/metrics` says."""
    return sum(int(float(count)) for code, count in _REFUSED.findall(metrics) if code in ERROR_CODES)


@dataclass
class Sample:
    """One look: which nodes were ready, their errors so far (None: silent), each service's tasks by id."""

    ready: dict[str, bool]
    errors: dict[str, int | None]
    tasks: dict[str, set[str]]


@dataclass
class Watch:
    """All samples taken together."""

    first: Sample
    last: Sample = field(init=False)
    samples: int = 1
    not_ready: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last = self.first
        self._count(self.first)

    def add(self, sample: Sample) -> None:
        """Take another sample into account."""
        self.samples += 1
        self._count(sample)
        for name, total in sample.errors.items():
            before = self.last.errors.get(name)
            if total is None:
                # It is not ready either; what it counted before stays the point to count from.
                sample.errors[name] = before
                continue
            # A counter that went back belongs to a process that began anew.
            new = total - before if before is not None and total >= before else (0 if before is None else total)
            self.errors[name] = self.errors.get(name, 0) + new
        for service, tasks in sample.tasks.items():
            new_tasks = tasks - self.last.tasks.get(service, set())
            self.restarts[service] = self.restarts.get(service, 0) + len(new_tasks)
            sample.tasks[service] = tasks | self.last.tasks.get(service, set())
        self.last = sample

    def _count(self, sample: Sample) -> None:
        for name, ready in sample.ready.items():
            self.not_ready[name] = self.not_ready.get(name, 0) + (not ready)

    def report(self, seconds: float, errors_per_minute: float) -> dict[str, Any]:
        """Figures for each chat node and log server, and the `regressions`: what was worse than it may be."""
        names = sorted(self.not_ready.keys() | self.last.tasks.keys())
        nodes = {
            name: {
                "not_ready": self.not_ready.get(name, 0),
                "errors": self.errors.get(name, 0),
                "restarts": self.restarts.get(name, 0),
            }
            for name in names
        }
        allowed = errors_per_minute * seconds / 60
        found = []
        for name, seen in nodes.items():
            if seen["restarts"]:
                found.append(f"{name} was started {seen['restarts']} times")
            if seen["not_ready"]:
                found.append(f"{name} was not ready in {seen['not_ready']} of {self.samples} samples")
            if seen["errors"] > allowed:
                found.append(f"{name} answered {seen['errors']} requests with an error of its own")
        return {"seconds": round(seconds), "samples": self.samples, "nodes": nodes, "regressions": found}
