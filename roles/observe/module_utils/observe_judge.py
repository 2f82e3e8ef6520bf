"""The verdict on a cluster: what is wrong with it, the likeliest cause first, and the rows of the tables.

Pure: no clock, no file, no network. The playbooks and the hourly check on the managers use the same judge.
"""

from __future__ import annotations

import time
from dataclasses import asdict

from ansible.module_utils.observe_rules import CAUSES, DAY_S, RULES
from ansible.module_utils.observe_view import (
    DEGRADED,
    NOTE,
    Json,
    View,
    any_ready,
    fill_percent,
    lag,
    log_leader,
    moment,
    streams,
)

HEALTHY, DOWN = "healthy", "down"


def judge(view: View) -> Json:
    """The verdict: level, findings with the likeliest cause first, and the rows of the tables."""
    found = [finding for rule in RULES for finding in rule(view)]
    found.sort(key=lambda finding: (finding.level == NOTE, CAUSES.index(finding.cause)))
    serves = any(probe.get("ok") for probe in view.probes.values()) if view.probes else any_ready(view)
    faults = [finding for finding in found if finding.level != NOTE]
    return {
        "level": DOWN if not serves else DEGRADED if faults else HEALTHY,
        "checked_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(view.now)),
        "findings": [asdict(finding) for finding in found],
        "services": service_rows(view),
        "hosts": host_rows(view),
        "log": log_row(view),
        "unknown": [] if view.managing else ["services", "drift", "lock", "window"],
        "releases": view.managing.get("releases", []),
        "audit": view.managing.get("audit", []),
    }


def service_rows(view: View) -> list[Json]:
    """One row a service, in the order of their names: as the manager knows it, and as its host does."""
    homes = {name: host for host, services in view.expected.items() for name in services.values()}
    here = {row["service"]: (host, row) for host, row in view.containers}
    return [service_row(view, name, homes.get(name, ""), here.get(name)) for name in sorted(homes | view.services)]


def service_row(view: View, name: str, home: str, here: tuple[str, Json] | None) -> Json:
    known = view.services.get(name, {})
    host, container = here or (known.get("host") or home, {})
    node, server = view.nodes.get(name, {}), view.log_servers.get(name, {})
    answer = node.get("ready", {})
    started = container.get("started") or known.get("since")
    return {
        "service": name,
        "host": host,
        "replicas": f"{known['running']}/{known['wanted']}" if known else "?",
        "health": container.get("health", "?"),
        "uptime_s": round(view.now - moment(started)) if started else None,
        "restarts": len(known["failed_at"]) if known else None,
        "version": answer.get("version") or server.get("varz", {}).get("version", ""),
        "release": known.get("release") or answer.get("release", ""),
        "image": (known.get("image") or container.get("image", "")).rpartition("@")[2].removeprefix("sha256:")[:12],
        "ready": answer.get("ready") if name.startswith("node") else server.get("healthz", {}).get("status") == "ok",
        "lag": lag(answer) if answer else None,
        "connections": answer.get("connections"),
        "rates": node.get("rates", {}),
        "tasks": known.get("tasks", []),
        "usage": container.get("usage", {}),
        "container_rates": container.get("rates", {}),
    }


def host_rows(view: View) -> list[Json]:
    """One row a host of the inventory, those that did not answer too."""
    machines = {m["id"]: m for m in view.managing.get("machines", [])}
    return [host_row(view, host, facts, machines) for host, facts in sorted(view.hosts.items())]


def host_row(view: View, host: str, facts: Json, machines: dict[str, Json]) -> Json:
    probe = view.probes.get(host, {})
    said = "ok" if probe.get("ok") else "-" if not probe else "failed"
    row: Json = {"host": host, "answers": bool(facts), "probe": said, "probe_ms": probe.get("ms")}
    if not facts:
        return row
    machine, own = machines.get(facts["swarm"].get("node_id", ""), {}), facts["host"]
    expires = facts.get("certificate", {}).get("expires")
    role = "leader" if machine.get("leader") else "manager" if facts["swarm"].get("manages") else "worker"
    return row | {
        "engine": facts["engine"]["version"] if facts["engine"]["up"] else "down",
        "swarm": role if machine else "?",
        "state": f"{machine['state']}/{machine['availability']}" if machine else "?",
        "node_type": machine.get("node_type", ""),
        "disk_percent": max(fill_percent(disk) for disk in own["disks"]),
        "memory_percent": round(100 - 100 * own["available_bytes"] / own["memory_bytes"], 1),
        "load": own["load"][0],
        "cpus": own["cpus"],
        "uptime_s": round(own["uptime_s"]),
        "certificate_days": round((expires - view.now) / DAY_S) if expires else None,
        "rates": facts.get("host_rates", {}),
    }


def log_row(view: View) -> Json:
    """The log: who leads the servers and the streams, how many entries, how far behind the slowest replica is."""
    servers = [server for server in view.log_servers.values() if not server["error"]]
    led = [stream for server in servers for stream in streams(server) if stream.get("cluster", {}).get("leader")]
    best = max(led, key=lambda stream: int(stream["state"]["last_seq"]), default={})
    replicas = best.get("cluster", {}).get("replicas") or []
    return {
        "servers": len(servers),
        "servers_leader": next((log_leader(server) for server in servers if log_leader(server)), ""),
        "stream_leader": best.get("cluster", {}).get("leader", ""),
        "entries": best.get("state", {}).get("messages"),
        "bytes": best.get("state", {}).get("bytes"),
        "replica_lag": max((int(replica.get("lag", 0)) for replica in replicas), default=None),
    }
