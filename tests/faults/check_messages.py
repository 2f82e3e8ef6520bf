"""What became of each message: invariants 1, 2, 3 and 10."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.check_changes import changes_stay
from tests.faults.history import Edit, Final, Said, Send
from tests.faults.index import Index, MessageId, Sighting
from tests.faults.violations import Violation, only


def acknowledged_stays(index: Index) -> Iterator[Violation]:
    """Invariant 1."""
    rooms = {room for _, room, _ in index.messages}
    for room in sorted(rooms):
        acknowledged = [
            ack
            for (_, of, _), attempts in index.messages.items()
            if of == room and (ack := next((send for send in attempts if send.outcome == "ok"), None))
        ]
        for node in index.plan.nodes if acknowledged else ():
            final = index.finals.get((node, room))
            if final is None:
                yield Violation(1, "lost", f"{node} did not show {room} at the end", [index.plan, acknowledged[0]])
            else:
                yield from _kept(index, final, acknowledged)
    yield from changes_stay(index)


def _kept(index: Index, final: Final, acknowledged: list[Send]) -> Iterator[Violation]:
    found: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for said in final.backward:
        found[said.author, said.cid].append(said)
    for ack in acknowledged:
        copies = found.get((ack.user, ack.cid), [])
        where = f"on {final.node}, {ack.room} {ack.seq}"
        if ack.epoch != final.epoch:
            if not index.restored:
                yield Violation(1, "lost", f"{where}: the epoch is another one", [ack, only(final)])
        elif not copies:
            yield Violation(1, "lost", f"{where}: acknowledged, and gone", [ack, only(final)])
        elif len(copies) > 1:
            yield Violation(1, "repeated", f"{where}: there {len(copies)} times", [ack, only(final, copies)])
        elif copies[0].seq != ack.seq:
            yield Violation(1, "wrong", f"{where}: stands at {copies[0].seq}", [ack, only(final, copies)])


def refused_never_appears(index: Index) -> Iterator[Violation]:
    """Invariant 2."""
    for identity, attempts in index.messages.items():
        places = index.seen.get(identity, {})
        yield from _refused(index, attempts, places)
        by_epoch: dict[str, list[Sighting]] = defaultdict(list)
        for (epoch, _), sighting in places.items():
            by_epoch[epoch].append(sighting)
        for sightings in by_epoch.values():
            if len(sightings) > 1:
                seqs = " and ".join(str(sighting.said.seq) for sighting in sightings)
                witness = [*attempts, *sightings[0].witness(index), *sightings[1].witness(index)]
                yield Violation(2, "repeated", f"one message at {seqs}", witness)
    yield from _refused_edits(index)


def _refused(index: Index, attempts: list[Send], places: dict[tuple[str, int], Sighting]) -> Iterator[Violation]:
    for body in {send.body for send in attempts}:
        same = [send for send in attempts if send.body == body]
        if any(send.outcome != "rejected" for send in same):
            continue
        alone = len(same) == len(attempts)
        for sighting in places.values():
            if alone or sighting.said.body == body:
                yield Violation(2, "wrong", f"refused, and there: {body!r}", [*same, *sighting.witness(index)])


def _refused_edits(index: Index) -> Iterator[Violation]:
    attempts = _edits(index)
    for join, push in index.pushes:
        event = push.event
        if event.op == "edit":
            same = attempts.get((join.room, event.target, event.author, event.body), [])
            if same and all(edit.outcome == "rejected" for edit in same):
                yield Violation(2, "wrong", f"refused, and there: {event.body!r}", [*same, join, push])


def _edits(index: Index) -> dict[tuple[str, int, str, str], list[Edit]]:
    found: dict[tuple[str, int, str, str], list[Edit]] = defaultdict(list)
    for edit in index.edits:
        found[edit.room, edit.target, edit.user, edit.body].append(edit)
    return found


def nothing_unsent(index: Index) -> Iterator[Violation]:
    """Invariant 3."""
    edits = _edits(index)
    for sighting in index.sightings():
        said = sighting.said
        attempts = index.messages.get((said.author, sighting.room, said.cid))
        if attempts is None:
            yield Violation(3, "wrong", f"nobody sent {said.body!r}", sighting.witness(index))
            continue
        if sighting.at < attempts[0].begin:
            yield Violation(3, "wrong", "shown before it was sent", [attempts[0], *sighting.witness(index)])
        edited = not sighting.live and (sighting.room, said.seq, said.author, said.body) in edits
        if not edited and all(said.body != send.body for send in attempts):
            yield Violation(3, "wrong", f"its body is {said.body!r}", [*attempts, *sighting.witness(index)])
    for join, push in index.pushes:
        event = push.event
        if event.op == "edit" and (join.room, event.target, event.author, event.body) not in edits:
            yield Violation(3, "wrong", f"nobody edited: {event.body!r}", [join, push])


def cid_is_one_message(index: Index) -> Iterator[Violation]:
    """Invariant 10."""
    owners: dict[tuple[str, str, str, int], tuple[MessageId, Send]] = {}
    for identity, attempts in index.messages.items():
        acks = [send for send in attempts if send.outcome == "ok"]
        for other in acks[1:]:
            if (other.epoch, other.seq) != (acks[0].epoch, acks[0].seq) and not index.restored:
                yield Violation(10, "repeated", "one cid, two answers", [acks[0], other])
        fresh = [send for send in acks if not send.dup]
        if len(fresh) > 1 and not index.restored:
            yield Violation(10, "repeated", "taken for a new message twice", fresh)
        bodies = {send.body for send in attempts}
        for send in attempts:
            if send.code == "cid_conflict" and len(bodies) == 1:
                yield Violation(10, "wrong", f"{send.user} used this cid for nothing else", [send])
        if len(attempts) == 1 and attempts[0].dup and attempts[0].order >= 0:
            yield Violation(10, "lost", "sent once, and answered as a repeat", attempts)
        for ack in acks[:1]:
            known = owners.setdefault((ack.room, ack.epoch, ack.cid, ack.seq), (identity, ack))
            if known[0] != identity:
                yield Violation(10, "lost", f"{known[1].user}'s message answered for {ack.user}'s", [known[1], ack])
