"""Rooms on the ``websockets`` library and uvloop, with its ``broadcast``: what is said as in ``ws.js``."""

from __future__ import annotations

import contextlib
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

_rooms: dict[str, set[ServerConnection]] = defaultdict(set)


async def _converse(client: ServerConnection) -> None:
    mine = []
    with contextlib.suppress(ConnectionClosed):
        async for text in client:
            assert isinstance(text, str), "the load sends text only"
            if text[0] == "+":
                mine.append(_rooms[text[1:]])
                mine[-1].add(client)
                await client.send(text)
            else:
                broadcast(_rooms[text.partition(" ")[0]], text)
    for members in mine:
        members.discard(client)


async def _main() -> None:
    async with serve(_converse, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


uvloop.run(_main())
