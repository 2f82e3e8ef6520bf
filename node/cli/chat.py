"""``chat-node chat``: the terminal client."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import click

from node import logs
from node.cli.common import client_options, create_room, with_client
from node.client import ChatClient


@click.command()
@client_options
@click.option("--room", required=True, help="Room to begin in.")
@click.option("--create", is_flag=True, help="Make the room if there is none.")
def chat(room: str, create: bool, **who: Any) -> None:
    """Chat in the terminal; /help lists what can be typed. Messages wait for the connection and arrive once."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        raise click.UsageError("chat wants a terminal; without one there are `chat-node tail` and `chat-node send`")
    with_client(partial(_chat, room, create), **who)


async def _chat(room: str, create: bool, client: ChatClient) -> None:
    from node.terminal.chat import chat as run  # what needs no terminal is said before this is loaded

    if create:
        await create_room(client, room)
    await run(client, room, logs.silence)
