"""From a request to the record that goes into the log. Pure."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from node.errors import ErrorCode, RequestError
from node.protocol import requests
from node.state import records
from node.state.records import AnyRecord

_DM = "dm."


def dm_room_id(one: str, other: str) -> str:
    """Id of the room of two users, the same whoever asks."""
    pair = "\0".join(sorted((one, other)))
    return f"{_DM}{blake2b(pair.encode(), digest_size=16).hexdigest()}"


def record_of(request: requests.AnyRequest, user: str, ts: int, *, admin: bool) -> AnyRecord | None:
    """The record of a request, or None for a request that changes nothing.

    Args:
        ts: Unix time in milliseconds.
        admin: whether the user is a server admin.

    Raises:
        RequestError: ``forbidden``, for what nobody may do, whatever the state.
    """
    make = _RECORDS.get(type(request))
    record = make(request, user, ts) if make is not None else None
    if record is not None and admin:
        record.admin = True
    return record


def _delete_room(request: requests.DeleteRoom, user: str, ts: int) -> records.DeleteRoom:
    # Its id is worked out from two names, so it could not be opened again.
    if request.room.startswith(_DM):
        raise RequestError(ErrorCode.FORBIDDEN, "a direct room belongs to its two people")
    return records.DeleteRoom(user, ts, request.room)


def _peer(record: Callable[[str, int, str, str], AnyRecord]) -> Callable[[Any, str, int], AnyRecord]:
    return lambda request, user, ts: record(user, ts, request.room, request.user)


_RECORDS: dict[type[requests.Request], Callable[[Any, str, int], AnyRecord]] = {
    requests.CreateRoom: lambda r, user, ts: records.CreateRoom(user, ts, r.room, r.title, r.private),
    requests.UpdateRoom: lambda r, user, ts: records.UpdateRoom(user, ts, r.room, r.title, r.private),
    requests.DeleteRoom: _delete_room,
    requests.Dm: lambda r, user, ts: records.OpenDm(user, ts, dm_room_id(user, r.user), r.user),
    requests.Join: lambda r, user, ts: records.JoinRoom(user, ts, r.room),
    requests.Leave: lambda r, user, ts: records.LeaveRoom(user, ts, r.room),
    requests.Invite: _peer(records.Invite),
    requests.Role: lambda r, user, ts: records.SetRole(user, ts, r.room, r.user, r.role),
    requests.Kick: _peer(records.Kick),
    requests.Ban: _peer(records.Ban),
    requests.Unban: _peer(records.Unban),
    requests.Mute: lambda r, user, ts: records.Mute(user, ts, r.room, r.user, r.until),
    requests.Send: lambda r, user, ts: records.SendMessage(user, ts, r.room, r.cid, r.body, r.reply_to),
    requests.Edit: lambda r, user, ts: records.EditMessage(user, ts, r.room, r.seq, r.body),
    requests.Delete: lambda r, user, ts: records.DeleteMessage(user, ts, r.room, r.seq),
    requests.React: lambda r, user, ts: records.React(user, ts, r.room, r.seq, r.emoji, r.on),
    requests.Read: lambda r, user, ts: records.MarkRead(user, ts, r.room, r.seq),
    requests.Notice: lambda r, user, ts: records.PutNotice(user, ts, r.level, r.text, r.until),
}
