"""A log with a long past, made without the node that is to read it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
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


def write_log(data_dir: Path, count: int) -> None:
    """A log of a room in which ``count`` messages were said."""
    data_dir.mkdir(parents=True)
    chance = random.Random(count)  # noqa: S311 - the same past every time
    with closing(sqlite3.connect(data_dir / "log.sqlite", isolation_level=None)) as log:
        create_tables(log, new_epoch())
        log.execute("BEGIN")
        log.executemany("INSERT INTO entries VALUES (?, ?, ?)", _entries(count, chance))
        log.execute("COMMIT")


def _entries(count: int, chance: random.Random) -> list[tuple[int, str, bytes]]:
    records: list[AnyRecord] = [CreateRoom(user="u0", ts=_FIRST_MS, room=ROOM)]
    records += [JoinRoom(user=f"u{number}", ts=_FIRST_MS, room=ROOM) for number in range(1, _USERS)]
    entries: list[tuple[int, str, bytes]] = []
    for said in range(count):
        body = " ".join(chance.choices(WORDS, k=_WORDS_EACH))
        message = SendMessage(user=f"u{said % _USERS}", ts=_FIRST_MS + said, room=ROOM, cid=f"c{said}", body=body)
        records.append(message)
        if len(records) >= _RECORDS_EACH or said == count - 1:
            position = len(entries) + 1
            data = encode_batch("bench", position, [encode_record(record) for record in records])
            entries.append((position, f"bench:{position}", data))
            records = []
    return entries
