#!/usr/bin/python
"""Record what was deployed as a release, and forget what no retained release needs."""

from __future__ import annotations

import json

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_stack import (
    RELEASE_LABEL,
    STACK_LABEL,
    Docker,
    decode,
    digest,
    latest,
    number,
    references,
    spec_hash,
)

DOCUMENTATION = """
module: chat_release
short_description: Record what was deployed as a release
description:
  - Runs on a manager. A release is a config object of the Swarm, so every manager has it. The newest I(keep) stay.
  - Removes the stack's secrets and configs that neither a live service nor a retained release refers to.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  stack: {type: dict, required: true, description: The compose file that was deployed.}
  note: {type: dict, default: {}, description: "What else to keep with it, as by whom and why."}
  keep: {type: int, default: 10, description: How many releases to keep.}
"""

RETURN = """
release: {type: str, returned: always, description: Name of the config object.}
removed: {type: list, returned: always, description: Names of the objects that were removed.}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "stack": {"type": "dict", "required": True},
            "note": {"type": "dict", "default": {}},
            "keep": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    docker = Docker(module.run_command, module.params["stack_name"])
    try:
        name = record(docker, module.params["stack"], module.params["note"])
        removed = prune(docker, module.params["keep"])
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, release=name, removed=removed)


def record(docker: Docker, stack: dict[str, object], note: dict[str, object]) -> str:
    """Create the release that follows the newest one. Two at a time cannot both succeed: the name is taken."""
    previous = latest(docker.releases())
    following = previous["release"] + 1 if previous else 1
    specs = {name: spec_hash(service) for name, service in docker.services().items()}
    content = json.dumps({"release": following, "stack": stack, "specs": specs, **note}, sort_keys=True)
    name = f"chat-release-{following}-{digest(stack)}"
    labels = ("--label", f"{STACK_LABEL}={docker.stack_name}", "--label", f"{RELEASE_LABEL}={following}")
    docker("config", "create", *labels, name, "-", stdin=content)
    return name


def prune(docker: Docker, keep: int) -> list[str]:
    """Remove the oldest releases, then the secrets and configs nobody refers to any more."""
    releases = sorted(docker.releases(), key=number, reverse=True)
    removed = [("config", item["Spec"]["Name"]) for item in releases[keep:]]
    needed = json.dumps([list(docker.services().values()), [decode(item)["stack"] for item in releases[:keep]]])
    for kind in ("secret", "config"):
        objects = [item for item in docker.labelled(kind) if RELEASE_LABEL not in item["Spec"]["Labels"]]
        unused = {item["Spec"]["Name"] for item in objects} - references(needed, objects)
        removed += [(kind, name) for name in sorted(unused)]
    for kind, name in removed:
        docker(kind, "rm", name)
    return [name for _, name in removed]


if __name__ == "__main__":
    main()
