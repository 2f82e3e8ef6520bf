"""What all clients of a workload share."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import trio

from tests.faults.history import Recorder
from tests.faults.target import Target


@dataclass
class Setting:
    """The place, and what the clients are told to do.

    Attributes:
        pause_s: the mean time between two things that a client does.
        moderated: users who may be kicked and banned.
        enough: no new things are to be done.
    """

    target: Target
    recorder: Recorder
    rooms: list[str]
    seed: int
    pause_s: float = 0.3
    moderated: list[str] = field(default_factory=list)
    enough: bool = False
    _storm: trio.Event = field(default_factory=trio.Event)

    def random(self, client: str) -> Random:
        """A client's own chance, the same for the same seed."""
        return Random(f"{self.seed} {client}")

    async def hello(self, user: str) -> dict[str, str]:
        """Who a user is, as fields of hello."""
        token = await self.target.token(user)
        return {"user": user} if token is None else {"token": token}

    def storm(self) -> None:
        """Let all clients that can lose their connection at once."""
        self._storm.set()
        self._storm = trio.Event()

    async def wait_storm(self) -> None:
        """Return at the next :meth:`storm`."""
        await self._storm.wait()
