"""What travels through the admin API: decoded from and encoded to JSON, and described in the OpenAPI document.

An unknown field is refused, so that a slip of the pen does not pass for done.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from node.accounts import MIN_PASSWORD_CHARACTERS
from node.cluster import Beat
from node.protocol.requests import DEFAULT_PAGE, MAX_PAGE, NewRoomId, Notice, RoomId, Title, UnixMs, UserName

Password = Annotated[str, Meta(min_length=MIN_PASSWORD_CHARACTERS, max_length=1024)]
Roles = Annotated[list[Literal["admin"]], Meta(max_length=1)]
Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE)]
After = Annotated[str, Meta(max_length=64)]

PATH_PARAMETERS: dict[str, Any] = {"user": UserName, "room": RoomId}
"""Type of what stands in braces in a path."""


class NoQuery(Struct, forbid_unknown_fields=True):
    """Nothing."""


class Page(Struct, forbid_unknown_fields=True):
    """Part of a list: at most ``limit``, those beyond ``after``, which is the name of the last one before."""

    limit: Limit = DEFAULT_PAGE
    after: After = ""


class RoomPage(Struct, forbid_unknown_fields=True):
    """As :class:`Page`, of rooms whose id begins with ``prefix``."""

    prefix: After = ""
    limit: Limit = DEFAULT_PAGE
    after: After = ""


class NewUser(Struct, forbid_unknown_fields=True):
    """An account to be made."""

    user: UserName
    password: Password
    roles: Roles = []


class UserChange(Struct, forbid_unknown_fields=True):
    """What is given is changed. Another password, other roles or ``disabled`` end open connections."""

    password: Password | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    roles: Roles | UnsetType = UNSET


class User(Struct):
    """An account."""

    user: str
    roles: list[str]
    disabled: bool


class UserList(Struct):
    """Accounts in order of name; there are ``more`` beyond the last one."""

    users: list[User]
    more: bool


class NewRoom(Struct, forbid_unknown_fields=True):
    """A room to be made; who asks is its owner."""

    room: NewRoomId
    title: Title = ""
    private: bool = False


class RoomChange(Struct, forbid_unknown_fields=True):
    """What is given is changed."""

    title: Title | UnsetType = UNSET
    private: bool | UnsetType = UNSET


class NewNotice(Struct, forbid_unknown_fields=True):
    """A notice to everyone, in force until ``until`` (Unix time in milliseconds)."""

    text: Annotated[str, Meta(min_length=1, max_length=1000)]
    until: UnixMs
    level: Literal["info", "warning"] = "info"

    def as_request(self) -> Notice:
        """As a chat client would ask for it."""
        return Notice(id=0, text=self.text, until=self.until, level=self.level)


class NoticeInForce(Struct):
    """A notice."""

    level: str
    text: str
    until: int


class NoticeList(Struct):
    """The notices that are in force."""

    notices: list[NoticeInForce]


class Peer(Struct):
    """Another node: its last beat, and how many seconds ago that was."""

    beat: Beat
    age_s: float


class PeerList(Struct):
    """This node as it tells others, and the others."""

    node: Beat
    peers: list[Peer]


class Status(Struct):
    """How the node is; ``reason`` says why it is not ready."""

    ready: bool
    reason: str | None
    node: str
    version: str
    release: str | None
    epoch: str | None
    applied: int
    head: int
    digest: str
    records: int
    peers: list[str]
    connections: int
    token_keys: int
    jwks_age_s: float | None


class Draining(Struct):
    """The node moves its clients away, then ends; its supervisor starts it again."""

    draining: bool
