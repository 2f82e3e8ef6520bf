"""A history, put in order once for all checks."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from tests.faults.history import (
    Edit,
    Ended,
    Entry,
    Event,
    Fault,
    Final,
    Join,
    Moderate,
    Named,
    Page,
    Plan,
    Push,
    Said,
    Sample,
    Send,
    State,
    Stopped,
)
from tests.faults.violations import cut, only

RESTORE = "restore"
_COMES = {"join": True, "created": True}
_GOES = {"leave": False, "kick": False, "ban": False}

Place = tuple[str, str]
"""A room and an epoch."""

MessageId = tuple[str, str, str]
"""A user, a room and a cid."""


class Sighting(NamedTuple):
    """A message that was shown to somebody, at ``at``. ``live``: as it was pushed, not as it stands."""

    room: str
    epoch: str
    said: Said
    at: float
    live: bool
    source: Push | Page | Final

    def witness(self, index: Index) -> list[Entry]:
        """What shows it."""
        match self.source:
            case Push() as push:
                return [index.joins[push.sub], push]
            case Page() as page:
                return [cut(page, self.said)]
            case Final() as final:
                return [only(final, [self.said])]


class Index:
    """A history by what the checks ask for.

    Args:
        entries: in any order; events of one subscription in the order in which they were read.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.plan = Plan([], [], 0)
        self.sends: list[Send] = []
        self.edits: list[Edit] = []
        self.moderations: list[Moderate] = []
        self.joins: dict[int, Join] = {}
        self.pages: list[Page] = []
        self.streams: dict[int, list[Push | Named]] = defaultdict(list)
        self.ends: dict[tuple[str, int], Ended] = {}
        self.faults: list[Fault] = []
        self.stopped: list[Stopped] = []
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.states: list[State] = []
        self.finals: dict[tuple[str, str], Final] = {}
        for entry in entries:
            self._add(entry)
        self.sends.sort(key=lambda send: send.begin)
        self.faults.sort(key=lambda fault: fault.begin)
        self.messages: dict[MessageId, list[Send]] = defaultdict(list)
        for send in self.sends:
            self.messages[send.user, send.room, send.cid].append(send)

    def _add(self, entry: Entry) -> None:
        match entry:
            case Push() | Named():
                self.streams[entry.sub].append(entry)
            case Send():
                self.sends.append(entry)
            case Join():
                self.joins[entry.sub] = entry
            case Page():
                self.pages.append(entry)
            case Sample():
                self.samples[entry.node].append(entry)
            case Edit():
                self.edits.append(entry)
            case Moderate():
                self.moderations.append(entry)
            case _:
                self._add_rare(entry)

    def _add_rare(self, entry: Plan | Ended | Fault | Stopped | State | Final) -> None:
        match entry:
            case Plan():
                self.plan = entry
            case Ended():
                self.ends[entry.client, entry.conn] = entry
            case Fault():
                self.faults.append(entry)
            case Stopped():
                self.stopped.append(entry)
            case State():
                self.states.append(entry)
            case Final():
                self.finals[entry.node, entry.room] = entry

    @property
    def restored(self) -> bool:
        """Whether the log was put back from a backup on the way."""
        return any(fault.name == RESTORE for fault in self.faults)

    @property
    def pushes(self) -> Iterator[tuple[Join, Push]]:
        """All pushes, with what they follow from."""
        for sub, stream in self.streams.items():
            join = self.joins[sub]
            yield from ((join, entry) for entry in stream if isinstance(entry, Push))

    def sightings(self) -> Iterator[Sighting]:
        """Every time that somebody was shown a message."""
        for join, push in self.pushes:
            if push.event.op == "msg":
                yield Sighting(join.room, join.epoch, push.event.said, push.at, True, push)
        for page in self.pages:
            for said in page.messages:
                yield Sighting(page.room, page.epoch, said, page.end, False, page)
        for final in self.finals.values():
            for said in final.backward:
                yield Sighting(final.room, final.epoch, said, final.end, False, final)
            for event in final.forward:
                if event.op == "msg":
                    yield Sighting(final.room, final.epoch, event.said, final.end, True, final)

    @cached_property
    def seen(self) -> dict[MessageId, dict[tuple[str, int], Sighting]]:
        """Message -> epoch and seq -> the first time it was shown there."""
        found: dict[MessageId, dict[tuple[str, int], Sighting]] = defaultdict(dict)
        for sighting in self.sightings():
            said = sighting.said
            found[said.author, sighting.room, said.cid].setdefault((sighting.epoch, said.seq), sighting)
        return found

    @cached_property
    def spots(self) -> dict[tuple[str, str, int], Sighting]:
        """Room, epoch and seq -> the first time a message was shown there."""
        found: dict[tuple[str, str, int], Sighting] = {}
        for (_, room, _), places in self.seen.items():
            for (epoch, seq), sighting in places.items():
                found.setdefault((room, epoch, seq), sighting)
        return found

    @cached_property
    def first_pushes(self) -> dict[tuple[str, str, int], Push]:
        """Room, epoch and seq -> the first push of what is there."""
        found: dict[tuple[str, str, int], Push] = {}
        for join, push in self.pushes:
            found.setdefault((join.room, join.epoch, push.event.seq), push)
        return found

    @cached_property
    def known(self) -> dict[Place, list[int]]:
        """The seqs of all messages of a room that anybody was shown, ascending."""
        found: dict[Place, set[int]] = defaultdict(set)
        for room, epoch, seq in self.spots:
            found[room, epoch].add(seq)
        return {place: sorted(seqs) for place, seqs in found.items()}

    def resolved(self, attempts: list[Send]) -> tuple[str, int] | None:
        """Epoch and seq of a message: as acknowledged, or else as shown; None when neither."""
        for send in attempts:
            if send.outcome == "ok":
                return send.epoch, send.seq
        first = attempts[0]
        return next(iter(self.seen.get((first.user, first.room, first.cid), {})), None)

    def head_at(self, join: Join) -> int | None:
        """The head of the room when a join was answered; None when its client does not tell, and was shown nothing.

        Clients that do not tell it join without asking for what was before.
        """
        if join.head is not None:
            return join.head
        first = next((entry for entry in self.streams.get(join.sub, []) if isinstance(entry, Push)), None)
        return first.event.seq - 1 if first is not None else None

    @cached_property
    def _belonging(self) -> dict[tuple[str, str, str], list[tuple[int, bool, Event]]]:
        """(room, epoch, user) -> from which seq on the user belongs to the room, or not."""
        events: dict[Place, dict[int, Event]] = defaultdict(dict)
        for join, push in self.pushes:
            if push.event.op in ("member", "room"):
                events[join.room, join.epoch][push.event.seq] = push.event
        for final in self.finals.values():
            known = events[final.room, final.epoch]
            known.update((event.seq, event) for event in final.forward if event.op in ("member", "room"))
        changes = {**_COMES, **_GOES}
        found: dict[tuple[str, str, str], list[tuple[int, bool, Event]]] = defaultdict(list)
        for (room, epoch), known in events.items():
            for seq in sorted(known):
                event = known[seq]
                if event.change in changes:
                    found[room, epoch, event.user or event.by].append((seq, changes[event.change], event))
        return found

    def belonged(self, room: str, epoch: str, user: str, seq: int) -> tuple[bool, Event] | None:
        """Whether a user belonged to a room right after ``seq``, and because of what; None when nobody was shown."""
        changes = self._belonging.get((room, epoch, user), [])
        at = bisect_right(changes, seq, key=lambda change: change[0])
        return (changes[at - 1][1], changes[at - 1][2]) if at else None

    def parted(self, room: str, epoch: str, user: str, after: int) -> Event | None:
        """The first kick, ban or leave of a user after a seq."""
        changes = self._belonging.get((room, epoch, user), [])
        at = bisect_right(changes, after, key=lambda change: change[0])
        return next((event for _, inside, event in changes[at:] if not inside), None)
