"""``chat-node probe``: the round trip of one message."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from node import logs
from node.cli.common import join, run_trio
from node.cli.token import sign_as_configured
from node.client import ClientClosed, Gap, open_client
from node.errors import RequestError

PROBE_USER = "probe"
PROBE_ROOM = "ops.probe"
_TOKEN_TTL_S = 60.0


@click.command()
@click.option("--url", default="ws://127.0.0.1:8080/ws", show_default=True, help="The node to try.")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds the whole round trip may take.")
@click.option("--token-file", type=click.Path(path_type=Path, exists=True), help="File that holds a token to use.")
def probe(url: str, timeout: float, token_file: Path | None) -> None:
    """Send a message through a node and wait for it to come back; exits with 1 when it does not.

    Signs a token for itself with JWT_KEY_FILE, as the node has it in its environment. A node that has public keys only
    cannot sign; there the issuer's token is wanted, in --token-file.
    """
    logs.configure_client()
    report = run_trio(partial(_probe, url, _token(token_file), timeout))
    click.echo(json.dumps(report))
    sys.exit(0 if report["ok"] else 1)


def _token(file: Path | None) -> str:
    if file is not None:
        return file.read_text().strip()
    remedy = "the probe can use a token of the issuer's: --token-file"
    return sign_as_configured(PROBE_USER, _TOKEN_TTL_S, remedy=remedy)


async def _probe(url: str, token: str, timeout_s: float) -> dict[str, Any]:
    started = trio.current_time()
    try:
        with trio.fail_after(timeout_s):
            async with open_client([url], token=token) as client:
                feed = await join(client, PROBE_ROOM, create=True, limit=0)
                ack = await client.send(PROBE_ROOM, f"probe {time.time():.3f}")
                async for event in feed:
                    if isinstance(event, Gap) or event.seq >= ack.seq:
                        break
                took_ms = round((trio.current_time() - started) * 1000, 1)
                return {"ok": True, "seq": ack.seq, "node": client.node, "ms": took_ms}
    except* (trio.TooSlowError, RequestError, ClientClosed) as group:
        reason = str(group.exceptions[0]) or f"no round trip within {timeout_s:g} s"
    return {"ok": False, "reason": reason}
