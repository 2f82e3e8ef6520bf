"""One client's conversation as a pure state machine: a frame and the time in, one command out.

The session decides what may be asked and what goes into the log; the connection carries the commands out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.auth import Authenticator, Identity, refuse_credentials
from node.config import Settings
from node.errors import CloseCode, CloseConnection, ErrorCode, RequestError
from node.limits import TokenBucket
from node.protocol import messages
from node.protocol.messages import AnyRequest, Hello, History, Join, RefusedRequest, Rooms, Send, decode_request
from node.state.records import AnyRecord, CreateRoom, JoinRoom, LeaveRoom, SendMessage


@dataclass(frozen=True, slots=True)
class Greet:
    """Let the client in, then answer."""

    request: Hello
    identity: Identity


@dataclass(frozen=True, slots=True)
class Commit:
    """Append a record, and answer when it is applied."""

    request: AnyRequest
    record: AnyRecord


@dataclass(frozen=True, slots=True)
class Enter:
    """Append the membership, then let the connection receive the room."""

    request: Join
    record: JoinRoom


@dataclass(frozen=True, slots=True)
class Query:
    """Answer from the store."""

    request: History | Rooms


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer at once."""

    request: messages.Ping


Command = Greet | Commit | Enter | Query | Pong


class Session:
    """The protocol's side of one connection.

    Args:
        settings: for the limits.
        authenticator: checks what hello says.
        now: seconds, of a clock that does not go back.
    """

    def __init__(self, settings: Settings, authenticator: Authenticator, now: float) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._sends = TokenBucket(settings.send_rate, settings.send_burst, now)
        self._requests = TokenBucket(settings.request_rate, settings.request_burst, now)
        self.identity: Identity | None = None

    def handle(self, text: str, now: float, unix_time: Callable[[], float]) -> Command:
        """Take one text frame.

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
            return self._greet(text, unix_time())
        request = decode_request(text)
        try:
            return self._command(request, self.identity.user, now, unix_time)
        except RequestError as error:
            raise RefusedRequest(request.id, error) from None

    def _greet(self, text: str, unix_time: float) -> Greet:
        try:
            request = decode_request(text)
        except RefusedRequest as error:
            raise CloseConnection(CloseCode.PROTOCOL_VIOLATION, f"hello comes first: {error}") from None
        if not isinstance(request, Hello):
            raise CloseConnection(CloseCode.PROTOCOL_VIOLATION, "hello comes first")
        if messages.PROTOCOL_VERSION not in request.v:
            raise CloseConnection(CloseCode.UNSUPPORTED_VERSION, f"this node speaks {messages.PROTOCOL_VERSION}")
        try:
            self.identity = self._authenticator.identify(token=request.token, user=request.user, now=unix_time)
        except RequestError as error:
            raise refuse_credentials(error) from None
        return Greet(request, self.identity)

    def _command(self, request: AnyRequest, user: str, now: float, unix_time: Callable[[], float]) -> Command:
        match request:
            case Send():
                self._check_send(request, now)
                return Commit(request, SendMessage(user, _ms(unix_time), request.room, request.cid, request.body))
            case Join():
                return Enter(request, JoinRoom(user, _ms(unix_time), request.room))
            case messages.Leave():
                return Commit(request, LeaveRoom(user, _ms(unix_time), request.room))
            case messages.CreateRoom():
                return Commit(request, CreateRoom(user, _ms(unix_time), request.room, request.title))
            case History() | Rooms():
                return Query(request)
            case messages.Ping():
                return Pong(request)
            case _:
                raise RequestError(ErrorCode.BAD_REQUEST, "hello has been said")

    def _check_send(self, request: Send, now: float) -> None:
        if len(request.body.encode()) > self._settings.max_body_bytes:
            raise RequestError(ErrorCode.TOO_LARGE, f"a body is at most {self._settings.max_body_bytes} bytes")
        wait_s = self._sends.take(now)
        if wait_s:
            raise RequestError(ErrorCode.RATE_LIMITED, "too many sends", retry_ms=int(wait_s * 1000) + 1)


def limits_of(settings: Settings) -> messages.Limits:
    """The limits as hello tells them."""
    return messages.Limits(
        frame_bytes=settings.max_frame_bytes,
        body_bytes=settings.max_body_bytes,
        rooms=settings.max_rooms,
        sends_per_s=settings.send_rate,
        send_burst=settings.send_burst,
        unsent_bytes=settings.max_unsent_bytes,
        user_connections=settings.max_user_connections,
    )


def _ms(unix_time: Callable[[], float]) -> int:
    return int(unix_time() * 1000)
