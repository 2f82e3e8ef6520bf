"""Being a client in a pipe: ``send``, ``tail``, ``rooms``."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import click
import trio

from node.cli.common import client_options, join, with_client
from node.client import ChatClient, Gap
from node.protocol.pushes import MessageEvent, RoomEvents, encode
from node.terminal import words

_READ_BYTES = 65536


@click.command()
@client_options
@click.option("--room", required=True, help="Room to send to.")
@click.option("--create", is_flag=True, help="Make the room if there is none.")
@click.argument("words", nargs=-1)
def send(room: str, create: bool, words: tuple[str, ...], **who: Any) -> None:
    """Send a message: the WORDS, or each line of standard input. Prints one acknowledgement a line.

    A line is sent when the one before is committed, over as many reconnects as it takes. Exits with 0 when all are.
    """
    done = False

    async def act(client: ChatClient) -> None:
        nonlocal done
        await join(client, room, create, limit=0)
        async with aclosing(_bodies(words)) as bodies:
            async for body in bodies:
                click.echo(encode(await client.send(room, body)))
        done = True

    with_client(act, **who)
    if not done:
        sys.exit(130)


async def _bodies(words: tuple[str, ...]) -> AsyncGenerator[str]:
    """What to send, as it comes in: while a person thinks, the connection is kept alive and Ctrl-C works."""
    if words:
        yield " ".join(words)
        return
    rest, chunk = b"", b" "
    while chunk:
        # Not sys.stdin: a thread that is left behind in there would hold its lock when the program ends.
        chunk = await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), _READ_BYTES, abandon_on_cancel=True)
        *lines, rest = (rest + (chunk or b"\n")).split(b"\n")
        for body in (line.decode(errors="replace").strip() for line in lines):
            if body:
                yield body


@click.command()
@client_options
@click.option("--room", required=True, help="Room to read.")
@click.option("--create", is_flag=True, help="Make the room if there is none.")
@click.option("--limit", default=50, show_default=True, help="How many of the latest events to begin with.")
@click.option("--count", type=int, help="Stop after so many messages.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they come, one JSON object a line.")
def tail(room: str, create: bool, limit: int, count: int | None, as_json: bool, **who: Any) -> None:
    """Print a room's messages as they arrive, in order, none twice and none left out."""

    async def act(client: ChatClient) -> None:
        left = count
        async for event in await join(client, room, create, limit):
            if isinstance(event, Gap):
                click.echo(f"-- some messages could not be had: {event.reason}", err=True)
                continue
            click.echo(encode(event) if as_json else _as_line(event))
            if left is not None and isinstance(event, MessageEvent):
                left -= 1
                if left <= 0:
                    return

    with_client(act, **who)


def _as_line(event: RoomEvents) -> str:
    return f"{words.clock(event.ts, '%H:%M:%S')} {words.described(event)}"


@click.command()
@client_options
@click.option("--prefix", default="", help="Only rooms whose id starts with this.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def rooms(prefix: str, as_json: bool, **who: Any) -> None:
    """List the rooms of the cluster: id, members, last seq, title."""

    async def act(client: ChatClient) -> None:
        after, more = "", True
        while more:
            page = await client.rooms(prefix, after=after, limit=500)
            for room in page.rooms:
                line = f"{room.room:<32} {room.members:>6} {room.head:>10}  {words.printable(room.title)}".rstrip()
                click.echo(encode(room) if as_json else line)
            more = page.more
            after = page.rooms[-1].room if page.rooms else after

    with_client(act, **who)
