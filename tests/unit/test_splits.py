"""The network cuts bytes wherever it likes: a recorded conversation, cut everywhere, has the same answers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from tests import frames
from tests.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, frame, request, say

from .local_node import LocalNode, local_node

HANDSHAKE = request()
SMALL = (
    say(id=1, op="hello", v=[1], user="ana")
    + say(id=2, op="ping")
    + frame(PING, b"\xff" * 125)
    + frame(TEXT, '{"id":"é€🎉"'.encode(), fin=False)
    + frame(PING, b"within")
    + frame(CONTINUATION, b',"op":', fin=False)
    + frame(CONTINUATION, b'"ping"}')
    + frame(TEXT, json.dumps({"id": 3, "op": "ping", "x": "é" * 40}, ensure_ascii=False).encode())
    + say(id=4, op="fly")
)
LARGE = frame(TEXT, json.dumps({"id": 5, "op": "ping", "x": "€" * 25_000}, ensure_ascii=False).encode())
GOODBYE = frames.close(4321, "bye €".encode())


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[LocalNode]:
    async with local_node(tmp_path, max_frame_bytes=131_072) as node:
        yield node


async def talk(node: LocalNode, parts: Sequence[bytes], goodbye: Sequence[bytes], answers: int) -> list[str]:
    """What a server answers to bytes that come part by part, up to its close frame; sorted, as pongs may overtake."""
    client, served = trio.testing.memory_stream_pair()
    said = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.server.serve, served)
        with trio.fail_after(10):
            for part in parts:
                await client.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
            while len(frames.server_frames(said.partition(b"\r\n\r\n")[2])) < answers:
                said += await client.receive_some()
            for part in goodbye:
                await client.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
            await client.send_eof()
            async for data in client:
                said += data
    head, _, rest = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return sorted(map(_plain, frames.server_frames(rest)))


def _plain(answer: tuple[int, bytes]) -> str:
    """An answer without what differs between connections."""
    opcode, payload = answer
    if opcode != TEXT:
        return f"{opcode} {payload!r}"
    message = json.loads(payload)
    message.get("ok", {}).pop("conn", None)
    return json.dumps(message)


async def test_the_recorded_conversation_is_answered_as_expected(node: LocalNode) -> None:
    said = await talk(node, [HANDSHAKE + SMALL + LARGE], [GOODBYE], 8)
    assert said[:2] == sorted(f"{PONG} {payload!r}" for payload in (b"within", b"\xff" * 125))
    assert said[2] == f"{CLOSE} {(4321).to_bytes(2, 'big') + 'bye €'.encode()!r}"
    assert [json.loads(answer)["id"] for answer in said[3:]] == ["é€🎉", 1, 2, 3, 4, 5]


async def test_every_cut_in_two_has_the_same_answers(node: LocalNode) -> None:
    data = HANDSHAKE + SMALL
    whole = await talk(node, [data], [GOODBYE], 7)
    for at in range(1, len(data)):
        assert await talk(node, [data[:at], data[at:]], [GOODBYE], 7) == whole, f"cut after {at} bytes"


async def test_every_cut_of_the_close_frame_has_the_same_answer(node: LocalNode) -> None:
    whole = await talk(node, [HANDSHAKE + SMALL], [GOODBYE], 7)
    for at in range(1, len(GOODBYE)):
        assert await talk(node, [HANDSHAKE + SMALL], [GOODBYE[:at], GOODBYE[at:]], 7) == whole, f"cut after {at} bytes"


async def test_cuts_in_a_frame_of_a_long_length_have_the_same_answers(node: LocalNode) -> None:
    """In all of its head and its end, and in the middle at every distance from a character's first byte."""
    data, begin = HANDSHAKE + SMALL + LARGE, len(HANDSHAKE + SMALL)
    whole = await talk(node, [data], [GOODBYE], 8)
    middle = begin + len(LARGE) // 2
    for at in (*range(begin - 1, begin + 60), *range(middle, middle + 6), *range(len(data) - 10, len(data))):
        assert await talk(node, [data[:at], data[at:]], [GOODBYE], 8) == whole, f"cut after {at} bytes"


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_byte_by_byte_has_the_same_answers(node: LocalNode, size: int) -> None:
    def pieces(data: bytes) -> list[bytes]:
        return [data[at : at + size] for at in range(0, len(data), size)]

    whole = await talk(node, [HANDSHAKE + SMALL], [GOODBYE], 7)
    assert await talk(node, pieces(HANDSHAKE + SMALL), pieces(GOODBYE), 7) == whole
