"""How each server is spoken to: the way in, and one message. From their documents; nothing of it is the node's.

A message's body carries a mark by which it is counted, its sender, its number and the time at which it was due.
"""

from __future__ import annotations

import json
import time
from typing import Protocol

import jwt

MARK = b"#=chat="
BODY_BYTES = 100

Step = tuple[bytes, bytes]
"""What is said, and what must have come back before the next is."""


def body_of(sender: int, number: int, due_us: int) -> str:
    """A body of :data:`BODY_BYTES`."""
    return f"{MARK.decode()}{sender:04d}:{number:09d}:{due_us:016d}".ljust(BODY_BYTES, "x")


def mark_of(sender: int) -> bytes:
    """What the bodies of one sender have and no others."""
    return MARK + b"%04d:" % sender


class Dialect(Protocol):
    """One server's way of speaking.

    Attributes:
        path: of the WebSocket.
        subprotocol: that the WebSocket is opened for; empty where it has no name.
        opcode: 1 for text frames, 2 for binary ones.
        acknowledgement: what an acknowledgement has and nothing else; empty where there are none.
    """

    path: str
    subprotocol: str
    opcode: int
    acknowledgement: bytes

    def make(self, rooms: list[str]) -> list[Step]:
        """What the first connection says before anybody joins."""

    def hello(self, user: int) -> list[Step]:
        """The way in."""

    def join(self, rooms: list[str], user: int) -> list[Step]:
        """The user's way into rooms."""

    def message(self, room: str, sender: int, number: int, body: str) -> str:
        """One message to a room."""


class Chat:
    """The chat node: a token, rooms, acknowledged sends."""

    path, subprotocol, opcode, acknowledgement = "/ws", "", 1, b'"dup":false}'

    def __init__(self, key: str) -> None:
        self._key = key

    def make(self, rooms: list[str]) -> list[Step]:
        return [_asked(100 + i, op="create_room", room=room) for i, room in enumerate(rooms)]

    def hello(self, user: int) -> list[Step]:
        claims = {"sub": f"u{user}", "exp": time.time() + 3600}
        return [_asked(1, op="hello", v=[1], token=jwt.encode(claims, self._key, "HS256"))]

    def join(self, rooms: list[str], user: int) -> list[Step]:
        return [_asked(2 + i, op="join", room=room, limit=0) for i, room in enumerate(rooms)]

    def message(self, room: str, sender: int, number: int, body: str) -> str:
        return f'{{"id":{number},"op":"send","room":"{room}","cid":"{sender}-{number}","body":"{body}"}}'


def _asked(number: int, **fields: object) -> Step:
    return json.dumps({"id": number, **fields}).encode(), b'{"id":%d,"ok":' % number


class Plain:
    """``ws.js`` and ``broadcast.py``."""

    path, subprotocol, opcode, acknowledgement = "/", "", 1, b""

    def make(self, rooms: list[str]) -> list[Step]:
        return []

    def hello(self, user: int) -> list[Step]:
        return []

    def join(self, rooms: list[str], user: int) -> list[Step]:
        return [(b"+" + room.encode(), b"+" + room.encode()) for room in rooms]

    def message(self, room: str, sender: int, number: int, body: str) -> str:
        return f"{room} {body}"


class SocketIo(Plain):
    """Engine.IO 4 over WebSocket: https://socket.io/docs/v4/socket-io-protocol/"""

    path = "/socket.io/?EIO=4&transport=websocket"

    def hello(self, user: int) -> list[Step]:
        return [(b"40", b'40{"sid"')]

    def join(self, rooms: list[str], user: int) -> list[Step]:
        return [(b'42["join","%s"]' % room.encode(), b'42["joined","%s"]' % room.encode()) for room in rooms]

    def message(self, room: str, sender: int, number: int, body: str) -> str:
        return f'42["m","{room}","{body}"]'


class Nats(Plain):
    """The NATS client protocol in binary frames: https://docs.nats.io/reference/reference-protocols/nats-protocol"""

    opcode = 2

    def hello(self, user: int) -> list[Step]:
        return [(b'CONNECT {"verbose":false,"pedantic":false,"echo":true}\r\nPING\r\n', b"PONG\r\n")]

    def join(self, rooms: list[str], user: int) -> list[Step]:
        lines = [b"SUB %s %d\r\n" % (room.encode(), i) for i, room in enumerate(rooms)]
        return [(b"".join(lines) + b"PING\r\n", b"PONG\r\n")]

    def message(self, room: str, sender: int, number: int, body: str) -> str:
        return f"PUB {room} {len(body)}\r\n{body}\r\n"


class Xmpp:
    """XMPP over WebSocket (RFC 7395), anonymous (RFC 6120, RFC 4505), in rooms (XEP-0045)."""

    path, subprotocol, opcode, acknowledgement = "/ws", "xmpp", 1, b""
    _ROOMS = "conference.localhost"
    _OPEN: Step = (
        b'<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>',
        b"</stream:features>",
    )

    def make(self, rooms: list[str]) -> list[Step]:
        return []

    def hello(self, user: int) -> list[Step]:
        anonymous = b'<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="ANONYMOUS"/>'
        bind = b'<iq xmlns="jabber:client" type="set" id="b"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></iq>'
        return [self._OPEN, (anonymous, b"<success"), self._OPEN, (bind, b"</jid>")]

    def join(self, rooms: list[str], user: int) -> list[Step]:
        return [(self._presence(room, user), b"<subject") for room in rooms]

    def _presence(self, room: str, user: int) -> bytes:
        into = '<x xmlns="http://jabber.org/protocol/muc"><history maxstanzas="0"/></x>'
        return f'<presence xmlns="jabber:client" to="{room}@{self._ROOMS}/u{user}">{into}</presence>'.encode()

    def message(self, room: str, sender: int, number: int, body: str) -> str:
        to = f"{room}@{self._ROOMS}"
        stanza = f'<message xmlns="jabber:client" type="groupchat" to="{to}" id="{sender}-{number}">'
        return f"{stanza}<body>{body}</body></message>"


def dialect_of(server: str, key: str) -> Dialect:
    """The dialect of a server by its name in the table."""
    plain: dict[str, Dialect] = {"ws": Plain(), "websockets": Plain(), "socketio": SocketIo(), "nats": Nats()}
    plain["ejabberd"] = Xmpp()
    return plain.get(server) or Chat(key)
