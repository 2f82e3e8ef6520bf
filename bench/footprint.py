"""How many bytes rooms, members, accounts and messages take in a node: what the arithmetic of docs/scaling.md needs.

Nothing is timed, so a busy machine changes nothing: ``python -m bench.footprint``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sqlite3
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from bench.directory import DOCS, scratch
from bench.history import write_log
from bench.table import number
from node.protocol.frames import text_frame
from node.state.outcome import Rejected
from node.state.records import AnyRecord, CreateRoom, JoinRoom, PutAccount, encode_batch, encode_record
from node.state.store import Store

_EPOCH = "bench"
_RECORDS_EACH = 200
_ROOMS, _MEMBERS, _ACCOUNTS = 1000, 10, 10_000
_HASH = "$argon2id$v=19$m=65536,t=3,p=4$" + "s" * 22 + "$" + "h" * 43
"""As long as a real one."""


def _rooms(members: int) -> Iterator[AnyRecord]:
    """Rooms with an owner and so many other members; nobody is in two."""
    for room in range(_ROOMS):
        yield CreateRoom(user=f"owner{room:06d}", ts=1, room=f"room{room:08d}", title="A room with a title")
        for member in range(members):
            yield JoinRoom(user=f"user{room:06d}{member:03d}", ts=1, room=f"room{room:08d}")


def _accounts() -> Iterator[AnyRecord]:
    for account in range(_ACCOUNTS):
        yield PutAccount(user="root", ts=1, admin=True, name=f"user{account:08d}", password_hash=_HASH, new=True)


def _entries(records: Sequence[AnyRecord]) -> list[tuple[int, bytes]]:
    encoded = [encode_record(record) for record in records]
    parts = [encoded[start : start + _RECORDS_EACH] for start in range(0, len(encoded), _RECORDS_EACH)]
    return [(place, encode_batch("bench", place, part)) for place, part in enumerate(parts, 1)]


def state_bytes(directory: Path, records: Sequence[AnyRecord]) -> int:
    """Memory that a node's state takes after these records, when it is loaded from its store."""
    path = directory / "store.sqlite"
    with closing(Store(path, _EPOCH)) as store:
        done = store.apply(_entries(records))
        store.write()
    if any(isinstance(outcome, Rejected) for batch in done.batches for outcome in batch.outcomes):
        raise ValueError("a record that takes room was refused")
    gc.collect()
    tracemalloc.start()
    try:
        with closing(Store(path, _EPOCH)):
            return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def message_bytes(directory: Path, count: int) -> dict[str, float]:
    """What a message of ten words takes: in the log, in the store, and as a frame to a client."""
    write_log(directory, count)
    with closing(sqlite3.connect(directory / "log.sqlite")) as log:
        entries = log.execute("SELECT position, data FROM entries ORDER BY position").fetchall()
    path = directory / "store.sqlite"
    with closing(Store(path, _EPOCH)) as store:
        framed = sum(len(text_frame(event.payload)) for event in store.apply(entries).events)
        store.write()
    return {
        "logged_message_bytes": sum(len(data) for _, data in entries) / count,
        "stored_message_bytes": path.stat().st_size / count,
        "frame_bytes": framed / count,
    }


def measure(messages: int = 20_000) -> dict[str, float]:
    """Bytes of each thing. A room's are those of it with its owner; what is empty costs little and is in them."""
    kinds: dict[str, Sequence[AnyRecord]] = {
        "rooms": list(_rooms(0)),
        "members": list(_rooms(_MEMBERS)),
        "accounts": list(_accounts()),
    }
    taken: dict[str, int] = {}
    for kind, records in kinds.items():
        with scratch() as directory:
            taken[kind] = state_bytes(directory, records)
    standing = (taken["members"] - taken["rooms"]) / (_ROOMS * _MEMBERS)
    with scratch() as directory:
        return {
            "room_bytes": taken["rooms"] / _ROOMS - standing,
            "standing_bytes": standing,
            "account_bytes": taken["accounts"] / _ACCOUNTS,
            **message_bytes(directory / "data", messages),
        }


def main() -> None:
    """Measure, print, and keep the figures in docs/bench."""
    argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__).parse_args()
    found = measure()
    (DOCS / "footprint.json").write_text(json.dumps(found, indent=1) + "\n")
    for name, value in found.items():
        print(f"{name}: {number(value)}")


if __name__ == "__main__":
    main()
