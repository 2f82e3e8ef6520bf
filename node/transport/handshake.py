"""The server's side of a WebSocket handshake (RFC 6455, 4.2): the request is read within bounds, checked and answered.

The library answers some faults as the RFC asks for, drops the connection on others, and lets the rest pass; and its
handshake was a third of what accepting a connection cost. So it is not asked.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import h11
import trio

from node.errors import ChatError
from node.transport.stream import part, receive, send

PATH = "/ws"
MAX_REQUEST_BYTES = 16 * 1024
_VERSION = "13"
_KEY_BYTES = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
_RECEIVE_BYTES = 4096


class HandshakeRefused(ChatError):
    """No WebSocket came about; the client has been told why, if it was still there."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a request, and the header fields that go with the answer."""

    status: HTTPStatus
    text: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origins:
    """The pages whose browsers may connect (RFC 6455, 10.2).

    Attributes:
        allowed: ``*`` for any; empty: pages of the same host, and those that came over an edge.
        page_port: where this host has the web client, besides the port of the WebSocket itself.
        edges: origins of the pages that come over TLS, whichever machine they come from.
    """

    allowed: tuple[str, ...] = ()
    page_port: int = 0
    edges: tuple[str, ...] = ()

    def admit(self, origin: str, host: str) -> bool:
        """Whether a page may connect to this host, as its request names it."""
        if self.allowed:
            return "*" in self.allowed or origin in self.allowed
        page, own = urlsplit(origin), urlsplit(f"//{host}")
        same = page.netloc == host or (page.hostname, page.port) == (own.hostname, self.page_port)
        return same or origin in self.edges


async def shake_hands(stream: trio.abc.HalfCloseableStream, origins: Origins) -> bytes:
    """Receive a good request for a WebSocket, and accept it. Returns the bytes that came behind it.

    Raises:
        HandshakeRefused: it was no such request, and has been answered with the fault.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
    try:
        request = await _receive_request(stream, parser)
        headers = _joined(request)
        fault = fault_of(request, headers, origins)
    except h11.RemoteProtocolError as error:
        fault = Fault(HTTPStatus(error.error_status_hint), str(error))
    if fault is not None:
        await stream.send_all(_answer(fault))
        await part(stream)
        raise HandshakeRefused(fault.text)
    await send(stream, _accepted(headers["sec-websocket-key"]))
    return parser.trailing_data[0]


async def refuse(stream: trio.abc.HalfCloseableStream, reason: str, retry_after_s: int) -> None:
    """Answer whatever request comes with 503 (RFC 9110, 15.6.4). The caller sets the deadline.

    Args:
        retry_after_s: told to the client.

    Raises:
        HandshakeRefused: no request came.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
    with contextlib.suppress(h11.RemoteProtocolError):
        await _receive_request(stream, parser)
    await stream.send_all(_answer(Fault(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": str(retry_after_s)})))
    await part(stream)


async def _receive_request(stream: trio.abc.ReceiveStream, parser: h11.Connection) -> h11.Request:
    while not isinstance(event := parser.next_event(), h11.Request):
        if not (data := await receive(stream, _RECEIVE_BYTES)):
            raise HandshakeRefused("closed before the request was whole")
        parser.receive_data(data)
    return event


def _joined(request: h11.Request) -> dict[str, str]:
    """The header fields; those that are there more than once as one (RFC 9110, 5.2)."""
    headers: dict[str, str] = {}
    for raw_name, value in request.headers:
        name, text = raw_name.decode(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _accepted(key: str) -> bytes:
    """The answer that opens the WebSocket (RFC 6455, 4.2.2)."""
    proof = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return _SWITCHING + b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"


def fault_of(request: h11.Request, headers: dict[str, str], origins: Origins) -> Fault | None:
    """What a request lacks to become a WebSocket here, the first of it; None if nothing."""
    try:
        return _http_fault(request, headers) or _websocket_fault(headers) or _origin_fault(headers, origins)
    except ValueError:
        return Fault(HTTPStatus.BAD_REQUEST, "an address in the request is none")


def _http_fault(request: h11.Request, headers: dict[str, str]) -> Fault | None:
    if request.method != b"GET":
        return Fault(HTTPStatus.METHOD_NOT_ALLOWED, "a handshake is a GET", {"Allow": "GET"})
    if request.http_version != b"1.1":
        return Fault(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "a handshake is HTTP/1.1")
    headers["host"].encode("latin-1").decode("idna")
    if urlsplit(request.target.decode("ascii")).path != PATH:
        return Fault(HTTPStatus.NOT_FOUND, f"the WebSocket is at {PATH}")
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return Fault(HTTPStatus.BAD_REQUEST, "a handshake has no body")
    return None


def _websocket_fault(headers: dict[str, str]) -> Fault | None:
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in _tokens(headers.get("connection", "")):
        return _upgrade_required("Upgrade: websocket and Connection: Upgrade are wanted")
    if headers.get("sec-websocket-version") != _VERSION:
        return _upgrade_required(f"Sec-WebSocket-Version: {_VERSION} is wanted")
    if not _is_key(headers.get("sec-websocket-key", "")):
        return Fault(HTTPStatus.BAD_REQUEST, f"Sec-WebSocket-Key is not {_KEY_BYTES} bytes in base64")
    for name, text in headers.items():
        if (name == "connection" or name.startswith("sec-websocket-")) and not text.isascii():
            return Fault(HTTPStatus.BAD_REQUEST, f"{name} is not ASCII")
    return None


def _origin_fault(headers: dict[str, str], origins: Origins) -> Fault | None:
    origin = headers.get("origin")
    if origin is None or origins.admit(origin, headers["host"]):
        return None
    return Fault(HTTPStatus.FORBIDDEN, "this origin is not allowed")


def _upgrade_required(text: str) -> Fault:
    return Fault(HTTPStatus.UPGRADE_REQUIRED, text, {"Upgrade": "websocket", "Sec-WebSocket-Version": _VERSION})


def _tokens(text: str) -> set[str]:
    return {token.strip().lower() for token in text.split(",")}


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False


def _answer(fault: Fault) -> bytes:
    # The answer to a HEAD has no body, so the one to a wrong method has none.
    body = "" if fault.status == HTTPStatus.METHOD_NOT_ALLOWED else f"{fault.text}\n"
    headers = {"Content-Type": "text/plain", "Content-Length": str(len(body)), "Connection": "close", **fault.headers}
    fields = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {fault.status.value} {fault.status.phrase}\r\n{fields}\r\n{body}".encode("ascii", "replace")
