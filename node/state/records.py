"""What stands in the log: records, packed into entries.

An entry is JSON, so that an operator can read the log with any tool of the log's own. It names the *producer* (one
life of one node) and counts that producer's entries, so that an entry which landed twice is recognised however late.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import Struct

from node.errors import ChatError

KNOWN_VERSION = 1
"""The newest version of the format, and of the rules by which records are applied, that this program reads."""

WRITTEN_VERSION = 1
"""The version that it writes. A new one is written a release later than it is read, so that a roll, and the way back
from it, only ever meet records that both releases know."""


class _Authority(Struct, tag_field="k", omit_defaults=True, kw_only=True):
    admin: bool = msgspec.field(default=False, name="a")


class Record(_Authority):
    """One wish of one user; ``apply`` decides what becomes of it.

    Attributes:
        user: who wishes it.
        ts: Unix time in milliseconds by the clock of the node that took it; apply has no clock of its own.
        admin: whether the node that took it knew the user as a server admin.
    """

    user: str
    ts: int


class RoomRecord(Record):
    """A record about one room."""

    room: str


class CreateRoom(RoomRecord, tag="create_room"):
    """Make a room."""

    title: str = ""
    private: bool = False


class UpdateRoom(RoomRecord, tag="update_room"):
    """Change what is given."""

    title: str | None = None
    private: bool | None = None


class DeleteRoom(RoomRecord, tag="delete_room"):
    """Take a room and all that was said in it away."""


class OpenDm(RoomRecord, tag="dm"):
    """Make the room of two people, if there is none yet; ``room`` is its id."""

    peer: str


class JoinRoom(RoomRecord, tag="join"):
    """Become a member."""


class LeaveRoom(RoomRecord, tag="leave"):
    """End a membership."""


class Invite(RoomRecord, tag="invite"):
    """Let somebody into a room."""

    peer: str


class SetRole(RoomRecord, tag="role"):
    """Give a member a role: owner, moderator or member."""

    peer: str
    role: str


class Kick(RoomRecord, tag="kick"):
    """End somebody's membership."""

    peer: str


class Ban(RoomRecord, tag="ban"):
    """End somebody's membership, and keep them out."""

    peer: str


class Unban(RoomRecord, tag="unban"):
    """Let a banned user in again."""

    peer: str


class Mute(RoomRecord, tag="mute"):
    """Let a member say nothing until ``until`` (Unix ms; in the past: speak again)."""

    peer: str
    until: int


class SendMessage(RoomRecord, tag="send"):
    """Say something in a room."""

    cid: str
    body: str
    reply_to: int | None = None


class EditMessage(RoomRecord, tag="edit"):
    """Say it otherwise."""

    seq: int
    body: str


class DeleteMessage(RoomRecord, tag="delete"):
    """Take a message back."""

    seq: int


class React(RoomRecord, tag="react"):
    """Put an emoji to a message, or take it away."""

    seq: int
    emoji: str
    on: bool


class MarkRead(RoomRecord, tag="read"):
    """Say how far the user has read."""

    seq: int


class PutNotice(Record, tag="notice"):
    """The operators' word to everyone, until ``until`` (Unix ms)."""

    level: str
    text: str
    until: int


class PutAccount(Record, tag="account"):
    """Make a local account, or change what is given.

    Attributes:
        name: the account's user.
        password_hash: argon2, never the password.
        new: refuse if there is one already.
    """

    name: str
    password_hash: str | None = None
    roles: list[str] | None = None
    disabled: bool | None = None
    new: bool = False


AnyRecord = (
    CreateRoom
    | UpdateRoom
    | DeleteRoom
    | OpenDm
    | JoinRoom
    | LeaveRoom
    | Invite
    | SetRole
    | Kick
    | Ban
    | Unban
    | Mute
    | SendMessage
    | EditMessage
    | DeleteMessage
    | React
    | MarkRead
    | PutNotice
    | PutAccount
)


class Batch(Struct):
    """The content of one log entry.

    Attributes:
        v: format version.
        producer: id of one life of one node.
        n: 1, 2, 3, ... within the producer.
        records: in the order in which they are applied.
    """

    v: int
    producer: str
    n: int
    records: list[AnyRecord]


class UnknownVersion(ChatError):
    """An entry written by a release newer than this program, which must not guess what it means."""


class DamagedEntry(ChatError):
    """Bytes that no release ever wrote. Every node sees the same bytes, so every node skips them alike."""


class _Version(Struct):
    v: int


_batch_decoder = msgspec.json.Decoder(Batch)
_version_decoder = msgspec.json.Decoder(_Version)
encode_record = msgspec.json.Encoder().encode
"""The bytes of one record, as :func:`encode_batch` takes them."""


def encode_batch(producer: str, n: int, records: list[bytes], version: int = WRITTEN_VERSION) -> bytes:
    """The bytes of an entry around records that are encoded already."""
    head = encode_record({"v": version, "producer": producer, "n": n})
    return b'%s,"records":[%s]}' % (head[:-1], b",".join(records))


def decode_batch(data: bytes) -> Batch:
    """Read an entry.

    Raises:
        UnknownVersion: this program is too old for the log.
        DamagedEntry: these bytes are no entry.
    """
    try:
        batch = _batch_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _check_version_of(data)
        raise DamagedEntry(str(error)) from None
    check_version(batch.v)
    return batch


def _check_version_of(data: bytes) -> None:
    """Raise UnknownVersion if it is for its version that an entry cannot be read."""
    with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
        check_version(_version_decoder.decode(data).v)


def check_version(version: int) -> int:
    """``version``. Raises UnknownVersion if it is newer than this program."""
    if version > KNOWN_VERSION:
        raise UnknownVersion(
            f"there are records of version {version}, and this release knows up to {KNOWN_VERSION}: use a newer one"
        )
    return version
