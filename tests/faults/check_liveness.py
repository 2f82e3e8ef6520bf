"""Whether it goes on, and stays bounded: invariant 13."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

from msgspec import Struct

from tests.faults.history import Fault, Send
from tests.faults.index import Index
from tests.faults.violations import Violation

_RETRYABLE = frozenset({"rate_limited", "overloaded", "unavailable"})
"""Refusals after which the same message may be sent again (docs/protocol.md)."""


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
        if done is None and _refused_for_good(attempts[-1]):
            continue
        begin, end = attempts[0].begin, done.end if done is not None else attempts[-1].end
        late = next((stretch for stretch in spans.stretches(begin, end) if spans.is_late(stretch)), None)
        if late is not None:
            took = "a send took" if late.until == end else "when the next fault came a send had taken"
            text = f"{took} {late.until - late.since:.1f} s, and {late.allowed_s * limits.patience:g} s are allowed"
            yield Violation(13, "slow", text, [*_ends(attempts, done), *late.faults])
    for node in index.samples:
        yield from _bounded(index, node, limits)


def _refused_for_good(send: Send) -> bool:
    """Whether it makes no sense to send it again."""
    return send.outcome == "rejected" and send.code not in _RETRYABLE


def _ends(attempts: list[Send], done: Send | None) -> list[Send]:
    last = done or attempts[-1]
    return [attempts[0]] if last is attempts[0] else [attempts[0], last]


class _Stretch(NamedTuple):
    """A part of the time for which a send was under way, from one blow to the next.

    Attributes:
        since: from when on time counts.
        allowed_s: by when it must be done, from then on.
        faults: because of which.
    """

    since: float
    until: float
    allowed_s: float
    faults: list[Fault]


class _Spans:
    """When which fault bears on sends."""

    def __init__(self, faults: list[Fault], limits: Limits) -> None:
        self._faults = faults
        self._limits = limits
        self._begins = [fault.begin for fault in faults]
        self._latest_ends = list(accumulate((fault.end for fault in faults), max))

    def is_late(self, stretch: _Stretch) -> bool:
        """Whether the send should have been done by the end of it."""
        return stretch.until - stretch.since > stretch.allowed_s * self._limits.patience

    def stretches(self, begin: float, end: float) -> Iterator[_Stretch]:
        """The parts of the time in which a send was under way, each to be judged: a blow excuses nothing before it."""
        bearing = [f for f in self._between(begin - self._limits.recovery_s, end) if _bears(f, begin)]
        cuts = [begin, *(fault.begin for fault in bearing if fault.begin > begin), end]
        for at, until in pairwise(cuts):
            struck = [fault for fault in bearing if fault.begin <= at]
            since, allowed_s = self._allowed(struck, begin, at)
            yield _Stretch(since, until, allowed_s, struck)

    def _allowed(self, struck: list[Fault], begin: float, at: float) -> tuple[float, float]:
        """From when on, and how long, a send may take that began at ``begin``, and was struck last at ``at``.

        Time runs from the last blow; after one that left too little to serve, from its end.
        """
        limits_s = [fault.limit_s for fault in struck if fault.limit_s is not None]
        blind_ends = [fault.end for fault in struck if fault.limit_s is None]
        found = [(at, max(limits_s))] if limits_s else []
        if blind_ends:
            found.append((max(begin, *blind_ends), self._limits.recovery_s))
        patience = self._limits.patience
        return max(found, key=lambda one: one[0] + one[1] * patience, default=(begin, self._limits.calm_s))

    def _between(self, begin: float, end: float) -> list[Fault]:
        """Faults that lasted at some time in between, in order of their beginning."""
        found = []
        for at in range(bisect_left(self._begins, end) - 1, -1, -1):
            if self._latest_ends[at] < begin:
                break
            if self._faults[at].end >= begin:
                found.append(self._faults[at])
        return found[::-1]


def _bears(fault: Fault, begin: float) -> bool:
    """Whether a fault excuses a send that began then: one that left too little to serve does until all is whole."""
    return begin < fault.end or (fault.limit_s is None and begin < (fault.whole or math.inf))


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
