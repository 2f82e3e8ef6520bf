#!/usr/bin/python
"""Deploy services of the stack, and wait until Swarm has said what became of it."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_stack import Docker, Verdict, slice_of, spec_hash, task_errors, verdict

DOCUMENTATION = """
module: chat_service
short_description: Deploy, restart or scale one service of the stack and wait for it
description:
  - Runs on a manager. Fails, with the errors of the tasks and the end of the log, when the service is not up in time,
    when its tasks keep ending, and when Swarm rolled it back or paused the update.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  service: {type: str, required: true, description: Name of the service in the stack.}
  stack: {type: dict, description: The compose file to deploy the service from. Only wait if not given.}
  force: {type: bool, default: false, description: Restart the service as it is.}
  replicas: {type: int, description: "Scale the service as it is; 0 stops it."}
  wait: {type: bool, default: true, description: Whether to wait until the service is up.}
  timeout_s: {type: int, default: 180, description: Seconds to wait.}
"""

RETURN = """
labels: {type: dict, returned: success, description: The labels of the service's containers.}
image: {type: str, returned: success, description: Their image.}
"""

POLL_S = 1.0
WIDEN_S = 30.0
"""A replica that has no machine by then is one that the deployment tells of."""
LOG_LINES = 30


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "stack": {"type": "dict"},
            "force": {"type": "bool", "default": False},
            "replicas": {"type": "int"},
            "wait": {"type": "bool", "default": True},
            "timeout_s": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    name, stack, force = module.params["service"], module.params["stack"], module.params["force"]
    docker = Docker(module.run_command, module.params["stack_name"])
    try:
        before = docker.services().get(name)
        acts = bool(stack) or force or is_scaled(before, module.params["replicas"])
        if module.check_mode and acts:
            module.exit_json(changed=True)
        stale = ((before or {}).get("UpdateStatus") or {}).get("StartedAt") if acts else None
        seen = frozenset(task["ID"] for task in docker.tasks(name)) if acts and before else frozenset()
        act(docker, module.params, before)
        if not module.params["wait"]:
            module.exit_json(changed=acts)
        found = wait(docker, name, stale, seen, module.params["timeout_s"], ignore_update=not acts)
        if found.state != "up":
            module.fail_json(msg=complaint(module, docker, name, found))
        changed = force or (acts and (before is None or spec_hash(before) != spec_hash(docker.services()[name])))
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, **facts(found.task))


def is_scaled(service: dict[str, Any] | None, replicas: int | None) -> bool:
    """Whether the service is to have another number of replicas than it has."""
    return (
        replicas is not None and service is not None and replicas != service["Spec"]["Mode"]["Replicated"]["Replicas"]
    )


def act(docker: Docker, parameters: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Deploy, restart or scale the service, whichever is asked for."""
    name, stack = parameters["service"], parameters["stack"]
    if stack:
        widen(docker, name, before, stack["services"][name]["deploy"]["replicas"])
        docker.deploy(slice_of(stack, [name]))
    elif parameters["force"]:
        docker("service", "update", "--detach", "--quiet", "--force", f"{docker.stack_name}_{name}")
    elif parameters["replicas"] is not None:
        scale(docker, name, parameters["replicas"])


def scale(docker: Docker, name: str, replicas: int) -> None:
    """Ask for another number of replicas, and for nothing else."""
    docker("service", "update", "--detach", "--quiet", "--replicas", str(replicas), f"{docker.stack_name}_{name}")


def widen(docker: Docker, name: str, before: dict[str, Any] | None, replicas: int) -> None:
    """Give further replicas their machines before anything else changes.

    All that is free then are those. In one step with a new definition the first replica leaves its machine as well, and
    may find itself on another one.
    """
    if before is None or not 0 < before["Spec"]["Mode"]["Replicated"]["Replicas"] < replicas:
        return
    scale(docker, name, replicas)
    deadline = time.monotonic() + WIDEN_S
    while time.monotonic() < deadline:
        placed = [task for task in docker.tasks(name) if task["DesiredState"] == "running" and task.get("NodeID")]
        if len(placed) >= replicas:
            return
        time.sleep(POLL_S)


def facts(task: dict[str, Any]) -> dict[str, Any]:
    """What the callers want to know of a task; nothing of a stopped service's."""
    if not task:
        return {}
    container = task["Spec"]["ContainerSpec"]
    return {"labels": container.get("Labels", {}), "image": container["Image"]}


def wait(
    docker: Docker, name: str, stale: str | None, seen: frozenset[str], timeout_s: int, *, ignore_update: bool
) -> Verdict:
    """Poll until the verdict is final or the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        service = docker.services().get(name)
        if service is None:
            return Verdict("failed", "there is no such service")
        if ignore_update:
            service["UpdateStatus"] = None
        found = verdict(service, docker.tasks(name), stale, seen)
        if found.state != "waiting" or time.monotonic() > deadline:
            return found
        time.sleep(POLL_S)


def complaint(module: AnsibleModule, docker: Docker, name: str, found: Verdict) -> str:
    """All there is to know of a service that is not up, before Swarm forgets it."""
    errors = task_errors(docker.tasks(name)) or ["no task error is known"]
    # `docker service logs` waits for ever for a machine that is gone.
    command = [
        "timeout",
        "15",
        "docker",
        "service",
        "logs",
        "--raw",
        "--tail",
        str(LOG_LINES),
        f"{docker.stack_name}_{name}",
    ]
    _, out, err = module.run_command(command)
    return "\n".join(
        [f"{name} is not up: {found.message}", *errors[:5], "The end of its log:", (out + err).strip() or "(empty)"]
    )


if __name__ == "__main__":
    main()
