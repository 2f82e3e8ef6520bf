#!/usr/bin/python
"""One service: what the Swarm knows of it, its tasks, and what differs from the release."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_stack import Docker, latest
from ansible.module_utils.observe_drift import differences

DOCUMENTATION = """
module: observe_service
short_description: What the Swarm knows of a service, and what differs from the release
description: [Runs on a manager and changes nothing.]
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  service: {type: str, required: true, description: Name of the service in the stack.}
"""

RETURN = """
pretty: {type: str, returned: success, description: "What C(docker service inspect --pretty) prints."}
tasks: {type: str, returned: success, description: "What C(docker service ps --no-trunc) prints."}
release: {type: int, returned: success, description: "Number of the last release; 0 if there is none."}
differences: {type: list, returned: success, description: What differs from it.}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    docker = Docker(module.run_command, module.params["stack_name"])
    service = module.params["service"]
    full_name = f"{docker.stack_name}_{service}"
    try:
        newest = latest(docker.releases())
        module.exit_json(
            changed=False,
            pretty=docker("service", "inspect", "--pretty", full_name),
            tasks=docker("service", "ps", "--no-trunc", full_name),
            release=newest["release"] if newest else 0,
            differences=differences(newest["stack"], service, docker.services()[service]) if newest else [],
        )
    except RuntimeError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
