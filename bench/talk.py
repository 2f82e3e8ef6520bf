"""People who talk in rooms: the load of most rows."""

from __future__ import annotations

import time
from typing import Any

import psutil  # type: ignore[import-untyped]

from bench.dialects import body_of
from bench.wire import LoadError, Wire, Wires, frame

Figures = dict[str, Any]
_DRAIN_S = 20.0
_WARM_UP_S = 0.5


class Cost:
    """What processes cost: CPU and memory, theirs and this one's."""

    def __init__(self, pids: list[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._began, self._cpu, self._own = time.monotonic(), self._spent(), time.process_time()

    def _spent(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return float(sum(used.user + used.system for used in times))

    def memory(self) -> int:
        """Resident bytes now."""
        return int(sum(process.memory_info().rss for process in self._processes))

    def figures(self) -> Figures:
        """Shares of a core since the start: of the server, and of this load."""
        took = time.monotonic() - self._began
        return {
            "server_cpu": round((self._spent() - self._cpu) / took, 3),
            "load_cpu": round((time.process_time() - self._own) / took, 3),
        }


class Talk:
    """Rooms whose members hear whoever sends. Senders keep a window full, or say so many messages a second.

    Args:
        wires: all connections.
        senders: those that send.
        rooms: for every sender, the rooms it sends to in turn.
        audience: how many connections hear a message.
        pids: the server's processes.
    """

    def __init__(
        self, wires: Wires, senders: list[Wire], rooms: list[list[str]], audience: int, pids: list[int]
    ) -> None:
        self._wires, self._senders, self._rooms, self._audience = wires, senders, rooms, audience
        self._pids = pids
        self._number = 0
        self._number_of = {wire: i for i, wire in enumerate(senders)}

    def _messages(self, sender: int, count: int, due_s: float) -> bytes:
        dialect, rooms, due_us = self._wires.dialect, self._rooms[sender], int(due_s * 1e6)
        made = []
        for _ in range(count):
            self._number += 1
            number, room = self._number, rooms[self._number % len(rooms)]
            text = dialect.message(room, sender, number, body_of(sender, number, due_us))
            made.append(frame(text.encode(), dialect.opcode))
        return b"".join(made)

    def windowed(self, window: int, seconds: float) -> Figures:
        """Every sender has ``window`` messages on their way at all times. Counts deliveries after a warm-up."""
        wires, number_of = self._wires, self._number_of
        deadline = time.monotonic() + _WARM_UP_S + seconds

        def again(wire: Wire, count: int) -> None:
            now = time.monotonic()
            if now < deadline:
                wire.send(self._messages(number_of[wire], count, now))

        for number, wire in enumerate(self._senders):
            wire.send(self._messages(number, window, time.monotonic()))
        warm = deadline - seconds
        while time.monotonic() < warm:
            wires.count(0.1, again)
        heard, own, began, cost = wires.heard, self._own, time.monotonic(), Cost(self._pids)
        while (now := time.monotonic()) < deadline:
            wires.count(0.1, again)
        took = now - began
        figures = {"heard_s": (wires.heard - heard) / took, "sent_s": (self._own - own) / took, **cost.figures()}
        self._drain()
        return figures

    def paced(self, rate: float, seconds: float) -> Figures:
        """So many messages a second of all senders together, each due at a time that was fixed before."""
        wires, count = self._wires, int(rate * seconds)
        began, cost, sent = time.monotonic(), Cost(self._pids), 0
        while sent < count:
            now = time.monotonic()
            while sent < count and began + sent / rate <= now:
                sender = sent % len(self._senders)
                self._senders[sender].send(self._messages(sender, 1, began + sent / rate))
                sent += 1
            pause_s = began + sent / rate - time.monotonic()
            wires.count(max(0.0, min(pause_s, 0.1)), lambda wire, own: None)
        figures = {"sent_s": rate, **cost.figures()}
        self._drain()
        return figures

    @property
    def _own(self) -> int:
        return sum(wire.own for wire in self._senders)

    def _drain(self) -> None:
        """Everything that was sent must come, to everybody, once."""
        deadline = time.monotonic() + _DRAIN_S
        while self._own < self._number or self._wires.heard < self._number * self._audience:
            if not self._wires.count(0.5, lambda wire, own: None) and time.monotonic() > deadline:
                break
        self._wires.settle()
        if self._own != self._number or self._wires.heard != self._number * self._audience:
            missing = self._number * self._audience - self._wires.heard
            raise LoadError(f"{self._number} sent, {self._own} came back, {missing} deliveries missing")
