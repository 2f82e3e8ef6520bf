"""The read model's writer: applies the log to one SQLite file per node, which is thrown away and rebuilt at will.

One thread at a time applies and writes; any number read (``reader.py``). What is applied waits in memory and is written
a lot at a time, because a transaction costs more than a message. The log is the truth, so a crash may cost what waits,
and the last transactions too (``synchronous=NORMAL``): that is applied again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.errors import StoreCorrupt
from node.protocol.pushes import MessageEvent, encode
from node.state.model import Account, Changes, Event, Notice, Push, Room, Standing, State
from node.state.records import check_version
from node.state.rules import AppliedBatch, apply_entry
from node.state.schema import corruption_named, event_id, open_file, room_of, said_key, sealed, unsealed

_decode_message = msgspec.json.Decoder(MessageEvent).decode
_decode_account = msgspec.json.Decoder(Account).decode
_decode_notices = msgspec.json.Decoder(list[Notice]).decode

_MESSAGE = """
SELECT message.place, COALESCE(message.payload, event.payload) FROM message JOIN event USING (id)
"""
_SAID = "SELECT id, event.payload FROM message JOIN event USING (id) WHERE said = ? ORDER BY place DESC"

# Of the search: each write adds a part to its index, and parts are merged into larger ones, some five times in the end.
# Left to itself FTS5 does that seldom and much of it at once, tens of milliseconds in which everybody who reads waits.
_PAGE_BYTES = 4096
_MERGES_OF_A_PAGE = 5
_MERGED_AT_LEAST = 8

DIGEST_EVERY = 100
"""So many entries lie between two digests by which replicas are compared while they move."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What one call of :meth:`Store.apply` brought about."""

    position: int
    batches: list[AppliedBatch]
    events: list[Event]
    pushes: list[Push]
    accounts: list[Account]
    digests: dict[int, bytes]
    """Those at positions that are multiples of :data:`DIGEST_EVERY`."""


