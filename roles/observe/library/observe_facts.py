#!/usr/bin/python
"""One look at a host and at all the chat has there."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.observe_look import Look

DOCUMENTATION = """
module: observe_facts
short_description: One look at a host and at all the chat has there
description:
  - Gathers machine, engine, place in the Swarm, containers, chat node and log server in one go, and changes nothing.
  - Never fails because something is down. What did not answer is told in the facts.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  interval_s:
    type: float
    default: 0
    description: "Seconds between two samples of all counters; 0 takes one sample and tells no rates."
"""

RETURN = """
facts: {type: dict, returned: always, description: What was found.}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "interval_s": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    look = Look(module.params["stack_name"], module.params["interval_s"])
    module.exit_json(changed=False, facts=look.take())


if __name__ == "__main__":
    main()
