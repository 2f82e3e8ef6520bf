"""A local account in the log of a node that does not run yet."""

from __future__ import annotations

from pathlib import Path

import trio

from node.accounts import Passwords
from node.log.sqlite import SqliteLog
from node.state.records import PutAccount, encode_batch, encode_record


async def put_account(data: Path, user: str, password: str) -> None:
    """Make an admin's account in a node's data directory."""
    password_hash = await Passwords().hash(password)
    record = PutAccount("root", 1, user, password_hash, ["admin"], new=True, admin=True)
    await trio.Path(data).mkdir(parents=True)
    log = SqliteLog(data / "log.sqlite")
    await log.open()
    await log.append("p:1", encode_batch("p", 1, [encode_record(record)]))
    await log.aclose()
