"""``chat-node token``, and the key that it needs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from node.auth import sign_token
from node.config import load


@click.command()
@click.option("--user", required=True, help="Whom the token names.")
@click.option("--ttl", default=86400.0, show_default=True, help="Seconds until it expires.")
@click.option("--role", "roles", multiple=True, help="A server role; may be repeated.")
@click.option("--key-file", type=click.Path(path_type=Path, exists=True), help="File with the key; else JWT_KEY_FILE.")
def token(user: str, ttl: float, roles: tuple[str, ...], key_file: Path | None) -> None:
    """Make a token for a user, signed with the key that the nodes know."""
    click.echo(sign_token(signing_key(key_file), user, time.time(), ttl, roles))


def signing_key(key_file: Path | None = None) -> str:
    """The key that the nodes know: from a file, or from where a node has it."""
    environment = {"JWT_KEY_FILE": str(key_file)} if key_file else os.environ
    names = ("JWT_KEY", "JWT_KEY_FILE")
    return load({name: environment[name] for name in names if name in environment}, {"auth_mode": "token"}).jwt_key
