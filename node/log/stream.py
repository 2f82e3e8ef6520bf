"""The stream that is the log: how it is made, and how the leader's answers are to be read.

Its metadata have the log's epoch, and, while an import fills it, a mark that keeps the nodes out.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import APIError

from node.errors import LogChanged, LogFull, LogUnavailable
from node.log.base import MAX_ENTRY_BYTES, Entry
from node.log.nats_thread import NatsThread

STREAM: Final = "CHAT"
API_TIMEOUT_S: Final = 5.0
_SUBJECT: Final = "chat.log.0"
_EPOCH_KEY: Final = "chat.epoch"
_UNFINISHED_KEY: Final = "chat.import"
_MAX_HEADER_BYTES: Final = 1024
_DUPLICATE_WINDOW_S: Final = 15 * 60
"""Longer than the ten minutes that are promised."""

_INFO_TIMEOUT_S: Final = 1.0
_INFO_TRIES: Final = 5
_REPLICA_FRESH_NS: Final = 3_000_000_000

# Error codes of the JetStream API (nats-server, server/errors.json).
STREAM_NAME_IN_USE: Final = 10058
_STREAM_NOT_FOUND: Final = 10059
_NO_ENTRY: Final = 10037
_STORE_FAILED: Final = 10077
_NO_SPACE: Final = frozenset({10002, 10023, 10047, 10122})
_LIMIT_REACHED: Final = ("maximum bytes exceeded", "maximum messages exceeded")


def subject(epoch: str) -> str:
    """Where the entries of a log are published: a node that believes in an older log reaches nobody."""
    return f"{_SUBJECT}.{epoch}"


def stream_config(epoch: str, replicas: int, max_bytes: int | None, *, unfinished: bool = False) -> StreamConfig:
    """A stream that is made to last.

    Args:
        epoch: of the log.
        replicas: how many servers keep it.
        max_bytes: its largest size; None: what the servers allow.
        unfinished: an import fills it.
    """
    return StreamConfig(
        name=STREAM,
        subjects=[subject(epoch)],
        metadata={_EPOCH_KEY: epoch} | ({_UNFINISHED_KEY: "unfinished"} if unfinished else {}),
        storage=StorageType.FILE,
        num_replicas=replicas,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        max_bytes=-1 if max_bytes is None else max_bytes,
        max_msg_size=MAX_ENTRY_BYTES + _MAX_HEADER_BYTES,
        duplicate_window=_DUPLICATE_WINDOW_S,
        deny_delete=True,
        deny_purge=True,
    )


async def find_stream(nats: NatsThread) -> StreamInfo | None:
    """What the stream's leader says of the stream; None if there is no stream.

    Raises:
        LogUnavailable: nobody answers.
    """
    try:
        return await nats.call(_stream_info)
    except APIError as error:
        if error.err_code == _STREAM_NOT_FOUND:
            return None
        raise LogUnavailable(str(error)) from error


def same_log(info: StreamInfo | None, epoch: str) -> StreamInfo:
    """``info``. Raises LogChanged unless it is of the log with this epoch, or, for "", of any."""
    if info is None or not epoch_of(info):
        raise LogChanged(f"stream {STREAM} is gone, or was not made by a chat node")
    if epoch not in ("", epoch_of(info)):
        raise LogChanged(f"stream {STREAM} has epoch {epoch_of(info)}, expected {epoch}")
    return info


def epoch_of(info: StreamInfo) -> str:
    """The log's epoch; empty for a stream that is none of ours."""
    return (info.config.metadata or {}).get(_EPOCH_KEY, "")


def is_unfinished(info: StreamInfo) -> bool:
    """Whether an import into the stream goes on, or was broken off."""
    return _UNFINISHED_KEY in (info.config.metadata or {})


async def _stream_info(client: Client) -> StreamInfo:
    """Ask until the leader answers: while one is being elected, the question is lost without a word."""
    for _ in range(_INFO_TRIES - 1):
        with contextlib.suppress(nats.errors.TimeoutError):
            return await client.jsm(timeout=_INFO_TIMEOUT_S).stream_info(STREAM)
    return await client.jsm(timeout=_INFO_TIMEOUT_S).stream_info(STREAM)


async def entry_at(position: int, epoch: str, timeout_s: float, client: Client) -> Entry | None:
    """An entry, from the stream's leader; None if there is none yet.

    Raises:
        LogChanged: it is of another log.
        nats.errors.Error: the leader does not answer within ``timeout_s``, or refuses.
    """
    try:
        message = await client.jsm(timeout=timeout_s).get_msg(STREAM, position)
    except APIError as error:
        if error.err_code == _NO_ENTRY:
            return None
        raise
    if message.subject != subject(epoch):
        raise LogChanged(f"entry {position} of stream {STREAM} is of another log")
    return Entry(position, message.data or b"")


def acknowledged(reply: bytes) -> int:
    """The position in a publish acknowledgement, or the error that it is."""
    answer: dict[str, Any] = json.loads(reply)
    error = answer.get("error")
    if error is None:
        if answer.get("stream") != STREAM or answer.get("seq", 0) < 1:
            raise LogUnavailable(f"not an acknowledgement of {STREAM}: {answer}")
        return int(answer["seq"])
    code, text = error.get("err_code"), error.get("description", "")
    if code in _NO_SPACE or (code == _STORE_FAILED and text in _LIMIT_REACHED):
        raise LogFull(f"{text} ({code})")
    raise LogUnavailable(f"{text} ({code})")


def has_quorum(info: StreamInfo) -> bool:
    """Whether a leader answered, and has heard from enough followers lately to know what it says.

    Without a leader a follower answers; a leader that is cut off answers for another 20 s.
    """
    replicas = info.config.num_replicas or 1
    if replicas == 1:
        return True
    if info.cluster is None or not info.cluster.leader:
        return False
    fresh = sum(1 for peer in info.cluster.replicas or [] if 0 < (peer.active or 0) < _REPLICA_FRESH_NS)
    return 2 * (1 + fresh) > replicas
