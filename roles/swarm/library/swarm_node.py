#!/usr/bin/python
"""Promote, demote, drain or activate nodes of the Swarm, when quorum and service allow it, and wait until it is so."""

from __future__ import annotations

import json
import time
from http.client import HTTPException
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarm_nodes import STEPS, Node, faults, find, is_done, read
from ansible.module_utils.urls import open_url

DOCUMENTATION = """
module: swarm_node
short_description: Promote, demote, drain, activate or remove nodes of the Swarm
description:
  - Runs on a manager. Judges first whether quorum and service allow all of it, and changes nothing if not.
  - One node after the other; returns when the Swarm says that it is so.
author: [The chat-node authors]
options:
  targets:
    type: list
    elements: dict
    required: true
    description: "The nodes, each as C(name), C(node_id) (empty if its engine does not answer) and C(address)."
  state:
    type: str
    required: true
    choices: [promote, demote, drain, activate, restart, remove]
    description:
      - C(restart) only judges whether the machine may go for a while. C(remove) demotes a manager, and forgets it.
  ready_urls: {type: dict, default: {}, description: "Where each chat node says whether it is ready, by C(node_type)."}
  window: {type: bool, default: false, description: "Whether a maintenance window is open."}
  timeout_s: {type: int, default: 180, description: Seconds to wait for each node.}
"""

RETURN = """
nodes: {type: list, returned: always, description: "The targets as they are now."}
before: {type: list, returned: always, description: "The targets as they were."}
serving: {type: dict, returned: always, description: "Each chat node and whether it was ready before."}
"""

POLL_S = 0.5
RECONNECT_S = 15
"""So long a machine that is to be promoted may be down: one that has just been demoted connects anew."""
ANSWER_S = 3
UNDECIDED = ("deadline exceeded", "does not have a leader", "update out of sequence")
"""What is said of a change that the managers had not agreed on in time, and of one that is given just after."""
COMMANDS = {
    "promote": ("node", "promote"),
    "demote": ("node", "demote"),
    "drain": ("node", "update", "--availability", "drain"),
    "activate": ("node", "update", "--availability", "active"),
}


class Swarm:
    """The Swarm as this manager sees it. `run` is AnsibleModule.run_command; failed commands raise RuntimeError."""

    def __init__(self, run: Any, ready_urls: dict[str, str]) -> None:
        self._run = run
        self._ready_urls = ready_urls

    def docker(self, *arguments: str) -> str:
        code, out, error = self._run(["docker", *arguments])
        if code != 0:
            raise RuntimeError(f"docker {' '.join(arguments)}: {error.strip() or out.strip()}")
        return str(out)

    def nodes(self) -> list[Node]:
        ids = self.docker("node", "ls", "--quiet").split()
        return [read(item) for item in json.loads(self.docker("node", "inspect", *ids))]

    def node(self, node_id: str) -> Node:
        return read(json.loads(self.docker("node", "inspect", node_id))[0])

    def wait_ready(self, node_ids: set[str]) -> list[Node]:
        """All nodes, once these are ready, or have been given the time for it."""
        deadline = time.monotonic() + RECONNECT_S
        while True:
            nodes = self.nodes()
            if all(node.state == "ready" for node in nodes if node.id in node_ids) or time.monotonic() > deadline:
                return nodes
            time.sleep(POLL_S)

    def serving(self) -> dict[str, bool]:
        return {name: is_ready(url) for name, url in self._ready_urls.items()}

    def is_so(self, node_id: str, step: str) -> bool:
        """Whether a step has come into effect, as far as the Swarm and the chat node can say."""
        node = self.node(node_id)
        if not is_done(node, step):
            return False
        if step == "promote":
            return node.reachable
        if step == "drain":
            # Nobody can say what still runs on a machine that is silent.
            return node.state != "ready" or not any(line.startswith("Running") for line in self._tasks(node_id))
        if step == "activate":
            back = node.state == "ready" and (node.role == "worker" or node.reachable)
            return back and (node.node_type not in self._ready_urls or is_ready(self._ready_urls[node.node_type]))
        return True

    def _tasks(self, node_id: str) -> list[str]:
        return self.docker("node", "ps", "--format", "{{.CurrentState}}", node_id).splitlines()

    def act(self, node: Node, step: str, timeout_s: float) -> None:
        """Take a step and wait for its effect."""
        if step == "remove":
            if node.role == "manager":
                self.act(node, "demote", timeout_s)
            self.docker("node", "rm", "--force", node.id)
            return
        deadline = time.monotonic() + timeout_s
        self._change((*COMMANDS[step], node.id), deadline)
        while not self.is_so(node.id, step):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{step} of {node.hostname} did not come into effect within {timeout_s} s")
            time.sleep(POLL_S)

    def _change(self, command: tuple[str, ...], deadline: float) -> None:
        """Give a command that may be given again, until the managers have decided."""
        while True:
            try:
                self.docker(*command)
                return
            except RuntimeError as error:
                if time.monotonic() > deadline or not any(words in str(error) for words in UNDECIDED):
                    raise
            time.sleep(POLL_S)


def is_ready(url: str) -> bool:
    """Whether a chat node says that it is."""
    try:
        return bool(open_url(url, timeout=ANSWER_S).status == 200)
    except (OSError, HTTPException):
        return False


def run(module: AnsibleModule, swarm: Swarm) -> dict[str, Any]:
    """What the module answers; raises RuntimeError and LookupError with the reason why nothing was changed."""
    step, nodes = module.params["state"], swarm.nodes()
    targets = [find(nodes, t["name"], t.get("node_id") or "", t.get("address") or "") for t in module.params["targets"]]
    if step == "promote":
        nodes = swarm.wait_ready({node.id for node in targets})
        targets = [find(nodes, node.hostname, node.id) for node in targets]
    todo = [node for node in targets if not is_done(node, step)]
    serving = swarm.serving() if todo else {}
    reasons = faults(nodes, todo, step, serving, module.params["window"])
    if reasons:
        names = ", ".join(target["name"] for target in module.params["targets"])
        raise RuntimeError(f"{step} of {names} is refused: {'; '.join(reasons)}. Nothing was changed.")
    acting = step != "restart" and not module.check_mode
    for node in todo if acting else []:
        swarm.act(node, step, module.params["timeout_s"])
    after = [] if step == "remove" else [swarm.node(node.id) for node in targets]
    return {
        "changed": step != "restart" and bool(todo),
        "before": [vars(node) for node in targets],
        "nodes": [vars(node) for node in after],
        "serving": serving,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "targets": {"type": "list", "elements": "dict", "required": True},
            "state": {"type": "str", "required": True, "choices": list(STEPS)},
            "ready_urls": {"type": "dict", "default": {}},
            "window": {"type": "bool", "default": False},
            "timeout_s": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    try:
        answer = run(module, Swarm(module.run_command, module.params["ready_urls"]))
    except (RuntimeError, LookupError) as error:
        module.fail_json(msg=str(error.args[0]))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
