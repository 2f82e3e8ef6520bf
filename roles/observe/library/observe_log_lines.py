#!/usr/bin/python
"""The log lines of the chat's containers on a host."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.observe_engine import Engine, EngineError
from ansible.module_utils.observe_logs import Choice, choose, read
from ansible.module_utils.observe_look import container

DOCUMENTATION = """
module: observe_log_lines
short_description: The log lines of the chat's containers on a host
description:
  - Reads them through the engine, also those of former tasks' containers that are still there. Changes nothing.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  services:
    type: list
    elements: str
    required: true
    description: Names of services in the stack.
  tail: {type: int, default: 100, description: "How many of the wanted lines of each container, the last; 0: all."}
  since: {type: str, default: "", description: "A time, or a span like C(10m), as C(docker logs) takes it."}
  grep: {type: str, default: "", description: A regular expression.}
  level: {type: str, default: "", description: The lowest level.}
  room_id: {type: str, default: "", description: The room that a line is about.}
  follow_s: {type: float, default: 0, description: "Seconds to go on reading."}
"""

RETURN = """
lines: {type: list, returned: always, description: "What was chosen, as at, service, container, line and fields."}
error: {type: str, returned: always, description: "Why there is nothing, or nothing more; empty if all is well."}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "services": {"type": "list", "elements": "str", "required": True},
            "tail": {"type": "int", "default": 100},
            "since": {"type": "str", "default": ""},
            "grep": {"type": "str", "default": ""},
            "level": {"type": "str", "default": ""},
            "room_id": {"type": "str", "default": ""},
            "follow_s": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        found = Engine().containers(wanted["stack_name"], ended=True)
    except EngineError as error:
        module.exit_json(changed=False, lines=[], error=str(error))
    rows = [row for item in found if (row := container(item, wanted["stack_name"]))["service"] in wanted["services"]]
    with ThreadPoolExecutor(max_workers=16) as pool:
        lines = [line for found in pool.map(lambda row: lines_of(row, wanted), rows) for line in found]
    module.exit_json(changed=False, lines=sorted(lines, key=lambda line: str(line["at"])), error="")


def lines_of(row: dict[str, Any], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    choice = Choice(wanted["grep"], wanted["level"], wanted["room_id"])
    follow_s = wanted["follow_s"] if row["pid"] else 0
    lines = read(row["id"], since=wanted["since"], follow_s=follow_s)
    told = {"service": row["service"], "container": row["id"][:12], "ended": not row["pid"]}
    return [told | line for line in choose(lines, choice, wanted["tail"])]


if __name__ == "__main__":
    main()
