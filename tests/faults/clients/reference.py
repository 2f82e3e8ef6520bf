"""The reference client, as a program would use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import trio

from node.client import ChatClient, Gap, RoomFeed, open_client
from node.errors import RequestError
from node.protocol.pushes import RoomEvents, encode
from tests.faults.clients.raw import event_of, said_of
from tests.faults.clients.setting import Setting
from tests.faults.history import Edit, Ended, Join, Named, Outcome, Page, Push, Send

_PING_S = 2.0
_QUIET_S = 0.5


@dataclass
class Reference:
    """Somebody who uses the reference client: sends one message after the other, edits, reads, goes and comes.

    Attributes:
        opened: how often a client was made; stands for the connection's number in the history.
    """

    user: str
    setting: Setting
    urls: list[str]
    opened: int = 0
    sent: int = 0
    _feeds: dict[str, RoomFeed] = field(default_factory=dict)

    async def run(self) -> None:
        """Be there for ever; do new things until it is enough."""
        random = self.setting.random(self.user)
        while True:
            self.opened += 1
            token = await self.setting.target.token(self.user)

            async def fresh() -> str:
                return await self.setting.target.token(self.user) or ""

            who: dict[str, Any] = {"user": self.user} if token is None else {"token": fresh}
            try:
                async with open_client(self.urls, ping_s=_PING_S, **who) as client, trio.open_nursery() as nursery:
                    for room in self.setting.rooms:
                        await self._join(client, room, nursery)
                    await self._act(client, random)
                    nursery.cancel_scope.cancel()
            finally:
                self.setting.recorder.note(Ended(self.user, self.opened, self.setting.recorder.now(), 1000))

    async def _join(self, client: ChatClient, room: str, nursery: trio.Nursery) -> None:
        sub, begin = self.setting.recorder.next_sub(), self.setting.recorder.now()
        feed = self._feeds[room] = await client.join(room, limit=0)
        self.setting.recorder.note(Join(**self._call(room, begin, "ok"), sub=sub))
        nursery.start_soon(self._listen, feed, sub)

    async def _listen(self, feed: RoomFeed, sub: int) -> None:
        recorder = self.setting.recorder
        async for event in feed:
            if isinstance(event, Gap):
                recorder.note(Named(sub, recorder.now(), event.reason))
            else:
                recorder.note(Push(sub, recorder.now(), event_of(_plain(event))))

    async def _act(self, client: ChatClient, random: Random) -> None:
        """Until the client is to be closed and made anew."""
        own: list[tuple[str, int]] = []
        while True:
            await trio.sleep(random.expovariate(1 / self.setting.pause_s))
            room = random.choice(self.setting.rooms)
            draw = random.random()
            if self.setting.enough:
                await trio.sleep(_QUIET_S)
            elif draw < 0.75:
                own.append((room, await self._send(client, room)))
            elif draw < 0.85 and own:
                await self._edit(client, *random.choice(own), text=f"{self.user} edits {draw}")
            elif draw < 0.98:
                await self._page(client, room, random.choice([3, 50]))
            else:
                return

    async def _send(self, client: ChatClient, room: str) -> int:
        self.sent += 1
        cid, body, begin = str(self.sent), f"{self.user} {self.sent}", self.setting.recorder.now()
        told: dict[str, Any] = {}
        outcome: Outcome = "unknown"
        try:
            ack = await client.send(room, body, cid=cid)
            outcome, told = "ok", {"seq": ack.seq, "dup": ack.dup}
            return ack.seq
        finally:
            call = self._call(room, begin, outcome)
            self.setting.recorder.note(Send(**call, **told, cid=cid, body=body))

    async def _edit(self, client: ChatClient, room: str, seq: int, text: str) -> None:
        begin = self.setting.recorder.now()
        outcome: Outcome = "unknown"
        try:
            await client.edit(room, seq, text)
            outcome = "ok"
        except RequestError:
            outcome = "rejected"
        finally:
            call = self._call(room, begin, outcome)
            self.setting.recorder.note(Edit(**call, target=seq, body=text))

    async def _page(self, client: ChatClient, room: str, limit: int) -> None:
        """The last page; the client does not tell the head, so the page's last message stands for it."""
        begin = self.setting.recorder.now()
        messages = [said_of(_plain(message)) for message in await client.history(room, limit=limit)]
        head = messages[-1].seq if messages else 0
        call = self._call(room, begin, "ok")
        self.setting.recorder.note(Page(**call, limit=limit, head=head, messages=messages))

    def _call(self, room: str, begin: float, outcome: Outcome) -> dict[str, Any]:
        end = self.setting.recorder.now()
        who: dict[str, Any] = {"client": self.user, "user": self.user, "conn": self.opened, "room": room}
        who |= {"epoch": self._feeds[room].epoch}
        return {**who, "begin": begin, "end": end, "outcome": outcome}


def _plain(event: RoomEvents) -> dict[str, Any]:
    """An event as it came over the wire."""
    frame: dict[str, Any] = msgspec.json.decode(encode(event))
    return frame
