"""``chat-node notice``: the operators' word to everyone, through the admin API of a node."""

from __future__ import annotations

from pathlib import Path

import click

from node.api.bodies import NewNotice, NoticeInForce
from node.cli.admin import api_options, connect


@click.command()
@api_options
@click.option("--until", required=True, type=float, help="Unix time in seconds; one that is past takes the text back.")
@click.option("--level", type=click.Choice(["info", "warning"]), default="info", show_default=True)
@click.argument("text")
def notice(until: float, level: str, text: str, api: str, token_file: Path | None, data_dir: Path) -> None:
    """Tell the TEXT to everyone who is connected to any node, or connects before --until."""
    new = NewNotice(text, round(until * 1000), "warning" if level == "warning" else "info")
    connect(api, token_file, data_dir).ask("POST", "/notices", NoticeInForce, new)
