"""What became of edits, kicks, bans and the like: parts of invariants 1 and 9.

Only what was acknowledged with a seq can be looked for in its place. The reference client does not tell the seq of an
edit: of its edits, only those that are there are checked, by what they make of their message.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from tests.faults.history import Edit, Event, Final, Moderate
from tests.faults.index import Index
from tests.faults.violations import Violation, only

_CHANGES = frozenset({"join", "created", "leave", "kick", "ban", "unban"})


def changes_stay(index: Index) -> Iterator[Violation]:
    """Invariant 1, for what is no message: it is in its place on every node, or was so already.

    A node that has nothing to change answers with the seq of the room's last event. What a reading does not reach back
    to, as in a room that was deleted and made again, and what was acknowledged after it had begun, is not looked for.
    """
    acknowledged: dict[tuple[str, str], list[Edit | Moderate]] = defaultdict(list)
    calls: list[Edit | Moderate] = [*index.edits, *index.moderations]
    for call in calls:
        if call.outcome == "ok" and call.seq:
            acknowledged[call.room, call.epoch].append(call)
    for final in index.finals.values():
        held = _Held(final)
        for call in acknowledged[final.room, final.epoch]:
            if held.covers(call) and not (held.has(call) or held.was_so(call)):
                there = held.events.get(call.seq)
                text = f"on {final.node}, {call.room} {call.seq}: acknowledged, and not there: {_named(call)}"
                yield Violation(1, "lost", text, [call, only(final, events=[there] if there else [])])


def _named(call: Edit | Moderate) -> str:
    return f"edit of {call.target}" if isinstance(call, Edit) else f"{call.change} of {call.peer}"


class _Held:
    """The events that a node has of a room in the end.

    Attributes:
        events: by their seq.
        bodies: seq of a message -> (from which seq on, what it says), ascending.
    """

    def __init__(self, final: Final) -> None:
        self._final = final
        self.events = {event.seq: event for event in final.forward}
        self._lowest = min(self.events, default=final.head + 1)
        self.bodies: dict[int, list[tuple[int, str]]] = defaultdict(list)
        self._people: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for event in final.forward:
            self._add(event)

    def _add(self, event: Event) -> None:
        if event.op == "msg":
            self.bodies[event.seq].append((event.seq, event.body))
        elif event.op in ("edit", "delete"):
            self.bodies[event.target].append((event.seq, event.body))
        elif event.op in ("member", "room") and event.change in _CHANGES:
            self._people[event.user or event.by].append((event.seq, event.change))

    def covers(self, call: Edit | Moderate) -> bool:
        """Whether the reading must have what was acknowledged."""
        return self._lowest <= call.seq <= self._final.head or (
            call.seq > self._final.head and call.end < self._final.begin
        )

    def has(self, call: Edit | Moderate) -> bool:
        """Whether it is in its place."""
        event = self.events.get(call.seq)
        if event is None:
            return False
        if isinstance(call, Edit):
            return (event.op, event.author, event.target, event.body) == ("edit", call.user, call.target, call.body)
        return (event.op, event.user, event.change) == ("member", call.peer, call.change)

    def was_so(self, call: Edit | Moderate) -> bool:
        """Whether there was nothing to change at its place; also where nobody can tell."""
        if call.seq not in self.events:
            return False
        if isinstance(call, Edit):
            body = _last(self.bodies[call.target], call.seq)
            return call.body == body or (body is None and call.target < self._lowest)
        change = _last(self._people[call.peer], call.seq)
        if change is None:
            return call.change != "ban" or self._lowest > 1
        if call.change in ("ban", "unban"):
            return (change == "ban") == (call.change == "ban")
        return change not in ("join", "created")


def _last(values: list[tuple[int, str]], seq: int) -> str | None:
    """The last value from before or at a seq."""
    at = bisect_right(values, seq, key=lambda value: value[0])
    return values[at - 1][1] if at else None


def edits_fold(index: Index) -> Iterator[Violation]:
    """Invariant 9, for edits: every message says in the end what its last edit made of it.

    An edit that was under way while a node was read may be in what it shows last, and is in no event yet.
    """
    under_way: dict[tuple[str, int, str], list[Edit]] = defaultdict(list)
    for edit in index.edits:
        under_way[edit.room, edit.target, edit.body].append(edit)
    for final in index.finals.values():
        held = _Held(final)
        for said in final.backward:
            body = _last(held.bodies[said.seq], final.head)
            late = under_way.get((final.room, said.seq, said.body), [])
            if said.seq not in held.events or body == said.body or any(_may_be_late(edit, final) for edit in late):
                continue
            events = [event for event in final.forward if said.seq in (event.seq, event.target)]
            text = f"{final.room} {said.seq} ends as {said.body!r}, and its events make it {body!r}"
            yield Violation(9, "wrong", text, [only(final, [said], events[:1] + events[1:][-1:])])


def _may_be_late(edit: Edit, final: Final) -> bool:
    return edit.outcome == "unknown" or edit.end >= final.begin
