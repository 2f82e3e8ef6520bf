"""A goodbye is said once, whole, and whatever the peer says meanwhile."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import structlog
import trio

from node.errors import CloseCode
from tests import frames

from .local_node import local_node

HELLO = frames.say(id=1, op="hello", v=[1], user="ana")
CLOSED, BROKEN = frames.close(1000), frames.frame(3)


@pytest.mark.parametrize("said_by", ["the library", "the node"])
@pytest.mark.parametrize("after", [frames.frame(frames.PING, b"p"), BROKEN, CLOSED, b""])
async def test_what_crosses_it_breaks_nothing(tmp_path: Path, said_by: str, after: bytes) -> None:
    """The library's reader ends with an error if it is to answer after a goodbye that the library has said itself."""
    wrong = frames.frame(frames.BINARY, b"x") if said_by == "the library" else frames.frame(frames.TEXT, b"no JSON")
    code = CloseCode.UNSUPPORTED_DATA if said_by == "the library" else CloseCode.PROTOCOL_VIOLATION
    async with local_node(tmp_path) as node:
        with structlog.testing.capture_logs() as lines:
            stream = await trio.open_tcp_stream("127.0.0.1", node.port)
            async with stream:
                await stream.send_all(frames.request() + HELLO + wrong + 20 * after)
                heard = b""
                with trio.fail_after(10):
                    async for data in stream:
                        heard += data
            with trio.fail_after(5):
                while node.server.connection_count:
                    await trio.sleep(0.01)
    said = frames.server_frames(heard.partition(b"\r\n\r\n")[2])
    assert [opcode for opcode, _ in said].count(frames.CLOSE) == 1
    opcode, payload = said[-1]
    # What the library has read by then it answers first.
    own = {CLOSED: 1000, BROKEN: 1002}.get(after, code)
    assert opcode == frames.CLOSE
    assert struct.unpack("!H", payload[:2])[0] in (code, own)
    assert not [line for line in lines if "exc_info" in line]
