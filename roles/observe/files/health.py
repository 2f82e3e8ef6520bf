"""The hourly health check of a manager; the one that leads the Swarm acts for all.

Asks its own engine and the nodes' HTTP ports, writes what it found to /var/lib/chat-ops/health.json, and to the journal
one line a finding, with a priority by which alerts can be chosen. `health.yml` shows the last run. Changes nothing.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.observe_engine import http_get
from ansible.module_utils.observe_judge import judge
from ansible.module_utils.observe_look import ANSWER_S, TIMER_REPORT, Look
from ansible.module_utils.observe_view import LIMITS, View

SETTINGS = Path(__file__).parent / "health.json"
# Journal priorities, as systemd reads them at the beginning of a line. sd-daemon(3)
PRIORITIES = {"healthy": 6, "note": 6, "degraded": 4, "down": 2}

Json = dict[str, Any]


def ask_nodes(machines: list[Json], port: int) -> dict[str, Json]:
    """Service -> how it is, of the node of every machine, asked as the other nodes do."""
    return {m["node_type"]: ask_node(m["address"], port) for m in machines if m["node_type"].startswith("node")}


def ask_node(address: str, port: int) -> Json:
    try:
        return {"ready": json.loads(http_get(address, port, "/readyz", ANSWER_S)), "error": ""}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"ready": {}, "error": f"{error or type(error).__name__}"}


def check(settings: Json, now: float) -> Json:
    """The report of this run."""
    facts = Look(settings["stack"]).take()
    hostname = facts["host"]["hostname"]
    swarm = facts["swarm"]
    base = {"by": hostname, "acted": False, "checked_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))}
    # Without a quorum nobody leads; then everyone speaks.
    if "machines" in swarm and not swarm["leads"]:
        return base
    facts["nodes"] = ask_nodes(swarm.get("machines", []), settings["http_port"]) or facts["nodes"]
    facts["timer"] = {}
    view = View(hosts={hostname: facts}, expected=settings["expected"], now=now, limits=LIMITS | settings["limits"])
    verdict = judge(view)
    return base | {"acted": True, "level": verdict["level"], "findings": verdict["findings"]}


def tell(report: Json) -> None:
    """To the journal."""
    if not report["acted"]:
        print("<6>another manager leads and acts")
        return
    print(f"<{PRIORITIES[report['level']]}>the cluster is {report['level']}")
    for finding in report["findings"]:
        print(f"<{PRIORITIES[finding['level']]}>{finding['cause']}: {finding['text']}")


def main() -> int:
    report = check(json.loads(SETTINGS.read_text()), time.time())
    TIMER_REPORT.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = TIMER_REPORT.with_suffix(".new")
    unfinished.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(unfinished, TIMER_REPORT)
    tell(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
