#!/usr/bin/python
"""Compare the stack as rendered with what the Swarm runs."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.chat_stack import (
    Docker,
    as_many_as,
    changes,
    edited,
    find_release,
    latest,
    restrict,
    slice_of,
    stamp,
)

DOCUMENTATION = """
module: chat_plan
short_description: Compare the stack as rendered with what the Swarm runs
description:
  - Runs on a manager and changes nothing. Reports C(changed) when something is to be deployed, and the difference
    to the current release as the diff.
  - In check mode, a machine without a swarm counts as an empty swarm.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  stack: {type: dict, description: The compose file as rendered.}
  release:
    type: str
    description: >-
      Take the stack of this release instead: C(current), C(previous), a number, or a version. As many replicas of each
      service as in the current one.
  edit:
    type: dict
    description: "What to change in that release, in the services of I(scope): C(image), C(environment), C(replicas)."
  scope:
    type: list
    elements: str
    description: Services to take from I(stack); all others stay as the current release has them. All if not given.
"""

RETURN = """
stack: {type: dict, returned: always, description: "What to deploy: stamped, and restricted to the scope."}
version: {type: str, returned: always, description: "The version that the release of I(release) was given."}
changes: {type: list, returned: always, description: "The services to touch in order, as service and reason."}
down:
  type: list
  returned: always
  description: "Those of C(changes) that interrupt nobody, by name: services that do not run; all in a first release."
previous: {type: dict, returned: always, description: The current release; empty if there is none.}
unknown: {type: list, returned: always, description: Services that run and are not in the stack.}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "stack": {"type": "dict"},
            "release": {"type": "str"},
            "edit": {"type": "dict", "default": {}},
            "scope": {"type": "list", "elements": "str"},
        },
        required_one_of=[("stack", "release")],
        mutually_exclusive=[("stack", "release")],
        supports_check_mode=True,
    )
    docker = Docker(module.run_command, module.params["stack_name"])
    live: dict[str, Any] = {}
    previous = None
    try:
        if not (module.check_mode and absent(module, docker)):
            live, previous = docker.services(), latest(docker.releases())
        wanted, version = wanted_stack(module, docker)
    except RuntimeError as error:
        module.fail_json(msg=str(error))

    scope = module.params["scope"]
    if scope is not None and set(scope) != set(wanted["services"]):
        if previous is None:
            module.fail_json(msg="There is no release yet, and --limit leaves out hosts. Deploy without it once.")
        wanted = restrict(wanted, previous["stack"], scope)
        wanted = slice_of(wanted, list(wanted["services"]))

    found = changes(wanted, previous, live)
    down = [change for change in found if previous is None or not is_running(docker, change["service"], live)]
    # What is down is mended first: the others wait for it.
    found = down + [change for change in found if change not in down]
    before = previous["stack"] if previous else {}
    diff = [{"before_header": "running", "after_header": "wanted", "before": text(before), "after": text(wanted)}]
    diff += [{"prepared": f"{change['service']} {change['reason']}\n"} for change in found]
    module.exit_json(
        changed=bool(found) or before != wanted,
        stack=wanted,
        version=version,
        changes=found,
        down=[change["service"] for change in down],
        previous=previous or {},
        unknown=sorted(live.keys() - wanted["services"].keys()),
        diff=diff,
    )


def wanted_stack(module: AnsibleModule, docker: Docker) -> tuple[dict[str, Any], str]:
    """The stack to compare with, stamped, and the version it was given, if it is an earlier release's."""
    if module.params["stack"]:
        return stamp(module.params["stack"]), ""
    releases = docker.releases()
    release = find_release(releases, module.params["release"])
    stack = as_many_as(release["stack"], find_release(releases, "current")["stack"])
    if module.params["edit"]:
        stack = edited(stack, module.params["edit"], module.params["scope"] or list(stack["services"]))
    return stack, release.get("version", "")


def absent(module: AnsibleModule, docker: Docker) -> bool:
    """Whether there is no swarm to ask here, or no Docker at all."""
    if module.get_bin_path("docker") is None:
        return True
    return docker("info", "--format", "{{.Swarm.ControlAvailable}}").strip() != "true"


def is_running(docker: Docker, service: str, live: dict[str, Any]) -> bool:
    return service in live and any(task["Status"]["State"] == "running" for task in docker.tasks(service))


def text(stack: dict[str, Any]) -> str:
    return json.dumps(stack, indent=2, sort_keys=True) + "\n" if stack else ""


if __name__ == "__main__":
    main()
