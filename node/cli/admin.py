"""Asking the admin API: what ``chat-node user`` and its like share, and ``chat-node admin-token``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import httpx
import msgspec

from node import admin_key
from node.errors import ChatError

DEFAULT_USER = "operator"
_TTL_S = 300.0
_TIMEOUT_S = 30.0
_BASE = "/api/v1"

T = TypeVar("T")
Command = Callable[..., Any]


class _Problem(msgspec.Struct):
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class AdminApi:
    """The admin API of one node.

    Args:
        url: of its operators' port.
        token: an admin's.
    """

    url: str
    token: str

    def ask(self, method: str, path: str, answer: type[T], body: msgspec.Struct | None = None) -> T:
        """Ask for one operation.

        Raises:
            ChatError: it was refused, or nobody answers.
        """
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            # Proxies are for the world outside, and this is inside; redirects, which are not followed, would be too.
            response = httpx.request(
                method, self.url + _BASE + path, headers=headers, content=content, timeout=_TIMEOUT_S, trust_env=False
            )
        except httpx.HTTPError as error:
            raise ChatError(f"{self.url} does not answer: {error}; say --api where the node is") from None
        try:
            if response.is_success:
                return msgspec.json.decode(response.content, type=answer)
            problem = msgspec.json.decode(response.content, type=_Problem)
        except msgspec.DecodeError:
            raise ChatError(f"{self.url} answers {response.status_code}, but not as a node does") from None
        raise ChatError(f"{problem.title}: {problem.detail}")


def _checked_url(context: click.Context, option: click.Parameter, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("wants an address like http://127.0.0.1:9090")
    return url.rstrip("/")


def _default_url() -> str:
    return f"http://127.0.0.1:{os.environ.get('HTTP_PORT') or 9090}"


_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="DATA_DIR",
    default="chat-data",
    show_default=True,
    help="The node's own files, with its admin.key.  [DATA_DIR]",
)


def api_options(command: Command) -> Command:
    """The options of every command that asks the admin API, for :func:`connect`."""
    for option in (
        _data_dir,
        click.option(
            "--token-file",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="File with an admin's token, for a node elsewhere; else the node's own key signs one.",
        ),
        click.option(
            "--api",
            default=_default_url,
            callback=_checked_url,
            show_default="http://127.0.0.1:9090",
            help="The node's operators' port.",
        ),
    ):
        command = option(command)
    return command


def connect(api: str, token_file: Path | None, data_dir: Path) -> AdminApi:
    """The API that the options mean."""
    if token_file is not None:
        return AdminApi(api, token_file.read_text().strip())
    return AdminApi(api, admin_key.read(data_dir).sign(DEFAULT_USER, time.time(), _TTL_S))


@click.command()
@_data_dir
@click.option("--user", default=DEFAULT_USER, show_default=True, help="The name under which things are done.")
@click.option(
    "--ttl", default=_TTL_S, show_default=True, help=f"Seconds until it expires, up to {admin_key.MAX_TTL_S:g}."
)
def admin_token(data_dir: Path, user: str, ttl: float) -> None:
    """Make a token for the admin API of the node on this machine, signed with the node's own key.

    It opens no other node, and not the chat.
    """
    if not 0 < ttl <= admin_key.MAX_TTL_S:
        raise click.UsageError(f"--ttl is more than 0 and at most {admin_key.MAX_TTL_S:g} seconds")
    click.echo(admin_key.read(data_dir).sign(user, time.time(), ttl))
