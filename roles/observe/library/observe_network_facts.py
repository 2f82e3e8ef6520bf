#!/usr/bin/python
"""Who reaches whom over the overlay, seen from one host."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.observe_network import examine

DOCUMENTATION = """
module: observe_network_facts
short_description: Who reaches whom over the overlay, seen from one host
description:
  - Sends packets from the network of the chat node that runs here, which has to be done on all hosts at the same time.
  - Makes nothing and leaves nothing, and never fails because something is blocked.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  targets: {type: dict, required: true, description: "Service -> its address in the overlay."}
  outside:
    type: list
    elements: str
    default: []
    description: "What containers should reach, as host:port. The host's router if there is none."
  script: {type: str, required: true, description: Source of the probe.}
  port: {type: int, required: true, description: UDP port of the probe.}
  ask_s: {type: float, required: true, description: Seconds after which a packet counts as lost.}
"""

RETURN = """
network: {type: dict, returned: always, description: What was found.}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "targets": {"type": "dict", "required": True},
            "outside": {"type": "list", "elements": "str", "default": []},
            "script": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "ask_s": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    found = examine(
        wanted["stack_name"], wanted["targets"], wanted["outside"], wanted["script"], wanted["port"], wanted["ask_s"]
    )
    module.exit_json(changed=False, network=found)


if __name__ == "__main__":
    main()
