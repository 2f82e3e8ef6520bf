"""Rules about rooms, and about who is what in them. Each returns what it did, or raises ``Refusal`` untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.errors import ErrorCode
from node.protocol.pushes import InvitePush, MemberEvent, ReadPush, RoomEvent
from node.state.model import BANNED, GONE, INVITED, MEMBER, OWNER, RANKS, Room, Standing, State
from node.state.outcome import Accepted, Refusal
from node.state.records import (
    Ban,
    CreateRoom,
    DeleteRoom,
    Invite,
    JoinRoom,
    Kick,
    LeaveRoom,
    MarkRead,
    Mute,
    OpenDm,
    RoomRecord,
    SetRole,
    Unban,
    UpdateRoom,
)

_ADMIN_RANK = 4
_PASSERS_BY = ("join", "leave")


def rank(room: Room, record: RoomRecord) -> int:
    """Rank of who wishes something: as in the room, or above all for a server admin."""
    return _ADMIN_RANK if record.admin else room.rank(record.user)


def require(room: Room, record: RoomRecord, role: str) -> None:
    """Refuse who is below a role.

    Raises:
        Refusal: ``forbidden``.
    """
    if rank(room, record) < RANKS[role]:
        what = "a member" if role == MEMBER else f"{role} or above"
        raise Refusal(ErrorCode.FORBIDDEN, f"only {what} of {room.id} may do that")


def _create(state: State, record: CreateRoom) -> Accepted:
    existing = state.rooms.get(record.room)
    if existing is not None and not existing.deleted:
        if _is_as_wished(existing, record):
            return _unchanged(existing)
        raise Refusal(ErrorCode.ROOM_EXISTS, f"the room {record.room} exists")
    room = state.add_room(record.room)
    room.title, room.private, room.dm = record.title, record.private, False
    state.set_standing(room, record.user, Standing(OWNER))
    return _room_event(state, room, record, "created")


def _is_as_wished(room: Room, record: CreateRoom) -> bool:
    """Whether this is a repeat by who made the room, and whose first answer was lost."""
    standing = room.standings.get(record.user)
    owned = standing is not None and standing.role == OWNER
    return owned and (room.title, room.private) == (record.title, record.private)


def _open_dm(state: State, record: OpenDm) -> Accepted:
    if record.peer == record.user:
        raise Refusal(ErrorCode.BAD_REQUEST, "a direct room is for two")
    room = state.rooms.get(record.room)
    if room is not None and room.rank(record.user):
        return _unchanged(room)
    if room is None:
        room = state.add_room(record.room)
        room.private = room.dm = True
        state.set_standing(room, record.user, Standing(MEMBER))
        state.set_standing(room, record.peer, Standing(MEMBER))
        state.push(record.peer, InvitePush(room.id, record.user))
        return _room_event(state, room, record, "created")
    state.set_standing(room, record.user, Standing(MEMBER))
    return _member_event(state, room, record, record.user, "join")


def _update(state: State, room: Room, record: UpdateRoom) -> Accepted:
    require(room, record, OWNER if record.private is not None else "moderator")
    _refuse_dm(room)
    title = room.title if record.title is None else record.title
    private = room.private if record.private is None else record.private
    if (title, private) == (room.title, room.private):
        return _unchanged(room)
    room.title, room.private = title, private
    return _room_event(state, room, record, "updated")


def _delete(state: State, room: Room, record: DeleteRoom) -> Accepted:
    require(room, record, OWNER)
    seq, ts = state.next_event(room, record.ts)
    state.emit(room, RoomEvent(room.id, seq, "deleted", room.title, room.private, record.user, ts), closed=True)
    state.empty_room(room)
    room.deleted_by = record.user
    return Accepted(seq, ts)


def _join(state: State, room: Room, record: JoinRoom) -> Accepted:
    standing = room.standings.get(record.user)
    if room.rank(record.user):
        return _unchanged(room)
    if standing is not None and standing.role == BANNED:
        raise Refusal(ErrorCode.FORBIDDEN, f"{record.user} is banned from {room.id}")
    if room.private and not record.admin and (standing is None or standing.role != INVITED):
        raise Refusal(ErrorCode.FORBIDDEN, f"{room.id} is private; ask for an invitation")
    muted_until = standing.muted_until if standing is not None else 0
    state.set_standing(room, record.user, Standing(MEMBER, muted_until))
    return _member_event(state, room, record, record.user, "join")


def _leave(state: State, room: Room, record: LeaveRoom) -> Accepted:
    if not room.rank(record.user):
        return _unchanged(room)
    return _part(state, room, record, record.user, "leave")


def _part(state: State, room: Room, record: RoomRecord, user: str, change: str) -> Accepted:
    """Somebody belongs to the room no longer. A room that loses its last owner gets another, if anyone is left."""
    standing = room.standings[user]
    if change == "ban":
        rest: Standing | None = Standing(BANNED)
    else:
        rest = Standing(GONE, standing.muted_until) if standing.muted_until > record.ts else None
    state.set_standing(room, user, rest)
    parted = _member_event(state, room, record, user, change, left=user)
    if standing.role == OWNER:
        _promote(state, room, record)
    return parted


def _promote(state: State, room: Room, record: RoomRecord) -> None:
    candidates = sorted((-room.rank(user), user) for user in room.standings if room.rank(user))
    if candidates and -candidates[0][0] < RANKS[OWNER]:
        user = candidates[0][1]
        state.set_standing(room, user, _changed(room, user, role=OWNER))
        _member_event(state, room, record, user, "role")


def _invite(state: State, room: Room, record: Invite) -> Accepted:
    require(room, record, "moderator" if room.private else MEMBER)
    _refuse_dm(room)
    standing = room.standings.get(record.peer)
    if standing is not None and standing.role == BANNED:
        raise Refusal(ErrorCode.FORBIDDEN, f"{record.peer} is banned from {room.id}; unban first")
    if room.rank(record.peer) or (standing is not None and standing.role == INVITED):
        return _unchanged(room)
    muted_until = standing.muted_until if standing is not None else 0
    state.set_standing(room, record.peer, Standing(INVITED, muted_until))
    state.push(record.peer, InvitePush(room.id, record.user))
    return _member_event(state, room, record, record.peer, "invite")


def _set_role(state: State, room: Room, record: SetRole) -> Accepted:
    if record.peer == record.user and room.rank(record.user) and room.standings[record.user].role == record.role:
        return _unchanged(room)  # an owner who gave the role up, and repeats it, may do so no longer
    require(room, record, OWNER)
    _refuse_dm(room)
    if not room.rank(record.peer):
        raise Refusal(ErrorCode.FORBIDDEN, f"{record.peer} is not a member of {room.id}")
    if room.standings[record.peer].role == record.role:
        return _unchanged(room)
    owners = [user for user, standing in room.standings.items() if standing.role == OWNER]
    if owners == [record.peer]:
        raise Refusal(ErrorCode.FORBIDDEN, f"{record.peer} is the only owner of {room.id}; make another first")
    state.set_standing(room, record.peer, _changed(room, record.peer, role=record.role))
    return _member_event(state, room, record, record.peer, "role")


def _kick(state: State, room: Room, record: Kick) -> Accepted:
    _require_above(room, record, record.peer)
    if not room.rank(record.peer):
        return _unchanged(room)
    return _part(state, room, record, record.peer, "kick")


def _ban(state: State, room: Room, record: Ban) -> Accepted:
    _require_above(room, record, record.peer)
    if room.rank(record.peer):
        return _part(state, room, record, record.peer, "ban")
    standing = room.standings.get(record.peer)
    if standing is not None and standing.role == BANNED:
        return _unchanged(room)
    state.set_standing(room, record.peer, Standing(BANNED))
    return _member_event(state, room, record, record.peer, "ban")


def _unban(state: State, room: Room, record: Unban) -> Accepted:
    require(room, record, "moderator")
    standing = room.standings.get(record.peer)
    if standing is None or standing.role != BANNED:
        return _unchanged(room)
    state.set_standing(room, record.peer, None)
    return _member_event(state, room, record, record.peer, "unban")


def _mute(state: State, room: Room, record: Mute) -> Accepted:
    _require_above(room, record, record.peer)
    if not room.rank(record.peer):
        raise Refusal(ErrorCode.FORBIDDEN, f"{record.peer} is not a member of {room.id}")
    until = record.until if record.until > record.ts else 0
    if room.standings[record.peer].muted_until == until:
        return _unchanged(room)
    state.set_standing(room, record.peer, _changed(room, record.peer, muted_until=until))
    return _member_event(state, room, record, record.peer, "mute" if until else "unmute")


def _mark_read(state: State, room: Room, record: MarkRead) -> Accepted:
    require_member(room, record)
    standing = room.standings[record.user]
    seq = min(record.seq, room.head)
    if seq <= standing.read:
        return Accepted(standing.read, room.last_ts, dup=True)
    state.set_standing(room, record.user, _changed(room, record.user, read=seq))
    state.push(record.user, ReadPush(room.id, seq))
    return Accepted(seq, room.last_ts)


def require_member(room: Room, record: RoomRecord) -> None:
    """Refuse who does not belong to the room, admins too: some things are done as somebody.

    Raises:
        Refusal: ``forbidden``.
    """
    if not room.rank(record.user):
        raise Refusal(ErrorCode.FORBIDDEN, f"{record.user} is not a member of {room.id}; join it first")


def _require_above(room: Room, record: RoomRecord, peer: str) -> None:
    """Moderation goes down: moderators act on members, owners on both, admins on all."""
    require(room, record, "moderator")
    _refuse_dm(room)
    if rank(room, record) <= room.rank(peer):
        raise Refusal(ErrorCode.FORBIDDEN, f"{peer} is not below {record.user} in {room.id}")


def _refuse_dm(room: Room) -> None:
    if room.dm:
        raise Refusal(ErrorCode.FORBIDDEN, "a direct room belongs to its two people")


def _changed(room: Room, user: str, **changes: Any) -> Standing:
    standing = room.standings[user]
    values = {"role": standing.role, "muted_until": standing.muted_until, "read": standing.read, **changes}
    return Standing(**values)


def _unchanged(room: Room) -> Accepted:
    return Accepted(room.head, room.last_ts, dup=True)


def _room_event(state: State, room: Room, record: RoomRecord, change: str) -> Accepted:
    seq, ts = state.next_event(room, record.ts)
    state.emit(room, RoomEvent(room.id, seq, change, room.title, room.private, record.user, ts))
    return Accepted(seq, ts)


def _member_event(
    state: State, room: Room, record: RoomRecord, user: str, change: str, left: str | None = None
) -> Accepted:
    seq, ts = state.next_event(room, record.ts)
    event = MemberEvent(room.id, seq, user, change, ts)
    if user != record.user:
        event.by = record.user
    standing = room.standings.get(user)
    if change == "role" and standing is not None:
        event.role = standing.role
    if change == "mute" and standing is not None:
        event.until = standing.muted_until
    state.emit(room, event, left=left, can_wait=change in _PASSERS_BY)
    return Accepted(seq, ts)


MAKING_RULES: dict[type[Any], Callable[[State, Any], Accepted]] = {CreateRoom: _create, OpenDm: _open_dm}
"""Rules for which the room need not be there."""

RULES: dict[type[RoomRecord], Callable[[State, Room, Any], Accepted]] = {
    UpdateRoom: _update,
    DeleteRoom: _delete,
    JoinRoom: _join,
    LeaveRoom: _leave,
    Invite: _invite,
    SetRole: _set_role,
    Kick: _kick,
    Ban: _ban,
    Unban: _unban,
    Mute: _mute,
    MarkRead: _mark_read,
}
