"""What several commands share: running Trio, and being a client."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from node import logs
from node.client import ChatClient, RoomFeed, open_client
from node.errors import ErrorCode, RequestError

Command = Callable[..., Any]
T = TypeVar("T")

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


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
        click.option("--ask-password", is_flag=True, help="Ask for the password of --user."),
        click.option("--password-file", type=_FILE, help="File with the password of --user, a local account."),
        click.option("--user", help="Name of a guest, where guests are allowed, or of a local account."),
        click.option("--token-file", type=_FILE, help="File with the token; read anew for every connection."),
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


@dataclass(frozen=True)
class Who:
    """The values of :func:`client_options`."""

    url: str
    token: str | None
    token_file: Path | None
    user: str | None
    password_file: Path | None
    ask_password: bool

    def credentials(self) -> dict[str, Any]:
        """The arguments of ``open_client`` that say who the client is; asks for the password if that is wanted."""
        if self.token_file is not None:
            return {"token": partial(_first_line, self.token_file)}
        if self.token is not None:
            return {"token": self.token}
        if self.user is None:
            raise click.UsageError("say who you are: --token, --token-file or --user")
        password = _first_line(self.password_file) if self.password_file else None
        if self.ask_password:
            password = click.prompt(f"Password of {self.user}", hide_input=True, err=True)
        return {"user": self.user, "password": password}

    def urls(self) -> list[str]:
        """The addresses."""
        found = [part.strip() for part in self.url.split(",") if part.strip()]
        if not found or not all(part.startswith(("ws://", "wss://")) for part in found):
            raise click.UsageError(f"--url wants addresses like ws://HOST:8080/ws, not {self.url!r}")
        return found


def with_client(act: Callable[[ChatClient], Awaitable[None]], **options: Any) -> None:
    """Run ``act`` with a connected client; SIGINT and SIGTERM end it quietly.

    Args:
        options: what :func:`client_options` gave the command.
    """
    who = Who(**options)
    urls, credentials = who.urls(), who.credentials()
    logs.configure_client()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
            async with open_client(urls, **credentials) as client:
                await act(client)
            nursery.cancel_scope.cancel()

    run_trio(run)


def _first_line(path: Path) -> str:
    return path.read_text().strip().split("\n")[0]


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def join(client: ChatClient, room: str, create: bool, limit: int) -> RoomFeed:
    """Join a room, which is made first if ``create`` says so and there is none."""
    if create:
        await create_room(client, room)
    return await client.join(room, limit=limit)


async def create_room(client: ChatClient, room: str) -> None:
    """Make a room, if there is none."""
    try:
        await client.create_room(room)
    except RequestError as error:
        if error.code is not ErrorCode.ROOM_EXISTS:
            raise
