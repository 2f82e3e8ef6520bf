"""What the chat role computes on the controller: names by content, and faults of the placement."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

SHORT_HASH_CHARS = 12
IGNORED = {"__pycache__"}


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


def placement_faults(nodes: list[dict[str, Any]], node_types: list[str]) -> list[str]:
    """What keeps the services from finding their machine. `nodes` as `docker node inspect` prints them."""
    faults = []
    for node_type in node_types:
        labelled = [node for node in nodes if node["Spec"].get("Labels", {}).get("node_type") == node_type]
        hosts = ", ".join(node["Description"]["Hostname"] for node in labelled)
        usable = [n for n in labelled if n["Status"]["State"] == "ready" and n["Spec"]["Availability"] == "active"]
        if len(labelled) > 1:
            faults.append(f"node_type={node_type} is the label of {len(labelled)} machines: {hosts}")
        elif not labelled:
            faults.append(f"node_type={node_type} is the label of no machine")
        elif not usable:
            state, availability = labelled[0]["Status"]["State"], labelled[0]["Spec"]["Availability"]
            faults.append(f"node_type={node_type} is the label of {hosts} alone, which is {state} and {availability}")
    return faults


def change_as_text(change: dict[str, Any]) -> str:
    return f"{change['service']} {change['reason']}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "chat_names_by_content": names_by_content,
            "chat_tree_hash": tree_hash,
            "chat_change_as_text": change_as_text,
            "chat_placement_faults": placement_faults,
        }
