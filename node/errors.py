"""The error tree, the wire's error codes and the WebSocket close codes.

Everything that goes wrong inside the node is a :class:`ChatError`; whatever reaches a client is one of
:class:`ErrorCode` in an ``err`` answer, or one of :class:`CloseCode` when the connection itself must end.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """``code`` of an ``err`` answer (client protocol, version 1)."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of an error
    FORBIDDEN = "forbidden"
    NO_ROOM = "no_room"
    ROOM_EXISTS = "room_exists"
    NO_MESSAGE = "no_message"
    NO_USER = "no_user"
    USER_EXISTS = "user_exists"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    OUTCOME_UNKNOWN = "outcome_unknown"
    CID_CONFLICT = "cid_conflict"
    UNSUPPORTED_VERSION = "unsupported_version"
    INTERNAL = "internal"


RETRYABLE = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.OVERLOADED,
        ErrorCode.UNAVAILABLE,
        ErrorCode.OUTCOME_UNKNOWN,
    }
)
"""The codes after which the same request may succeed later, unchanged."""


class CloseCode(IntEnum):
    """WebSocket close codes: 4000-4499 come back and resume, 4500-4999 do not come back."""

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    TOO_BIG = 1009
    INTERNAL = 1011
    TRY_AGAIN_LATER = 1013
    DRAIN = 4001
    SLOW_READER = 4008
    NO_PONG = 4012
    TOO_MANY_REQUESTS = 4013
    TOKEN_EXPIRED = 4014
    BAD_CREDENTIALS = 4500
    PROTOCOL_VIOLATION = 4501
    ACCOUNT_DISABLED = 4503
    TOO_MANY_CONNECTIONS = 4504
    UNSUPPORTED_VERSION = 4505


class ChatError(Exception):
    """Base of every error that the node raises on purpose."""


class ConfigError(ChatError):
    """Settings that cannot be used. ``faults`` names every one of them, not just the first."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RequestError(ChatError):
    """A request that is answered with ``err``.

    Args:
        code: what the client is told.
        msg: one sentence for a person; never contains a secret.
        retry_ms: earliest sensible retry, in milliseconds, where the server knows it.
    """

    def __init__(self, code: ErrorCode, msg: str, retry_ms: int | None = None) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.retry_ms = retry_ms

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in RETRYABLE


class CloseConnection(ChatError):
    """The connection must end with this close code and reason (at most 123 bytes of UTF-8)."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class LogError(ChatError):
    """Base of what a log raises."""


class LogUnavailable(LogError):
    """The log could not say that the entry is committed; it may or may not be. Append it again with the same id."""


class LogFull(LogError):
    """The log has no room for the entry and did not take it (disk or limit reached)."""


class LogChanged(LogError):
    """The log under us is another one (recreated or restored): its epoch differs from the one that was opened."""


class LogNotEmpty(LogError):
    """An import into a log that has entries: they would be lost, or get mixed up."""


class StoreCorrupt(ChatError):
    """The read model's file cannot be trusted; it is rebuilt from the log."""
