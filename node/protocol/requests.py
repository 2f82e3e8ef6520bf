"""What clients ask (``docs/protocol.md``): decoded straight into structs.

Unknown fields are ignored; wrong ones name themselves in the error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from node.errors import ChatError, CloseCode, CloseConnection, ErrorCode, RequestError

PROTOCOL_VERSION = 1
DEFAULT_PAGE = 50
MAX_PAGE = 500

RequestId = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=64)]
RoomId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
NewRoomId = Annotated[str, Meta(pattern=r"^(?!dm[.])[a-z0-9][a-z0-9._-]{0,63}\Z")]
"""Of a room that is made under a chosen id. Anybody can work out the id of two people's direct room: who made a room of
that id before them would own it, and read what they believe to be between the two."""
Cid = Annotated[str, Meta(min_length=1, max_length=64)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Page = Annotated[int, Meta(ge=0, le=MAX_PAGE)]
Title = Annotated[str, Meta(max_length=200)]
Body = Annotated[str, Meta(min_length=1)]
UserName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z")]
Emoji = Annotated[str, Meta(min_length=1, max_length=32)]
UnixMs = Annotated[int, Meta(ge=0, le=2**53)]


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
    password: Annotated[str, Meta(max_length=1024)] | None = None
    client: Annotated[str, Meta(max_length=100)] = ""


class Ping(Request, tag="ping"):
    """Asks for an empty answer: for clients that cannot send WebSocket pings, as browsers."""


class Whoami(Request, tag="whoami"):
    """Asks who the node takes the client for."""


class RoomRequest(Request):
    """Base of the requests about one room."""

    room: RoomId


class CreateRoom(Request, tag="create_room"):
    """Makes a room; its creator is the owner and first member."""

    room: NewRoomId
    title: Title = ""
    private: bool = False


class UpdateRoom(RoomRequest, tag="update_room"):
    """Changes what is given."""

    title: Title | None = None
    private: bool | None = None


class DeleteRoom(RoomRequest, tag="delete_room"):
    """Takes a room and all that was said in it away."""


class Rooms(Request, tag="rooms"):
    """A page of the rooms whose id starts with ``prefix``, in order of id, after the id ``after``."""

    prefix: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    after: Annotated[str, Meta(max_length=64)] = ""
    mine: bool = False


class Dm(Request, tag="dm"):
    """Opens the room of this user and another."""

    user: UserName


class Join(RoomRequest, tag="join"):
    """Makes this connection receive the room's events, and the user a member."""

    since: Since | None = None
    limit: Page = DEFAULT_PAGE


class Leave(RoomRequest, tag="leave"):
    """Ends the user's membership, on all of their connections."""


class Members(RoomRequest, tag="members"):
    """A page of the members in order of name, after the name ``after``."""

    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    after: Annotated[str, Meta(max_length=64)] = ""


class PeerRequest(RoomRequest):
    """Base of the requests about one user in one room."""

    user: UserName


class Invite(PeerRequest, tag="invite"):
    """Lets somebody in."""


class Role(PeerRequest, tag="role"):
    """Gives a member a role."""

    role: Literal["owner", "moderator", "member"]


class Kick(PeerRequest, tag="kick"):
    """Ends somebody's membership."""


class Ban(PeerRequest, tag="ban"):
    """Ends somebody's membership, and keeps them out."""


class Unban(PeerRequest, tag="unban"):
    """Lets a banned user in again."""


class Mute(PeerRequest, tag="mute"):
    """Lets a member say nothing until ``until``; 0 lets them speak again."""

    until: UnixMs


class Send(RoomRequest, tag="send"):
    """A message; the same ``cid`` again is the same message."""

    cid: Cid
    body: Body
    reply_to: Seq | None = None


class Edit(RoomRequest, tag="edit"):
    """Another body for a message of one's own."""

    seq: Seq
    body: Body


class Delete(RoomRequest, tag="delete"):
    """Takes a message back."""

    seq: Seq


class React(RoomRequest, tag="react"):
    """Puts an emoji to a message, or takes one's own away."""

    seq: Seq
    emoji: Emoji
    on: bool = True


class Read(RoomRequest, tag="read"):
    """Says how far the user has read."""

    seq: Seq


class Typing(RoomRequest, tag="typing"):
    """Says that the user is typing. Forgotten after a few seconds, never stored."""


class History(RoomRequest, tag="history"):
    """A page of messages that end before ``before``, or the last ones; with ``thread``, only that thread's."""

    before: Seq | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    thread: Seq | None = None


class Search(Request, tag="search"):
    """Messages with all these words, newest first, in the rooms of this user or in one of them."""

    query: Annotated[str, Meta(min_length=1, max_length=200)]
    room: RoomId | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    before: Seq | None = None


class Notice(Request, tag="notice"):
    """The operators' word to everyone, kept until ``until``. For server admins."""

    text: Annotated[str, Meta(min_length=1, max_length=1000)]
    until: UnixMs
    level: Literal["info", "warning"] = "info"


AnyRequest = (
    Hello
    | Ping
    | Whoami
    | CreateRoom
    | UpdateRoom
    | DeleteRoom
    | Rooms
    | Dm
    | Join
    | Leave
    | Members
    | Invite
    | Role
    | Kick
    | Ban
    | Unban
    | Mute
    | Send
    | Edit
    | Delete
    | React
    | Read
    | Typing
    | History
    | Search
    | Notice
)

_decoder: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)


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
