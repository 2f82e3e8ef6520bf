"""Every minute on every host: what only the host can find out, into a file that its node exporter shows to Prometheus.

Uses what the health check uses: the engine's socket, the log server's own port inside its network, the Swarm's notes.
Besides, it sends a message through this host's node now and then. Changes nothing else.
"""

from __future__ import annotations

import calendar
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.monitoring_figures import figures, render
from ansible.module_utils.observe_look import NODE_CERTIFICATE, Look

SETTINGS = Path(__file__).parent / "metrics.json"
STATE = Path("/var/lib/chat-ops")
MEMORY = STATE / "metrics.json"
SHOWN = Path("/var/lib/prometheus/node-exporter/chat.prom")
CONNECT_S = 3.0
PROBE_S = 10

Json = dict[str, Any]


def load(path: Path) -> Json:
    """What a file says; {} if it is not there, or not whole."""
    try:
        found: Json = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def write(path: Path, text: str) -> None:
    """All of it or nothing, as whoever reads meanwhile wants it."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(text)
    unfinished.chmod(0o644)
    os.replace(unfinished, path)


def backups(settings: Json, before: Json) -> Json:
    """What became of the backups. A failed one does not make the good one before it be forgotten."""
    if not settings["backups"]:
        return {}
    found: Json = {"max_age_s": settings["backup_max_age_s"]}
    noted = load(STATE / "backup.json")
    for kind in ("config", "data"):
        run = noted.get(kind, {})
        good_at = before.get(kind, {}).get("good_at", 0)
        if run.get("outcome") == "done":
            good_at = max(good_at, calendar.timegm(time.strptime(run["at"][:19], "%Y-%m-%dT%H:%M:%S")))
        found[kind] = {"good_at": good_at, "failed": run.get("outcome") == "failed"}
    return found


def probe(settings: Json, facts: Json, before: Json, now: float) -> Json:
    """The last message through the node of this host: a new one when it is time, else the one before."""
    nodes = [row for row in facts.get("containers", []) if row["service"] == settings["node"] and row["pid"]]
    if not settings["probe_every_s"] or not settings["node"]:
        return {}
    if now < before.get("at", 0) + settings["probe_every_s"] - 5:
        return before
    began = time.monotonic()
    ok = bool(nodes) and probe_through(nodes[0]["id"], settings["probe_url"])
    seconds = round(time.monotonic() - began, 3)
    return {"at": now, "ok": ok, "seconds": seconds, "good_at": now if ok else before.get("good_at", 0)}


def probe_through(container: str, url: str) -> bool:
    """Whether a message comes back. The node's container has what signs a token, and goes out to come in again."""
    command = ["docker", "exec", container, "chat-node", "probe", "--url", url, "--timeout", str(PROBE_S)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=2 * PROBE_S, check=False)  # noqa: S603 - all known
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def edge_certificate(place: tuple[str, int], name: str) -> Json:
    """When the certificate that browsers are shown begins and expires; {} where nobody shows one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is only read
    try:
        # Without a name none is asked for, as a browser does that dials an address.
        with (
            socket.create_connection(place, CONNECT_S) as connection,
            context.wrap_socket(connection, server_hostname=name or None) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except OSError:
        return {}
    return dates(ssl.DER_cert_to_PEM_cert(shown).encode()) if shown else {}


def dates(pem: bytes) -> Json:
    """When a certificate begins and expires, as Unix time; {} if that cannot be read."""
    command = ["openssl", "x509", "-noout", "-startdate", "-enddate"]
    asked = subprocess.run(command, input=pem, capture_output=True, timeout=CONNECT_S, check=False)  # noqa: S603 - all known
    told = dict(line.split("=", 1) for line in asked.stdout.decode().splitlines() if "=" in line)
    if told.keys() != {"notBefore", "notAfter"}:
        return {}
    return {
        "begins": ssl.cert_time_to_seconds(told["notBefore"]),
        "expires": ssl.cert_time_to_seconds(told["notAfter"]),
    }


def main() -> int:
    settings, now = load(SETTINGS), time.time()
    facts = Look(settings["stack"]).take()
    own = Path(NODE_CERTIFICATE)
    facts["certificates"] = {"swarm": dates(own.read_bytes())} if own.exists() else {}
    if settings["edge_port"]:
        place = settings["address"], settings["edge_port"]
        facts["certificates"]["edge"] = edge_certificate(place, settings["edge_name"])
    before = load(MEMORY)
    memory = {
        "backup": backups(settings, before.get("backup", {})),
        "probe": probe(settings, facts, before.get("probe", {}), now),
    }
    write(MEMORY, json.dumps(memory) + "\n")
    write(SHOWN, render(figures(facts, memory, now)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
