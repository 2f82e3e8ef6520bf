"""WebSocket frames of the server: unmasked and stateless, so one encoding serves every member (RFC 6455, 5.2)."""

from __future__ import annotations

import struct

_FINAL_TEXT = 0x81


def text_frame(payload: bytes) -> bytes:
    """One complete, final, unmasked text frame around UTF-8 bytes."""
    length = len(payload)
    if length < 126:
        return bytes((_FINAL_TEXT, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", _FINAL_TEXT, 126, length) + payload
    return struct.pack("!BBQ", _FINAL_TEXT, 127, length) + payload
