"""What nodes tell without being asked: the events of a room, and pushes that belong to none (``docs/protocol.md``)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

_encode = msgspec.json.Encoder().encode


def encode(message: Any) -> bytes:
    """The JSON of anything that travels, as it is stored and sent."""
    return _encode(message)


class MessageEvent(Struct, tag_field="op", tag="msg", omit_defaults=True):
    """A message. What follows ``body`` is there when it applies; pushed as it was said, in a history as it stands.

    Attributes:
        reply_to, thread: the message that this one answers, and the first one of that thread.
        mentions: members named in the body.
        edited: Unix ms of the last edit.
        reactions: emoji -> users.
        replies: how many messages its thread has, told of a thread's first.
    """

    room: str
    seq: int
    cid: str
    from_: str = msgspec.field(name="from")
    ts: int
    body: str
    reply_to: int | None = None
    thread: int | None = None
    mentions: list[str] = []
    edited: int | None = None
    deleted: bool = False
    reactions: dict[str, list[str]] = {}
    replies: int = 0


class EditEvent(Struct, tag_field="op", tag="edit", omit_defaults=True):
    """The message ``target`` says something else now."""

    room: str
    seq: int
    target: int
    from_: str = msgspec.field(name="from")
    ts: int
    body: str
    mentions: list[str] = []


class DeleteEvent(Struct, tag_field="op", tag="delete"):
    """The message ``target`` was taken back."""

    room: str
    seq: int
    target: int
    from_: str = msgspec.field(name="from")
    ts: int


class ReactEvent(Struct, tag_field="op", tag="react"):
    """An emoji was put to the message ``target``, or taken away."""

    room: str
    seq: int
    target: int
    from_: str = msgspec.field(name="from")
    ts: int
    emoji: str
    on: bool


class MemberEvent(Struct, tag_field="op", tag="member", omit_defaults=True):
    """What a user is to the room has changed: join, leave, invite, kick, ban, unban, mute, unmute, role.

    Attributes:
        by: who did it, if not the user.
        role: the new one, with the change ``role``.
        until: Unix ms, with the change ``mute``.
    """

    room: str
    seq: int
    user: str
    change: str
    ts: int
    by: str | None = None
    role: str | None = None
    until: int | None = None


class RoomEvent(Struct, tag_field="op", tag="room"):
    """The room was created, updated or deleted."""

    room: str
    seq: int
    change: str
    title: str
    private: bool
    by: str
    ts: int


RoomEvents = MessageEvent | EditEvent | DeleteEvent | ReactEvent | MemberEvent | RoomEvent
"""What has a seq."""


class InvitePush(Struct, tag_field="op", tag="invite"):
    """The user was let into a room, or a direct room was opened with them."""

    room: str
    by: str


class ReadPush(Struct, tag_field="op", tag="read"):
    """The user has read up to ``seq``, on some connection of theirs."""

    room: str
    seq: int


class PresencePush(Struct, tag_field="op", tag="presence"):
    """A member of the room has come online or gone offline."""

    room: str
    user: str
    online: bool


class TypingPush(Struct, tag_field="op", tag="typing"):
    """Somebody is typing."""

    room: str
    user: str


class NoticePush(Struct, tag_field="op", tag="notice"):
    """The operators' word to everyone, until ``until`` (Unix ms)."""

    level: str
    text: str
    until: int


class Drain(Struct, tag_field="op", tag="drain"):
    """This node goes away; come back after ``reconnect_after_ms``, best to one of ``prefer``."""

    deadline_ms: int
    reconnect_after_ms: int
    prefer: list[str]
