"""The command line: the only place that prints or exits.

Exit codes: 0 done, 1 it did not work, 2 used or configured wrongly.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import trio

from node import __version__, logs
from node.auth import sign_token
from node.client import ChatClient, ClientClosed, Gap, open_client
from node.config import Settings, env_name, load
from node.errors import ChatError, ConfigError, ErrorCode, RequestError
from node.protocol.pushes import (
    DeleteEvent,
    EditEvent,
    MemberEvent,
    MessageEvent,
    ReactEvent,
    RoomEvent,
    RoomEvents,
    encode,
)

PROBE_USER = "probe"
PROBE_ROOM = "ops.probe"
_READ_BYTES = 65536

Command = Callable[..., Any]
T = TypeVar("T")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="chat-node", message="%(prog)s %(version)s")
def cli() -> None:
    """A chat node, and a client for any of its kind."""


def main() -> NoReturn:
    """Entry point of ``chat-node``."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except ConfigError as error:
        click.echo("chat-node: these settings cannot be used:", err=True)
        for fault in error.faults:
            click.echo(f"  {fault}", err=True)
        sys.exit(2)
    except ChatError as error:
        click.echo(f"chat-node: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(0)


def _run(main: Callable[[], Awaitable[T]]) -> T:
    """Run a Trio program; of several errors at once, the first stands for all."""
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _setting_options(command: Command) -> Command:
    """One flag for every setting of the node."""
    for setting in reversed(fields(Settings)):
        command = click.option(
            f"--{setting.name.replace('_', '-')}",
            setting.name,
            help=f"{setting.metadata['help']} [{env_name(setting)}]",
        )(command)
    return command


@cli.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file with settings.")
@_setting_options
def serve(config: Path | None, **flags: str | None) -> None:
    """Run a node until SIGTERM or Ctrl-C, which make it drain first; twice ends it at once.

    Each setting can be given as a flag, in the environment (its name in brackets; NAME_FILE reads a file), or in the
    TOML file, in that order of strength.
    """
    settings = load(os.environ, flags, config)
    from node.app import App  # the client commands start faster without the server's parts

    logs.configure(settings.log_level, settings.log_format, settings.node_id)
    _run(App(settings).run)


def _client_options(command: Command) -> Command:
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


def _with_client(
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

    _run(run)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _join(client: ChatClient, room: str, create: bool, limit: int) -> Any:
    if create:
        try:
            await client.create_room(room)
        except RequestError as error:
            if error.code is not ErrorCode.ROOM_EXISTS:
                raise
    return await client.join(room, limit=limit)


@cli.command()
@_client_options
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
        await _join(client, room, create, limit=0)
        async with aclosing(_bodies(words)) as bodies:
            async for body in bodies:
                click.echo(encode(await client.send(room, body)))
        done = True

    _with_client(act, **who)
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


@cli.command()
@_client_options
@click.option("--room", required=True, help="Room to read.")
@click.option("--create", is_flag=True, help="Make the room if there is none.")
@click.option("--limit", default=50, show_default=True, help="How many of the latest events to begin with.")
@click.option("--count", type=int, help="Stop after so many messages.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they come, one JSON object a line.")
def tail(room: str, create: bool, limit: int, count: int | None, as_json: bool, **who: Any) -> None:
    """Print a room's messages as they arrive, in order, none twice and none left out."""

    async def act(client: ChatClient) -> None:
        left = count
        async for event in await _join(client, room, create, limit):
            if isinstance(event, Gap):
                click.echo(f"-- some messages could not be had: {event.reason}", err=True)
                continue
            click.echo(encode(event) if as_json else _as_line(event))
            if left is not None and isinstance(event, MessageEvent):
                left -= 1
                if left <= 0:
                    return

    _with_client(act, **who)


def _as_line(event: RoomEvents) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(event.ts / 1000))} {_words(event)}"


