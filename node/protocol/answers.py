"""What nodes answer (``docs/protocol.md``)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from node.errors import RequestError
from node.protocol.pushes import encode


class Limits(Struct):
    """The limits in force, told in the answer to hello."""

    frame_bytes: int
    body_bytes: int
    rooms: int
    sends_per_s: float
    send_burst: int
    unsent_bytes: int
    user_connections: int


class Welcome(Struct):
    """Answer to hello."""

    v: int
    user: str
    conn: str
    node: str
    heartbeat_s: float
    epoch: str
    limits: Limits


class Joined(Struct, omit_defaults=True):
    """Answer to join. ``recovered`` is there when ``since`` was given, ``reason`` when it could not be served."""

    room: str
    epoch: str
    first: int
    head: int
    recovered: bool | None = None
    reason: str | None = None


class Acknowledged(Struct):
    """Answer to send: committed by the log and applied by this node."""

    seq: int
    ts: int
    dup: bool


class RoomInfo(Struct, omit_defaults=True):
    """One room in a listing. ``role`` and ``unread`` are there for members."""

    room: str
    title: str
    members: int
    head: int
    private: bool = False
    dm: bool = False
    role: str | None = None
    unread: int | None = None


class RoomList(Struct):
    """Answer to rooms; ask again with ``after`` set to the last id when ``more``."""

    rooms: list[RoomInfo]
    more: bool


class HistoryPage(Struct):
    """Answer to history: messages in ascending order, as they were pushed."""

    msgs: list[msgspec.Raw]
    first: int
    head: int


class Done(Struct, omit_defaults=True):
    """Answer to what changes a room: the seq of the event, if there was anything to change."""

    room: str | None = None
    seq: int | None = None


class MemberInfo(Struct, omit_defaults=True):
    """One member in a listing."""

    user: str
    role: str
    online: bool
    muted_until: int = 0


class MemberList(Struct):
    """Answer to members; ask again with ``after`` set to the last name when ``more``."""

    members: list[MemberInfo]
    more: bool


class SearchPage(Struct, omit_defaults=True):
    """Answer to search: newest first; ask again with ``before`` set to ``next`` while it is there."""

    msgs: list[msgspec.Raw]
    next: int | None = None


class Self(Struct):
    """Answer to whoami."""

    user: str
    roles: list[str]
    conn: str
    node: str
    expires_at: float | None


class _Answer(Struct):
    id: int | str | None
    ok: Any


class _Refusal(Struct):
    id: int | str | None
    err: dict[str, Any]


def encode_ok(request_id: int | str, ok: Struct) -> bytes:
    """The JSON of a good answer."""
    return encode(_Answer(request_id, ok))


def encode_error(request_id: int | str | None, error: RequestError) -> bytes:
    """The JSON of a refusal."""
    body: dict[str, Any] = {"code": error.code.value, "msg": error.msg, "retry": error.retry}
    if error.retry_ms is not None:
        body["retry_ms"] = error.retry_ms
    return encode(_Refusal(request_id, body))
