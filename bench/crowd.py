"""Users in rooms whose sizes have a heavy tail, and what of them comes to each node and to each partition.

Pure; chance is passed in. The largest rooms are dealt out one by one, the others by classes of nearly one size, whose
rooms and members are dealt out by the same law. So ten million users take seconds, and nothing is lost: what is dealt
out sums up to what there was.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LARGE = 300
"""So many rooms are dealt out one by one."""

_CLASS_WIDTH = 1.15
_NEAR = 1e-8
_NORMAL_FROM = 12.0
"""From this variance on a binomial is drawn as a rounded normal."""


@dataclass(frozen=True)
class Habits:
    """What is assumed of people. Only who is connected counts.

    Attributes:
        rooms_each: rooms that a user is in.
        zipf: the room of rank r has a size that goes with ``r ** -zipf``.
        smallest, largest: sizes of rooms.
        says_s: messages a second of one user in the busy hour, over all their rooms.
        room_limit_s: more messages a second are not said in one room; nobody could read them.
        day_share: the day's mean is this share of the busy hour.
    """

    rooms_each: int = 5
    zipf: float = 0.8
    smallest: int = 2
    largest: int = 100_000
    says_s: float = 0.01
    room_limit_s: float = 2.0
    day_share: float = 0.25

    def room_s(self, size: float) -> float:
        """Messages a second in a room of a size."""
        return min(self.room_limit_s, size * self.says_s / self.rooms_each)


@dataclass(frozen=True)
class Class:
    """Rooms of nearly one size, or a single large one."""

    rooms: int
    members: int

    @property
    def size(self) -> float:
        """Members of one room."""
        return self.members / self.rooms


@dataclass(frozen=True)
class Crowd:
    """All rooms, largest first: single ones, then classes."""

    habits: Habits
    classes: Sequence[Class]

    @property
    def rooms(self) -> int:
        """All rooms."""
        return sum(part.rooms for part in self.classes)

    @property
    def members(self) -> int:
        """Members of all rooms: a user counts in each."""
        return sum(part.members for part in self.classes)

    @property
    def messages_s(self) -> float:
        """Messages a second."""
        return sum(part.rooms * self.habits.room_s(part.size) for part in self.classes)

    @property
    def deliveries_s(self) -> float:
        """Deliveries a second: every message to every member."""
        return sum(part.members * self.habits.room_s(part.size) for part in self.classes)

    def parted(self, count: int) -> tuple[Crowd, Crowd]:
        """Its largest rooms, and all others."""
        return Crowd(self.habits, self.classes[:count]), Crowd(self.habits, self.classes[count:])


@dataclass
class Load:
    """What one node or one partition has to do.

    Attributes:
        rooms: that somebody here receives, or that are kept here.
        members: of them, here.
        messages_s: that come in.
        deliveries_s: that go out: to connections, or to the nodes that receive a partition's rooms.
    """

    rooms: float = 0.0
    members: float = 0.0
    messages_s: float = 0.0
    deliveries_s: float = 0.0

    def add(self, rooms: float, members: float, messages_s: float, deliveries_s: float) -> None:
        """Take on more."""
        self.rooms += rooms
        self.members += members
        self.messages_s += messages_s
        self.deliveries_s += deliveries_s

    def __add__(self, other: Load) -> Load:
        """What both have to do."""
        return Load(
            self.rooms + other.rooms,
            self.members + other.members,
            self.messages_s + other.messages_s,
            self.deliveries_s + other.deliveries_s,
        )


def gather(users: int, habits: Habits) -> Crowd:
    """A crowd in which users are in ``rooms_each`` rooms on average; to half a percent, as sizes are whole."""
    wanted = users * habits.rooms_each
    low, high = 1.0, float(wanted)
    while high / low > 1 + _NEAR:
        scale = math.sqrt(low * high)
        low, high = (scale, high) if sum(part.members for part in _classes(scale, habits)) < wanted else (low, scale)
    return Crowd(habits, list(_classes(high, habits)))


def _classes(scale: float, habits: Habits) -> Iterator[Class]:
    """The rooms of a Zipf law whose largest room has ``scale`` members, before it is cut to what is allowed."""
    count = _rank(scale, habits, habits.smallest)
    single = min(_LARGE, count)
    for rank in range(1, single + 1):
        yield Class(1, max(habits.smallest, min(habits.largest, round(scale * rank**-habits.zipf))))
    before = single
    size = round(scale * single**-habits.zipf) if single else 0
    while before < count:
        smaller = max(habits.smallest, min(size - 1, math.ceil(size / _CLASS_WIDTH)))
        rank = count if smaller == habits.smallest else max(before, _rank(scale, habits, smaller))
        if rank > before:
            yield Class(rank - before, _members(scale, habits, before, rank))
        before, size = rank, smaller


def _rank(scale: float, habits: Habits, size: float) -> int:
    """How many rooms have at least this size."""
    return math.floor(math.pow(scale / size, 1 / habits.zipf))


def _members(scale: float, habits: Habits, after: int, last: int) -> int:
    """Members of the rooms of ranks ``after + 1`` to ``last``, the sum as an integral with half a step at both ends."""
    power = 1 - habits.zipf
    integral = scale * (math.pow(last + 0.5, power) - math.pow(after + 0.5, power)) / power
    return max(habits.smallest * (last - after), round(integral))


def binomial(chance: random.Random, count: int, share: float) -> int:
    """How many of ``count`` things fall to somebody who is given each with this probability."""
    if count <= 0 or share <= 0:
        return 0
    if share >= 1:
        return count
    variance = count * share * (1 - share)
    if variance >= _NORMAL_FROM:
        return min(count, max(0, round(chance.gauss(count * share, math.sqrt(variance)))))
    return _few(chance, count, share) if share <= 0.5 else count - _few(chance, count, 1 - share)


def _few(chance: random.Random, count: int, share: float) -> int:
    """A binomial with a small mean: by the gaps between those that are given (Devroye 1986, X.4.3)."""
    given, place, scale = 0, 0, math.log1p(-share)
    while True:
        place += int(math.log(1.0 - chance.random()) / scale) + 1
        if place > count:
            return given
        given += 1


def split(chance: random.Random, count: int, parts: int) -> list[int]:
    """Deal ``count`` things out to equal parts; their sum is ``count``."""
    dealt, left = [], count
    for waiting in range(parts, 1, -1):
        dealt.append(binomial(chance, left, 1 / waiting))
        left -= dealt[-1]
    return [*dealt, left]


def reached(size: float, nodes: int) -> float:
    """On how many nodes a room has members, on average, where every user is on a node by chance."""
    return nodes * (1 - math.pow(1 - 1 / nodes, size))


def on_nodes(chance: random.Random, crowd: Crowd, nodes: int) -> list[Load]:
    """What each node does for the connections it has: it receives the rooms in which its users are."""
    loads = [Load() for _ in range(nodes)]
    for part in crowd.classes:
        room_s, here = crowd.habits.room_s(part.size), reached(part.size, nodes) / nodes
        for load, members in zip(loads, split(chance, part.members, nodes), strict=True):
            rooms = min(members, 1 if part.rooms == 1 else binomial(chance, part.rooms, here))
            load.add(rooms, members, rooms * room_s, members * room_s)
    return loads


def in_partitions(chance: random.Random, crowd: Crowd, partitions: int, nodes: int) -> list[Load]:
    """What each partition holds: rooms by hash; a message goes once to each node with members of its room."""
    loads = [Load() for _ in range(partitions)]
    for part in crowd.classes:
        room_s, copies = crowd.habits.room_s(part.size), reached(part.size, nodes)
        if part.rooms == 1:
            loads[chance.randrange(partitions)].add(1, part.members, room_s, room_s * copies)
            continue
        for load, rooms in zip(loads, split(chance, part.rooms, partitions), strict=True):
            load.add(rooms, rooms * part.size, rooms * room_s, rooms * room_s * copies)
    return loads
