"""Mutated inputs: requests through session, rules and back, and bytes through a whole server. None may raise.

``make fuzz COUNT=1000000 SEED=7``. Each input is made from the seed and its number alone, so one that fails is run
again by itself: ``python -m tests.fuzz LEVEL NUMBER SEED``.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import trio
import trio.testing

from node.auth import Identity
from node.errors import CloseCode, CloseConnection
from node.protocol.answers import encode_error
from node.protocol.requests import RefusedRequest
from node.protocol.session import Session
from node.state.model import State
from node.state.records import AnyRecord, CreateRoom, JoinRoom, SendMessage, decode_batch, encode_batch, encode_record
from node.state.rules import apply_record
from tests import frames
from tests.unit.fakes import NoDisk
from tests.unit.local_node import SETTINGS, LocalNode, local_node
from tests.unit.test_wire import REQUESTS

ODD: list[Any] = [
    None, True, -1, 0, 1.5, 2**53 + 1, 2**64, -(2**70), 1e400, "", "\0", "\ud800", "é" * 70, "a" * 70_000, "@ana @@ @",
    "\u202e\u2028", [], {}, [[]], {"op": "send"}, "ping", "general", ["x"] * 100, "'; DROP TABLE room",
    '"" OR NEAR(',
]  # fmt: skip
ENDS = {1000, 1002, 1003, 1007, 1009, *map(int, CloseCode)}
"""The close codes with which a node may end a connection."""

_HELLO = frames.say(id=1, op="hello", v=[1], user="ana")
_START: list[AnyRecord] = [
    CreateRoom("ana", 0, "general"),
    JoinRoom("bo", 0, "general"),
    SendMessage("bo", 0, "general", "c", "hi"),
]


def mutated_text(chance: random.Random) -> str:
    """A request with a field or some characters changed."""
    request: Any = {"id": chance.randrange(9), **chance.choice(REQUESTS)}
    for _ in range(chance.randrange(3)):
        name = chance.choice([*request, "op", "room", "seq"])
        request[name] = chance.choice(ODD)
    if chance.random() < 0.2:
        del request[chance.choice(list(request))]
    text = json.dumps(request, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.4:
        text = _spliced(
            text, lambda: chance.choice(['"', "{", "}", "[", ",", "\\", "\\ud8", "0", "-", "\0", "é", "1e9"]), chance
        )
    return text.encode(errors="replace").decode()


def mutated_bytes(chance: random.Random) -> bytes:
    """A client's whole conversation with some of its bytes changed."""
    request, said = frames.request(), _HELLO + b"".join(_frame(chance) for _ in range(chance.randrange(1, 4)))
    if chance.random() < 0.15:
        request = _damaged(request, chance)
    elif chance.random() < 0.7:
        said = _damaged(said, chance)
    return request + said + (frames.close(1000) if chance.random() < 0.5 else b"")


def _frame(chance: random.Random) -> bytes:
    payload = mutated_text(chance).encode()[:3000]
    opcode = chance.choice([frames.TEXT] * 6 + list(range(16)))
    wrong = chance.random() < 0.2
    return frames.frame(
        opcode,
        payload if opcode < frames.CLOSE or wrong else payload[:125],
        fin=chance.random() < 0.9,
        reserved=chance.randrange(8) if wrong else 0,
        masked=not wrong or chance.random() < 0.5,
    )


def _damaged(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randrange(1, 4)):
        text = data.decode("latin-1")
        data = _spliced(text, lambda: chr(chance.randrange(256)), chance).encode("latin-1")
    return data


def _spliced(text: str, piece: Callable[[], str], chance: random.Random) -> str:
    """A text with a piece put in, exchanged, taken out, said twice, or with the rest cut off."""
    at = chance.randrange(len(text) + 1)
    to = min(len(text), at + chance.choice([0, 1, 1, 2, 20]))
    middle = chance.choice([piece(), piece() * 3, "", text[at:to] * 2])
    return text[:at] + middle + (text[to:] if chance.random() < 0.9 else "")


