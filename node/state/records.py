"""What stands in the log: records, packed into entries.

An entry is JSON, so that an operator can read the log with any tool of the log's own. It names the *producer* (one
life of one node) and counts that producer's entries, so that an entry which landed twice is recognised however late.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from node.errors import ChatError

BATCH_VERSION = 1
"""Version of the format, and of the rules by which the records are applied."""


class Record(Struct, tag_field="k", omit_defaults=True):
    """One wish of one user; ``apply`` decides what becomes of it.

    Attributes:
        user: who wishes it.
        ts: Unix time in milliseconds by the clock of the node that took it; apply has no clock of its own.
    """

    user: str
    ts: int


class CreateRoom(Record, tag="create_room"):
    """Make a room."""

    room: str
    title: str = ""


class JoinRoom(Record, tag="join"):
    """Become a member."""

    room: str


class LeaveRoom(Record, tag="leave"):
    """End a membership."""

    room: str


class SendMessage(Record, tag="send"):
    """Say something in a room."""

    room: str
    cid: str
    body: str


AnyRecord = CreateRoom | JoinRoom | LeaveRoom | SendMessage


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


class _RawBatch(Struct):
    v: int
    producer: str
    n: int
    records: list[msgspec.Raw]


_batch_decoder = msgspec.json.Decoder(Batch)
_version_decoder = msgspec.json.Decoder(_Version)
encode_record = msgspec.json.Encoder().encode
"""The bytes of one record, as :func:`encode_batch` takes them."""


def encode_batch(producer: str, n: int, records: list[bytes]) -> bytes:
    """The bytes of an entry around records that are encoded already."""
    return encode_record(_RawBatch(BATCH_VERSION, producer, n, [msgspec.Raw(record) for record in records]))


def decode_batch(data: bytes) -> Batch:
    """Read an entry.

    Raises:
        UnknownVersion: this program is too old for the log.
        DamagedEntry: these bytes are no entry.
    """
    try:
        version = _version_decoder.decode(data).v
        if version > BATCH_VERSION:
            raise UnknownVersion(f"the log holds version {version}, this program knows up to {BATCH_VERSION}")
        return _batch_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DamagedEntry(str(error)) from None
