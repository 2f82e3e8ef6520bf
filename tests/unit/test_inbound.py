"""Messages taken out of a client's bytes: the ordinary ones here, everything else left to the library, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.transport.inbound import Inbound

MAX_BYTES = 1000
TEXT, PING, PONG, CLOSE = 0x81, 0x89, 0x8A, 0x88


def frame(payload: bytes, first: int = TEXT, mask: bytes = b"\x01\x80\xff\x35", length: bytes | None = None) -> bytes:
    """A client's frame, byte by byte as in RFC 6455, 5.2."""
    size = len(payload)
    if length is None:
        length = bytes([0x80 | size]) if size < 126 else bytes([0xFE, size >> 8, size & 0xFF])
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([first]) + length + mask + masked


ORDINARY = st.text(max_size=300).filter(lambda text: len(text.encode()) <= MAX_BYTES)


@given(st.lists(st.tuples(ORDINARY, st.binary(min_size=4, max_size=4)), max_size=6), st.data())
def test_messages_are_read_whatever_a_read_brings(said: list[tuple[str, bytes]], data: st.DataObject) -> None:
    sent = b"".join(frame(text.encode(), mask=mask) for text, mask in said)
    inbound, at = Inbound(MAX_BYTES), 0
    while at < len(sent):
        size = data.draw(st.integers(1, 400))
        assert inbound.take(sent[at : at + size]) == b""
        at += size
    assert list(inbound.texts) == [text for text, _ in said]
    assert not inbound.over


def test_of_pings_the_last_is_kept_and_what_is_said_around_them_is_read() -> None:
    pings, pong = frame(b"o", PING) + frame(b"p", PING), frame(b"", PONG)
    inbound = Inbound(MAX_BYTES)
    assert inbound.take(frame(b"a") + pings + frame(b"b") + pong + frame(b"c")[:3]) == b""
    assert inbound.take(frame(b"c")[3:]) == b""
    assert list(inbound.texts) == ["a", "b", "c"]
    assert (inbound.ping, inbound.over) == (b"p", False)


STRANGE = {
    "close": frame(b"\x03\xe8", CLOSE),
    "binary": frame(b"x", 0x82),
    "first fragment": frame(b"x", 0x01),
    "continuation": frame(b"x", 0x80),
    "reserved bit": frame(b"x", 0xC1),
    "not masked": b"\x81\x01x",
    "not UTF-8": frame(b"\xff"),
    "too large": frame(b"x" * (MAX_BYTES + 1)),
    "length of eight bytes": frame(b"x" * 200, length=b"\xff" + (200).to_bytes(8)),
    "length longer than need be": frame(b"x" * 5, length=b"\xfe\x00\x05"),
    "ping too long": frame(b"x" * 126, PING),
}


@pytest.mark.parametrize("name", STRANGE)
def test_from_anything_else_on_every_byte_is_the_librarys(name: str) -> None:
    inbound, strange = Inbound(MAX_BYTES), STRANGE[name]
    said = frame(b"before") + strange + frame(b"after")
    assert inbound.take(said) == strange + frame(b"after")
    assert inbound.over
    assert inbound.take(frame(b"later")) == frame(b"later")
    assert list(inbound.texts) == ["before"]


@pytest.mark.parametrize("name", STRANGE)
def test_the_library_gets_all_of_what_came_in_pieces(name: str) -> None:
    inbound, strange = Inbound(MAX_BYTES), STRANGE[name]
    passed = b"".join(inbound.take(bytes([byte])) for byte in frame(b"before") + strange)
    assert passed == strange
    assert list(inbound.texts) == ["before"]
