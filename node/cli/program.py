"""``chat-node`` as a whole: which commands there are, and how it ends.

Exit codes: 0 done, 1 it did not work, 2 used or configured wrongly.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from keyword import iskeyword
from typing import NoReturn

import click

from node import __version__
from node.errors import ChatError, ConfigError

COMMANDS = {
    "serve": "node.cli.serve",
    "chat": "node.cli.chat",
    "send": "node.cli.talk",
    "tail": "node.cli.talk",
    "rooms": "node.cli.talk",
    "token": "node.cli.token",
    "user": "node.cli.user",
    "admin-token": "node.cli.admin",
    "health": "node.cli.health",
    "probe": "node.cli.probe",
    "notice": "node.cli.notice",
    "export": "node.cli.backup",
    "import": "node.cli.backup",
    "verify": "node.cli.backup",
}
"""Name of a command -> the module that has it as a function (``_`` for ``-``, and behind a word of Python)."""


class _Commands(click.Group):
    """A command's module is imported when the command is used: a health check need not wait for the server's parts."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[name]), name.replace("-", "_") + "_" * iskeyword(name))
        assert isinstance(command, click.Command)  # noqa: S101 - the table is wrong otherwise
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
