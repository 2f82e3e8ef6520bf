#!/usr/bin/python
"""Keep small facts of operations in the Swarm: the lock, the maintenance window, the audit records."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: guard_note
short_description: Keep a small fact in the Swarm
description:
  - Runs on a manager. A note is a config object of the Swarm, so every manager has it, and it outlives any minority of
    them. Objects cannot be changed, and a name can be taken only once, by one of several who try at the same time.
  - Never reports C(changed) for kind C(audit): a record of a run is not a change of the cluster.
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: The stack whose operations the note is about.}
  kind: {type: str, required: true, choices: [lock, window, audit], description: What it is.}
  state:
    type: str
    required: true
    choices: [taken, removed, read]
    description:
      - C(taken) creates it. Where there is one already that is not I(content), the module does not fail but answers
        C(mine=false) with what is there.
      - C(removed) removes it, if it is there and says all that I(content) says.
      - C(read) lists all notes of the kind, oldest first.
  name: {type: str, description: What tells notes of one kind apart. There is one lock and one window., default: ""}
  content: {type: dict, default: {}, description: What it says.}
  keep: {type: int, default: 0, description: "How many notes of the kind stay, the newest; 0: all."}
"""

RETURN = """
mine: {type: bool, returned: state is taken, description: "Whether the note is now there with this content."}
notes: {type: list, returned: always, description: "The contents of the notes of the kind, oldest first."}
"""

STACK_LABEL = "chat.notes-of"
KIND_LABEL = "chat.note"
Json = dict[str, Any]


class Notes:
    """The notes of one kind of one stack. `run` is AnsibleModule.run_command."""

    def __init__(self, run: Any, stack_name: str, kind: str) -> None:
        self._run = run
        self._labels = {STACK_LABEL: stack_name, KIND_LABEL: kind}
        self._prefix = f"{stack_name}.{kind}"

    def name(self, suffix: str) -> str:
        """The config object's name."""
        return f"{self._prefix}.{suffix}" if suffix else self._prefix

    def all(self) -> list[tuple[str, Json]]:
        """Name and content of each note, oldest first."""
        filters = [part for item in self._labels.items() for part in ("--filter", "label=" + "=".join(item))]
        ids = self._docker("config", "ls", "--quiet", *filters).split()
        found = json.loads(self._docker("config", "inspect", *ids)) if ids else []
        found.sort(key=lambda item: (item["CreatedAt"], item["Spec"]["Name"]))
        return [(item["Spec"]["Name"], json.loads(base64.b64decode(item["Spec"]["Data"]))) for item in found]

    def take(self, suffix: str, content: Json) -> bool:
        """Create a note; False if the name is taken. The Swarm's own log decides between two who try at once."""
        labels = [part for item in self._labels.items() for part in ("--label", "=".join(item))]
        command = ["docker", "config", "create", *labels, self.name(suffix), "-"]
        code, _, error = self._run(command, data=json.dumps(content, sort_keys=True))
        if code != 0 and "AlreadyExists" not in error and "already exists" not in error:
            raise RuntimeError(f"docker config create: {error.strip()}")
        return bool(code == 0)

    def remove(self, name: str) -> None:
        self._docker("config", "rm", name)

    def _docker(self, *arguments: str) -> str:
        code, out, error = self._run(["docker", *arguments])
        if code != 0:
            raise RuntimeError(f"docker {' '.join(arguments[:2])}: {error.strip() or out.strip()}")
        return str(out)


def act(notes: Notes, parameters: Json, check_mode: bool) -> Json:
    """What the module answers, without Ansible around it."""
    name, state = notes.name(parameters["name"]), parameters["state"]
    before = dict(notes.all())
    answer: Json = {"changed": False}
    if state == "taken":
        answer["mine"] = before.get(name, parameters["content"]) == parameters["content"]
        if name not in before:
            answer["changed"] = True
            if not check_mode:
                answer["mine"] = notes.take(parameters["name"], parameters["content"])
    if state == "removed" and name in before and parameters["content"].items() <= before[name].items():
        answer["changed"] = True
        if not check_mode:
            notes.remove(name)
    if parameters["keep"] and not check_mode:
        for old in [name for name, _ in notes.all()][: -parameters["keep"]]:
            notes.remove(old)
    answer["changed"] = answer["changed"] and parameters["kind"] != "audit"
    return answer | {"notes": [content for _, content in notes.all()]}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True, "choices": ["lock", "window", "audit"]},
            "state": {"type": "str", "required": True, "choices": ["taken", "removed", "read"]},
            "name": {"type": "str", "default": ""},
            "content": {"type": "dict", "default": {}},
            "keep": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    notes = Notes(module.run_command, module.params["stack_name"], module.params["kind"])
    try:
        answer = act(notes, module.params, module.check_mode)
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
