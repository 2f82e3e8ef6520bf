"""Whether it goes on, and stays bounded: invariant 13."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from msgspec import Struct

from tests.faults.history import Fault, Send
from tests.faults.index import Index
from tests.faults.violations import Violation


class Limits(Struct):
    """What a cluster must keep to.

    Attributes:
        calm_s: the longest that a send may take while nothing is wrong.
        recovery_s: the longest from the end of a fault that left too little to serve until sends succeed.
        memory_bytes: how much a node may grow, at most, over what it had first.
        descriptors, tasks: how many more a node may have at the end than at the start, with no clients.
        patience: by how much all times are multiplied, those of faults too: on a machine that does other work as well.
    """

    calm_s: float = 10.0
    recovery_s: float = 60.0
    memory_bytes: int = 200 * 2**20
    descriptors: int = 32
    tasks: int = 32
    patience: float = 1.0


def goes_on(index: Index, limits: Limits) -> Iterator[Violation]:
    """Invariant 13."""
    spans = _Spans(index.faults, limits)
    for attempts in index.messages.values():
        done = next((send for send in attempts if send.outcome == "ok"), None)
        if done is None and any(send.outcome == "rejected" for send in attempts):
            continue
        begin, end = attempts[0].begin, done.end if done is not None else attempts[-1].end
        allowed_s, since, faults = spans.allowed(begin, end)
        if end - since > allowed_s * limits.patience:
            text = f"a send took {end - since:.1f} s, and {allowed_s * limits.patience:g} s are allowed"
            yield Violation(13, "slow", text, [*_ends(attempts, done), *faults])
    for node in index.samples:
        yield from _bounded(index, node, limits)


def _ends(attempts: list[Send], done: Send | None) -> list[Send]:
    last = done or attempts[-1]
    return [attempts[0]] if last is attempts[0] else [attempts[0], last]


class _Spans:
    """When which fault bears on sends."""

    def __init__(self, faults: list[Fault], limits: Limits) -> None:
        self._faults = faults
        self._limits = limits
        self._begins = [fault.begin for fault in faults]
        self._latest_ends = list(accumulate((fault.end for fault in faults), max))

    def allowed(self, begin: float, end: float) -> tuple[float, float, list[Fault]]:
        """How long a send may take that was under way from ``begin`` to ``end``, from when on, and because of what.

        Time runs from the last blow; after one that left too little to serve, from its end.
        """
        recovery_s = self._limits.recovery_s
        near = self._between(begin - recovery_s, end)
        blind = [fault for fault in near if fault.limit_s is None]
        if blind:
            return recovery_s, max(begin, *(fault.end for fault in blind)), blind
        striking = [(fault, fault.limit_s) for fault in near if fault.end > begin and fault.limit_s is not None]
        if striking:
            faults = [fault for fault, _ in striking]
            return max(limit_s for _, limit_s in striking), max(begin, faults[-1].begin), faults
        return self._limits.calm_s, begin, []

    def _between(self, begin: float, end: float) -> list[Fault]:
        """Faults that lasted at some time in between, in order of their beginning."""
        found = []
        for at in range(bisect_left(self._begins, end) - 1, -1, -1):
            if self._latest_ends[at] < begin:
                break
            if self._faults[at].end >= begin:
                found.append(self._faults[at])
        return found[::-1]


def _bounded(index: Index, node: str, limits: Limits) -> Iterator[Violation]:
    samples = [sample for sample in index.samples[node] if sample.memory_bytes]
    if not samples:
        return
    first, last = samples[0], samples[-1]
    peak = max(samples, key=lambda sample: sample.memory_bytes)
    grown = peak.memory_bytes - first.memory_bytes
    if grown > limits.memory_bytes:
        yield Violation(13, "slow", f"{node} grew by {grown / 2**20:.0f} MiB", [first, peak])
    for name in ("descriptors", "tasks"):
        more = getattr(last, name) - getattr(first, name)
        if more > getattr(limits, name):
            yield Violation(13, "slow", f"{node} has {more} more {name} at the end", [first, last])
