"""What travels in the text frames: requests, answers and pushes (``docs/protocol.md``).

Requests are decoded straight into structs; unknown fields are ignored, wrong ones name themselves in the error.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from node.errors import ChatError, CloseCode, CloseConnection, ErrorCode, RequestError

PROTOCOL_VERSION = 1
DEFAULT_PAGE = 50
MAX_PAGE = 500

RequestId = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=64)]
RoomId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
Cid = Annotated[str, Meta(min_length=1, max_length=64)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Page = Annotated[int, Meta(ge=0, le=MAX_PAGE)]
Title = Annotated[str, Meta(max_length=200)]


class Since(Struct):
    """A position that a client has seen: everything up to ``seq`` of this ``epoch``."""

    epoch: str
    seq: Seq


class Request(Struct, tag_field="op"):
    """Base of all requests; ``id`` comes back in the answer."""

    id: RequestId


class Hello(Request, tag="hello"):
    """The first request: protocol versions, and who it is."""

    v: list[int]
    token: str | None = None
    user: str | None = None
    client: Annotated[str, Meta(max_length=100)] = ""


class Ping(Request, tag="ping"):
    """Asks for an empty answer: for clients that cannot send WebSocket pings, as browsers."""


class CreateRoom(Request, tag="create_room"):
    """Makes a room; its creator is the owner and first member."""

    room: RoomId
    title: Title = ""


class Rooms(Request, tag="rooms"):
    """A page of the rooms whose id starts with ``prefix``, in order of id, after the id ``after``."""

    prefix: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    after: Annotated[str, Meta(max_length=64)] = ""


class Join(Request, tag="join"):
    """Makes this connection receive the room's events, and the user a member."""

    room: RoomId
    since: Since | None = None
    limit: Page = DEFAULT_PAGE


class Leave(Request, tag="leave"):
    """Ends the user's membership, on all of their connections."""

    room: RoomId


class Send(Request, tag="send"):
    """A message; the same ``cid`` again is the same message."""

    room: RoomId
    cid: Cid
    body: Annotated[str, Meta(min_length=1)]


class History(Request, tag="history"):
    """A page of messages that end before ``before``, or the last ones."""

    room: RoomId
    before: Seq | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE


AnyRequest = Hello | Ping | CreateRoom | Rooms | Join | Leave | Send | History

_decoder: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_encode = msgspec.json.Encoder().encode


class _Envelope(Struct):
    id: Any = None


_envelope_decoder = msgspec.json.Decoder(_Envelope)


class RefusedRequest(ChatError):
    """A request that is answered with ``err``; ``request_id`` is None where the frame had no usable one."""

    def __init__(self, request_id: int | str | None, error: RequestError) -> None:
        super().__init__(error.msg)
        self.request_id = request_id
        self.error = error


def decode_request(text: str | bytes) -> AnyRequest:
    """Decode one frame.

    Raises:
        RefusedRequest: JSON, but not a request of this protocol.
        CloseConnection: not JSON at all.
    """
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise RefusedRequest(_id_of(text), RequestError(ErrorCode.BAD_REQUEST, str(error))) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise CloseConnection(CloseCode.PROTOCOL_VIOLATION, "the frame is not JSON") from None


def _id_of(text: str | bytes) -> int | str | None:
    try:
        found = _envelope_decoder.decode(text).id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found if isinstance(found, (int, str)) and not isinstance(found, bool) else None


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


class RoomInfo(Struct):
    """One room in a listing."""

    room: str
    title: str
    members: int
    head: int


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


class MessageEvent(Struct, tag_field="op", tag="msg"):
    """Push: a message."""

    room: str
    seq: int
    cid: str
    from_: str = msgspec.field(name="from")
    ts: int
    body: str


class MemberEvent(Struct, tag_field="op", tag="member"):
    """Push: a user came to the room or left it."""

    room: str
    seq: int
    user: str
    change: str
    ts: int


class RoomEvent(Struct, tag_field="op", tag="room"):
    """Push: the room was made or changed."""

    room: str
    seq: int
    change: str
    title: str
    by: str
    ts: int


class Drain(Struct, tag_field="op", tag="drain"):
    """Push: this node goes away; come back after ``reconnect_after_ms``, best to one of ``prefer``."""

    deadline_ms: int
    reconnect_after_ms: int
    prefer: list[str]


class _Answer(Struct):
    id: int | str | None
    ok: Any


class _Refusal(Struct):
    id: int | str | None
    err: dict[str, Any]


def encode(push: Struct) -> bytes:
    """The JSON of a push or an event, as it is stored and sent."""
    return _encode(push)


def encode_ok(request_id: int | str, ok: Struct) -> bytes:
    """The JSON of a good answer."""
    return _encode(_Answer(request_id, ok))


def encode_error(request_id: int | str | None, error: RequestError) -> bytes:
    """The JSON of a refusal."""
    body: dict[str, Any] = {"code": error.code.value, "msg": error.msg, "retry": error.retry}
    if error.retry_ms is not None:
        body["retry_ms"] = error.retry_ms
    return _encode(_Refusal(request_id, body))
