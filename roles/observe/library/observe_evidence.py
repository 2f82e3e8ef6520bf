#!/usr/bin/python
"""What a host has to say when something is wrong."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.observe_bundle import gather

DOCUMENTATION = """
module: observe_evidence
short_description: What a host has to say when something is wrong
description:
  - Collects logs, states and settings of a host and of the chat on it. Changes nothing, and never fails because
    something is down. Each item, and all together, are bounded in time and size.
  - The answer may hold secrets. The archive that M(observe_archive) makes of it does not.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  item_bytes: {type: int, required: true, description: The most that one item may take.}
  total_bytes: {type: int, required: true, description: The most that all together may take.}
"""

RETURN = """
items: {type: dict, returned: always, description: "Name of an item -> its text."}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "item_bytes": {"type": "int", "required": True},
            "total_bytes": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    found = gather(wanted["stack_name"], wanted["item_bytes"], wanted["total_bytes"])
    module.exit_json(changed=False, items=found)


if __name__ == "__main__":
    main()
