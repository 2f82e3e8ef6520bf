"""What may be done to nodes of the Swarm, judged before it is done.

Pure functions over what `docker node inspect` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STEPS = ("promote", "demote", "drain", "activate", "restart", "remove")
"""`restart` is a machine that goes and comes back; `remove` one that goes for good."""


@dataclass(frozen=True)
class Node:
    """One node of the Swarm."""

    id: str
    hostname: str
    address: str
    role: str
    state: str
    availability: str
    reachable: bool
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def node_type(self) -> str:
        """Which chat node lives there; empty for none, and for a machine that has a further replica of one."""
        return self.labels.get("node_type", "") if "log_server" in self.labels else ""


def read(inspected: dict[str, Any]) -> Node:
    """One element of what `docker node inspect` prints."""
    spec, manager = inspected["Spec"], inspected.get("ManagerStatus") or {}
    address = manager.get("Addr", "").rpartition(":")[0] or inspected["Status"].get("Addr", "")
    return Node(
        id=inspected["ID"],
        hostname=inspected["Description"].get("Hostname", ""),
        address=address,
        role=spec["Role"],
        state=inspected["Status"]["State"],
        availability=spec["Availability"],
        reachable=manager.get("Reachability") == "reachable",
        labels=spec.get("Labels") or {},
    )


def find(nodes: list[Node], name: str, node_id: str = "", address: str = "") -> Node:
    """The node of an inventory host: by the id its own engine told, or, when that is silent, by its address.

    Raises LookupError, which names the nodes there are.
    """
    found = [node for node in nodes if node.id == node_id] or [n for n in nodes if n.address == address and not node_id]
    if len(found) != 1:
        there = ", ".join(f"{node.hostname} {node.address} {node.state}" for node in nodes)
        what = "no node" if not found else f"{len(found)} nodes"
        raise LookupError(f"{name} ({node_id or address}) is {what} of the Swarm; there are: {there}")
    return found[0]


def is_done(node: Node, step: str) -> bool:
    """Whether there is nothing to do."""
    wanted = {
        "promote": node.role == "manager",
        "demote": node.role == "worker",
        "drain": node.availability == "drain",
        "activate": node.availability == "active",
    }
    return wanted.get(step, False)


def majority(count: int) -> int:
    """How many of so many are enough to decide."""
    return count // 2 + 1


def faults(nodes: list[Node], targets: list[Node], step: str, serving: dict[str, bool], window: bool) -> list[str]:
    """Why a step must not be taken; empty if it may.

    `serving`: each chat node (by `node_type`) and whether it is ready. `window`: whether a maintenance window is open.
    """
    found = []
    if step in ("promote", "demote", "restart", "remove"):
        found += quorum_faults(nodes, targets, step)
    if step in ("promote", "demote"):
        found += parity_faults(nodes, targets, step)
    if step in ("drain", "restart", "remove"):
        found += serving_faults(targets, step, serving, window and step == "drain")
    return found


def quorum_faults(nodes: list[Node], targets: list[Node], step: str) -> list[str]:
    """Whether a majority of the managers there are then can be reached."""
    touched = {node.id for node in targets}
    down = [node.hostname for node in targets if step == "promote" and node.state != "ready"]
    if down:
        return [f"{', '.join(down)} is down; a manager that is down is a vote that is missing"]
    managers = {node.id: node.reachable for node in nodes if node.role == "manager"}
    if step == "promote":
        managers |= dict.fromkeys(touched, True)
    elif step == "restart":
        managers |= dict.fromkeys(touched & managers.keys(), False)
    else:
        managers = {node_id: reachable for node_id, reachable in managers.items() if node_id not in touched}
    votes = sum(managers.values())
    if votes >= majority(len(managers)):
        return []
    return [f"{votes} of {len(managers)} managers would be reachable, and the Swarm needs {majority(len(managers))}"]


def parity_faults(nodes: list[Node], targets: list[Node], step: str) -> list[str]:
    """Whether the managers would be even in number."""
    managers = {node.id for node in nodes if node.role == "manager"}
    touched = {node.id for node in targets}
    count = len(managers | touched if step == "promote" else managers - touched)
    if count % 2:
        return []
    return [
        f"{count} managers survive no more failures than {count - 1}, and split more easily; {step} another one as well"
    ]


def serving_faults(targets: list[Node], step: str, serving: dict[str, bool], window: bool) -> list[str]:
    """Whether enough chat nodes would serve. Taking away what does not serve takes nothing away."""
    gone = {node.node_type for node in targets} & serving.keys()
    others = [name for name, ready in serving.items() if ready and name not in gone]
    takes = step == "remove" or any(serving[name] for name in gone)
    if window or not gone or not takes or len(others) >= majority(len(serving)):
        return []
    left = ", ".join(others) or "none"
    silent = ", ".join(name for name, ready in serving.items() if not ready and name not in gone)
    return [
        f"{len(others)} of {len(serving)} chat nodes would serve ({left}), and {majority(len(serving))} are the least"
        + (f"; {silent} does not serve now" if silent else "")
    ]
