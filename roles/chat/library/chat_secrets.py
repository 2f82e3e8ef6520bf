#!/usr/bin/python
"""List the stack's secrets with who needs them, and forget those that were replaced."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_secrets import retired, uses
from ansible.module_utils.chat_stack import Docker, decode, number

DOCUMENTATION = """
module: chat_secrets
short_description: List the stack's secrets with who needs them
description: [Runs on a manager. Never sees a value, the Swarm gives none out.]
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  prune:
    type: bool
    default: false
    description:
      - Whether to remove the secrets that no service runs with and the current release does not need, and the releases
        that need them; those can then not be rolled back to.
"""

RETURN = """
secrets: {type: list, returned: always, description: "Newest first: secret, created, services, releases."}
removed: {type: list, returned: always, description: "Names of the secrets and releases that went, or would go."}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "prune": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    docker = Docker(module.run_command, module.params["stack_name"])
    try:
        releases = {decode(item)["release"]: item for item in sorted(docker.releases(), key=number, reverse=True)}
        known = [decode(item) for item in releases.values()]
        gone = retired(known) if known and module.params["prune"] else []
        kept = [release for release in known if release not in gone]
        found = uses(docker.labelled("secret"), docker.services(), kept)
        removed = [("config", releases[release["release"]]["Spec"]["Name"]) for release in gone]
        if module.params["prune"]:
            removed += [("secret", s["secret"]) for s in found if not s["services"] and not s["releases"]]
        if not module.check_mode:
            for kind, name in removed:
                docker(kind, "rm", name)
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    names = [name for _, name in removed]
    module.exit_json(
        changed=bool(names), secrets=[secret for secret in found if secret["secret"] not in names], removed=names
    )


if __name__ == "__main__":
    main()
