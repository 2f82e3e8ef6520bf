"""Every rule of RFC 6455 that a client can break: over a socket, with the answer that the RFC asks for."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests import frames
from tests.frames import BINARY, CLOSE, CONTINUATION, MASK, PING, PONG, TEXT, close, frame, header, request, say

from .local_node import LocalNode, local_node

HELLO = say(id=1, op="hello", v=[1], user="ana")
PROTOCOL_ERROR, UNSUPPORTED_DATA, BAD_DATA, TOO_BIG = 1002, 1003, 1007, 1009
FRAME_BYTES = 65536


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[LocalNode]:
    async with local_node(tmp_path, max_frame_bytes=FRAME_BYTES) as node:
        yield node


@asynccontextmanager
async def tcp(node: LocalNode) -> AsyncIterator[trio.SocketStream]:
    async with await trio.open_tcp_stream("127.0.0.1", node.port) as stream:
        yield stream


async def heard(stream: trio.SocketStream) -> bytes:
    """Everything up to the end. A reset would be an error: it may take away what was said last."""
    said = b""
    with trio.fail_after(5):
        async for data in stream:
            said += data
    return said


async def put(stream: trio.SocketStream, data: bytes) -> None:
    """Send as far as the other side takes it."""
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def conversation(node: LocalNode, *sent: bytes) -> bytes:
    """What comes back after a good handshake and a hello."""
    async with tcp(node) as stream:
        await stream.send_all(request())
        status = await stream.receive_some()
        assert status.startswith(b"HTTP/1.1 101 ")
        await stream.send_all(HELLO)
        await stream.receive_some()
        for data in sent:
            await put(stream, data)
        return await heard(stream)


def text(data: bytes, *, fin: bool = True, opcode: int = TEXT) -> bytes:
    return frame(opcode, data, fin=fin)


BROKEN: dict[str, tuple[int, list[bytes]]] = {
    # 5.1: a client masks
    "5.1-unmasked-text": (PROTOCOL_ERROR, [frame(TEXT, b"{}", masked=False)]),
    "5.1-unmasked-ping": (PROTOCOL_ERROR, [frame(PING, masked=False)]),
    "5.1-unmasked-close": (PROTOCOL_ERROR, [frame(CLOSE, b"\x03\xe8", masked=False)]),
    # 5.2: reserved bits and opcodes, lengths
    **{f"5.2-reserved-bits-{bits:03b}": (PROTOCOL_ERROR, [frame(TEXT, b"{}", reserved=bits)]) for bits in range(1, 8)},
    "5.2-reserved-bit-on-ping": (PROTOCOL_ERROR, [frame(PING, reserved=4)]),
    "5.2-reserved-bit-on-continuation": (PROTOCOL_ERROR, [text(b"{", fin=False), frame(CONTINUATION, reserved=1)]),
    **{f"5.2-opcode-{code:#x}": (PROTOCOL_ERROR, [frame(code)]) for code in (*range(3, 8), *range(11, 16))},
    "5.2-two-byte-length-of-125": (PROTOCOL_ERROR, [header(TEXT, 125, 2) + MASK + b"x" * 125]),
    "5.2-two-byte-length-of-0": (PROTOCOL_ERROR, [header(TEXT, 0, 2) + MASK]),
    "5.2-eight-byte-length-of-65535": (PROTOCOL_ERROR, [header(TEXT, 65535, 8) + MASK + b"x" * 65535]),
    "5.2-eight-byte-length-of-125": (PROTOCOL_ERROR, [header(TEXT, 125, 8) + MASK + b"x" * 125]),
    "5.2-length-with-the-high-bit": (PROTOCOL_ERROR, [header(TEXT, 2**63, 8) + MASK]),
    # 5.4: fragments
    "5.4-continuation-of-nothing": (PROTOCOL_ERROR, [frame(CONTINUATION, b"{}")]),
    "5.4-unfinished-continuation-of-nothing": (PROTOCOL_ERROR, [frame(CONTINUATION, b"{", fin=False)]),
    "5.4-continuation-after-the-last": (PROTOCOL_ERROR, [say(id=2, op="ping"), frame(CONTINUATION, b"{}")]),
    "5.4-text-within-text": (PROTOCOL_ERROR, [text(b"{", fin=False), text(b"}")]),
    "5.4-binary-within-text": (PROTOCOL_ERROR, [text(b"{", fin=False), text(b"}", opcode=BINARY)]),
    # 5.5: control frames
    **{
        f"5.5-{name}-of-126-bytes": (PROTOCOL_ERROR, [frame(opcode, b"\x03\xe8" + b"x" * 124)])
        for name, opcode in (("close", CLOSE), ("ping", PING), ("pong", PONG))
    },
    "5.5-ping-with-an-eight-byte-length": (PROTOCOL_ERROR, [header(PING, 5, 8) + MASK + b"x" * 5]),
    **{
        f"5.5-{name}-in-fragments": (PROTOCOL_ERROR, [frame(opcode, b"\x03\xe8", fin=False)])
        for name, opcode in (("close", CLOSE), ("ping", PING), ("pong", PONG))
    },
    # 5.5.1 and 7.4: what is in a close frame
    "5.5.1-close-of-one-byte": (PROTOCOL_ERROR, [frame(CLOSE, b"\x03")]),
    **{
        f"7.4-close-code-{code}": (PROTOCOL_ERROR, [close(code)])
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    # 5.6 and 8.1: text is UTF-8, in fragments too; close reasons as well
    "8.1-bad-byte": (BAD_DATA, [text(b'{"id":2,"op":"\xff"}')]),
    "8.1-overlong": (BAD_DATA, [text(b"\xc0\xaf")]),
    "8.1-surrogate": (BAD_DATA, [text(b"\xed\xa0\x80")]),
    "8.1-beyond-unicode": (BAD_DATA, [text(b"\xf4\x90\x80\x80")]),
    "8.1-cut-short": (BAD_DATA, [text(b"\xe2\x82")]),
    "8.1-broken-across-fragments": (BAD_DATA, [text(b"\xe2\x82", fin=False), text(b"\x28", opcode=CONTINUATION)]),
    "8.1-cut-short-at-the-last-fragment": (BAD_DATA, [text(b"\xe2", fin=False), text(b"\x82", opcode=CONTINUATION)]),
    "8.1-bad-before-the-last-fragment": (BAD_DATA, [text(b"\xff", fin=False)]),
    "8.1-bad-close-reason": (BAD_DATA, [close(1000, b"\xff")]),
    "8.1-close-reason-cut-short": (BAD_DATA, [close(1000, b"bye \xe2\x82")]),
    # 7.4.1: what this endpoint does not take
    "7.4.1-binary": (UNSUPPORTED_DATA, [frame(BINARY, b"{}")]),
    "7.4.1-empty-binary": (UNSUPPORTED_DATA, [frame(BINARY)]),
    "7.4.1-binary-in-fragments": (UNSUPPORTED_DATA, [frame(BINARY, b"{", fin=False), frame(CONTINUATION, b"}")]),
    "7.4.1-too-large": (TOO_BIG, [frame(TEXT, b" " * (FRAME_BYTES + 1))]),
    "7.4.1-too-large-and-more-behind-it": (TOO_BIG, [frame(TEXT, b" " * (20 * FRAME_BYTES))]),
    "7.4.1-too-large-in-fragments": (TOO_BIG, [text(b" ", fin=False), *[frame(0, b" " * 9000, fin=False)] * 8]),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_rule_of_frames_is_closed_for(node: LocalNode, name: str) -> None:
    code, sent = BROKEN[name]
    said = frames.server_frames(await conversation(node, *sent))
    assert [opcode for opcode, _ in said].count(CLOSE) == 1
    opcode, payload = said[-1]
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
    assert len(payload) <= 125
    payload[2:].decode()
    assert node.closed(code) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_7_4_a_good_close_code_comes_back(node: LocalNode, code: int) -> None:
    assert frames.server_frames(await conversation(node, close(code, "bye €".encode()))) == [
        (CLOSE, code.to_bytes(2, "big") + "bye €".encode())
    ]


async def test_5_5_1_a_close_without_a_code_is_answered(node: LocalNode) -> None:
    ((opcode, payload),) = frames.server_frames(await conversation(node, frame(CLOSE)))
    assert opcode == CLOSE
    assert payload in (b"", b"\x03\xe8")


@pytest.mark.parametrize("late", [say(id=9, op="ping"), frame(PING, b"x"), frame(3), close(1001)])
async def test_5_5_1_what_comes_after_a_close_is_not_answered(node: LocalNode, late: bytes) -> None:
    ((opcode, payload),) = frames.server_frames(await conversation(node, close(1000), late))
    assert (opcode, payload) == (CLOSE, b"\x03\xe8")


@pytest.mark.parametrize("payload", [b"", b"x", b"\xff" * 125])
async def test_5_5_3_a_ping_comes_back_between_fragments_too(node: LocalNode, payload: bytes) -> None:
    pieces = [text(b'{"id":2,', fin=False), frame(PING, payload), text(b'"op":"ping"}', opcode=CONTINUATION)]
    said = frames.server_frames(await conversation(node, *pieces, frame(PONG, b"unasked"), close(1000)))
    assert (PONG, payload) in said
    assert said[-1] == (CLOSE, b"\x03\xe8"), said


@pytest.mark.parametrize("payload", [b"", b"x", b"\xff" * 125])
async def test_5_5_3_a_ping_comes_back_also_right_before_a_close(node: LocalNode, payload: bytes) -> None:
    said = frames.server_frames(await conversation(node, say(id=2, op="ping"), frame(PING, payload) + close(1000)))
    assert (PONG, payload) in said
    assert said[-1] == (CLOSE, b"\x03\xe8")


GOOD = request().decode()


def without(name: str) -> bytes:
    """A request that lacks one header field."""
    return "\r\n".join(line for line in GOOD.split("\r\n") if not line.startswith(f"{name}:")).encode()


def with_(name: str, value: str) -> bytes:
    """A request with another value in one header field."""
    lines = [f"{name}: {value}" if line.startswith(f"{name}:") else line for line in GOOD.split("\r\n")]
    return "\r\n".join(lines).encode("latin-1")


KEY = base64.b64encode(b"k" * 16).decode()
REFUSED: dict[str, tuple[int, bytes]] = {
    "4.2.1/1-post": (405, GOOD.replace("GET", "POST").encode()),
    "4.2.1/1-head": (405, GOOD.replace("GET", "HEAD").encode()),
    "4.2.1/1-http-1.0": (505, GOOD.replace("HTTP/1.1", "HTTP/1.0").encode()),
    "4.2.1/1-http-2-preface": (405, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "4.2.1/1-no-http": (400, b"hello?\r\n\r\n"),
    "4.2.1/1-a-body": (400, request("/ws", "Content-Length: 4") + b"body"),
    "4.2.1/1-chunks": (400, request("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "4.2.1/2-no-host": (400, without("Host")),
    "4.2.1/2-host-is-no-name": (400, with_("Host", "\xff.")),
    "4.2.1/3-no-upgrade": (426, without("Upgrade")),
    "4.2.1/3-other-upgrade": (426, with_("Upgrade", "h2c")),
    "4.2.1/4-no-connection": (426, without("Connection")),
    "4.2.1/4-connection-keep-alive": (426, with_("Connection", "keep-alive")),
    "4.2.1/5-no-key": (400, without("Sec-WebSocket-Key")),
    "4.2.1/5-empty-key": (400, with_("Sec-WebSocket-Key", "")),
    "4.2.1/5-key-of-15-bytes": (400, with_("Sec-WebSocket-Key", base64.b64encode(b"k" * 15).decode())),
    "4.2.1/5-key-no-base64": (400, with_("Sec-WebSocket-Key", "!" * 24)),
    "11.3.1-two-keys": (400, request("/ws", f"Sec-WebSocket-Key: {KEY}")),
    "4.2.1/6-no-version": (426, without("Sec-WebSocket-Version")),
    "4.4-version-8": (426, with_("Sec-WebSocket-Version", "8")),
    "4.4-version-14": (426, with_("Sec-WebSocket-Version", "14")),
    "4.4-version-thirteen": (426, with_("Sec-WebSocket-Version", "thirteen")),
    "11.3.5-two-versions": (426, request("/ws", "Sec-WebSocket-Version: 13")),
    "4.2.2/2-other-origin": (403, request("/ws", "Origin: https://evil.example")),
    "4.2.2/2-other-port": (403, request("/ws", "Origin: http://x:1")),
    "4.2.2/2-origin-is-no-address": (400, request("/ws", "Origin: http://[")),
    "4.2.2/4-other-path": (404, request("/elsewhere")),
    "4.2.2/4-no-path": (404, request("/")),
    "11.3.4-protocol-not-ascii": (400, request("/ws", "Sec-WebSocket-Protocol: \xff")),
    "10-huge-header": (431, request("/ws", "X-Huge: " + "x" * 200_000)),
    "10-many-headers": (431, request("/ws", *(f"X-{i}: {i}" for i in range(20_000)))),
    "10-huge-path": (431, request("/" + "x" * 200_000)),
    "10-header-without-a-colon": (400, request("/ws", "X")),
    "10-line-feed-in-a-header": (400, request("/ws", "X: a\x00b")),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_broken_rule_of_the_handshake_is_refused(node: LocalNode, name: str) -> None:
    status, sent = REFUSED[name]
    async with tcp(node) as stream:
        await put(stream, sent)
        head, _, body = (await heard(stream)).partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first.split()[:2] == ["HTTP/1.1", str(status)]
    headers = {field.split(": ")[0].lower(): field.split(": ")[1] for field in fields}
    assert int(headers["content-length"]) == len(body)
    assert headers["connection"] == "close"
    assert status != 426 or (headers["upgrade"], headers["sec-websocket-version"]) == ("websocket", "13")
    assert status != 405 or headers["allow"] == "GET"
    assert node.server.connection_count == 0


ACCEPTED: dict[str, bytes] = {
    "4.2.1/3-upgrade-in-capitals": with_("Upgrade", "WebSocket"),
    "4.2.1/4-connection-among-others": with_("Connection", "keep-alive, Upgrade"),
    "4.2.1/4-connection-in-two-fields": request("/ws", "Connection: keep-alive"),
    "4.2.1/1-query": request("/ws?from=here"),
    "4.2.1/8-protocols-and-extensions": request(
        "/ws", "Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Extensions: permessage-deflate; x=1"
    ),
    "4.2.2/2-same-origin": request("/ws", "Origin: http://x"),
    "4.2.2/2-page-of-the-same-node": request("/ws", "Origin: http://x:9090"),
    "4.2.1/1-unknown-fields": request("/ws", "Cookie: \xe9=1", "X-Forwarded-For: ::1"),
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_4_2_2_a_good_handshake_is_accepted(node: LocalNode, name: str) -> None:
    async with tcp(node) as stream:
        await stream.send_all(ACCEPTED[name] + HELLO)  # too early, but nothing says that it may be lost
        said = b""
        with trio.fail_after(5):
            while b'"ok"' not in said:
                said += await stream.receive_some()
    head = said.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101 ")
    assert b"sec-websocket-protocol" not in head
    assert b"sec-websocket-extensions" not in head


async def test_4_2_2_the_key_is_answered_as_in_the_rfc(node: LocalNode) -> None:
    async with tcp(node) as stream:
        await stream.send_all(with_("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await stream.receive_some()
