"""``chat-node user``: local accounts, through the admin API of a node."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from node.api.bodies import NewUser, User, UserChange, UserList
from node.cli.admin import api_options, connect
from node.protocol.pushes import encode
from node.protocol.requests import MAX_PAGE


@click.group()
def user() -> None:
    """Local accounts: who gets in with a password, where AUTH_MODE has accounts.

    Works on the node's own machine without a token, and elsewhere with --api and --token-file. A password is asked for,
    or is the first line of standard input; it is never an argument, which everybody on the machine could see.
    """


@user.command()
@api_options
@click.option("--admin", is_flag=True, help="Make them a server admin.")
@click.argument("name")
def add(name: str, admin: bool, api: str, token_file: Path | None, data_dir: Path) -> None:
    """Make an account."""
    node = connect(api, token_file, data_dir)
    new = NewUser(name, _password(), ["admin"] if admin else [])
    click.echo(f"added {node.ask('POST', '/users', User, new).user}")


@user.command()
@api_options
@click.argument("name")
def passwd(name: str, api: str, token_file: Path | None, data_dir: Path) -> None:
    """Set another password. It ends the connections that were opened with the old one."""
    node = connect(api, token_file, data_dir)
    node.ask("PATCH", _path(name), User, UserChange(password=_password()))
    click.echo(f"{name} has another password")


@user.command()
@api_options
@click.argument("name")
def disable(name: str, api: str, token_file: Path | None, data_dir: Path) -> None:
    """Close an account's name to everyone: its connections end, on all nodes."""
    connect(api, token_file, data_dir).ask("PATCH", _path(name), User, UserChange(disabled=True))
    click.echo(f"disabled {name}")


@user.command()
@api_options
@click.argument("name")
def enable(name: str, api: str, token_file: Path | None, data_dir: Path) -> None:
    """Let a disabled account in again, with the password that it has."""
    connect(api, token_file, data_dir).ask("PATCH", _path(name), User, UserChange(disabled=False))
    click.echo(f"enabled {name}")


@user.command("list")
@api_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(as_json: bool, api: str, token_file: Path | None, data_dir: Path) -> None:
    """List the accounts, in order of name."""
    node = connect(api, token_file, data_dir)
    after, more = "", True
    while more:
        page = node.ask("GET", f"/users?{urlencode({'limit': MAX_PAGE, 'after': after})}", UserList)
        for account in page.users:
            click.echo(encode(account) if as_json else _as_line(account))
        more = page.more
        after = page.users[-1].user if page.users else after


def _path(name: str) -> str:
    return f"/users/{quote(name, safe='')}"


def _as_line(account: User) -> str:
    state = "disabled" if account.disabled else "enabled"
    return f"{account.user:<32} {state:<8}  {' '.join(account.roles)}".rstrip()


def _password() -> str:
    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise click.UsageError("the first line of standard input is the password; there is none")
    return password
