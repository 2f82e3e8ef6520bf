"""One client's side of the protocol as a pure state machine: a frame and the time in, one checked request out.

The session decides what may be asked and what goes into the log; the conversation carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from node.auth import ADMIN_ROLE, Identity
from node.config import Settings
from node.errors import CloseCode, CloseConnection, ErrorCode, RequestError
from node.limits import TokenBucket
from node.protocol.answers import Limits
from node.protocol.requests import (
    PROTOCOL_VERSION,
    AnyRequest,
    Edit,
    Hello,
    Notice,
    RefusedRequest,
    Send,
    Typing,
    decode_request,
)
from node.protocol.translate import record_of
from node.state.records import AnyRecord


class Command(NamedTuple):
    """A request that may be carried out, and the record that goes into the log, if it changes anything."""

    request: AnyRequest
    record: AnyRecord | None


class Session:
    """The protocol's side of one connection.

    Args:
        settings: for the limits.
        now: seconds, of a clock that does not go back.

    Attributes:
        identity: who it is, once :meth:`let_in` was called.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._sends = TokenBucket(settings.send_rate, settings.send_burst, now)
        self._requests = TokenBucket(settings.request_rate, settings.request_burst, now)
        self._typing = TokenBucket(settings.typing_rate, 1, now)
        self.identity: Identity | None = None

    def let_in(self, identity: Identity) -> None:
        """Say who it is."""
        self.identity = identity

    def handle(self, text: str, now: float, unix_time: Callable[[], float]) -> Command:
        """Take one text frame. The first must be a hello, and nothing follows it before :meth:`let_in`.

        Args:
            now: as at construction.
            unix_time: gives Unix time in seconds.

        Raises:
            RefusedRequest: answer it with ``err``; the conversation goes on.
            CloseConnection: the conversation is over.
        """
        if self._requests.take(now):
            raise CloseConnection(CloseCode.TOO_MANY_REQUESTS, "too many requests")
        if self.identity is None:
            return Command(self._hello(text), None)
        request = decode_request(text)
        try:
            self._check(request, self.identity, now)
            ts = int(unix_time() * 1000)
            return Command(request, record_of(request, self.identity.user, ts, admin=ADMIN_ROLE in self.identity.roles))
        except RequestError as error:
            raise RefusedRequest(request.id, error) from None

    def _hello(self, text: str) -> Hello:
        try:
            request = decode_request(text)
        except RefusedRequest as error:
            raise CloseConnection(CloseCode.PROTOCOL_VIOLATION, f"hello comes first: {error}") from None
        if not isinstance(request, Hello):
            raise CloseConnection(CloseCode.PROTOCOL_VIOLATION, "hello comes first")
        if PROTOCOL_VERSION not in request.v:
            raise CloseConnection(CloseCode.UNSUPPORTED_VERSION, f"this node speaks {PROTOCOL_VERSION}")
        return request

    def _check(self, request: AnyRequest, identity: Identity, now: float) -> None:
        match request:
            case Hello():
                raise RequestError(ErrorCode.BAD_REQUEST, "hello has been said")
            case Send() | Edit():
                if len(request.body.encode()) > self._settings.max_body_bytes:
                    raise RequestError(ErrorCode.TOO_LARGE, f"a body is at most {self._settings.max_body_bytes} bytes")
                self._take(self._sends, now, "sends")
            case Typing():
                self._take(self._typing, now, "words that one is typing")
            case Notice() if ADMIN_ROLE not in identity.roles:
                raise RequestError(ErrorCode.FORBIDDEN, "only a server admin may do that")

    def _take(self, bucket: TokenBucket, now: float, what: str) -> None:
        wait_s = bucket.take(now)
        if wait_s:
            raise RequestError(ErrorCode.RATE_LIMITED, f"too many {what}", retry_ms=int(wait_s * 1000) + 1)


def limits_of(settings: Settings) -> Limits:
    """The limits as hello tells them."""
    return Limits(
        frame_bytes=settings.max_frame_bytes,
        body_bytes=settings.max_body_bytes,
        rooms=settings.max_rooms,
        sends_per_s=settings.send_rate,
        send_burst=settings.send_burst,
        unsent_bytes=settings.max_unsent_bytes,
        user_connections=settings.max_user_connections,
    )
