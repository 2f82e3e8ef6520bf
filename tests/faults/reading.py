"""Reading a whole node in the end: every room forward, by a join from its beginning, and backward, by pages."""

from __future__ import annotations

import contextlib
from typing import Any

import trio

from tests.faults.clients.raw import event_of, said_of
from tests.faults.clients.setting import Setting
from tests.faults.clients.wire import Frame, Lost, Wire
from tests.faults.history import Event, Final, Join, Said

_PAGE = 500
_TRIES = 10
_PATIENCE_S = 120.0


async def read_node(setting: Setting, node: str, user: str) -> None:
    """Note all rooms as a node has them. What cannot be read is left out, which the checker takes for lost."""
    for room in setting.rooms:
        for _ in range(_TRIES):
            try:
                with trio.fail_after(_PATIENCE_S):
                    await _read_room(setting, node, user, room)
                break
            except (Lost, trio.TooSlowError):
                await trio.sleep(1)


async def _read_room(setting: Setting, node: str, user: str, room: str) -> None:
    hello = await setting.hello(user)
    async with Wire.opened(setting.target.url(node), hello) as wire, trio.open_nursery() as nursery:
        reading = _Reading(wire, room)
        nursery.start_soon(reading.listen, nursery.cancel_scope)
        with contextlib.suppress(Lost):
            await _read(setting, reading, node, user)
        nursery.cancel_scope.cancel()
    if not reading.whole:
        raise Lost(1006)


class _Reading:
    """One room, while it is read.

    Attributes:
        forward: the events so far.
        whole: whether all was read.
    """

    def __init__(self, wire: Wire, room: str) -> None:
        self.wire = wire
        self.room = room
        self.forward: list[Event] = []
        self.whole = False
        self._grown = trio.Event()

    async def listen(self, scope: trio.CancelScope) -> None:
        await self.wire.read(self._take)
        scope.cancel()

    def _take(self, frame: Frame, at: float) -> None:
        if frame.get("room") == self.room and "ts" in frame:
            self.forward.append(event_of(frame))
            self._grown.set()
            self._grown = trio.Event()

    async def wait(self, head: int) -> None:
        """Wait for the event with this seq."""
        while not self.forward or self.forward[-1].seq < head:
            await self._grown.wait()

    async def backward(self) -> list[Said]:
        """All messages, ascending."""
        messages: list[Said] = []
        while True:
            where = {"before": messages[0].seq} if messages else {}
            answer = await self.wire.ask(op="history", room=self.room, limit=_PAGE, **where)
            if answer.code:
                raise Lost(1006)
            if not answer.ok["msgs"]:
                return messages
            messages[:0] = [said_of(message) for message in answer.ok["msgs"]]


async def _read(setting: Setting, reading: _Reading, node: str, user: str) -> None:
    recorder, wire, room = setting.recorder, reading.wire, reading.room
    begin, epoch = recorder.now(), wire.welcome["epoch"]
    head = await wire.ask(op="join", room=room, limit=0)
    joined = await wire.ask(op="join", room=room, since={"epoch": epoch, "seq": 0})
    if head.code or joined.code or not joined.ok["recovered"]:
        raise Lost(1006)
    who: dict[str, Any] = {"client": f"{user} on {node}", "user": user, "conn": 1, "node": node, "room": room}
    told: dict[str, Any] = {"epoch": epoch, "first": head.ok["first"], "head": head.ok["head"]}
    recorder.note(Join(**who, begin=begin, end=head.at, outcome="ok", sub=recorder.next_sub(), **told))
    await reading.wait(joined.ok["head"])
    backward = await reading.backward()
    events = [event for event in reading.forward if event.seq <= joined.ok["head"]]
    recorder.note(Final(node, room, epoch, begin, recorder.now(), joined.ok["head"], backward, events))
    reading.whole = True
