"""What a raw client does all day, drawn at random."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from tests.faults.clients.raw import RawClient, acknowledged, said_of
from tests.faults.clients.wire import Answer, Frame, Wire
from tests.faults.history import Call, Edit, Moderate, Page, Send

Action = Callable[[Wire], Awaitable[None]]
_QUIET_S = 0.5
_PATIENCE_S = 3.0
_RECENT = 50


class Chatter:
    """Somebody who sends, edits, reads, comes and goes; and moderates, if told to.

    Args:
        client: theirs.
        moderates: whether they kick, ban and let in again those who are there for it; then they stay in all rooms.
    """

    def __init__(self, client: RawClient, *, moderates: bool = False) -> None:
        self._client = client
        self._random = client.random
        self._setting = client.setting
        self._banned: set[tuple[str, str]] = set()
        if client.stalls:
            weights: dict[Action, int] = {self._read_slowly: 5, self._page: 2, self._go: 1}
        else:
            weights = {self._send: 12, self._repeat: 2, self._conflict: 1, self._edit: 2, self._page: 4}
        if moderates:
            weights |= {self._moderate: 8}
        elif not client.stalls:
            weights |= {self._go: 1, self._vanish: 1}
        if client.user in self._setting.moderated:
            weights |= {self._leave: 1}
        self._actions, self._weights = list(weights), list(weights.values())

    async def run(self) -> None:
        """Be there for ever; do new things until it is enough."""
        await self._client.run(self._act)

    async def _act(self, wire: Wire) -> None:
        while True:
            await trio.sleep(self._random.expovariate(1 / self._setting.pause_s))
            await self._client.retry(wire)
            if self._setting.enough:
                await trio.sleep(_QUIET_S)
                continue
            await self._come_back(wire)
            if self._rooms:
                await self._random.choices(self._actions, self._weights)[0](wire)

    @property
    def _rooms(self) -> list[str]:
        """Where the client believes to be."""
        return [room for room, seat in self._client.seats.items() if seat.epoch]

    async def _come_back(self, wire: Wire) -> None:
        """Try to get in again where one was thrown out."""
        out = [room for room, seat in self._client.seats.items() if not seat.epoch]
        if out and self._random.random() < 0.3:
            await self._client.enter(wire, self._random.choice(out), limit=self._random.choice([0, 10]))

    async def _ask(
        self, wire: Wire, call: Callable[..., Call], room: str, told: Callable[[Frame], dict[str, Any]], **request: Any
    ) -> Answer:
        """Ask, and note the call with what was told, or that nothing was."""
        begin = self._setting.recorder.now()
        answer: Answer | None = None
        try:
            answer = await wire.ask(room=room, **request)
            return answer
        finally:
            told_now = told(answer.ok) if answer is not None and not answer.code else {}
            entry = call(**self._client.call(room, begin, answer) | told_now)
            assert isinstance(entry, Send | Edit | Moderate | Page)
            self._setting.recorder.note(entry)

    # --- messages ---

    async def _send(self, wire: Wire) -> None:
        room = self._random.choice(self._rooms)
        for _ in range(self._random.choice([1, 1, 1, 2, 3, 6])):
            text = "x" * self._random.choice([1, 10, 100])
            await self._client.transmit(wire, self._client.new_message(room, text))

    async def _repeat(self, wire: Wire) -> None:
        """Send again what was acknowledged."""
        for room, _, cid, body in self._one_of_mine():
            await self._ask(wire, partial(Send, cid=cid, body=body), room, acknowledged, op="send", cid=cid, body=body)

    async def _conflict(self, wire: Wire) -> None:
        """Use a cid for something else."""
        for room, _, cid, body in self._one_of_mine():
            other = f"{body} is not what was said"
            call = partial(Send, cid=cid, body=other)
            await self._ask(wire, call, room, acknowledged, op="send", cid=cid, body=other)

    async def _edit(self, wire: Wire) -> None:
        for room, seq, _, body in self._one_of_mine():
            body = f"{body} edited {self._random.getrandbits(32)}"
            call = partial(Edit, target=seq, body=body)
            await self._ask(wire, call, room, lambda ok: {"seq": ok["seq"]}, op="edit", seq=seq, body=body)

    def _one_of_mine(self) -> list[tuple[str, int, str, str]]:
        """An acknowledged message in a room where the client is; or none."""
        rooms = self._rooms
        mine = [message for message in self._client.acknowledged[-_RECENT:] if message[0] in rooms]
        return [self._random.choice(mine)] if mine else []

    async def _page(self, wire: Wire) -> None:
        """Some pages, from anywhere backward."""
        room, limit = self._random.choice(self._rooms), self._random.choice([1, 7, 50])
        before = self._random.choice([None, self._random.randint(1, max(2, self._client.seats[room].reached + 5))])
        for _ in range(3):
            where = {} if before is None else {"before": before}
            call = partial(Page, limit=limit, before=before)
            answer = await self._ask(wire, call, room, _page_told, op="history", limit=limit, **where)
            if answer.code or not answer.ok["msgs"]:
                return
            before = answer.ok["msgs"][0]["seq"]

    # --- people ---

    async def _moderate(self, wire: Wire) -> None:
        room, peer = self._random.choice(self._rooms), self._random.choice(self._setting.moderated or [""])
        if not peer:
            return
        change = "unban" if (room, peer) in self._banned else self._random.choice(["kick", "kick", "ban"])
        call = partial(Moderate, change=change, peer=peer)
        answer = await self._ask(wire, call, room, lambda ok: {"seq": ok["seq"]}, op=change, user=peer)
        if not answer.code:
            (self._banned.add if change == "ban" else self._banned.discard)((room, peer))

    async def _leave(self, wire: Wire) -> None:
        room = self._random.choice(self._rooms)
        call = partial(Moderate, change="leave", peer=self._client.user)
        await self._ask(wire, call, room, lambda ok: {"seq": ok.get("seq", 0)}, op="leave")
        self._client.seats[room].epoch = ""

    # --- the connection ---

    async def _go(self, wire: Wire) -> None:
        await wire.close()

    async def _vanish(self, wire: Wire) -> None:
        await wire.abort()

    async def _read_slowly(self, wire: Wire) -> None:
        """Read slowly, or not at all for a while; then see whether anybody is there still."""
        pause_s = self._random.choice([0.02, 0.1, 2.0])
        self._client.busy = True
        try:
            wire.pause_s = pause_s
            await trio.sleep(self._random.uniform(1, 5))
            wire.pause_s = 0.0
            with trio.move_on_after(pause_s + _PATIENCE_S) as patience:
                await wire.ask(op="ping")
            if patience.cancelled_caught:
                await wire.abort()
        finally:
            self._client.busy = False


def _page_told(ok: Frame) -> dict[str, Any]:
    return {"first": ok["first"], "head": ok["head"], "messages": [said_of(message) for message in ok["msgs"]]}
