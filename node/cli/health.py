"""``chat-node health``: what Docker asks every few seconds, so it imports little."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

import click

from node.errors import ChatError


@click.command()
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
