"""A TCP stream that several writers may share, and that knows when it last heard something."""

from __future__ import annotations

import trio


class SharedStream(trio.abc.Stream):
    """Serialises writers: trio-websocket's control frames and our joined frames go out whole, in turn.

    A cancelled ``send_all`` may have sent half a frame. From then on every write fails and the stream can only be
    torn down; see :attr:`torn`.

    Args:
        stream: the transport, owned from now on.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._lock = trio.StrictFIFOLock()
        self.torn = False
        self.heard_at = trio.current_time()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything, after whoever sends now."""
        async with self._lock:
            if self.torn:
                raise trio.BrokenResourceError("an earlier write was cut short")
            self.torn = True
            await self._stream.send_all(data)
            self.torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """As in ``trio.abc.SendStream``."""
        async with self._lock:
            await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, and note the time."""
        data = await self._stream.receive_some(max_bytes)
        self.heard_at = trio.current_time()
        return data

    async def aclose(self) -> None:
        """Close the transport."""
        await self._stream.aclose()
