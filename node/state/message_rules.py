"""Rules about what is said. Each returns what it did, or raises ``Refusal`` with nothing changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from node.errors import ErrorCode
from node.protocol.pushes import DeleteEvent, EditEvent, MessageEvent, ReactEvent
from node.state.model import MODERATOR, RANKS, Room, State
from node.state.outcome import Accepted, Refusal
from node.state.records import DeleteMessage, EditMessage, React, RoomRecord, SendMessage
from node.state.room_rules import rank, require_member

MAX_EMOJIS = 50
"""Different emojis on one message."""

MAX_MENTIONS = 50

_MENTION = re.compile(r"(?<![A-Za-z0-9_])@([A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?)")


def _send(state: State, room: Room, record: SendMessage) -> Accepted:
    require_member(room, record)
    first = state.said(room, record.user, record.cid)
    if first is not None:
        if (first.body, first.reply_to) != (record.body, record.reply_to):
            raise Refusal(ErrorCode.CID_CONFLICT, f"cid {record.cid} was used for another message")
        return Accepted(first.seq, first.ts, dup=True)
    _require_voice(room, record)
    root = _thread_of(state, room, record.reply_to)
    seq, ts = state.next_event(room, record.ts)
    thread = root.seq if root is not None else None
    mentions = _mentions(room, record.body)
    message = MessageEvent(room.id, seq, record.cid, record.user, ts, record.body, record.reply_to, thread, mentions)
    state.emit(room, message)
    state.add_message(room, message)
    if root is not None:
        state.replace_message(room, msgspec.structs.replace(root, replies=root.replies + 1))
    return Accepted(seq, ts)


def _edit(state: State, room: Room, record: EditMessage) -> Accepted:
    require_member(room, record)
    message = _message(state, room, record.seq)
    if message.from_ != record.user:
        raise Refusal(ErrorCode.FORBIDDEN, "only its author edits a message")
    _require_voice(room, record)
    if message.body == record.body:
        return Accepted(room.head, room.last_ts, dup=True)
    seq, ts = state.next_event(room, record.ts)
    mentions = _mentions(room, record.body)
    state.replace_message(room, msgspec.structs.replace(message, body=record.body, mentions=mentions, edited=ts))
    state.emit(room, EditEvent(room.id, seq, message.seq, record.user, ts, record.body, mentions))
    return Accepted(seq, ts)


def _delete(state: State, room: Room, record: DeleteMessage) -> Accepted:
    message = _message(state, room, record.seq, deleted_too=True)
    own = message.from_ == record.user and room.rank(record.user) > 0
    if not own and rank(room, record) < RANKS[MODERATOR]:
        raise Refusal(ErrorCode.FORBIDDEN, "only its author or a moderator deletes a message")
    if message.deleted:
        return Accepted(room.head, room.last_ts, dup=True)
    seq, ts = state.next_event(room, record.ts)
    gone = msgspec.structs.replace(message, body="", mentions=[], reactions={}, deleted=True)
    state.replace_message(room, gone)
    state.emit(room, DeleteEvent(room.id, seq, message.seq, record.user, ts))
    return Accepted(seq, ts)


def _react(state: State, room: Room, record: React) -> Accepted:
    require_member(room, record)
    message = _message(state, room, record.seq)
    _require_voice(room, record)
    users = message.reactions.get(record.emoji, [])
    if (record.user in users) == record.on:
        return Accepted(room.head, room.last_ts, dup=True)
    if record.on and not users and len(message.reactions) >= MAX_EMOJIS:
        raise Refusal(ErrorCode.FORBIDDEN, f"a message takes at most {MAX_EMOJIS} different emojis")
    kept = [*users, record.user] if record.on else [user for user in users if user != record.user]
    reactions = {emoji: who for emoji, who in {**message.reactions, record.emoji: kept}.items() if who}
    seq, ts = state.next_event(room, record.ts)
    state.replace_message(room, msgspec.structs.replace(message, reactions=reactions))
    state.emit(room, ReactEvent(room.id, seq, message.seq, record.user, ts, record.emoji, record.on))
    return Accepted(seq, ts)


def _message(state: State, room: Room, seq: int, *, deleted_too: bool = False) -> MessageEvent:
    message = state.message(room, seq)
    if message is None or (message.deleted and not deleted_too):
        raise Refusal(ErrorCode.NO_MESSAGE, f"there is no message {seq} in {room.id}")
    return message


def _thread_of(state: State, room: Room, reply_to: int | None) -> MessageEvent | None:
    """The first message of the thread that an answer belongs to. A thread goes on without it, if it is deleted."""
    if reply_to is None:
        return None
    parent = _message(state, room, reply_to)
    return parent if parent.thread is None else state.message(room, parent.thread)


def _require_voice(room: Room, record: RoomRecord) -> None:
    until = room.standings[record.user].muted_until
    if record.ts < until:
        raise Refusal(ErrorCode.FORBIDDEN, f"{record.user} is muted in {room.id}")


def _mentions(room: Room, body: str) -> list[str]:
    """The members that a body names, in the order of their first mention."""
    if "@" not in body:
        return []
    named = dict.fromkeys(_MENTION.findall(body))
    return [user for user in named if room.rank(user)][:MAX_MENTIONS]


RULES: dict[type[RoomRecord], Callable[[State, Room, Any], Accepted]] = {
    SendMessage: _send,
    EditMessage: _edit,
    DeleteMessage: _delete,
    React: _react,
}
