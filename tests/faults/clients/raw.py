"""A client that comes back: it keeps its place in every room, and sends again what nobody answered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from tests.faults.clients.setting import Setting
from tests.faults.clients.wire import OPEN_S, OPEN_SOON_S, Answer, Frame, Lost, Wire
from tests.faults.history import Ended, Event, Join, Outcome, Push, Said, Send

_BACKOFF_S = 1.0
_RETRY_S = 0.1
_FIELDS = {"from": "author"} | {
    name: name for name in ("op", "seq", "ts", "cid", "body", "target", "user", "change", "by")
}


@dataclass
class Message:
    """A message, from its first sending on. ``begins``: of the attempt under way on the connection there is."""

    order: int
    room: str
    cid: str
    body: str
    begin: float = 0.0
    under_way: bool = False


@dataclass
class Seat:
    """A client's place in a room.

    Attributes:
        epoch, reached: the position; no epoch: there is none.
        sub: number of the join that pushes follow from; 0: no join.
    """

    epoch: str = ""
    reached: int = 0
    sub: int = 0


@dataclass
class RawClient:
    """A user's client. It knows how; what it does is for :class:`tests.faults.clients.chatter.Chatter` to say.

    Attributes:
        name: of the client; the first part of all its bodies.
        urls: of the nodes that it goes to.
        stalls: whether it stops to read now and then.
        busy: it is at something that must not be taken for its end.
        conn, node, epoch: number of its connection, where that is, and the log's epoch there.
        sent_away, leave_after_s: whether the node there drains, and when it wants the client to leave.
        unanswered: messages that are to be sent until they are answered, by their order.
        acknowledged: (room, seq, cid, body) of its messages.
    """

    name: str
    user: str
    setting: Setting
    urls: list[str]
    stalls: bool = False
    busy: bool = False
    random: Random = field(init=False)
    conn: int = 0
    node: str = ""
    epoch: str = ""
    sent_away: trio.Event = field(default_factory=trio.Event)
    leave_after_s: float = 0.0
    seats: dict[str, Seat] = field(default_factory=dict)
    unanswered: dict[int, Message] = field(default_factory=dict)
    acknowledged: list[tuple[str, int, str, str]] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        self.random = self.setting.random(self.name)

    async def run(self, act: Callable[[Wire], Any]) -> None:
        """Stay connected for ever, with ``act`` running on each connection, once the rooms are joined.

        A node that does not let it in is left for the next one at once; a pause comes once all of them were tried.
        """
        while True:
            for others, url in enumerate(self.random.sample(self.urls, len(self.urls)), 1 - len(self.urls)):
                with suppress(Lost):
                    await self._live(url, OPEN_SOON_S if others else OPEN_S, act)
                    break
            else:
                await trio.sleep(self.random.uniform(0, _BACKOFF_S))

    async def _live(self, url: str, open_s: float, act: Callable[[Wire], Any]) -> None:
        """Raises Lost if there is no connection to be had."""
        hello = await self.setting.hello(self.user)
        async with Wire.opened(url, hello, open_s, stalls=self.stalls) as wire:
            self.conn += 1
            self.sent_away = trio.Event()
            self.node, self.epoch = wire.welcome["node"], wire.welcome["epoch"]
            codes: list[int] = []
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_over, nursery.cancel_scope, codes, wire)
                    nursery.start_soon(self._storm, wire)
                    nursery.start_soon(self._leave_when_sent_away, wire)
                    nursery.start_soon(self._use, wire, act)
            finally:
                self._over(codes[0] if codes else 1000)

    async def _until_over(self, scope: trio.CancelScope, codes: list[int], wire: Wire) -> None:
        codes.append(await wire.read(self._take_push))
        scope.cancel()

    async def _storm(self, wire: Wire) -> None:
        await self.setting.wait_storm()
        await wire.abort()

    async def _leave_when_sent_away(self, wire: Wire) -> None:
        """Go when a node that drains says so. Those who stop to read are those who do not listen either."""
        await self.sent_away.wait()
        if not self.stalls:
            await trio.sleep(self.leave_after_s)
            await wire.close()

    async def _use(self, wire: Wire, act: Callable[[Wire], Any]) -> None:
        try:
            for room in self.seats:
                await self.enter(wire, room)
            for order in sorted(self.unanswered):
                await self.transmit(wire, self.unanswered[order])
            await act(wire)
        except Lost:
            pass  # the reader knows why

    def _over(self, code: int) -> None:
        """The connection is over: what was under way has no answer."""
        for message in self.unanswered.values():
            if message.under_way:
                self._note_send(message, None)
        self.setting.recorder.note(Ended(self.name, self.conn, self.setting.recorder.now(), code))

    # --- rooms ---

    async def enter(self, wire: Wire, room: str, *, limit: int = 0) -> bool:
        """Join a room where the client left off; when it may not come back, join anew. Returns whether it is in."""
        if not self.seats[room].epoch or not await self._join(wire, room, limit, resume=True):
            return await self._join(wire, room, limit, resume=False)
        return True

    async def _join(self, wire: Wire, room: str, limit: int, *, resume: bool) -> bool:
        """Join, as often as it takes to be told for good. Returns whether it is in."""
        while (answer := await self._join_once(wire, room, limit, resume=resume)).retry:
            await trio.sleep(_RETRY_S)
        if answer.code:
            self.seats[room].epoch = ""
        return not answer.code

    async def _join_once(self, wire: Wire, room: str, limit: int, *, resume: bool) -> Answer:
        seat, recorder = self.seats[room], self.setting.recorder
        fields: dict[str, Any] = {"sub": recorder.next_sub(), "limit": limit}
        since: Frame = {}
        if resume:
            since = {"since": {"epoch": seat.epoch, "seq": seat.reached}}
            fields |= {"since": seat.reached, "since_epoch": seat.epoch}
        begin = recorder.now()
        settled = trio.Event()
        answers: list[Answer] = []

        def settle(answer: Answer) -> None:
            """At once: pushes may be read right after the answer."""
            recorder.note(Join(**self.call(room, begin, answer) | _told(answer.ok), **fields))
            if not answer.code:
                if not answer.ok.get("recovered"):
                    seat.reached = max(0, answer.ok["head"] - limit)
                seat.epoch, seat.sub = answer.ok["epoch"], fields["sub"]
            answers.append(answer)
            settled.set()

        await wire.request(settle, op="join", room=room, limit=limit, **since)
        await settled.wait()
        return answers[0]

    def call(self, room: str, begin: float, answer: Answer | None) -> dict[str, Any]:
        """The fields that all calls have; None stands for no answer."""
        code = answer.code if answer is not None else "outcome_unknown"
        outcome: Outcome = "ok" if not code else "unknown" if code == "outcome_unknown" else "rejected"
        return {
            "client": self.name, "user": self.user, "conn": self.conn, "node": self.node, "room": room,
            "begin": begin, "end": answer.at if answer is not None else self.setting.recorder.now(),
            "outcome": outcome, "code": code if answer is not None else "", "epoch": self.epoch,
        }  # fmt: skip

    def _take_push(self, frame: Frame, at: float) -> None:
        if frame["op"] == "drain":
            self.leave_after_s = frame["reconnect_after_ms"] / 1000
            self.sent_away.set()
        seat = self.seats.get(frame.get("room", ""))
        if seat is None or not seat.sub or "ts" not in frame:
            return
        self.setting.recorder.note(Push(seat.sub, at, event_of(frame)))
        seat.reached = frame["seq"]

    # --- messages ---

    def new_message(self, room: str, text: str) -> Message:
        """A message that was not sent yet."""
        self.sent += 1
        return Message(self.sent, room, f"{self.cid_prefix}{self.sent}", f"{self.name} {self.sent} {text}")

    @property
    def cid_prefix(self) -> str:
        """Cids are the same for all users, and differ for two clients of one user."""
        return self.name.removeprefix(self.user)

    async def transmit(self, wire: Wire, message: Message) -> None:
        """Send a message, for the first time or again, without waiting for its answer."""
        self.unanswered[message.order] = message
        message.begin, message.under_way = self.setting.recorder.now(), True

        def settle(answer: Answer) -> None:
            self._answered(message, answer)

        await wire.request(settle, op="send", room=message.room, cid=message.cid, body=message.body)

    def _answered(self, message: Message, answer: Answer) -> None:
        self._note_send(message, answer)
        if answer.retry:
            return  # :meth:`retry` sends it again
        del self.unanswered[message.order]
        if not answer.code:
            self.acknowledged.append((message.room, answer.ok["seq"], message.cid, message.body))
        elif answer.code == "forbidden":
            self.seats[message.room].epoch = ""

    def _note_send(self, message: Message, answer: Answer | None) -> None:
        call = self.call(message.room, message.begin, answer)
        told = acknowledged(answer.ok) if answer is not None else {}
        self.setting.recorder.note(Send(**call, **told, cid=message.cid, body=message.body, order=message.order))
        message.under_way = False

    async def retry(self, wire: Wire) -> None:
        """Send again what was put off by the node, in order. To be called now and then."""
        waiting = [message for _, message in sorted(self.unanswered.items()) if not message.under_way]
        if waiting:
            await trio.sleep(_RETRY_S)
        for message in waiting:
            await self.transmit(wire, message)


def _told(ok: Frame) -> dict[str, Any]:
    """What an answer to join tells."""
    names = ("epoch", "first", "head", "recovered", "reason")
    return {name: ok[name] for name in names if name in ok}


def acknowledged(ok: Frame) -> dict[str, Any]:
    """What an answer to send tells."""
    return {"seq": ok.get("seq", 0), "dup": ok.get("dup", False)}


def event_of(frame: Frame) -> Event:
    """A pushed event."""
    return Event(**{ours: frame[theirs] for theirs, ours in _FIELDS.items() if theirs in frame})


def said_of(frame: Frame) -> Said:
    """A message of a history page."""
    return Said(frame["seq"], frame["from"], frame["cid"], frame["ts"], frame["body"])
