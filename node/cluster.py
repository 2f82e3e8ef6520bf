"""The other nodes: heartbeats over plain publish/subscribe. What is lost here is only ever a little knowledge.

A node beats every ``HEARTBEAT_INTERVAL``, at once when something about it changes, and in answer to a newcomer. A peer
that has not been heard of for an interval and the timeout is taken off the list.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from typing import Protocol

import msgspec
import structlog
import trio
from msgspec import Struct

SUBJECT = "chat.peer.beat"

logger = structlog.get_logger()


class Beat(Struct, omit_defaults=True):
    """What a node tells about itself.

    Attributes:
        url: where clients reach it, or empty.
        newcomer: it asks the others to answer with a beat.
        leaving: it will not beat again.
        records: the newest version of records that it knows.
    """

    node: str
    url: str
    version: str
    release: str
    ready: bool
    applied: int
    connections: int
    newcomer: bool = False
    leaving: bool = False
    records: int = 1


class Bus(Protocol):
    """Lossy publish/subscribe between nodes."""

    def publish(self, subject: str, data: bytes) -> None:
        """Send to every subscriber that can be reached now. Never blocks, never fails."""

    def subscribe(self, subject: str) -> AsyncIterable[tuple[str, bytes]]:
        """Receive (subject, data) of what is published; a slow reader loses the oldest."""


_decode = msgspec.json.Decoder(Beat).decode
_encode = msgspec.json.Encoder().encode


class Peers:
    """Beats for this node and listens to the others'.

    Args:
        bus: how to reach them.
        describe: this node as it is now.
        interval_s, timeout_s: as in the settings.
        on_change: called when a peer has come, gone or changed its readiness.
    """

    def __init__(
        self,
        bus: Bus,
        describe: Callable[[], Beat],
        interval_s: float,
        timeout_s: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._bus = bus
        self._describe = describe
        self._interval_s = interval_s
        self._patience_s = interval_s + timeout_s
        self._on_change = on_change
        self._known: dict[str, tuple[Beat, float]] = {}
        self._versions: dict[str, int] = {}
        self._since = trio.current_time()

    @property
    def alive(self) -> list[Beat]:
        """The peers heard of lately, by name."""
        return [self._known[node][0] for node in sorted(self._known)]

    @property
    def ages(self) -> list[tuple[Beat, float]]:
        """The peers as in :attr:`alive`, and the seconds since they were heard of."""
        now = trio.current_time()
        return [(beat, now - heard_at) for beat, heard_at in map(self._known.__getitem__, sorted(self._known))]

    @property
    def ready_urls(self) -> list[str]:
        """Where clients of this node can go."""
        return [beat.url for beat in self.alive if beat.ready and beat.url]

    def common_version(self, own: int) -> int:
        """The version of records to write: the highest up to ``own`` that all nodes know which were ever heard of.

        A node that is gone counts by what it last said: it may come back as it was. Until each had the time to be
        heard it is the version before, which every release knows that may run beside this one.
        """
        if trio.current_time() < self._since + self._patience_s:
            return max(1, min([own - 1, *self._versions.values()]))
        return min([own, *self._versions.values()])

    def announce(self, *, newcomer: bool = False, leaving: bool = False) -> None:
        """Beat now."""
        beat = self._describe()
        beat.newcomer, beat.leaving = newcomer, leaving
        self._bus.publish(SUBJECT, _encode(beat))

    async def run(self) -> None:
        """Beat and listen for ever."""
        beats = self._bus.subscribe(SUBJECT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            async for _, data in beats:
                try:
                    beat = _decode(data)
                except (msgspec.DecodeError, UnicodeError) as error:
                    logger.warning("a peer sent what is no beat", reason=str(error))
                    continue
                if beat.node != self._describe().node:
                    self._heard(beat)

    def _heard(self, beat: Beat) -> None:
        before = self._known.get(beat.node)
        self._versions[beat.node] = beat.records
        if beat.leaving:
            self._known.pop(beat.node, None)
        else:
            self._known[beat.node] = (beat, trio.current_time())
        if beat.newcomer:
            self.announce()
        if before is None or beat.leaving or before[0].ready != beat.ready:
            logger.info("peer", peer=beat.node, ready=beat.ready, leaving=beat.leaving)
            self._on_change()

    async def _beat(self) -> None:
        self.announce(newcomer=True)
        while True:
            await trio.sleep(self._interval_s)
            self.announce()
            for node, (_, heard_at) in list(self._known.items()):
                if heard_at + self._patience_s < trio.current_time():
                    del self._known[node]
                    logger.warning("peer lost", peer=node)
                    self._on_change()
