"""Peers that mean no good: each connects to the port for clients, does its harm, and lets go."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.frames import BINARY, CLOSE, MASK, PING, PONG, TEXT, close_code, frame, request, say

PATIENCE_S = 10.0
"""How long a peer waits for the node to end it. The nodes under test are set to less."""


Attack = Callable[[int], Coroutine[Any, Any, None]]
ATTACKS: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    """Register an attack under its function's name."""
    ATTACKS[function.__name__] = function
    return function


HELLO = say(id=1, op="hello", v=[1], user="mallory")


@asynccontextmanager
async def tcp(port: int) -> AsyncIterator[trio.SocketStream]:
    """A bare connection."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield stream


@asynccontextmanager
async def websocket(port: int, *, hello: bool = True, user: str = "") -> AsyncIterator[trio.SocketStream]:
    """A connection after the handshake, and after hello if wanted: as ``user``, or as somebody new."""
    async with tcp(port) as stream:
        await stream.send_all(request())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 101")
        if hello:
            await stream.send_all(say(id=1, op="hello", v=[1], user=user or f"mallory-{secrets.token_hex(4)}"))
            await stream.receive_some()
        yield stream


async def ended(stream: trio.SocketStream) -> bytes:
    """Read until the node ends the connection; returns what it said last."""
    said = b""
    with trio.fail_after(PATIENCE_S), contextlib.suppress(trio.BrokenResourceError):
        async for data in stream:
            said += data
    return said


def sends(*data: bytes, hello: bool = True, code: int | None = None) -> Attack:
    """An attack that sends bytes on a WebSocket, and is ended for it, with a close code if one is given."""

    async def act(port: int) -> None:
        async with websocket(port, hello=hello) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                for part in data:
                    await stream.send_all(part)
            said = await ended(stream)
            assert code is None or close_code(said) == code, said[-200:]

    return act


def survives(*data: bytes) -> Attack:
    """An attack that sends bytes which are odd but allowed: the node goes on with the conversation."""

    async def act(port: int) -> None:
        async with websocket(port) as stream:
            for part in data:
                await stream.send_all(part)
            await stream.send_all(say(id="still here", op="ping"))
            said = b""
            with trio.fail_after(PATIENCE_S):
                while b'"still here","ok"' not in said:
                    heard = await stream.receive_some()
                    assert heard, said
                    said += heard

    return act


def http(*data: bytes, status: bytes = b"") -> Attack:
    """An attack on the handshake: it is ended, and refused before, with this status if one is given."""

    async def act(port: int) -> None:
        async with tcp(port) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                for part in data:
                    await stream.send_all(part)
            said = await ended(stream)
            assert said.startswith(b"HTTP/1.1 " + status if status else b""), said[:200]
            assert not said.startswith(b"HTTP/1.1 101")

    return act


ATTACKS |= {
    "silence": http(),
    "half_a_request": http(request()[:40]),
    "plain_http": http(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", status=b"426"),
    "post": http(b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", status=b"405"),
    "http_2_preface": http(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status=b"405"),
    "noise": http(os.urandom(4096) + b"\r\n\r\n"),
    "wrong_path": http(request("/elsewhere"), status=b"404"),
    "wrong_origin": http(request("/ws", "Origin: https://evil.example"), status=b"403"),
    "old_version": http(request().replace(b"Version: 13", b"Version: 8"), status=b"426"),
    "no_key": http(request().replace(b"Sec-WebSocket-Key", b"X-Nothing"), status=b"400"),
    "huge_header": http(request("/ws", "X-Huge: " + "x" * 100_000), status=b"431"),
    "many_headers": http(request("/ws", *(f"X-{i}: {i}" for i in range(20_000))), status=b"431"),
    "huge_path": http(request("/" + "x" * 100_000), status=b"431"),
    "chunked_body": http(request("/ws", "Transfer-Encoding: chunked") + b"5\r\n01234\r\n0\r\n\r\n", status=b"400"),
    "body": http(request("/ws", "Content-Length: 10") + b"0123456789", status=b"400"),
    "no_hello": sends(hello=False, code=4501),
    "send_before_hello": sends(say(id=1, op="send", room="a", cid="c", body="x"), hello=False, code=4501),
    "binary_before_hello": sends(frame(BINARY, b"\0\1"), hello=False, code=1003),
    "binary": sends(frame(BINARY, b"\0" * 100), code=1003),
    "unmasked": sends(frame(TEXT, b'{"id":1,"op":"ping"}', masked=False), code=1002),
    "reserved_bits": sends(frame(TEXT, b"{}", reserved=4), code=1002),
    "reserved_opcode": sends(frame(3, b"{}"), code=1002),
    "reserved_control_opcode": sends(frame(11, b""), code=1002),
    "large_frame": sends(say(id=1, op="ping", x="x" * 70_000), code=1009),
    "large_frame_announced": sends(struct.pack("!BBQ", 0x81, 0x80 | 127, 2**62) + MASK + b"x" * 100_000),
    "large_message_in_pieces": sends(frame(TEXT, b'"', fin=False), *[frame(0, b"x" * 1000, fin=False)] * 80, code=1009),
    "length_out_of_range": sends(struct.pack("!BBQ", 0x81, 0x80 | 127, 2**64 - 1) + MASK, code=1002),
    "long_ping": sends(frame(PING, b"x" * 126), code=1002),
    "fragmented_ping": sends(frame(PING, b"x", fin=False), code=1002),
    "continuation_of_nothing": sends(frame(0, b"x"), code=1002),
    "text_within_text": sends(frame(TEXT, b"{", fin=False), frame(TEXT, b"}"), code=1002),
    "bad_utf8": sends(frame(TEXT, b'{"id":1,"op":"\xff\xfe"}'), code=1007),
    "bad_utf8_in_pieces": sends(frame(TEXT, b"\xe2\x82", fin=False), frame(0, b"\x28"), code=1007),
    "not_json": sends(frame(TEXT, b"hello, is anyone there?"), code=4501),
    "empty_message": sends(frame(TEXT, b""), code=4501),
    "bottomless_json": sends(frame(TEXT, b'{"id":1,"op":"ping","x":' + b"[" * 60_000), code=4501),
    "close_with_an_invalid_code": sends(frame(CLOSE, struct.pack("!H", 1005)), code=1002),
    "close_with_half_a_code": sends(frame(CLOSE, b"\x03"), code=1002),
    "close_with_bad_utf8": sends(frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), code=1007),
    "pings_after_close": sends(frame(CLOSE, struct.pack("!H", 1000)), *[frame(PING, b"x")] * 50, code=1000),
    "requests_after_close": sends(frame(CLOSE, struct.pack("!H", 1000)), *[say(id=1, op="ping")] * 50, code=1000),
    "json_but_no_object": survives(frame(TEXT, b"[1,2]"), frame(TEXT, b"null"), frame(TEXT, b"7")),
    "hello_twice": survives(HELLO),
    "unknown_requests": survives(*[say(id=i, op="fly", to="the moon") for i in range(100)]),
    "odd_ids": survives(say(id=[1], op="ping"), say(id=2**60, op="ping"), say(op="ping"), say(id="x" * 70, op="ping")),
    "deep_json": survives(frame(TEXT, b'{"id":1,"op":"ping","x":' + b"[" * 500 + b"]" * 500 + b"}")),
    "unasked_pongs": survives(*[frame(PONG, b"x")] * 500),
    "empty_pieces": survives(frame(TEXT, b"{", fin=False), *[frame(0, b"", fin=False)] * 500, frame(0, b"}")),
    "control_characters": survives(say(id="\0\x1b[2J", op="join", room="\0"), say(id=1, op="fly\r\nX: y")),
}


@attack
async def ping_flood(port: int) -> None:
    async with websocket(port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_read_on, stream)
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(100):
                await stream.send_all(frame(PING, b"x" * 100) * 100)
        nursery.cancel_scope.cancel()


async def _read_on(stream: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        async for _ in stream:
            pass


@attack
async def request_flood(port: int) -> None:
    async with websocket(port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_drop_until_reset, stream, say(id=1, op="ping") * 100)
        assert close_code(await ended(stream)) in (4008, 4013, None)  # not read either
        nursery.cancel_scope.cancel()


async def _drop_until_reset(stream: trio.SocketStream, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(data)


@attack
async def slow_handshake(port: int) -> None:
    async with tcp(port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_drip, stream, request())
        assert await ended(stream) == b""
        nursery.cancel_scope.cancel()


@attack
async def slow_hello(port: int) -> None:
    async with websocket(port, hello=False) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_drip, stream, HELLO)
        assert close_code(await ended(stream)) == 4501
        nursery.cancel_scope.cancel()


async def _drip(stream: trio.SocketStream, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.05)


@attack
async def reset_in_mid_handshake(port: int) -> None:
    async with tcp(port) as stream:
        await stream.send_all(request()[:60])
        reset(stream)


@attack
async def reset_in_mid_frame(port: int) -> None:
    async with websocket(port) as stream:
        await stream.send_all(say(id=1, op="ping", x="x" * 1000)[:500])
        reset(stream)


@attack
async def reset_after_garbage(port: int) -> None:
    async with websocket(port) as stream:
        await stream.send_all(frame(3, b"x", reserved=7) + os.urandom(500))
        reset(stream)


@attack
async def half_closed(port: int) -> None:
    async with websocket(port) as stream:
        await stream.send_eof()
        await ended(stream)


@attack
async def no_pong(port: int) -> None:
    async with websocket(port) as stream:
        assert close_code(await ended(stream)) == 4012


@attack
async def tls_on_the_plain_port(port: int) -> None:
    context = ssl.create_default_context()
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
    with contextlib.suppress(trio.BrokenResourceError, ssl.SSLError), trio.fail_after(PATIENCE_S):
        await stream.do_handshake()
    await trio.aclose_forcefully(stream)


@attack
async def a_thousand_quick_connects(port: int) -> None:
    for _ in range(1000):
        async with tcp(port) as stream:
            reset(stream)


@attack
async def two_hundred_that_stay_silent(port: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(ATTACKS["silence"], port)


@attack
async def many_connections_of_one_user(port: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(websocket(port, user="many")) for _ in range(10)]
        eleventh = await stack.enter_async_context(websocket(port, hello=False))
        await eleventh.send_all(say(id=1, op="hello", v=[1], user="many"))
        assert close_code(await ended(eleventh)) == 4504
        assert len(streams) == 10


def reset(stream: trio.SocketStream) -> None:
    """Let go with a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
