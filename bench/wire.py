"""Client connections for the load: sockets, one epoll, and as little work per byte as Python can do.

What comes in is not parsed: messages are counted by the mark in their bodies. So one process reads what millions of
deliveries a second are, and what is counted is content, not frames.
"""

from __future__ import annotations

import base64
import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable

from bench.dialects import MARK, Dialect, Step, mark_of

_BUFFER_BYTES = 1 << 20
_TAIL_BYTES = 16
"""Longer than any mark: so much of each read is looked at again with the next, for marks that were cut in two."""
_DUE = re.compile(re.escape(MARK) + rb"\d{4}:\d{9}:(\d{16})")
_DUE_BYTES = len(MARK) + 32
_MASK = 0x35
_MASKED = bytes(byte ^ _MASK for byte in range(256))
_OPEN_AT_ONCE = 64
_OPEN_TIMEOUT_S = 120.0
_SILENCE_S = 0.3
_ANSWER_TIMEOUT_S = 20.0
_STAY_S = 8.0


class LoadError(Exception):
    """The work was not done as it should have been; a figure of it would mean nothing."""


def frame(payload: bytes, opcode: int) -> bytes:
    """A masked client frame (RFC 6455, 5.2). The four bytes of the mask are equal, so that masking is one lookup."""
    length = len(payload)
    head = bytes((0x80 | opcode, 0x80 | length)) if length < 126 else bytes((0x80 | opcode, 254, *divmod(length, 256)))
    return head + bytes((_MASK,) * 4) + payload.translate(_MASKED)


class Wire:
    """One connection.

    Attributes:
        steps: what is yet to be said and answered before it is open.
        own: a sender's own messages that came back, or acknowledgements of them.
        delays: seconds from when messages were due to when they were read here; kept where ``timed``.
    """

    __slots__ = ("_carry", "_seen", "credit_mark", "delays", "own", "sock", "steps", "tail", "timed")

    def __init__(self, address: tuple[str, int], steps: Iterable[Step]) -> None:
        self.sock = socket.create_connection(address, timeout=10)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.steps = deque(steps)
        self.tail = b""
        self.own = 0
        self.credit_mark = b""
        self.timed = False
        self.delays: list[float] = []
        self._seen = b""
        self._carry = b""

    def send(self, data: bytes) -> None:
        """Send at once. The windows are far smaller than the sockets' buffers."""
        if self.sock.send(data) != len(data):
            raise LoadError("the server does not read: the kernel's buffer is full")

    def say_next(self) -> None:
        """Say the step that is due."""
        self.send(self.steps[0][0])

    def opening(self, data: bytes) -> bool:
        """Take what came in; True when that was the last step's answer."""
        self._seen += data
        while self.steps and self.steps[0][1] in self._seen:
            self.steps.popleft()
            self._seen = b""
            if self.steps:
                self.say_next()
        return not self.steps

    @property
    def stuck_at(self) -> str:
        """What is awaited, and what has come instead."""
        return f"awaits {self.steps[0][1]!r}, has {self._seen[-300:]!r}" if self.steps else "open"

    def note_delays(self, data: bytes, now: float) -> None:
        """Read off when the messages in ``data`` were due."""
        text, end = self._carry + data, 0
        for found in _DUE.finditer(text):
            self.delays.append(now - int(found[1]) / 1e6)
            end = found.end()
        self._carry = text[max(end, len(text) - _DUE_BYTES) :]


