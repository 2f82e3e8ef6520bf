"""A log with a long past, made without the node that is to read it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path

from node.log.base import new_epoch
from node.log.sqlite import create_tables
from node.state.records import AnyRecord, CreateRoom, JoinRoom, SendMessage, encode_batch, encode_record

ROOM = "long"
WORDS = [f"word{number:04d}" for number in range(5000)]
_USERS = 50
_WORDS_EACH = 10
_RECORDS_EACH = 200
_FIRST_MS = 1_700_000_000_000


def write_log(data_dir: Path, count: int, rooms: int = 0) -> None:
    """A log of a room in which ``count`` messages were said, and of so many ``rooms`` in which there were none."""
    data_dir.mkdir(parents=True)
    chance = random.Random(count)  # noqa: S311 - the same past every time
    with closing(sqlite3.connect(data_dir / "log.sqlite", isolation_level=None)) as log:
        create_tables(log, new_epoch())
        log.execute("BEGIN")
        log.executemany("INSERT INTO entries VALUES (?, ?, ?)", _entries(count, rooms, chance))
        log.execute("COMMIT")


def _entries(count: int, rooms: int, chance: random.Random) -> Iterator[tuple[int, str, bytes]]:
    records = chain(_rooms(rooms), _messages(count, chance))
    for position, batch in enumerate(iter(lambda: list(islice(records, _RECORDS_EACH)), []), 1):
        data = encode_batch("bench", position, [encode_record(record) for record in batch])
        yield position, f"bench:{position}", data


def _rooms(count: int) -> Iterator[AnyRecord]:
    for number in range(count):
        yield CreateRoom(user=f"u{number % _USERS}", ts=_FIRST_MS, room=f"silent{number}")


def _messages(count: int, chance: random.Random) -> Iterator[AnyRecord]:
    yield CreateRoom(user="u0", ts=_FIRST_MS, room=ROOM)
    for number in range(1, _USERS):
        yield JoinRoom(user=f"u{number}", ts=_FIRST_MS, room=ROOM)
    for said in range(count):
        body = " ".join(chance.choices(WORDS, k=_WORDS_EACH))
        yield SendMessage(user=f"u{said % _USERS}", ts=_FIRST_MS + said, room=ROOM, cid=f"c{said}", body=body)
