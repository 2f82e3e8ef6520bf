"""The figures of a history: how much was done, what the faults cost, and what the checker found."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from msgspec import Struct

from tests.faults.history import Fault, Send
from tests.faults.index import Index
from tests.faults.violations import Violation, told

_AFTER_S = 15.0
_PAUSE_S = 1.0


class Struck(Struct):
    """One fault. Times in seconds.

    Attributes:
        silence_s: the longest time without a successful send, by anybody, from the blow until a while after its end,
            and in any case until one succeeds again.
        recovered_s: from the blow to the end of the last pause in that time that was over a second; 0 without one.
        whole_s: from when the cause was taken away until all nodes were ready and agreed; None when nobody saw that.
    """

    name: str
    target: str
    lasted_s: float
    silence_s: float
    recovered_s: float
    whole_s: float | None


class Kind(Struct):
    """All faults of a kind: how many, and the longest of each time in :class:`Struck`."""

    count: int
    silence_s: float
    recovered_s: float
    whole_s: float | None


class Report(Struct):
    """What a run came to.

    Attributes:
        acknowledged, refused, unknown: messages, by what became of them in the end.
        refusals: attempts that were refused, by code.
        longest_send_s: from the first attempt of a message to its acknowledgement.
        kinds: kind of fault -> the worst of it.
        found: kind of harm -> violations.
        stopped: why the run could not go on as it was meant to.
    """

    seed: int
    lasted_s: float
    operations: int
    messages: int
    acknowledged: int
    refused: int
    unknown: int
    resent: int
    edits: int
    moderations: int
    joins: int
    pages: int
    pushes: int
    refusals: dict[str, int]
    longest_send_s: float
    faults: list[Struck]
    kinds: dict[str, Kind]
    found: dict[str, int]
    stopped: list[str]


def report(index: Index, violations: Sequence[Violation]) -> Report:
    """The figures of a history that was judged."""
    messages = list(index.messages.values())
    acks = [next((send for send in attempts if send.outcome == "ok"), None) for attempts in messages]
    times = sorted(ack.end for ack in acks if ack is not None)
    next_begins = [*(fault.begin for fault in index.faults[1:]), float("inf")]
    last = max((send.end for send in index.sends), default=0.0)
    faults = [_struck(fault, begin, times, last) for fault, begin in zip(index.faults, next_begins, strict=False)]
    waits = [ack.end - attempts[0].begin for attempts, ack in zip(messages, acks, strict=True) if ack is not None]
    harms = Counter(violation.what for violation in violations)
    refused = sum(_is_refused(attempts) for attempts in messages)
    return Report(
        seed=index.plan.seed,
        lasted_s=last - min((send.begin for send in index.sends), default=0.0),
        operations=sum(
            (len(index.sends), len(index.edits), len(index.moderations), len(index.joins), len(index.pages))
        ),
        messages=len(messages),
        acknowledged=len(times),
        refused=refused,
        unknown=len(messages) - len(times) - refused,
        resent=len(index.sends) - len(messages),
        edits=len(index.edits),
        moderations=len(index.moderations),
        joins=len(index.joins),
        pages=len(index.pages),
        pushes=sum(1 for _ in index.pushes),
        refusals=dict(Counter(send.code for send in index.sends if send.code)),
        longest_send_s=max(waits, default=0.0),
        faults=faults,
        kinds=kinds(faults),
        found={harm: harms[harm] for harm in ("lost", "repeated", "reordered", "wrong", "stale", "slow")},
        stopped=[stop.reason for stop in index.stopped],
    )


def _is_refused(attempts: list[Send]) -> bool:
    return all(send.outcome == "rejected" for send in attempts)


def _struck(fault: Fault, next_begin: float, times: list[float], last: float) -> Struck:
    """What a fault cost. What comes after the next blow is the next one's.

    Args:
        times: of acknowledgements, in order.
        last: the end of the last send. Where none succeeds any more, the silence lasts until then.
    """
    at = bisect_right(times, fault.end)
    again = times[at] if at < len(times) else last
    end = min(max(again, min(fault.end + _AFTER_S, times[-1] if times else last)), next_begin)
    during = [fault.begin, *times[bisect_right(times, fault.begin) : bisect_left(times, end)], max(end, fault.begin)]
    pauses = [(two - one, two) for one, two in pairwise(during)]
    return Struck(
        name=fault.name,
        target=fault.target,
        lasted_s=fault.end - fault.begin,
        silence_s=max(pause_s for pause_s, _ in pauses),
        recovered_s=max((to - fault.begin for pause_s, to in pauses if pause_s > _PAUSE_S), default=0.0),
        whole_s=max(0.0, fault.whole - fault.end) if fault.whole else None,
    )


def kinds(faults: Sequence[Struck]) -> dict[str, Kind]:
    """The worst of each kind of fault."""
    by_name: dict[str, list[Struck]] = defaultdict(list)
    for fault in faults:
        by_name[fault.name].append(fault)
    return {name: _worst(same) for name, same in by_name.items()}


def _worst(faults: Sequence[Struck]) -> Kind:
    whole_s = [fault.whole_s for fault in faults if fault.whole_s is not None]
    return Kind(
        count=len(faults),
        silence_s=max(fault.silence_s for fault in faults),
        recovered_s=max(fault.recovered_s for fault in faults),
        whole_s=max(whole_s) if len(whole_s) == len(faults) else None,
    )


def seconds(time_s: float | None) -> str:
    """A time, for people."""
    return "not seen" if time_s is None else f"{time_s:.1f} s"


def as_json(made: Report) -> bytes:
    """For programs."""
    return msgspec.json.format(msgspec.json.encode(made))


def _times(of: Struck | Kind) -> str:
    return (
        f"{seconds(of.silence_s)} without a successful send, recovered after {seconds(of.recovered_s)}, "
        f"whole after its end: {seconds(of.whole_s)}"
    )


def as_text(made: Report, violations: Sequence[Violation] = ()) -> str:
    """For people."""
    refusals = ", ".join(f"{count} {code}" for code, count in sorted(made.refusals.items())) or "none"
    lines = [
        f"seed {made.seed}, {made.lasted_s:.0f} s, {made.operations} operations, {made.pushes} pushes",
        f"messages: {made.messages} sent, {made.acknowledged} acknowledged, {made.refused} refused, "
        f"{made.unknown} unknown; {made.resent} sent again; longest {made.longest_send_s:.1f} s",
        f"refused attempts: {refusals}",
        f"also: {made.edits} edits, {made.moderations} kicks and bans, {made.joins} joins, {made.pages} pages",
    ]
    for fault in made.faults:
        lines.append(f"{fault.name} ({fault.target}) for {fault.lasted_s:.1f} s: {_times(fault)}")
    lines += [f"{name}, the worst of {kind.count}: {_times(kind)}" for name, kind in made.kinds.items()]
    lines.append(", ".join(f"{harm}: {count}" for harm, count in made.found.items()))
    stops = [f"the run could not go on: {reason}" for reason in made.stopped]
    return "\n".join([*lines, told(violations), *stops])
