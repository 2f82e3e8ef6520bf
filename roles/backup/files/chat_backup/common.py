"""What all parts share: the settings, running a program, failing with a sentence."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]

CONFIG_DIR = Path("/etc/chat-ops")
STATE_DIR = Path("/var/lib/chat-ops")
NODE_UID = 10001
"""Who the node is in its image."""


class Failure(Exception):
    """What went wrong and what to do about it, for people."""


@dataclass(frozen=True)
class Config:
    """What the role wrote to ``/etc/chat-ops/backup.json``.

    Attributes:
        repository: as restic takes it.
        environment: what else restic needs, as keys for a store.
        acts: for timers, ``leader``: if this host is the Swarm's leader; ``here``: always.
        keep: kind of backup -> how many of which age, as ``{"daily": 14}``.
        check_percent: how much of the data is read by the check after a backup.
    """

    repository: str
    stack_name: str
    http_port: int
    acts: str
    check_percent: int
    keep: dict[str, dict[str, int]]
    environment: dict[str, str] = field(default_factory=dict)


def load_config(path: Path = CONFIG_DIR / "backup.json") -> Config:
    """Raises Failure if the role was never here."""
    try:
        return Config(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise Failure(f"{path} is not there: set backup_repository, and run playbooks/backup.yml once") from None


def run(*command: str, stdin: int | None = None, timeout_s: float = 600) -> str:
    """What a command wrote; raises Failure with what it complained of."""
    try:
        done = subprocess.run(
            command, stdin=stdin or subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not installed here") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(command[:3])}: no end within {timeout_s:g} s") from None
    if done.returncode != 0:
        raise Failure(f"{' '.join(command[:3])}: {complaint(done.stderr, done.stdout)}")
    return done.stdout


def complaint(*texts: str) -> str:
    """The end of the first text that says anything, without what is secret in addresses."""
    said = next((text.strip() for text in texts if text.strip()), "no word of why")
    return re.sub(r"://[^/\s@]+@", "://***@", "\n".join(said.splitlines()[-6:]))


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def age_s(created_at: str) -> int:
    """Seconds since a moment in RFC 3339."""
    return int((now() - datetime.fromisoformat(created_at)).total_seconds())


@contextmanager
def staging(name: str) -> Iterator[Path]:
    """A directory that is gone afterwards: it holds all that people said. Always the same path, as restic's parent."""
    directory = STATE_DIR / "staging" / name
    empty(directory)
    try:
        yield directory
    except OSError as error:
        raise disk_failure(error, directory) from None
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def empty(directory: Path) -> None:
    """Make a directory, for root alone, without what a killed run left there."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)


def for_node(directory: Path) -> Path:
    """Make a directory that a container of the node may write to."""
    directory.mkdir(mode=0o700)
    os.chown(directory, NODE_UID, NODE_UID)
    return directory


def disk_failure(error: OSError, directory: Path) -> Failure:
    """The sentence for a file that could not be written."""
    if error.errno == errno.ENOSPC:
        free_mib = shutil.disk_usage(STATE_DIR).free >> 20
        return Failure(f"the disk of {STATE_DIR} is full ({free_mib} MiB free): make room there, then repeat")
    return Failure(f"{directory}: {error}")


def need_room(directory: Path, needed_bytes: int) -> None:
    """Refuse before the work rather than in its middle."""
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes:
        raise Failure(
            f"the disk of {directory} is too full: {free_bytes >> 20} MiB are free, "
            f"{needed_bytes >> 20} MiB are wanted: make room there, then repeat"
        )


def as_lines(values: Sequence[str]) -> str:
    return "; ".join(values)