def _words(event: RoomEvents) -> str:
    match event:
        case MessageEvent():
            return f"{event.from_}: {_printable(event.body)}"
        case EditEvent():
            return f"{event.from_}: {_printable(event.body)} (instead of {event.target})"
        case DeleteEvent():
            return f"-- {event.from_} deleted {event.target}"
        case ReactEvent():
            return f"-- {event.from_} {'put' if event.on else 'took back'} {_printable(event.emoji)} on {event.target}"
        case MemberEvent():
            by = f" by {event.by}" if event.by else ""
            return f"-- {event.user}: {event.change}{f' {event.role}' if event.role else ''}{by}"
        case RoomEvent():
            return f"-- room {event.change} by {event.by}"


def _printable(body: str) -> str:
    """Without control characters, which could steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in body)


@cli.command()
@_client_options
@click.option("--prefix", default="", help="Only rooms whose id starts with this.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def rooms(prefix: str, as_json: bool, **who: Any) -> None:
    """List the rooms of the cluster: id, members, last seq, title."""

    async def act(client: ChatClient) -> None:
        after, more = "", True
        while more:
            page = await client.rooms(prefix, after=after, limit=500)
            for room in page.rooms:
                line = f"{room.room:<32} {room.members:>6} {room.head:>10}  {_printable(room.title)}".rstrip()
                click.echo(encode(room) if as_json else line)
            more = page.more
            after = page.rooms[-1].room if page.rooms else after

    _with_client(act, **who)


@cli.command()
@click.option("--user", required=True, help="Whom the token names.")
@click.option("--ttl", default=86400.0, show_default=True, help="Seconds until it expires.")
@click.option("--role", "roles", multiple=True, help="A server role; may be repeated.")
@click.option("--key-file", type=click.Path(path_type=Path, exists=True), help="File with the key; else JWT_KEY_FILE.")
def token(user: str, ttl: float, roles: tuple[str, ...], key_file: Path | None) -> None:
    """Make a token for a user, signed with the key that the nodes know."""
    click.echo(sign_token(_key(key_file), user, time.time(), ttl, roles))


def _key(key_file: Path | None = None) -> str:
    environment = {"JWT_KEY_FILE": str(key_file)} if key_file else os.environ
    names = ("JWT_KEY", "JWT_KEY_FILE")
    return load({name: environment[name] for name in names if name in environment}, {"auth_mode": "token"}).jwt_key


@cli.command()
@click.option("--ready", is_flag=True, help="Ask for readiness (/readyz) instead of life (/livez).")
@click.option("--timeout", default=3.0, show_default=True, help="Seconds to wait.")
def health(ready: bool, timeout: float) -> None:
    """Ask the node on this machine how it is; exits with 1 when it is not well."""
    port = os.environ.get("HTTP_PORT", "9090")
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/{'readyz' if ready else 'livez'}", timeout=timeout
        ) as answer:
            click.echo(answer.read().decode().rstrip())
    except urllib.error.HTTPError as error:
        raise ChatError(error.read().decode().rstrip()) from None
    except OSError as error:
        raise ChatError(f"port {port}: {error}") from None


@cli.command()
@click.option("--url", default="ws://127.0.0.1:8080/ws", show_default=True, help="The node to try.")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds the whole round trip may take.")
def probe(url: str, timeout: float) -> None:
    """Send a message through a node and wait for it to come back; exits with 1 when it does not.

    Signs a token for itself with JWT_KEY_FILE, as the node has it in its environment.
    """
    logs.configure_client()
    report = _run(partial(_probe, url, sign_token(_key(), PROBE_USER, time.time(), 60), timeout))
    click.echo(json.dumps(report))
    sys.exit(0 if report["ok"] else 1)


async def _probe(url: str, token: str, timeout_s: float) -> dict[str, Any]:
    started = trio.current_time()
    try:
        with trio.fail_after(timeout_s):
            async with open_client([url], token=token) as client:
                feed = await _join(client, PROBE_ROOM, create=True, limit=0)
                ack = await client.send(PROBE_ROOM, f"probe {time.time():.3f}")
                async for event in feed:
                    if isinstance(event, Gap) or event.seq >= ack.seq:
                        break
                took_ms = round((trio.current_time() - started) * 1000, 1)
                return {"ok": True, "seq": ack.seq, "node": client.node, "ms": took_ms}
    except* (trio.TooSlowError, RequestError, ClientClosed) as group:
        reason = str(group.exceptions[0]) or f"no round trip within {timeout_s:g} s"
    return {"ok": False, "reason": reason}
