"""What is done: a backup of each kind, its trial, and the steps of a restore."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

from chat_backup.cluster import Cluster
from chat_backup.common import (
    STATE_DIR,
    Config,
    Failure,
    Json,
    age_s,
    as_lines,
    disk_failure,
    empty,
    for_node,
    need_room,
    now,
    staging,
)
from chat_backup.repository import Missing, Repository, Snapshot, chosen

COMPARED = ("count", "rooms", "messages", "users", "accounts", "digest")
RESTORE_DIR = STATE_DIR / "staging" / "restore"
INVENTORY = STATE_DIR / "inventory.json"
ROOM_FACTOR = 4
"""An export, the state it leads to and restic's own files, against the size of the export before."""
ROOM_MIN_BYTES = 64 << 20


class Work:
    """All work with one repository and one stack, on this host."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._repository = Repository(config)
        self._cluster = Cluster(config)

    def back_up(self, what: str) -> Json:
        """Make one backup, ``config`` or ``data``; the configuration only if it has changed."""
        before = self._snapshots_or_make(what)
        with staging(what) as directory:
            files = directory / "files"
            files.mkdir()
            manifest = self._gather_data(files, before) if what == "data" else self._gather_config(files)
            if what == "config" and before and before[-1].manifest.get("sha256") == manifest["sha256"]:
                return {"changed": False, "snapshot": before[-1].id, **before[-1].manifest}
            (files / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
            snapshot = self._repository.save(files, what, manifest)
        self._repository.forget(what)
        self._repository.check(self._config.check_percent)
        return {"changed": True, "snapshot": snapshot, **manifest}

    def listed(self, what: str) -> list[Json]:
        """The manifests of all backups of a kind, oldest first, each with its snapshot and its age."""
        found = self._repository.snapshots(what)
        return [
            {"snapshot": item.id, "what": what, "age_s": age_s(item.manifest["created_at"]), **item.manifest}
            for item in found
        ]

    def check(self) -> Json:
        """Read every byte of the repository."""
        self._repository.check(100)
        return {"checked": True}

    def try_password(self, file: Path) -> Json:
        """Raises Failure if the password in a file does not open the repository that is there."""
        self._repository.try_password(file)
        return {"refused": False}

    def drill(self, wanted: str) -> Json:
        """Restore a backup into scratch and compare what comes out; raises Failure if it differs."""
        began = time.monotonic()
        snapshot = self._choose(wanted)
        with staging("drill") as directory:
            manifest = self._take_out(snapshot, directory / "files")
            scratch = for_node(directory / "scratch")
            # What is counted is what was put in and read out again, not what the import says of the file.
            steps = (
                "chat-node import /in/chat.jsonl >&2 && chat-node export /data/again.jsonl"
                " && chat-node verify --json /data/again.jsonl"
            )
            said = self._cluster.once("sh", "-c", steps, file=directory / "files" / "chat.jsonl", scratch=scratch)
        found = json.loads(said.splitlines()[-1])
        must_agree(manifest, found, f"snapshot {snapshot.id} does not lead to what its manifest tells")
        if found["epoch"] == manifest["epoch"]:
            raise Failure("the restored log has the epoch of the old one")
        return {
            "snapshot": snapshot.id,
            "rpo_s": age_s(manifest["created_at"]),
            "rto_s": round(time.monotonic() - began, 1),
            **{name: found[name] for name in COMPARED},
        }

    def fetch(self, wanted: str) -> Json:
        """Take a backup out and verify it; it stays there for :meth:`load`."""
        snapshot = self._choose(wanted)
        empty(RESTORE_DIR)
        try:
            manifest = self._take_out(snapshot, RESTORE_DIR / "files")
            found = self._verify(RESTORE_DIR / "files" / "chat.jsonl", for_node(RESTORE_DIR / "scratch"))
        except OSError as error:
            raise disk_failure(error, RESTORE_DIR) from None
        must_agree(manifest, found, f"snapshot {snapshot.id} is not what its manifest tells")
        return {"snapshot": snapshot.id, **manifest}

    def target(self, replace: bool) -> Json:
        """What is in the log now; raises Failure if that would be lost and may not."""
        found = self._cluster.target(RESTORE_DIR / "scratch")
        if not found["probes_only"] and not replace:
            shutil.rmtree(RESTORE_DIR)
            stack = self._config.stack_name
            raise Failure(
                f"the log of {stack} is not empty: it has {found['count']} entries, and a restore would end them. "
                f"If they may go, say `-e replace={stack}`. Nothing was changed"
            )
        return found

    def load(self) -> Json:
        """Put what was fetched into the log, which must be empty."""
        file, scratch = RESTORE_DIR / "files" / "chat.jsonl", RESTORE_DIR / "scratch"
        if not file.exists():
            raise Failure("nothing was fetched: that comes first")
        reach = self._cluster.log_options(scratch)
        said = self._cluster.once(
            "chat-node", "import", "--json", "/in/chat.jsonl", file=file, scratch=scratch, reach=reach
        )
        shutil.rmtree(RESTORE_DIR)
        return {"changed": True, **json.loads(said)}

    def scale(self, kind: str, direction: str) -> Json:
        """Start or stop all services of a kind."""
        self._cluster.scale(kind, up=direction == "up")
        return {"changed": True}

    def is_ours_to_do(self) -> bool:
        """Whether this host is the one whose timer acts."""
        return self._config.acts == "here" or self._cluster.is_leader()

    def _snapshots_or_make(self, what: str) -> list[Snapshot]:
        try:
            return self._repository.snapshots(what)
        except Missing:
            self._repository.make()
            return []

    def _choose(self, wanted: str) -> Snapshot:
        return chosen(self._repository.snapshots("data"), wanted)

    def _gather_data(self, directory: Path, before: list[Snapshot]) -> Json:
        last_bytes = before[-1].manifest.get("bytes", 0) if before else 0
        need_room(directory, ROOM_FACTOR * last_bytes + ROOM_MIN_BYTES)
        ready = self._cluster.readiness()
        file = directory / "chat.jsonl"
        self._cluster.export(file)
        found = self._verify(file, for_node(directory.parent / "scratch"))
        return {
            "created_at": found["created_at"],
            "node_version": found["node_version"],
            "format": found["chat_export"],
            "records": ready["records"],
            "epoch": found["epoch"],
            **{name: found[name] for name in COMPARED},
            "sha256": found["sha256"],
            "bytes": file.stat().st_size,
        }

    def _gather_config(self, directory: Path) -> Json:
        facts = self._cluster.facts()
        inventory = json.loads(INVENTORY.read_text()) if INVENTORY.exists() else {"files": {}, "left_out": []}
        files = {
            "swarm.json": as_text(facts),
            "release.json": as_text(self._cluster.release()),
            "left-out.json": as_text(inventory["left_out"]),
            **{f"inventory/{name}": text for name, text in inventory["files"].items()},
        }
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return {
            "created_at": now().isoformat(),
            "cluster": facts["cluster"],
            "files": len(files),
            "sha256": hashlib.sha256(as_text(files).encode()).hexdigest(),
            "secrets": facts["secrets"],
            "volumes": facts["volumes"],
        }

    def _verify(self, file: Path, scratch: Path) -> Json:
        said = self._cluster.once("chat-node", "verify", "--json", "/in/chat.jsonl", file=file, scratch=scratch)
        found: Json = json.loads(said)
        return found

    def _take_out(self, snapshot: Snapshot, directory: Path) -> Json:
        need_room(directory.parent, ROOM_FACTOR * snapshot.manifest.get("bytes", 0) + ROOM_MIN_BYTES)
        manifest = self._repository.restore(snapshot, directory)
        (directory / "chat.jsonl").chmod(0o444)
        return manifest


def must_agree(manifest: Json, found: Json, complaint: str) -> None:
    """Raises Failure, naming each difference."""
    differences = [
        f"{name} is {found.get(name)}, not {manifest.get(name)}"
        for name in (*COMPARED, *(["sha256"] if found.get("epoch") == manifest["epoch"] else []))
        if found.get(name) != manifest.get(name)
    ]
    if differences:
        raise Failure(f"{complaint}: {as_lines(differences)}")


def as_text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
