"""In which order things came, and were seen: invariants 5, 6, 7, 8 and 11."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.faults.history import Edit, Entry, Join, Moderate, Named, Page, Push, Send
from tests.faults.index import RESTORE, Index, Place
from tests.faults.violations import Violation, cut, only

NOTICE_S = 3.0
"""A node that finds itself behind may need this long to say so by ``/readyz``."""


def every_event_once(index: Index) -> Iterator[Violation]:
    """Invariant 5."""
    for sub, stream in index.streams.items():
        yield from _unbroken(index.joins[sub], stream)
    for join in index.joins.values():
        if join.reason == "epoch_changed" and join.epoch == join.since_epoch:
            yield Violation(5, "lost", "a change of epoch was told that was none", [join])
    yield from _seen_to_the_end(index)


def _unbroken(join: Join, stream: list[Push | Named]) -> Iterator[Violation]:
    wanted = _first_wanted(join)
    before: list[Push] = []
    for entry in stream:
        if isinstance(entry, Named):
            wanted = None
            continue
        seq = entry.event.seq
        if wanted is not None and seq > wanted:
            yield Violation(5, "lost", f"a hole: {seq} instead of {wanted}", [join, *before, entry])
        elif wanted is not None and seq < wanted:
            yield Violation(5, "repeated", f"a step back: {seq} instead of {wanted}", [join, *before, entry])
        wanted, before = seq + 1, [entry]


def _first_wanted(join: Join) -> int | None:
    """The seq that must come first; None when anything may."""
    if join.since is not None and join.recovered:
        return join.since + 1
    return None if join.head is None else max(join.first, join.head - join.limit + 1)


def _seen_to_the_end(index: Index) -> Iterator[Violation]:
    """Who receives a room when nothing is sent any more has been shown its last event."""
    settled = min((final.begin for final in index.finals.values()), default=0.0)
    ends = {(final.room, final.epoch): final for final in index.finals.values()}
    latest = {(join.client, join.room): join for join in _in_time(index.joins.values()) if join.outcome == "ok"}
    for join in latest.values():
        final, ended = ends.get((join.room, join.epoch)), index.ends.get((join.client, join.conn))
        stream = index.streams.get(join.sub, [])
        if final is None or (ended is not None and ended.at < settled) or (stream and not isinstance(stream[-1], Push)):
            continue
        last = stream[-1] if stream else None
        wanted = _first_wanted(join)
        reached = last.event.seq if isinstance(last, Push) else None if wanted is None else wanted - 1
        head = index.head_at(join)
        if reached is None or head is None or index.parted(join.room, join.epoch, join.user, head):
            continue
        if reached < final.head:
            shown = [last] if last is not None else []
            text = f"{join.client} was shown nothing after {reached}, and the room goes on to {final.head}"
            yield Violation(5, "lost", text, [join, *shown, only(final)])


def _in_time(joins: Iterable[Join]) -> list[Join]:
    return sorted(joins, key=lambda join: join.begin)


class _Mark(NamedTuple):
    """At ``at`` it was known that a room has at least ``seq`` events."""

    at: float
    seq: int
    entry: Entry


class _Sweep:
    """The highest seq known before a moment. Moments are asked for in order of time."""

    def __init__(self, marks: list[_Mark]) -> None:
        self._marks = iter(sorted(marks, key=lambda mark: mark.at))
        self._next = next(self._marks, None)
        self._highest: _Mark | None = None

    def before(self, at: float) -> _Mark | None:
        while self._next is not None and self._next.at < at:
            if self._highest is None or self._next.seq > self._highest.seq:
                self._highest = self._next
            self._next = next(self._marks, None)
        return self._highest


def _acknowledgements(index: Index) -> dict[Place, list[_Mark]]:
    found: dict[Place, list[_Mark]] = defaultdict(list)
    changes: list[Send | Edit | Moderate] = [*index.sends, *index.edits, *index.moderations]
    for call in changes:
        if call.outcome == "ok":
            found[call.room, call.epoch].append(_Mark(call.end, call.seq, call))
    return found


def real_time(index: Index) -> Iterator[Violation]:
    """Invariant 6."""
    sweeps = {place: _Sweep(marks) for place, marks in _acknowledgements(index).items()}
    for attempts in sorted(index.messages.values(), key=lambda attempts: attempts[0].begin):
        place = index.resolved(attempts)
        sweep = sweeps.get((attempts[0].room, place[0])) if place is not None else None
        if place is None or sweep is None:
            continue
        earlier = sweep.before(attempts[0].begin)
        if earlier is not None and earlier.seq >= place[1]:
            text = f"{place[1]} was sent after {earlier.seq} was acknowledged"
            yield Violation(6, "reordered", text, [earlier.entry, *attempts])


def pipelined(index: Index) -> Iterator[Violation]:
    """Invariant 7.

    Only what was certainly committed from this connection has to come after what went before it there: an attempt may
    have been refused, with nobody left to be told, and its message comes about by a later one.
    """
    by_connection: dict[tuple[str, int, str], list[Send]] = defaultdict(list)
    for send in index.sends:
        if send.order >= 0:
            by_connection[send.client, send.conn, send.room].append(send)
    for sends in by_connection.values():
        highest: tuple[int, Send] | None = None
        for send in sends:
            attempts = index.messages[send.user, send.room, send.cid]
            place = index.resolved(attempts)
            alone = len(attempts) == 1 and not send.code
            if place is None or not (alone or send.outcome == "ok"):
                continue
            if highest is not None and (alone or not send.dup) and place[1] <= highest[0]:
                text = f"sent in order, and stand at {highest[0]} and {place[1]}"
                yield Violation(7, "reordered", text, [highest[1], send])
            if highest is None or place[1] > highest[0]:
                highest = (place[1], send)


def next_join_shows(index: Index) -> Iterator[Violation]:
    """Invariant 8."""
    sweeps = {place: _Sweep(marks) for place, marks in _acknowledgements(index).items()}
    for join in _in_time(index.joins.values()):
        sweep = sweeps.get((join.room, join.epoch))
        if join.outcome != "ok" or join.head is None or sweep is None:
            continue
        known = sweep.before(join.begin)
        if known is not None and known.seq > join.head and not _was_not_ready(index, join):
            text = f"the join on {join.node} shows {join.head}, and {known.seq} was acknowledged"
            yield Violation(8, "stale", text, [known.entry, join])


def _was_not_ready(index: Index, join: Join) -> bool:
    """Whether the node of a join said about then that it is not ready, or said nothing."""
    samples = index.samples.get(join.node, [])
    first = bisect_left(samples, join.begin - NOTICE_S, key=lambda sample: sample.at)
    last = bisect_left(samples, join.end + NOTICE_S, key=lambda sample: sample.at)
    return any(not sample.ready for sample in samples[first:last])


def head_never_back(index: Index) -> Iterator[Violation]:
    """Invariant 11."""
    marks: dict[tuple[str, str, str], list[_Mark]] = defaultdict(list)
    asked: list[Join | Page] = [join for join in index.joins.values() if join.outcome == "ok" and join.head is not None]
    asked += [page for page in index.pages if page.outcome == "ok"]
    for call in [*asked, *(send for send in index.sends if send.outcome == "ok")]:
        seq = call.seq if isinstance(call, Send) else call.head or 0
        marks[call.node, call.room, call.epoch].append(_Mark(call.end, seq, call))
    for join, push in index.pushes:
        marks[join.node, join.room, join.epoch].append(_Mark(push.at, push.event.seq, push))
    sweeps = {of: _Sweep(found) for of, found in marks.items() if of[0]}
    for call in sorted(asked, key=lambda call: call.begin):
        sweep = sweeps.get((call.node, call.room, call.epoch))
        known = sweep.before(call.begin) if sweep is not None else None
        if known is not None and known.seq > (call.head or 0):
            witness = [cut(known.entry) if isinstance(known.entry, Page) else known.entry]
            witness += [cut(call) if isinstance(call, Page) else call]
            yield Violation(11, "stale", f"{call.node} had {known.seq} and shows {call.head}", witness)
    for join in index.joins.values():
        if join.reason == "position_ahead" and join.epoch == join.since_epoch:
            yield Violation(11, "stale", f"{join.since} was there, and is ahead now", [join])
    yield from _restores(index)


def _restores(index: Index) -> Iterator[Violation]:
    joins = _in_time(join for join in index.joins.values() if join.outcome == "ok")
    for fault in index.faults:
        if fault.name == RESTORE:
            before = {join.epoch: join for join in joins if join.end < fault.begin}
            for join in joins:
                if join.begin > fault.end and join.epoch in before:
                    witness: list[Entry] = [before[join.epoch], fault, join]
                    yield Violation(11, "wrong", "the epoch outlived a restore", witness)
                    break
