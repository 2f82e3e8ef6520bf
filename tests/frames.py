"""WebSocket by hand: a client's bytes, right or wrong as asked for, and a server's bytes taken apart."""

from __future__ import annotations

import json
import struct
from typing import Any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The one of the RFC's example: nothing here depends on chance."""
MASK = b"\x11\x22\x33\x44"


def request(path: str = "/ws", *more: str) -> bytes:
    """The client's half of a WebSocket handshake."""
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """One client's frame."""
    length = len(payload)
    size = 0 if length < 126 else 2 if length < 65536 else 8
    head = header(opcode, length, size, fin=fin, reserved=reserved, masked=masked)
    if not masked:
        return head + payload
    repeated = (MASK * (length // 4 + 1))[:length]
    masked_payload = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + MASK + masked_payload.to_bytes(length, "big")


def header(opcode: int, length: int, size: int, *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """A frame up to its mask; the length takes ``size`` bytes of its own: 0, 2 or 8."""
    first, bit = fin << 7 | reserved << 4 | opcode, masked << 7
    if size == 0:
        return struct.pack("!BB", first, bit | length)
    return struct.pack("!BBH" if size == 2 else "!BBQ", first, bit | (126 if size == 2 else 127), length)


def close(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def say(**message: Any) -> bytes:
    """A request of the protocol as a frame."""
    return frame(TEXT, json.dumps(message).encode())


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """(opcode, payload) of each frame in what a server sent after the handshake.

    Raises:
        ValueError: it is not made of whole, final, unmasked frames.
    """
    found = []
    while data:
        first, second = data[0], data[1]
        size = {126: 2, 127: 8}.get(second, 0)
        length = int.from_bytes(data[2 : 2 + size], "big") if size else second
        end = 2 + size + length
        if first & 0xF0 != 0x80 or second & 0x80 or len(data) < end:
            raise ValueError(f"no frame of a server: {data[:40]!r}")
        found.append((first & 0x0F, data[2 + size : end]))
        data = data[end:]
    return found


def close_code(data: bytes) -> int | None:
    """The code of the close frame with which a server ended."""
    frames = server_frames(data)
    if not frames or frames[-1][0] != CLOSE:
        return None
    return int(struct.unpack("!H", frames[-1][1][:2])[0])
