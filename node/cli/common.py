"""What several commands share: running Trio, and being a client."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from node import logs
from node.client import ChatClient, RoomFeed, open_client
from node.errors import ErrorCode, RequestError

Command = Callable[..., Any]
T = TypeVar("T")


def run_trio(main: Callable[[], Awaitable[T]]) -> T:
    """Run a Trio program; of several errors at once, the first stands for all."""
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def client_options(command: Command) -> Command:
    """The options of every command that is a client, for :func:`with_client`."""
    for option in (
        click.option("--user", help="Name of a guest, where guests are allowed."),
        click.option("--token-file", type=click.Path(path_type=Path, exists=True), help="File that holds the token."),
        click.option("--token", envvar="CHAT_TOKEN", help="Token; better in CHAT_TOKEN than in the process list."),
        click.option(
            "--url",
            default="ws://127.0.0.1:8080/ws",
            show_default=True,
            envvar="CHAT_URL",
            help="Address of a node; several by comma.",
        ),
    ):
        command = option(command)
    return command


def with_client(
    act: Callable[[ChatClient], Any], *, url: str, token: str | None, token_file: Path | None, user: str | None
) -> None:
    """Run ``act`` with a connected client; SIGINT and SIGTERM end it quietly."""
    if token_file is not None:
        token = token_file.read_text().strip()
    logs.configure_client()
    if token is None and user is None:
        raise click.UsageError("say who you are: --token, --token-file or --user")
    urls = [part for part in url.split(",") if part]

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
            async with open_client(urls, token=token, user=user) as client:
                await act(client)
            nursery.cancel_scope.cancel()

    run_trio(run)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def join(client: ChatClient, room: str, create: bool, limit: int) -> RoomFeed:
    """Join a room, which is made first if ``create`` says so and there is none."""
    if create:
        try:
            await client.create_room(room)
        except RequestError as error:
            if error.code is not ErrorCode.ROOM_EXISTS:
                raise
    return await client.join(room, limit=limit)