class Store:
    """The writer's side of the read model.

    Args:
        path: the file; made if it is not there.
        epoch: of the log that is applied; a file of another log is thrown away.

    Attributes:
        unwritten_bytes: size of the entries that are applied and not in the file yet.

    Raises:
        StoreCorrupt: the file is damaged. ``discard`` it and open again.
        UnknownVersion: a newer release has applied records of its own.
    """

    def __init__(self, path: Path, epoch: str) -> None:
        self.path = path
        self._db = open_file(path, epoch)
        with corruption_named(path):
            self.state = self._load()
        self.unwritten_bytes = 0
        self._unwritten: list[tuple[int, bytes]] = []
        self._lot = Changes()
        """What the unwritten entries changed."""
        self._spoilt = False
        """Whether the state has half of an entry in it, because a call of :meth:`apply` failed."""

    def apply(self, entries: Sequence[tuple[int, bytes]]) -> Applied:
        """Apply entries of the log, (position, data) in order. They get into the file with :meth:`write`.

        Raises:
            UnknownVersion: an entry is of a newer release.
            StoreCorrupt: the file is damaged.
            sqlite3.OperationalError: the disk cannot be read, or alike.
            In each case nothing is applied, and the same call may be made again.
        """
        with corruption_named(self.path):
            self._mend()
            self._spoilt = True
            batches, digests = self._apply_all(entries)
            self._spoilt = False
        changes = self.state.take_changes()
        self._lot.add(changes)
        self._unwritten += entries
        self.unwritten_bytes += sum(len(data) for _, data in entries)
        applied = [batch for batch in batches if batch is not None]
        accounts = [self.state.accounts[name] for name in sorted(changes.accounts)]
        return Applied(self.state.position, applied, changes.events, changes.pushes, accounts, digests)

    def write(self) -> None:
        """Bring the file up to what is applied, in one transaction.

        Raises:
            StoreCorrupt: the file is damaged.
            sqlite3.OperationalError: disk full or alike; the file is as it was, and the call may be made again.
        """
        if self._unwritten:
            with corruption_named(self.path):
                self._mend()
                with self._db:
                    self._db.execute("BEGIN")
                    self._write(self._lot)
            self._unwritten, self.unwritten_bytes, self._lot = [], 0, Changes()

    def _mend(self) -> None:
        """After a call of :meth:`apply` failed: come to where it began, from the file, which it has not touched."""
        if self._spoilt:
            self.state, self._lot = self._load(), Changes()
            self._apply_all(self._unwritten)
            self._lot, self._spoilt = self.state.take_changes(), False

    def _apply_all(self, entries: Sequence[tuple[int, bytes]]) -> tuple[list[AppliedBatch | None], dict[int, bytes]]:
        batches, digests = [], {}
        for position, data in entries:
            batches.append(apply_entry(self.state, position, data))
            if position % DIGEST_EVERY == 0:
                digests[position] = self.state.digest
        return batches, digests

    def close(self) -> None:
        """Close the file. What is not written is applied again from the log."""
        self._db.close()

    def find_said(self, room_no: int, user: str, cid: str) -> MessageEvent | None:
        """As ``model.Disk`` wants it."""
        if (said := self._lot.said.get((room_no, user, cid))) is not None:
            return said
        for message_id, payload in self._db.execute(_SAID, (said_key(user, cid),)):
            message = _decode_message(unsealed(payload))
            if (room_of(message_id), message.from_, message.cid) == (room_no, user, cid):
                return message
        return None

    def find_message(self, room_no: int, seq: int) -> MessageEvent | None:
        """As ``model.Disk`` wants it."""
        if (message := self._lot.messages.get((room_no, seq))) is not None:
            return message
        found = self._message(event_id(room_no, seq))
        return found[1] if found else None

    def _message(self, message_id: int) -> tuple[int, MessageEvent] | None:
        row = self._db.execute(f"{_MESSAGE} WHERE message.id = ?", (message_id,)).fetchone()
        return (row[0], _decode_message(unsealed(row[1]))) if row else None

    def _write(self, changes: Changes) -> None:
        for room_no, head in changes.emptied.items():
            self._empty(room_no, head)
        self._write_events(changes)
        self._write_messages(changes)
        self._write_rooms(changes)
        self._write_server(changes)

    def _write_events(self, changes: Changes) -> None:
        kept = changes.kept
        self._db.executemany(
            "INSERT INTO event VALUES (?, ?)",
            [(event_id(e.room_no, e.seq), sealed(e.payload)) for e in changes.events if kept(e.room_no, e.seq)],
        )

    def _write_messages(self, changes: Changes) -> None:
        """New messages in one go; those that became another one by one, with what they are found by."""
        new, found_by = [], []
        for (room_no, seq), place in changes.places.items():
            if not changes.kept(room_no, seq):
                continue
            message = changes.messages[room_no, seq]
            thread = event_id(room_no, message.thread) if message.thread is not None else None
            changed = message.edited is not None or message.deleted or message.reactions or message.replies
            said = said_key(message.from_, message.cid)
            new.append((place, event_id(room_no, seq), said, thread, sealed(encode(message)) if changed else None))
            if not message.deleted:
                found_by.append((place, message.body))
        self._db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?)", new)
        self._db.executemany("INSERT INTO search (rowid, body) VALUES (?, ?)", found_by)
        for room_no, seq in changes.messages.keys() - changes.places.keys():
            if changes.kept(room_no, seq):
                self._rewrite(event_id(room_no, seq), changes.messages[room_no, seq])
        if changes.messages:
            self._merge_index(sum(len(message.body) for message in changes.messages.values()))

    def _merge_index(self, added_bytes: int) -> None:
        """Merge about as much of the search's index as keeps up with what was added."""
        pages = max(_MERGED_AT_LEAST, _MERGES_OF_A_PAGE * added_bytes // _PAGE_BYTES)
        self._db.execute("INSERT INTO search (search, rank) VALUES ('merge', ?)", (pages,))

    def _rewrite(self, message_id: int, message: MessageEvent) -> None:
        found = self._message(message_id)
        if found is None:
            raise StoreCorrupt(f"{self.path}: message {message_id} is gone")
        place, before = found
        self._db.execute("UPDATE message SET payload = ? WHERE place = ?", (sealed(encode(message)), place))
        if (before.body, before.deleted) != (message.body, message.deleted):
            self._forget(place, before)
            if not message.deleted:
                self._db.execute("INSERT INTO search (rowid, body) VALUES (?, ?)", (place, message.body))

    def _forget(self, place: int, message: MessageEvent) -> None:
        """Take a message out of the search; such a table must be told what it had been told."""
        if not message.deleted:
            self._db.execute("INSERT INTO search (search, rowid, body) VALUES ('delete', ?, ?)", (place, message.body))

    def _empty(self, room_no: int, head: int) -> None:
        """Everything that was said in a room up to a seq goes."""
        span = (event_id(room_no, 0), event_id(room_no, head))
        for place, payload in self._db.execute(f"{_MESSAGE} WHERE message.id BETWEEN ? AND ?", span).fetchall():
            self._forget(place, _decode_message(unsealed(payload)))
        self._db.execute("DELETE FROM message WHERE id BETWEEN ? AND ?", span)
        self._db.execute("DELETE FROM event WHERE id BETWEEN ? AND ?", span)

    def _write_rooms(self, changes: Changes) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO room VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (r.no, r.id, r.title, r.private, r.dm, r.deleted_by, r.first, r.head, r.last_ts, r.size)
                for r in changes.rooms.values()
            ],
        )
        gone = [key for key, standing in changes.standings.items() if standing is None]
        self._db.executemany("DELETE FROM standing WHERE room = ? AND user = ?", gone)
        self._db.executemany(
            "INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?)",
            [(*key, s.role, s.muted_until, s.read) for key, s in changes.standings.items() if s is not None],
        )

    def _write_server(self, changes: Changes) -> None:
        db, state = self._db, self.state
        for name in changes.accounts:
            db.execute("INSERT OR REPLACE INTO account VALUES (?, ?)", (name, encode(state.accounts[name])))
        for producer in changes.producers:
            if producer in state.producers:
                db.execute("INSERT OR REPLACE INTO producer VALUES (?, ?, ?)", (producer, *state.producers[producer]))
            else:
                db.execute("DELETE FROM producer WHERE id = ?", (producer,))
        meta = {"position": state.position, "digest": state.digest, "version": state.version}
        if changes.notices:
            meta["notices"] = encode(state.notices)
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())

    def _load(self) -> State:
        try:
            return self._read_state()
        except (LookupError, TypeError, ValueError) as error:  # rows that are missing, or say what was never written
            raise StoreCorrupt(f"{self.path}: {error!r}") from error

    def _read_state(self) -> State:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        version = check_version(meta["version"])
        state = State(self, position=meta["position"], digest=meta["digest"], version=version)
        state.notices = _decode_notices(meta["notices"])
        by_no: dict[int, Room] = {}
        for row in self._db.execute("SELECT * FROM room ORDER BY no"):
            no, room_id, title, private, dm, *rest = row
            room = Room(no, room_id, title, bool(private), bool(dm), *rest)
            by_no[no] = state.rooms[room_id] = room
        for room_no, user, *standing in self._db.execute("SELECT * FROM standing"):
            by_no[room_no].standings[user] = Standing(*standing)
        for (data,) in self._db.execute("SELECT data FROM account"):
            account = _decode_account(data)
            state.accounts[account.name] = account
        for producer, n, position in self._db.execute("SELECT id, n, position FROM producer"):
            state.producers[producer] = (n, position)
        return state