class SessionLevel:
    """A request as text, to the record in the log and what the rules make of it."""

    def __init__(self) -> None:
        self.state = State(NoDisk())
        for record in _START:
            apply_record(self.state, record)

    async def take(self, chance: random.Random) -> str:
        text = mutated_text(chance)
        admin = frozenset({"admin"}) if chance.random() < 0.2 else frozenset[str]()
        session = Session(SETTINGS, 0.0)
        session.let_in(Identity(chance.choice(["ana", "bo", "cy"]), admin))
        try:
            command = session.handle(text, 0.0, lambda: 1.0)
        except RefusedRequest as refused:
            json.loads(encode_error(refused.request_id, refused.error))
        except CloseConnection:
            pass
        else:
            if command.record is not None:
                (record,) = decode_batch(encode_batch("p", 1, [encode_record(command.record)])).records
                apply_record(self.state, record)
        if len(self.state.changes.events) > 500:
            self.__init__()  # type: ignore[misc]  # a fresh state, so that the time per input stays the same
        return text

    async def end(self) -> None:
        """Nothing is left to see to."""


class SocketLevel:
    """A conversation as bytes, to the server's last byte."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self.alarms: list[Any] = []
        # Whoever ran a command in this process before may have silenced it.
        structlog.reset_defaults()
        structlog.configure(processors=[self._listen])

    def _listen(self, _: Any, level: str, line: Any) -> Any:
        if "exc_info" in line or level in ("error", "critical"):
            self.alarms.append(line)
        raise structlog.DropEvent

    async def take(self, chance: random.Random) -> bytes:
        data = mutated_bytes(chance)
        check_answer(await exchange(self._node, data))
        assert not self.alarms, self.alarms
        return data

    async def end(self) -> None:
        """The node lives, and has forgotten all of them."""
        said = await exchange(self._node, frames.request() + _HELLO + frames.close(1000))
        assert said.startswith(b"HTTP/1.1 101 ")
        assert self._node.server.connection_count == 0


async def exchange(node: LocalNode, data: bytes) -> bytes:
    """Say something to a server, and hang up; returns what it said until it did the same."""
    client, served = trio.testing.memory_stream_pair()
    said = b""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.server.serve, served)
            await client.send_all(data)
            await client.send_eof()
            async for part in client:
                said += part
    return said


def check_answer(said: bytes) -> None:
    """What a server says is HTTP that refuses, or frames of answers, up to a close code, if the client was there."""
    head, _, rest = said.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        assert not head or head[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), said[:200]
        return
    for opcode, payload in frames.server_frames(rest):
        if opcode == frames.TEXT:
            answer = json.loads(payload)
            assert "op" in answer or len({"ok", "err"} & set(answer)) == 1, payload
            assert answer.get("err", {}).get("code") != "internal", payload
        elif opcode == frames.CLOSE and payload:
            code = int.from_bytes(payload[:2], "big")
            assert code in ENDS or 1000 <= code <= 4999, code
            payload[2:].decode()


async def run(level: str, first: int, count: int, seed: str) -> float:
    """Run some inputs; returns how many a second.

    Raises:
        AssertionError: of one of them, with its number and its mutations.
    """
    with tempfile.TemporaryDirectory() as directory:
        async with local_node(Path(directory), max_user_connections=10_000, hello_timeout=30) as node:
            target = SessionLevel() if level == "session" else SocketLevel(node)
            began = time.perf_counter()
            for number in range(first, first + count):
                source = f"{seed}:{number}"
                try:
                    await target.take(random.Random(source))
                except Exception as error:
                    make = mutated_text if level == "session" else mutated_bytes
                    shown = make(random.Random(source))
                    raise AssertionError(f"python -m tests.fuzz {level} {number} {seed}: {shown!r}") from error
            await target.end()
            return count / (time.perf_counter() - began)


def run_all(count: int, seed: str) -> None:
    """Run ``count`` inputs, nine requests to one connection, and tell what came of them.

    Raises:
        AssertionError: of the first that fails.
    """
    for level, number in (("session", count - count // 10), ("socket", count // 10)):
        rate = trio.run(run, level, 0, number, seed)
        sys.stdout.write(
            f"{level}: {number} inputs of seed {seed}, {rate:.0f}/s: each ended in an answer or a close code\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_all(int(sys.argv[1]), sys.argv[2])
    else:
        trio.run(run, sys.argv[1], int(sys.argv[2]), 1, sys.argv[3])
