"""Who may be shown what: invariant 12."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.history import Call, Event, Join, Page, Push
from tests.faults.index import Index
from tests.faults.violations import Violation, cut


def nothing_after_parting(index: Index) -> Iterator[Violation]:
    """Invariant 12.

    A join answered at a head delivers nothing from the user's next kick, ban or leave on, whatever was on its way.
    """
    for join in index.joins.values():
        head = index.head_at(join)
        if join.outcome == "ok" and head is not None:
            yield from _delivered_after(index, join, head)
            yield from _let_in(index, join, head, [join])
    for page in index.pages:
        if page.outcome == "ok":
            yield from _let_in(index, page, page.head, [cut(page)])


def _delivered_after(index: Index, join: Join, head: int) -> Iterator[Violation]:
    parting = index.parted(join.room, join.epoch, join.user, head)
    if parting is None:
        return
    for entry in index.streams.get(join.sub, []):
        if isinstance(entry, Push) and entry.event.seq >= parting.seq:
            text = f"{join.user} was shown {entry.event.seq} after their {parting.change} at {parting.seq}"
            yield Violation(12, "wrong", text, [join, entry, *_shown(index, join, parting)])
            return


def _let_in(index: Index, call: Call, head: int, witness: list[Join | Page]) -> Iterator[Violation]:
    known = index.belonged(call.room, call.epoch, call.user, head)
    if known is not None and not known[0]:
        text = f"{call.user} was served at {head}, after their {known[1].change} at {known[1].seq}"
        yield Violation(12, "wrong", text, [*witness, *_shown(index, call, known[1])])


def _shown(index: Index, call: Call, parting: Event) -> list[Push]:
    """One push of the parting, if anybody was shown it live."""
    push = index.first_pushes.get((call.room, call.epoch, parting.seq))
    return [push] if push is not None else []