class Wires:
    """All connections of a load, on one epoll. Close it at the end."""

    def __init__(self, dialect: Dialect, port: int) -> None:
        self.dialect = dialect
        self.port = port
        self._address = ("127.0.0.1", port)
        self._epoll = select.epoll()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._by_fd: dict[int, Wire] = {}
        self.all: list[Wire] = []
        self.heard = 0
        self._stayed_at = time.monotonic()

    def close(self) -> None:
        """Close all connections."""
        for wire in self._by_fd.values():
            wire.sock.close()
        self._epoll.close()

    def open(self, steps: list[list[Step]]) -> list[Wire]:
        """A connection for each list of steps after the WebSocket's handshake; returns when all have done theirs."""
        waiting = deque([self._handshake(), *own] for own in steps)
        opening: set[Wire] = set()
        opened: list[Wire] = []
        deadline = time.monotonic() + _OPEN_TIMEOUT_S
        while waiting or opening:
            while waiting and len(opening) < _OPEN_AT_ONCE:
                wire = self._start(waiting.popleft())
                opening.add(wire)
                opened.append(wire)
            for wire in self._ready(1.0):
                data = self._take(wire)
                if wire in opening and wire.opening(data):
                    opening.discard(wire)
                    self.all.append(wire)
            self._stay()
            if time.monotonic() > deadline:
                raise LoadError(f"{len(opened)} connections, {len(opening)} not open: {next(iter(opening)).stuck_at}")
        return opened

    def _handshake(self) -> Step:
        host, port = self._address
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {self.dialect.path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        if self.dialect.subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {self.dialect.subprotocol}")
        return "\r\n".join([*lines, "", ""]).encode(), b"\r\n\r\n"

    def _start(self, steps: list[Step]) -> Wire:
        handshake, *rest = steps
        wire = Wire(self._address, [handshake, *((frame(said, self.dialect.opcode), heard) for said, heard in rest)])
        self._by_fd[wire.sock.fileno()] = wire
        self._epoll.register(wire.sock, select.EPOLLIN)
        wire.say_next()
        return wire

    def _ready(self, timeout_s: float) -> Iterable[Wire]:
        return (self._by_fd[fd] for fd, _ in self._epoll.poll(timeout_s))

    def _take(self, wire: Wire) -> bytes:
        data = wire.sock.recv(_BUFFER_BYTES)
        if not data:
            raise LoadError(f"the server closed a connection: {wire.stuck_at}")
        return data

    def count(self, timeout_s: float, on_own: Callable[[Wire, int], None]) -> bool:
        """Read what is there, once; ``on_own`` is told how many of a sender's own came. False: nothing was there."""
        self._stay()
        buffer, came = self._buffer, False
        for wire in self._ready(timeout_s):
            came = True
            kept = len(wire.tail)
            buffer[:kept] = wire.tail
            got = wire.sock.recv_into(memoryview(buffer)[kept:])
            if not got:
                raise LoadError(f"the server closed a connection: {wire.tail!r}")
            end = kept + got
            wire.tail = bytes(buffer[max(0, end - _TAIL_BYTES) : end])
            self._count(wire, kept, end, on_own)
        return came

    def _count(self, wire: Wire, kept: int, end: int, on_own: Callable[[Wire, int], None]) -> None:
        """Count the marks that end beyond what was looked at before."""
        buffer = self._buffer
        self.heard += buffer.count(MARK, max(0, kept - len(MARK) + 1), end)
        if wire.timed:
            wire.note_delays(bytes(buffer[kept:end]), time.monotonic())
        if wire.credit_mark:
            own = buffer.count(wire.credit_mark, max(0, kept - len(wire.credit_mark) + 1), end)
            if own:
                wire.own += own
                on_own(wire, own)

    def settle(self) -> None:
        """Read until the server has nothing more to say."""
        while self.count(_SILENCE_S, lambda wire, own: None):
            pass

    def _stay(self) -> None:
        """Now and then, show servers that close silent connections that these live: unasked pongs (RFC 6455, 5.5.3)."""
        now = time.monotonic()
        if now > self._stayed_at + _STAY_S:
            self._stayed_at, pong = now, frame(b"", 10)
            for wire in self.all:
                wire.send(pong)


def mark_senders(wires: list[Wire], acknowledgement: bytes) -> None:
    """Have the first wires know their own messages, by their acknowledgements or else by their bodies."""
    for number, wire in enumerate(wires):
        wire.credit_mark = acknowledgement or mark_of(number)


def ask(wire: Wire, question: bytes, answer: bytes | None) -> float:
    """Say something, and read until the answer is whole (or only say it); returns the seconds that took.

    Args:
        answer: how the payload of the answering frame begins.
    """
    asked_at = time.monotonic()
    wire.send(frame(question, 1))
    seen = b""
    while answer is not None and not _has_frame(seen, answer):
        if not select.select([wire.sock], [], [], _ANSWER_TIMEOUT_S)[0]:
            raise LoadError(f"no answer to {question!r}")
        seen += wire.sock.recv(_BUFFER_BYTES)
    return time.monotonic() - asked_at


def _has_frame(data: bytes, beginning: bytes) -> bool:
    """Whether a server's whole frame is here whose payload begins like this (RFC 6455, 5.2)."""
    at = 0
    while at + 10 <= len(data):
        short = data[at + 1]
        wide = {126: 2, 127: 8}.get(short, 0)
        start = at + 2 + wide
        length = int.from_bytes(data[at + 2 : start], "big") if wide else short
        if data.startswith(beginning, start):
            return len(data) >= start + length
        at = start + length
    return False
