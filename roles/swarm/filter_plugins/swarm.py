"""What the swarm role computes: which manager to ask, which label arguments to pass."""

from __future__ import annotations

import json
from typing import Any


def first_manager(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The first host whose engine manages a swarm, as {name, swarm}; {} if there is none.

    `answers` are the results of a loop of `docker info --format '{{json .Swarm}}'` over inventory names; hosts that
    could not be reached or have no engine are among them.
    """
    for answer in answers:
        if answer.get("unreachable") or answer.get("rc") != 0:
            continue
        swarm = json.loads(answer["stdout"])
        if swarm["LocalNodeState"] == "active" and swarm["ControlAvailable"]:
            return {"name": answer["item"], "swarm": swarm}
    return {}


def label_arguments(current: dict[str, str], wanted: dict[str, Any]) -> list[str]:
    """The arguments of `docker node update` that turn the labels `current` into `wanted`; none if they are equal."""
    stale = sorted(current.keys() - wanted.keys())
    changed = sorted(name for name, value in wanted.items() if current.get(name) != str(value))
    return [f"--label-rm={name}" for name in stale] + [f"--label-add={name}={wanted[name]}" for name in changed]


def strangers(inspected: list[dict[str, Any]], known_ids: list[str]) -> list[dict[str, Any]]:
    """The nodes of the Swarm that are no host of the inventory. `inspected` as `docker node inspect` prints them."""
    found = []
    for node in inspected:
        if node["ID"] in known_ids:
            continue
        manager = (node.get("ManagerStatus") or {}).get("Addr", "").rpartition(":")[0]
        labels = node["Spec"].get("Labels") or {}
        found.append(
            {
                "id": node["ID"],
                "hostname": node["Description"].get("Hostname", ""),
                "address": manager or node["Status"].get("Addr", ""),
                "role": node["Spec"]["Role"],
                "state": node["Status"]["State"],
                "node_type": labels.get("node_type", ""),
                "log_server": labels.get("log_server", ""),
            }
        )
    return found


def node_as_text(pair: tuple[str, dict[str, Any]]) -> str:
    """One line on a node; `pair` is its inventory name and what swarm_node said of it."""
    name, node = pair
    part = node["role"] + (", unreachable" if node["role"] == "manager" and not node["reachable"] else "")
    return f"{name} ({node['id']}, {node['address']}): {part}, {node['state']}, {node['availability']}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "swarm_first_manager": first_manager,
            "swarm_label_arguments": label_arguments,
            "swarm_strangers": strangers,
            "swarm_node_as_text": node_as_text,
        }
