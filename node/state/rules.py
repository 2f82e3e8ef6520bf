"""The rules: what a record does to the state. Deterministic: no clock, no chance, no environment.

Every node applies the same entries in the same order, so all of them accept and refuse alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from node.errors import ErrorCode
from node.protocol.messages import MemberEvent, MessageEvent, RoomEvent, encode
from node.state.model import Event, Room, Sent, State
from node.state.records import (
    AnyRecord,
    Batch,
    CreateRoom,
    DamagedEntry,
    JoinRoom,
    LeaveRoom,
    SendMessage,
    decode_batch,
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The record took effect. ``dup``: it had done so before, or there was nothing left to change."""

    seq: int
    ts: int
    dup: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """The record had no effect, and why."""

    code: ErrorCode
    msg: str


Outcome = Accepted | Rejected


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
    first_event = len(state.changes.events)
    outcomes = [apply_record(state, record) for record in batch.records]
    _chain_digest(state, outcomes, state.changes.events[first_event:])
    return AppliedBatch(batch.producer, batch.n, outcomes)


def _chain_digest(state: State, outcomes: list[Outcome], events: list[Event]) -> None:
    digest = blake2b(state.digest, digest_size=16)
    digest.update(b"%d" % state.position)
    for outcome in outcomes:
        digest.update(outcome.code.value.encode() if isinstance(outcome, Rejected) else b"%d" % outcome.seq)
    for event in events:
        digest.update(event.payload)
    state.digest = digest.digest()


def apply_record(state: State, record: AnyRecord) -> Outcome:
    """Apply one record."""
    if isinstance(record, CreateRoom):
        return _create_room(state, record)
    room = state.rooms.get(record.room)
    if room is None:
        return Rejected(ErrorCode.NO_ROOM, f"there is no room {record.room}")
    if isinstance(record, SendMessage):
        return _send(state, room, record)
    if isinstance(record, JoinRoom):
        return _join(state, room, record)
    return _leave(state, room, record)


def _create_room(state: State, record: CreateRoom) -> Outcome:
    if record.room in state.rooms:
        return Rejected(ErrorCode.ROOM_EXISTS, f"the room {record.room} exists")
    room = state.add_room(record.room, record.title, record.user)
    state.set_member(room, record.user, "owner")
    seq, ts = state.next_event(room, record.ts)
    payload = encode(RoomEvent(room.id, seq, "created", room.title, record.user, ts))
    state.changes.events.append(Event(room.id, room.no, seq, payload))
    return Accepted(seq, ts)


def _join(state: State, room: Room, record: JoinRoom) -> Outcome:
    if record.user in room.members:
        return Accepted(room.head, room.last_ts, dup=True)
    state.set_member(room, record.user, "member")
    return _member_event(state, room, record, "join")


def _leave(state: State, room: Room, record: LeaveRoom) -> Outcome:
    if record.user not in room.members:
        return Accepted(room.head, room.last_ts, dup=True)
    state.set_member(room, record.user, None)
    return _member_event(state, room, record, "leave")


def _member_event(state: State, room: Room, record: JoinRoom | LeaveRoom, change: str) -> Outcome:
    seq, ts = state.next_event(room, record.ts)
    payload = encode(MemberEvent(room.id, seq, record.user, change, ts))
    left = record.user if change == "leave" else None
    state.changes.events.append(Event(room.id, room.no, seq, payload, left))
    return Accepted(seq, ts)


def _send(state: State, room: Room, record: SendMessage) -> Outcome:
    if record.user not in room.members:
        return Rejected(ErrorCode.FORBIDDEN, f"{record.user} is not a member of {room.id}; join it first")
    first = state.said(room, record.user, record.cid)
    if first is not None:
        if first.body != record.body:
            return Rejected(ErrorCode.CID_CONFLICT, f"cid {record.cid} was used for another message")
        return Accepted(first.seq, first.ts, dup=True)
    seq, ts = state.next_event(room, record.ts)
    payload = encode(MessageEvent(room.id, seq, record.cid, record.user, ts, record.body))
    state.changes.events.append(Event(room.id, room.no, seq, payload))
    state.changes.sent[room.no, record.user, record.cid] = Sent(seq, ts, record.body)
    return Accepted(seq, ts)
