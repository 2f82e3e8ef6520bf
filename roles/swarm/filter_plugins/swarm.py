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


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"swarm_first_manager": first_manager, "swarm_label_arguments": label_arguments}
