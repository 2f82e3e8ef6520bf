"""The command line: one JSON object or list on standard output; a sentence on standard error and exit code 1."""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chat_backup.common import STATE_DIR, Failure, load_config, now
from chat_backup.work import Work

LOCK = Path("/run/chat-ops-backup.lock")
LOCK_WAIT_S = 300.0
KINDS = ("config", "data")


def main(arguments: list[str]) -> int:
    """Run one command; 0: done, 1: it did not work, 2: wrong use."""
    chosen = parser().parse_args(arguments)
    try:
        with alone():
            answer = act(Work(load_config()), chosen)
    except Failure as failure:
        print(f"chat-backup {chosen.command}: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


def parser() -> argparse.ArgumentParser:
    """What can be asked."""
    top = argparse.ArgumentParser(prog="chat-backup", description="Backups of the chat, on this host.")
    commands = top.add_subparsers(dest="command", required=True)
    back_up = commands.add_parser("run", help="make a backup")
    back_up.add_argument("what", choices=("all", *KINDS))
    back_up.add_argument("--timer", action="store_true", help="do nothing where another manager's timer acts")
    commands.add_parser("list", help="list the backups").add_argument("what", choices=("all", *KINDS))
    commands.add_parser("check", help="read all data of the repository")
    trial = commands.add_parser("try-password", help="refuse a password that does not open the repository")
    trial.add_argument("file", type=Path)
    for name, text in (("drill", "restore into scratch and compare"), ("fetch", "restore: take a backup out")):
        commands.add_parser(name, help=text).add_argument("--snapshot", default="latest")
    scale = commands.add_parser("scale", help="restore: start or stop services")
    scale.add_argument("kind", choices=("node", "nats"))
    scale.add_argument("direction", choices=("up", "down"))
    target = commands.add_parser("target", help="restore: refuse a log that is not empty")
    target.add_argument("--replace", action="store_true", help="although it is not")
    commands.add_parser("load", help="restore: put what was fetched into the log")
    return top


def act(work: Work, chosen: argparse.Namespace) -> Any:
    """Do what was asked; returns what to print."""
    if chosen.command == "run":
        if chosen.timer and not work.is_ours_to_do():
            return {"skipped": "another manager leads"}
        return {what: recorded(work, what) for what in KINDS if chosen.what in ("all", what)}
    if chosen.command == "list":
        return [item for what in KINDS if chosen.what in ("all", what) for item in work.listed(what)]
    if chosen.command in ("drill", "fetch"):
        return getattr(work, chosen.command)(chosen.snapshot)
    if chosen.command == "try-password":
        return work.try_password(chosen.file)
    if chosen.command == "target":
        return work.target(chosen.replace)
    if chosen.command == "scale":
        return work.scale(chosen.kind, chosen.direction)
    return getattr(work, chosen.command)()


def recorded(work: Work, what: str) -> Any:
    """Make a backup, and leave its outcome in ``/var/lib/chat-ops/backup.json``, for whoever watches."""
    outcome: dict[str, Any] = {"at": now().isoformat(), "outcome": "failed", "cause": "it was killed"}
    try:
        answer = work.back_up(what)
        outcome |= {"outcome": "done", "cause": "", "snapshot": answer["snapshot"], "created_at": answer["created_at"]}
    except Failure as failure:
        outcome["cause"] = str(failure)
        raise
    finally:
        note(STATE_DIR / "backup.json", what, outcome)
    return answer


def note(path: Path, what: str, outcome: dict[str, Any]) -> None:
    """Put one kind's outcome into the file beside the other's."""
    try:
        noted = json.loads(path.read_text())
    except (OSError, ValueError):
        noted = {}
    made = path.with_suffix(".new")
    made.write_text(json.dumps(noted | {what: outcome}, indent=2) + "\n")
    made.replace(path)


@contextmanager
def alone() -> Iterator[None]:
    """Only one at a time on this host; a timer and a playbook may meet."""
    deadline = time.monotonic() + LOCK_WAIT_S
    with LOCK.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Failure("another backup or restore is at work on this host") from None
                time.sleep(1)
        yield
