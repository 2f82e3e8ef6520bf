#!/usr/bin/python
"""Watch the chat for a while, and tell what became worse."""

from __future__ import annotations

import time
from http.client import HTTPException
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maintenance_sampling import Sample, Watch, errors_of
from ansible.module_utils.urls import open_url

DOCUMENTATION = """
module: maintenance_watch
short_description: Watch the chat for a while, and tell what became worse
description:
  - Runs on a manager and changes nothing. Looks again and again which nodes are ready, how many requests they refused
    through their own fault, and whether tasks were started. Never fails for what it sees; see C(regressions).
author: [The chat-node authors]
options:
  stack_name: {type: str, required: true, description: Name of the stack.}
  ready_urls: {type: dict, required: true, description: "Where each chat node says whether it is ready, by name."}
  seconds: {type: int, default: 0, description: "For how long; 0 for one look."}
  every_s: {type: float, default: 2, description: Seconds from one look to the next.}
  errors_per_minute: {type: float, default: 5, description: "How many errors of its own a node may answer with."}
"""

RETURN = """
ready: {type: dict, returned: always, description: "Each chat node, and whether it was ready at last."}
seconds: {type: int, returned: always, description: For how long it watched.}
samples: {type: int, returned: always, description: How often it looked.}
nodes: {type: dict, returned: always, description: "Per service: not_ready, errors, restarts."}
regressions: {type: list, returned: always, description: What was worse than it may be.}
"""

ANSWER_S = 3
NAMESPACE_LABEL = "com.docker.stack.namespace"


class Cluster:
    """The chat as this manager sees it. `run` is AnsibleModule.run_command."""

    def __init__(self, run: Any, stack_name: str, ready_urls: dict[str, str]) -> None:
        self._run = run
        self._stack_name = stack_name
        self._ready_urls = ready_urls

    def sample(self) -> Sample:
        """One look."""
        return Sample(
            ready={name: fetch(url) is not None for name, url in self._ready_urls.items()},
            errors={name: self._errors(url) for name, url in self._ready_urls.items()},
            tasks=self._tasks(),
        )

    def _errors(self, ready_url: str) -> int | None:
        metrics = fetch(ready_url.rpartition("/")[0] + "/metrics")
        return None if metrics is None else errors_of(metrics)

    def _tasks(self) -> dict[str, set[str]]:
        lines = self._docker("stack", "ps", "--no-trunc", "--format", "{{.ID}} {{.Name}}", self._stack_name)
        found: dict[str, set[str]] = {}
        for task_id, name in map(str.split, lines.splitlines()):
            found.setdefault(name.removeprefix(f"{self._stack_name}_").partition(".")[0], set()).add(task_id)
        return found

    def _docker(self, *arguments: str) -> str:
        code, out, error = self._run(["docker", *arguments])
        if code != 0:
            raise RuntimeError(f"docker {' '.join(arguments[:2])}: {error.strip() or out.strip()}")
        return str(out)


def fetch(url: str) -> str | None:
    """What an address answers with 200; None for anything else."""
    try:
        return str(open_url(url, timeout=ANSWER_S).read(), "utf-8")
    except (OSError, HTTPException):
        return None


def watch(cluster: Cluster, seconds: float, every_s: float) -> tuple[Watch, float]:
    """Take samples for so long; returns what they came to, and the seconds it took."""
    began = time.monotonic()
    watched = Watch(cluster.sample())
    due = began + every_s
    while due <= began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        watched.add(cluster.sample())
        due = max(due + every_s, time.monotonic())
    return watched, time.monotonic() - began


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack_name": {"type": "str", "required": True},
            "ready_urls": {"type": "dict", "required": True},
            "seconds": {"type": "int", "default": 0},
            "every_s": {"type": "float", "default": 2},
            "errors_per_minute": {"type": "float", "default": 5},
        },
        supports_check_mode=True,
    )
    given = module.params
    cluster = Cluster(module.run_command, given["stack_name"], given["ready_urls"])
    try:
        watched, took_s = watch(cluster, given["seconds"], given["every_s"])
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, ready=watched.last.ready, **watched.report(took_s, given["errors_per_minute"]))


if __name__ == "__main__":
    main()
