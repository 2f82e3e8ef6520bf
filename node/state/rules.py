"""The rules: what a record does to the state. Deterministic: no clock, no chance, no environment.

Every node applies the same entries in the same order, so all of them accept and refuse alike. Nothing here may depend
on the order in which a dict was filled: a node that restarted has filled it in another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from node.errors import ErrorCode
from node.state import message_rules, room_rules, server_rules
from node.state.model import INVITED, Event, Room, State
from node.state.outcome import Accepted, Outcome, Refusal, Rejected
from node.state.records import (
    AnyRecord,
    Batch,
    DamagedEntry,
    DeleteRoom,
    LeaveRoom,
    RoomRecord,
    decode_batch,
)

Rule = Callable[..., Accepted]

_ROOM_RULES: dict[type[RoomRecord], Rule] = {**room_rules.RULES, **message_rules.RULES}
_SERVER_RULES: dict[type[Any], Rule] = {**room_rules.MAKING_RULES, **server_rules.RULES}


@dataclass(frozen=True, slots=True)
class AppliedBatch:
    """What became of an entry's records, in their order."""

    producer: str
    n: int
    outcomes: list[Outcome]


def apply_entry(state: State, position: int, data: bytes) -> AppliedBatch | None:
    """Apply one entry of the log. Returns None for an entry without effect: seen before, or damaged.

    Raises:
        UnknownVersion: the entry is of a newer release; the state is as it was.
    """
    try:
        batch = decode_batch(data)
    except DamagedEntry:
        batch = None
    state.position = position
    if batch is None or state.seen(batch.producer, batch.n):
        return None
    return _apply_batch(state, batch)


def _apply_batch(state: State, batch: Batch) -> AppliedBatch:
    state.mark_seen(batch.producer, batch.n)
    state.version = max(state.version, batch.v)
    first_event = len(state.changes.events)
    outcomes = []
    for state.record_no, record in enumerate(batch.records):
        outcomes.append(apply_record(state, record))
    _chain_digest(state, outcomes, state.changes.events[first_event:])
    return AppliedBatch(batch.producer, batch.n, outcomes)


def _chain_digest(state: State, outcomes: list[Outcome], events: list[Event]) -> None:
    parts = [state.digest, b"%d" % state.position]
    for outcome in outcomes:
        parts.append(outcome.code.value.encode() if isinstance(outcome, Rejected) else b"%d" % outcome.seq)
    parts += [event.payload for event in events]
    state.digest = blake2b(b"".join(parts), digest_size=16).digest()


def apply_record(state: State, record: AnyRecord) -> Outcome:
    """Apply one record."""
    try:
        rule = _SERVER_RULES.get(type(record))
        if rule is not None:
            return rule(state, record)
        return _apply_to_room(state, record)  # type: ignore[arg-type]  # every other record is about a room
    except Refusal as refusal:
        return Rejected(refusal.code, refusal.msg)


def _apply_to_room(state: State, record: RoomRecord) -> Accepted:
    room = state.rooms.get(record.room)
    if room is not None and not room.deleted and may_see(room, record):
        return _ROOM_RULES[type(record)](state, room, record)
    # What a client repeats because the first answer was lost is answered as done, and tells nobody else anything.
    if isinstance(record, DeleteRoom) and room is not None and room.deleted_by == record.user:
        return Accepted(room.head, room.last_ts, dup=True)
    if isinstance(record, LeaveRoom):
        return Accepted(0, record.ts, dup=True)
    raise Refusal(ErrorCode.NO_ROOM, f"there is no room {record.room}")


def may_see(room: Room, record: RoomRecord) -> bool:
    """Whether the user may know of a room."""
    if not room.private or record.admin or room.rank(record.user):
        return True
    standing = room.standings.get(record.user)
    return standing is not None and standing.role == INVITED
