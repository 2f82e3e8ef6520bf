"""A room on this node: its latest frames, shared by everyone who receives them.

This is the hot path. A message becomes one frame, once; a receiver is only a cursor (the seq it wants next), and all
receivers at the same cursor are handed the same bytes. Cost goes with receivers x flushes, not receivers x messages.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from node.protocol.frames import text_frame

if TYPE_CHECKING:
    from node.outbox import Outbox


class Room:
    """Frames ``base`` .. ``end - 1`` of a room, and the outboxes that receive it.

    Args:
        room_id: the room's id.
        buffer_bytes: how much to keep; older frames are read from the store by whoever is that far behind.

    Attributes:
        receivers: who receives the room, and the head at which each was let in; 0 until that is known.
    """

    __slots__ = (
        "_buffer_bytes",
        "_frames",
        "_joined",
        "_joined_range",
        "_joined_whispers",
        "_offsets",
        "base",
        "id",
        "receivers",
    )

    def __init__(self, room_id: str, buffer_bytes: int) -> None:
        self.id = room_id
        self.base: int | None = None
        self.receivers: dict[Outbox, int] = {}
        self._buffer_bytes = buffer_bytes
        self._frames: list[bytes] = []
        self._offsets: list[int] = [0]
        self._joined = b""
        self._joined_range = (0, 0)
        self._joined_whispers = b""

    @property
    def end(self) -> int:
        """The seq that the next frame will have."""
        return (self.base or 0) + len(self._frames)

    @property
    def buffer_bytes(self) -> int:
        """Size of the frames that are kept."""
        return self._offsets[-1] - self._offsets[0]

    def start_after(self, head: int) -> None:
        """Say that events up to ``head`` are in the store, unless frames have told already."""
        if self.base is None:
            self.base = head + 1

    def let_in(self, outbox: Outbox, head: int) -> None:
        """Say that a receiver has its place from the store at ``head``: no end up to there is its own."""
        self.receivers[outbox] = head
        self.start_after(head)

    def append(self, seq: int, payload: bytes) -> int:
        """Add the next event; returns by how many bytes the buffer has grown."""
        if self.base is None:
            self.base = seq
        if seq < self.end:
            return 0  # a reader of the store saw this event before it was published here
        frame = text_frame(payload)
        self._frames.append(frame)
        self._offsets.append(self._offsets[-1] + len(frame))
        # The oldest half at once, so that the cost of moving the rest is paid seldom.
        if self.buffer_bytes > 2 * self._buffer_bytes:
            return len(frame) + self.keep(self._buffer_bytes)
        return len(frame)

    def holds(self, seq: int) -> bool:
        """Whether all frames from ``seq`` on are here."""
        return self.base is not None and seq >= self.base

    def since(self, seq: int, whispers: bytes = b"") -> bytes:
        """All frames from ``seq`` on, joined, and whispers behind them; ``holds(seq)`` must be true.

        Who gets the same gets the same bytes: what slow readers of a large room have yet to read is there once.
        """
        wanted = (seq, self.end)
        if wanted != self._joined_range or whispers is not self._joined_whispers:
            frames = self._frames[seq - (self.base or 0) :]
            if whispers:
                frames.append(whispers)
            self._joined = b"".join(frames)  # which copies nothing where there is one
            self._joined_range, self._joined_whispers = wanted, whispers
        return self._joined

    def unsent_bytes(self, seq: int) -> int:
        """Size of the frames from ``seq`` on; 0 for what is older than the buffer (it is not held in memory)."""
        index = seq - (self.base or 0)
        return self._offsets[-1] - self._offsets[index] if 0 <= index < len(self._offsets) else 0

    def keep(self, most_bytes: int) -> int:
        """Let go of the oldest frames, down to a size; returns by how many bytes the buffer has grown: 0, or less."""
        before = self.buffer_bytes
        drop = bisect_left(self._offsets, self._offsets[-1] - most_bytes)
        if drop:
            del self._frames[:drop]
            del self._offsets[:drop]
            self.base = (self.base or 0) + drop
            self._joined_range, self._joined, self._joined_whispers = (0, 0), b"", b""
        return self.buffer_bytes - before
