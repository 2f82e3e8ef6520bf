"""``chat-node serve``."""

from __future__ import annotations

import gc
import os
from dataclasses import fields
from pathlib import Path

import click

from node import logs
from node.app import App
from node.cli.common import Command, run_trio
from node.config import Settings, env_name, load

_COLLECT_AFTER = 10_000
"""New objects between two collections."""


def _setting_options(command: Command) -> Command:
    """One flag for every setting of the node."""
    for setting in reversed(fields(Settings)):
        command = click.option(
            f"--{setting.name.replace('_', '-')}",
            setting.name,
            help=f"{setting.metadata['help']} [{env_name(setting)}]",
        )(command)
    return command


@click.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file with settings.")
@_setting_options
def serve(config: Path | None, **flags: str | None) -> None:
    """Run a node until SIGTERM or Ctrl-C, which make it drain first; twice ends it at once.

    Each setting can be given as a flag, in the environment (its name in brackets; NAME_FILE reads a file), or in the
    TOML file, in that order of strength.
    """
    settings = load(os.environ, flags, config)
    logs.configure(settings.log_level, settings.log_format, settings.node_id)
    _collect_seldom()
    run_trio(App(settings).run)


def _collect_seldom() -> None:
    """Let the collector look at fewer things, less often.

    What is loaded by now stays. And connections are made of objects that live long: at Python's default, every few
    of them have all looked through again, a quarter of what a connection costs.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
