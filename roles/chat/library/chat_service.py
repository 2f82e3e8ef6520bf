#!/usr/bin/python
"""Deploy services of the stack, and wait until Swarm has said what became of it."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_stack import Docker, Verdict, slice_of, spec_hash, task_errors, verdict

DOCUMENTATION = """
module: chat_service
short_description: Deploy one service of the stack and wait for it
description:
  - Runs on a manager. Fails, with the errors of the tasks and the end of the log, when the service is not up in time,
    when its tasks keep ending, and when Swarm rolled it back or paused the update.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  service: {type: str, required: true, description: Name of the service in the stack.}
  stack: {type: dict, description: The compose file to deploy the service from. Only wait if not given.}
  wait: {type: bool, default: true, description: Whether to wait until the service is up.}
  timeout_s: {type: int, default: 180, description: Seconds to wait.}
"""

RETURN = """
container_id: {type: str, returned: success, description: The container of the service's task.}
node_id: {type: str, returned: success, description: The Swarm node it runs on.}
labels: {type: dict, returned: success, description: The labels of the container.}
image: {type: str, returned: success, description: The image of the container.}
"""

POLL_S = 1.0
LOG_LINES = 30


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "stack": {"type": "dict"},
            "wait": {"type": "bool", "default": True},
            "timeout_s": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    name, stack = module.params["service"], module.params["stack"]
    if module.check_mode and stack:
        module.exit_json(changed=True)
    docker = Docker(module.run_command, module.params["stack_name"])
    try:
        before = docker.services().get(name)
        stale = ((before or {}).get("UpdateStatus") or {}).get("StartedAt") if stack else None
        if stack:
            docker.deploy(slice_of(stack, [name]))
        if not module.params["wait"]:
            module.exit_json(changed=True)
        found = wait(docker, name, stale, module.params["timeout_s"], ignore_update=not stack)
        if found.state != "up":
            module.fail_json(msg=complaint(module, docker, name, found))
        changed = bool(stack) and (before is None or spec_hash(before) != spec_hash(docker.services()[name]))
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    container = found.task["Spec"]["ContainerSpec"]
    module.exit_json(
        changed=changed,
        container_id=found.task["Status"]["ContainerStatus"]["ContainerID"],
        node_id=found.task["NodeID"],
        labels=container.get("Labels", {}),
        image=container["Image"],
    )


def wait(docker: Docker, name: str, stale: str | None, timeout_s: int, *, ignore_update: bool) -> Verdict:
    """Poll until the verdict is final or the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        service = docker.services().get(name)
        if service is None:
            return Verdict("failed", "there is no such service")
        if ignore_update:
            service["UpdateStatus"] = None
        found = verdict(service, docker.tasks(name), stale)
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
