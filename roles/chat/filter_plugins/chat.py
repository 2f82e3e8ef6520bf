"""What the chat role computes on the controller: names by content, and faults of the placement."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

SHORT_HASH_CHARS = 12
IGNORED = {"__pycache__", "node_modules"}


def names_by_content(values: dict[str, str], prefix: str) -> dict[str, str]:
    """For each value the name of an object that holds it: another value has another name."""
    hashes = {name: hashlib.sha256(value.encode()).hexdigest()[:SHORT_HASH_CHARS] for name, value in values.items()}
    return {name: f"{prefix}_{name}-{hashed}" for name, hashed in hashes.items()}


def tree_hash(root: str, names: list[str], salt: str = "") -> str:
    """A hash over files and directories (with all that is in them) below `root`, their paths and executable bits.

    `salt` is what else decides the result of a build, e.g. its arguments. Raises FileNotFoundError for a missing name.
    """
    total = hashlib.sha256(salt.encode())
    for path in sorted(found for name in names for found in files_below(Path(root) / name)):
        total.update(f"{path.relative_to(root)}\0{os.access(path, os.X_OK)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:SHORT_HASH_CHARS]


def files_below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(path)
    return [found for found in path.rglob("*") if found.is_file() and not IGNORED & set(found.parts)]


def placement_faults(nodes: list[dict[str, Any]], replicas: dict[str, int]) -> list[str]:
    """What keeps the services from finding their machines, one for each replica.

    `nodes` as `docker node inspect` prints them; `replicas`: node_type -> how many.
    """
    faults = []
    for node_type, count in replicas.items():
        labelled = [node for node in nodes if node["Spec"].get("Labels", {}).get("node_type") == node_type]
        usable = [n for n in labelled if n["Status"]["State"] == "ready" and n["Spec"]["Availability"] == "active"]
        hosts = ", ".join(node["Description"]["Hostname"] for node in usable)
        if not labelled:
            faults.append(f"node_type={node_type} is the label of no machine")
        elif len(usable) > count:
            faults.append(
                f"node_type={node_type} is the label of {len(usable)} machines, {hosts}, for {count} replica(s)"
            )
        elif len(usable) < count:
            there = ", ".join(map(_state_as_text, labelled))
            faults.append(f"{count} replica(s) of {node_type} want as many usable machines; the label is on {there}")
    return faults


def replicas_of(services: dict[str, Any], names: list[str]) -> dict[str, int]:
    """How many there are of each of these services of a compose file, if it has machines with a label of its own."""
    wanted = {name: services[name].get("deploy", {}) for name in names if name in services}
    return {
        name: int(deploy.get("replicas", 1))
        for name, deploy in wanted.items()
        if f"node.labels.node_type == {name}" in deploy.get("placement", {}).get("constraints", [])
    }


def _state_as_text(node: dict[str, Any]) -> str:
    return f"{node['Description']['Hostname']}, which is {node['Status']['State']} and {node['Spec']['Availability']}"


def change_as_text(change: dict[str, Any]) -> str:
    return f"{change['service']} {change['reason']}"


def release_as_text(release: dict[str, Any]) -> str:
    """One line on an entry of the ledger."""
    mark = "current" if release["current"] else ""
    changes = ", ".join(map(change_as_text, release.get("changes", []))) or "nothing was touched"
    number, version = f"release {release['release']}", f"version {release.get('version') or '-'}"
    parts = [number, mark, version, release.get("at", ""), release.get("by", ""), release.get("why", ""), changes]
    return " | ".join(part for part in parts if part)


def secret_as_text(secret: dict[str, Any]) -> str:
    """One line on a secret and who needs it."""
    services = ", ".join(secret["services"]) or "no service"
    releases = ", ".join(map(str, secret["releases"])) or "none"
    return f"{secret['secret']} | {secret['created'][:19]} | used by {services} | needed by releases {releases}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "chat_names_by_content": names_by_content,
            "chat_tree_hash": tree_hash,
            "chat_change_as_text": change_as_text,
            "chat_release_as_text": release_as_text,
            "chat_secret_as_text": secret_as_text,
            "chat_placement_faults": placement_faults,
            "chat_replicas_of": replicas_of,
        }
