"""A hundred thousand rooms, listed page by page while others come and go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from node.state.reader import Reader
from node.state.records import AnyRecord, CreateRoom, DeleteRoom
from node.state.store import Store

from .history import entry

ROOMS, AT_ONCE, PAGE = 100_000, 2_000, 500
PRIVATE_EVERY = 10
PAGE_S = 0.1
"""Of processor time, for a page of 500: several times what it took on two busy cores (14 ms)."""


class Rooms:
    """A store full of rooms, and a reader of it."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path, "epoch")
        self._numbers = count(1)
        for first in range(0, ROOMS, AT_ONCE):
            self.apply(*(CreateRoom("ana", 0, room_id(i), private=private(i)) for i in range(first, first + AT_ONCE)))
        self.reader = Reader(path)
        self.times_s: list[float] = []

    def apply(self, *records: AnyRecord) -> None:
        number = next(self._numbers)
        self._store.apply([(number, entry(*records, n=number))])
        self._store.write()

    def pages(self, prefix: str = "", *, mine: bool = False) -> Iterator[list[str]]:
        """The ids, page by page, as a client asks for them that belongs to no room."""
        after = ""
        while True:
            began = time.thread_time()
            rows = self.reader.rooms("bo", prefix, after, PAGE + 1, mine)
            self.times_s.append(time.thread_time() - began)
            yield [row.id for row in rows[:PAGE]]
            if len(rows) <= PAGE:
                return
            after = rows[PAGE - 1].id

    def close(self) -> None:
        self.reader.close()
        self._store.close()


def room_id(number: int) -> str:
    return f"room{number * 7919 % ROOMS:05d}"


def private(number: int) -> bool:
    return number % PRIVATE_EVERY == 0


PUBLIC = sorted(room_id(i) for i in range(ROOMS) if not private(i))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    rooms = Rooms(tmp_path_factory.mktemp("rooms") / "store.sqlite")
    yield rooms
    rooms.close()


def test_all_are_listed_in_order_and_quickly_while_others_come_and_go(rooms: Rooms) -> None:
    listed: list[str] = []
    for number, page in enumerate(rooms.pages()):
        listed += page
        # Before and behind the place that the reader has reached, a room comes and the one before it goes.
        rooms.apply(*(CreateRoom("ana", 0, f"{begin}-{number}") for begin in ("a", "z")))
        if number:
            rooms.apply(*(DeleteRoom("ana", 0, f"{begin}-{number - 1}") for begin in ("a", "z")))
    assert [room for room in listed if room.startswith("room")] == PUBLIC
    assert listed == sorted(set(listed))
    assert len(rooms.times_s) >= len(PUBLIC) // PAGE
    typical_s = median(rooms.times_s)
    assert typical_s < PAGE_S
    assert median(rooms.times_s[-20:]) < 3 * typical_s, "the last pages take longer than the others"


def test_a_prefix_lists_its_rooms_alone(rooms: Rooms) -> None:
    listed = [room for page in rooms.pages("room42") for room in page]
    assert listed == [room for room in PUBLIC if room.startswith("room42")]
    assert len(listed) == 900


def test_one_s_own_rooms_are_found_among_all(rooms: Rooms) -> None:
    own = ["b-own", "room-own", "zz-own"]
    rooms.apply(*(CreateRoom("bo", 0, room, private=True) for room in own))
    assert list(rooms.pages(mine=True)) == [own]
