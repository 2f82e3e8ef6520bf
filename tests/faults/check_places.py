"""What stands where, whoever is asked: invariants 4 and 9."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.check_changes import edits_fold
from tests.faults.history import Entry, Event, Final, Page, Push, Said, Send, State
from tests.faults.index import Index, Sighting
from tests.faults.violations import Violation, cut, only

_Spot = tuple[str, str, int]


def one_value(index: Index) -> Iterator[Violation]:
    """Invariant 4."""
    yield from _one_event(index)
    yield from _one_message(index)
    yield from _one_acknowledgement(index)
    yield from _one_ending(index)
    yield from _one_digest(index)


def _events(index: Index) -> Iterator[tuple[_Spot, Event, Push | Final]]:
    for join, push in index.pushes:
        yield (join.room, join.epoch, push.event.seq), push.event, push
    for final in index.finals.values():
        for event in final.forward:
            yield (final.room, final.epoch, event.seq), event, final


def _one_event(index: Index) -> Iterator[Violation]:
    values: dict[_Spot, tuple[Event, Push | Final]] = {}
    for spot, event, source in _events(index):
        known, first = values.setdefault(spot, (event, source))
        if known != event:
            witness = [*_shown(index, first, known), *_shown(index, source, event)]
            yield Violation(4, "wrong", f"two events at {spot[0]} {spot[2]}", witness)


def _shown(index: Index, source: Push | Final, event: Event) -> list[Entry]:
    return [index.joins[source.sub], source] if isinstance(source, Push) else [only(source, events=[event])]


def _one_message(index: Index) -> Iterator[Violation]:
    values: dict[_Spot, tuple[tuple[str, str, int], Sighting]] = {}
    for sighting in index.sightings():
        said = sighting.said
        value = (said.author, said.cid, said.ts)
        known, first = values.setdefault((sighting.room, sighting.epoch, said.seq), (value, sighting))
        if known != value and not (first.live and sighting.live):
            witness = [*first.witness(index), *sighting.witness(index)]
            yield Violation(4, "wrong", f"two messages at {sighting.room} {said.seq}", witness)


def _one_acknowledgement(index: Index) -> Iterator[Violation]:
    values: dict[_Spot, Send] = {}
    for send in index.sends:
        if send.outcome == "ok":
            first = values.setdefault((send.room, send.epoch, send.seq), send)
            if (first.user, first.cid) != (send.user, send.cid) and first.cid != send.cid:
                yield Violation(4, "wrong", f"two messages acknowledged at {send.room} {send.seq}", [first, send])


def _one_ending(index: Index) -> Iterator[Violation]:
    """Edits included: what stands at the end is the same on all nodes."""
    values: dict[_Spot, tuple[Said, Final]] = {}
    for final in index.finals.values():
        for said in final.backward:
            known, first = values.setdefault((final.room, final.epoch, said.seq), (said, final))
            if known.body != said.body:
                witness = [only(first, [known]), only(final, [said])]
                yield Violation(4, "wrong", f"{final.room} {said.seq} ends in two ways", witness)


def _one_digest(index: Index) -> Iterator[Violation]:
    values: dict[tuple[str, int], tuple[str, State]] = {}
    for state in index.states:
        for position, digest in state.digests.items():
            known, first = values.setdefault((state.epoch, position), (digest, state))
            if known != digest:
                witness = [
                    State(one.node, one.at, one.epoch, {position: one.digests[position]}) for one in (first, state)
                ]
                yield Violation(4, "wrong", f"the replicas differ at log position {position}", [*witness])


def pages_tile(index: Index) -> Iterator[Violation]:
    """Invariant 9."""
    for page in index.pages:
        if page.outcome == "ok":
            yield from _page_fits(index, page)
    for final in index.finals.values():
        yield from _reading_fits(index, final)
    yield from edits_fold(index)


def _page_fits(index: Index, page: Page) -> Iterator[Violation]:
    known = index.known.get((page.room, page.epoch), [])
    above = page.head + 1 if page.before is None else min(page.before, page.head + 1)
    seqs = [said.seq for said in page.messages]
    lowest = seqs[0] if seqs else page.first
    if not seqs and not page.limit:
        return
    wanted = known[bisect_left(known, lowest) : bisect_left(known, above)]
    if seqs == wanted and len(seqs) <= page.limit:
        return
    missing, extra = sorted(set(wanted) - set(seqs)), [said for said in page.messages if said.seq not in wanted]
    if missing:
        text, some = f"a page has a hole at {missing[0]}", _around(page.messages, missing[0])
        yield Violation(9, "lost", text, [cut(page, *some), *_where(index, page.room, page.epoch, missing[0])])
    elif extra:
        yield Violation(9, "wrong", f"a page before {above} has {extra[0].seq}", [cut(page, extra[0])])
    elif len(seqs) > page.limit:
        yield Violation(9, "wrong", f"{len(seqs)} messages in a page of {page.limit}", [cut(page)])
    else:
        yield Violation(9, "reordered", "a page is not in order", [cut(page, *_disorder(page.messages))])


def _around(messages: list[Said], seq: int) -> list[Said]:
    at = bisect_left(messages, seq, key=lambda said: said.seq)
    return messages[max(0, at - 1) : at + 1]


def _disorder(messages: list[Said]) -> list[Said]:
    return next(([one, two] for one, two in pairwise(messages) if one.seq >= two.seq), [])


def _where(index: Index, room: str, epoch: str, seq: int) -> list[Entry]:
    """Who was shown the message that is missing."""
    return index.spots[room, epoch, seq].witness(index)


def _reading_fits(index: Index, final: Final) -> Iterator[Violation]:
    """Backward is forward is live."""
    seqs = [event.seq for event in final.forward]
    if seqs != list(range(final.head - len(seqs) + 1, final.head + 1)):
        holes = (at for at, (one, two) in enumerate(pairwise(seqs)) if two != one + 1)
        at = next(holes, max(0, len(seqs) - 1))
        text = f"forward reading ends or has a hole after {seqs[at] if seqs else 0}"
        yield Violation(9, "lost", text, [only(final, events=final.forward[at : at + 2])])
    backward, forward = {said.seq: said for said in final.backward}, set(seqs)
    live = index.known.get((final.room, final.epoch), [])
    for seq in live:
        if seq not in backward:
            shown = _where(index, final.room, final.epoch, seq)
            yield Violation(9, "lost", f"backward reading lacks {seq}", [only(final), *shown])
        elif seq not in forward:
            yield Violation(9, "lost", f"forward reading lacks {seq}", [only(final, [backward[seq]])])
