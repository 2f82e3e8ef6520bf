#!/usr/bin/python
"""List the releases that are kept in the Swarm."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_stack import Docker, decode, number

DOCUMENTATION = """
module: chat_releases
short_description: List the releases that are kept in the Swarm
description: [Runs on a manager and changes nothing.]
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
"""

RETURN = """
releases:
  type: list
  returned: always
  description: "Newest first: release, current, version, at, by, why, changes, and each service's image."
"""


def main() -> None:
    module = AnsibleModule(argument_spec={"stack_name": {"type": "str", "required": True}}, supports_check_mode=True)
    docker = Docker(module.run_command, module.params["stack_name"])
    try:
        releases = [decode(item) for item in sorted(docker.releases(), key=number, reverse=True)]
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, releases=[entry(release, current=release is releases[0]) for release in releases])


def entry(release: dict[str, Any], *, current: bool) -> dict[str, Any]:
    """What is worth telling of a release: not the whole stack."""
    told = {key: value for key, value in release.items() if key not in ("stack", "specs")}
    images = {name: service["image"] for name, service in release["stack"]["services"].items()}
    return {**told, "current": current, "images": images}


if __name__ == "__main__":
    main()
