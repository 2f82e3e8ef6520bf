"""The restic repository: what it is asked, and what its complaints mean."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from chat_backup.common import CONFIG_DIR, Config, Failure, Json, complaint

TAGS = {"config": "chat-config", "data": "chat-data"}
PASSWORD_FILE = CONFIG_DIR / "backup.password"
CACHE_DIR = Path("/var/cache/chat-ops/restic")
TIMEOUT_S = 6 * 3600.0

CAUSES = (
    (
        ("wrong password or no key found",),
        "the password does not open the repository: backup_password is not the one it was made with",
    ),
    (
        ("no space left on device",),
        "a disk is full, that of the repository or that of /var/lib/chat-ops: make room, then repeat",
    ),
    (
        ("repository is already locked", "unable to create lock"),
        "somebody else works in the repository: repeat later; `restic unlock` if nobody does",
    ),
    (
        (
            "ciphertext verification failed",
            "repository contains errors",
            "hash does not match",
            "invalid data returned",
            "does not match id",
            "load <",
            "decrypting blob",
            "unexpected hash",
            "failed to load index",
        ),
        "the repository is damaged: restore from an older snapshot, or from a copy of the repository; "
        "a new one is begun with another backup_repository",
    ),
    (
        ("is there a repository at", "unable to open config file"),
        "there is no repository, or it cannot be reached: see backup_repository; playbooks/backup.yml makes it",
    ),
)


class Missing(Failure):
    """There is no repository yet."""


class WrongPassword(Failure):
    """The password is not the repository's."""


class Snapshot(NamedTuple):
    """A backup: its short id, what it is of, and its manifest as far as the tags tell it."""

    id: str
    what: str
    manifest: Json


def explain(stderr: str) -> str:
    """The cause and the remedy for what restic wrote, then its own words."""
    lowered = stderr.lower()
    for signs, meaning in CAUSES:
        if any(sign in lowered for sign in signs):
            return f"{meaning} (restic: {complaint(stderr)})"
    return f"restic: {complaint(stderr)}"


def tags_of(manifest: Json) -> list[str]:
    """A manifest as tags, so that one listing tells it of all snapshots; a tag holds no comma."""
    return [
        f"{name}={value}" for name, value in manifest.items() if isinstance(value, str | int) and "," not in str(value)
    ]


def read_tags(tags: list[str]) -> Json:
    """The manifest that :func:`tags_of` wrote."""
    pairs = (tag.partition("=") for tag in tags if "=" in tag)
    return {name: int(value) if value.isdecimal() and name in NUMBERS else value for name, _, value in pairs}


NUMBERS = {"format", "records", "count", "rooms", "messages", "users", "accounts", "bytes", "files"}


def chosen(snapshots: list[Snapshot], wanted: str) -> Snapshot:
    """The snapshot with this id, or the beginning of it; ``latest`` is the newest. They come oldest first."""
    if not snapshots:
        raise Failure("there is no such backup in the repository yet: playbooks/backup.yml makes one")
    found = snapshots[-1:] if wanted == "latest" else [item for item in snapshots if item.id.startswith(wanted[:8])]
    if len(found) != 1:
        there = ", ".join(item.id for item in snapshots[-10:])
        raise Failure(f"no such snapshot, or more than one: {wanted}. The newest there are: {there}")
    return found[0]


class Repository:
    """One repository, as seen from this host; the stack's name tells its backups from others there."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def snapshots(self, what: str) -> list[Snapshot]:
        """All backups of a kind, oldest first. Raises Missing if there is no repository."""
        found = json.loads(self._restic("snapshots", "--json", "--no-lock", *self._ours(what))) or []
        found.sort(key=lambda item: str(item["time"]))
        return [Snapshot(item["short_id"], what, read_tags(item.get("tags") or [])) for item in found]

    def try_password(self, file: Path) -> None:
        """Raises WrongPassword if the password in a file does not open what is there. Nothing there is no reason."""
        try:
            self._restic("cat", "config", "--no-lock", password_file=file)
        except WrongPassword:
            raise
        except Failure:
            return

    def make(self) -> None:
        """Make the repository where there is nothing yet."""
        path = Path(self._config.repository)
        if path.is_absolute() and path.is_dir() and any(path.iterdir()):
            raise Failure(
                f"{path} is not empty and is no repository: it is damaged, or backup_repository names another"
            )
        self._restic("init")

    def save(self, directory: Path, what: str, manifest: Json) -> str:
        """Keep all files of a directory; returns the snapshot's short id."""
        tags = [part for tag in tags_of(manifest) for part in ("--tag", tag)]
        names = sorted(path.name for path in directory.iterdir())
        written = self._restic("backup", "--json", *self._ours(what), *tags, *names, directory=directory)
        summary = json.loads(written.strip().splitlines()[-1])
        return str(summary["snapshot_id"])[:8]

    def restore(self, snapshot: Snapshot, target: Path) -> Json:
        """Put a backup's files into a directory; returns the manifest among them."""
        self._restic("restore", "--no-lock", snapshot.id, "--target", str(target))
        manifest: Json = json.loads((target / "manifest.json").read_text())
        return manifest

    def forget(self, what: str) -> None:
        """Drop what is older than is kept, and its data."""
        rules = [f"--keep-{age}={number}" for age, number in self._config.keep[what].items()]
        self._restic("forget", "--quiet", "--prune", "--group-by", "", *self._ours(what), *rules)

    def check(self, percent: int) -> None:
        """Raises Failure if the repository is damaged. ``percent``: how much of the data is read as well."""
        self._restic("check", *([f"--read-data-subset={percent}%"] if percent else []))

    def _ours(self, what: str) -> tuple[str, ...]:
        return ("--host", self._config.stack_name, "--tag", TAGS[what])

    def _restic(self, *arguments: str, directory: Path | None = None, password_file: Path = PASSWORD_FILE) -> str:
        # The address may hold a password, so it is no argument: those can be seen by all users of the host.
        environment = {
            **os.environ,
            **self._config.environment,
            "HOME": "/root",
            "RESTIC_REPOSITORY": self._config.repository,
            "RESTIC_PASSWORD_FILE": str(password_file),
            "RESTIC_CACHE_DIR": str(CACHE_DIR),
        }
        try:
            done = subprocess.run(
                ["restic", *arguments],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            raise Failure("restic is not installed here: playbooks/backup.yml does that") from None
        if done.returncode == 0:
            return done.stdout
        meaning = explain(done.stderr)
        kinds = {"there is no repository": Missing, "the password does not open": WrongPassword}
        raise next((kind for sign, kind in kinds.items() if meaning.startswith(sign)), Failure)(meaning)
