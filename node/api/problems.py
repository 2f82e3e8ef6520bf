"""What the admin API answers when it does not do what it was asked: problem details (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from node.errors import ChatError, ErrorCode, RequestError

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:problem-type:chat-node:"
RETRY_AFTER_S = 2


class Problem(Struct):
    """Why a request was not carried out.

    Attributes:
        type: names the kind of problem, for programs; it does not change.
        title: the kind of problem, for people.
        status: the HTTP status.
        detail: what it was this time.
    """

    type: str
    title: str
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem."""

    name: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """Its URI."""
        return _TYPE + self.name


MALFORMED = Kind("malformed", 400, "The body is not JSON")
UNAUTHORIZED = Kind("unauthorized", 401, "A token of an admin is wanted")
TOKEN_EXPIRED = Kind("token_expired", 401, "The token has expired")
FORBIDDEN = Kind("forbidden", 403, "This is not for who asks")
NO_SUCH_PATH = Kind("no_such_path", 404, "There is nothing at this path")
NO_USER = Kind("no_user", 404, "There is no such account")
NO_ROOM = Kind("no_room", 404, "There is no such room")
NO_SUCH_METHOD = Kind("no_such_method", 405, "The method is not for this path")
TOO_SLOW = Kind("too_slow", 408, "The body did not come in time")
USER_EXISTS = Kind("user_exists", 409, "There is such an account already")
ROOM_EXISTS = Kind("room_exists", 409, "There is such a room already")
TOO_LARGE = Kind("too_large", 413, "The body is too large")
NO_JSON = Kind("no_json", 415, "The body is said to be something else than JSON")
INVALID = Kind("invalid", 422, "A field is missing, unknown or wrong")
RATE_LIMITED = Kind("rate_limited", 429, "Too many requests")
INTERNAL = Kind("internal", 500, "The node made a mistake")
NOT_READY = Kind("not_ready", 503, "The node cannot do that now")
OVERLOADED = Kind("overloaded", 503, "Too much waits for the log")
UNAVAILABLE = Kind("unavailable", 503, "The log does not answer, and nothing was changed")
OUTCOME_UNKNOWN = Kind("outcome_unknown", 503, "The log has not answered; it may have been done")

_OF_CODE = {
    ErrorCode(kind.name): kind
    for kind in (
        UNAUTHORIZED,
        TOKEN_EXPIRED,
        FORBIDDEN,
        NO_USER,
        NO_ROOM,
        USER_EXISTS,
        ROOM_EXISTS,
        TOO_LARGE,
        RATE_LIMITED,
        OVERLOADED,
        UNAVAILABLE,
        OUTCOME_UNKNOWN,
        INTERNAL,
    )
} | {ErrorCode.BAD_REQUEST: INVALID}


@dataclass(slots=True)
class Refused(ChatError):
    """A request that is answered with a problem.

    Attributes:
        detail: for a person; never contains a secret.
        headers: of the answer.
    """

    kind: Kind
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """The answer's body."""
        return Problem(self.kind.type, self.kind.title, self.kind.status, self.detail)


def refused(error: RequestError) -> Refused:
    """The same refusal as this API tells it: one for a chat client and one for an admin have one cause."""
    kind = _OF_CODE.get(error.code, INTERNAL)
    if kind.status == 401:
        return unauthorized(kind, error.msg)
    if not error.retry:
        return Refused(kind, error.msg)
    wait_s = RETRY_AFTER_S if error.retry_ms is None else -(-error.retry_ms // 1000)
    return Refused(kind, error.msg, {"Retry-After": str(wait_s)})


def unauthorized(kind: Kind, detail: str, *, shown: bool = True) -> Refused:
    """A request without a token, or (``shown``) with one that will not do (RFC 6750, 3)."""
    challenge = 'Bearer realm="chat-node"' + (', error="invalid_token"' if shown else "")
    return Refused(kind, detail, {"WWW-Authenticate": challenge})
