"""What a host found out, as metrics for Prometheus. Pure: no clock, no file, no network.

Each manager tells of the whole cluster, so rules take the largest of what several tell, or the smallest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.observe_view import log_leader, moment, streams

HOUR_S = 3_600
LEVELS = {"healthy": 0, "degraded": 1, "down": 2}
# Whose failure leaves another release running than was wanted.
ROLLING_VERBS = {"site", "deploy", "update", "configure", "scale", "rollback", "secrets", "restart"}

Json = dict[str, Any]
Sample = tuple[str, dict[str, str], float]

HELP = {
    "chat_look_timestamp_seconds": "When this host was looked at",
    "chat_engine_up": "1 when the Docker engine answers",
    "chat_disk_used_ratio": "Used part of a disk, of its bytes and of its inodes",
    "chat_certificate_expiry_timestamp_seconds": "When a certificate expires",
    "chat_certificate_lifetime_seconds": "How long a certificate is valid in all",
    "chat_swarm_quorum": "1 when this manager's Swarm can be changed",
    "chat_swarm_spare_managers": "How many managers may be lost before the Swarm has no quorum",
    "chat_swarm_machine_ready": "1 when the Swarm hears a machine",
    "chat_swarm_machine_active": "1 when a machine takes tasks",
    "chat_service_replicas_wanted": "How many tasks a service should have",
    "chat_service_replicas_running": "How many tasks of a service run",
    "chat_service_failed_tasks": "Tasks of a service that went down within the last hour",
    "chat_service_rolled_back": "1 when Swarm took the last update of a service back, or stopped in it",
    "chat_release_run_failed": "1 when the last run that should change the release did not end well",
    "chat_lock_expiry_timestamp_seconds": "When the lock of the operations expires; 0 without one",
    "chat_maintenance_until_timestamp_seconds": "The end of the maintenance window; 0 without one",
    "chat_health_level": "What the hourly check said: 0 healthy, 1 degraded, 2 down",
    "chat_health_checked_timestamp_seconds": "When the hourly check ran",
    "chat_nats_up": "1 when a log server answers",
    "chat_nats_healthy": "1 when a log server has all streams and has caught up",
    "chat_nats_leader_known": "1 when a log server knows the leader of the log servers",
    "chat_nats_spare_servers": "How many log servers may be lost before the log has no quorum",
    "chat_nats_connections": "Connections to a log server",
    "chat_nats_slow_consumers": "Connections that a log server counts as too slow",
    "chat_nats_memory_bytes": "Memory of a log server",
    "chat_nats_stored_bytes": "What a log server has on its disk",
    "chat_nats_storage_limit_bytes": "What a log server may have on its disk",
    "chat_nats_stream_entries": "Entries of the log, as a server has them",
    "chat_nats_replica_lag_entries": "How far a copy of the log is behind its leader",
    "chat_edge_up": "1 when this host's edge answers a TLS handshake",
    "chat_backup_success_timestamp_seconds": "When the last good backup was begun; 0 if there is none",
    "chat_backup_failed": "1 when the last backup did not end well",
    "chat_backup_max_age_seconds": "Age at which the newest backup of the log is too old",
    "chat_probe_success": "1 when the last message came back through this host's node",
    "chat_probe_seconds": "How long the last message took, from connecting to its return",
    "chat_probe_success_timestamp_seconds": "When a message last came back through this host's node; 0 for never",
}


def render(samples: list[Sample]) -> str:
    """The text that Prometheus reads: https://prometheus.io/docs/instrumenting/exposition_formats/"""
    lines = []
    for name in sorted({name for name, _, _ in samples}):
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        for labels, value in ((labels, value) for found, labels, value in samples if found == name):
            # A JSON string has the escapes that a label's value wants.
            pairs = ",".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in sorted(labels.items()))
            lines.append(f"{name}{{{pairs}}} {value:.15g}" if pairs else f"{name} {value:.15g}")
    return "\n".join(lines) + "\n"


def figures(facts: Json, memory: Json, now: float) -> list[Sample]:
    """All samples of one look.

    Args:
        facts: as `observe_look` finds them, and `certificates`: name -> {"begins", "expires"}.
        memory: what earlier looks left: `backup` (kind -> when it was good, whether it failed, where there are backups
            at all, with `max_age_s`), and `probe` (`ok`, `seconds`, `good_at`).
    """
    found: list[Sample] = [("chat_look_timestamp_seconds", {}, now)]
    found += [("chat_engine_up", {}, float(facts["engine"]["up"]))]
    found += of_machine(facts)
    found += of_swarm(facts.get("swarm", {}), now)
    for server, answer in sorted(facts.get("nats", {}).items()):
        found += of_log_server(server, answer)
    found += of_check(facts.get("timer", {}))
    found += of_backup(memory.get("backup", {}))
    found += of_probe(memory.get("probe", {}))
    return found


def of_machine(facts: Json) -> Iterator[Sample]:
    for disk in facts["host"]["disks"]:
        yield "chat_disk_used_ratio", {"path": disk["path"], "of": "bytes"}, disk["used_percent"] / 100
        yield "chat_disk_used_ratio", {"path": disk["path"], "of": "inodes"}, disk["inodes_percent"] / 100
    # Without a handshake there is no certificate.
    if "edge" in facts.get("certificates", {}):
        yield "chat_edge_up", {}, float(bool(facts["certificates"]["edge"]))
    for name, certificate in sorted(facts.get("certificates", {}).items()):
        if certificate:
            labels = {"certificate": name}
            yield "chat_certificate_expiry_timestamp_seconds", labels, certificate["expires"]
            yield "chat_certificate_lifetime_seconds", labels, certificate["expires"] - certificate["begins"]


def of_swarm(swarm: Json, now: float) -> Iterator[Sample]:
    """Nothing of a machine that manages no Swarm; of one without a quorum, that."""
    if not swarm.get("manages") and not swarm.get("error"):
        return
    yield "chat_swarm_quorum", {}, float("machines" in swarm)
    if "machines" not in swarm:
        return
    managers = [machine["reachable"] for machine in swarm["machines"] if machine["manager"]]
    if len(managers) > 2:
        yield "chat_swarm_spare_managers", {}, spare(sum(managers), len(managers))
    for machine in swarm["machines"]:
        labels = {"machine": machine["hostname"]}
        yield "chat_swarm_machine_ready", labels, float(machine["state"] == "ready")
        yield "chat_swarm_machine_active", labels, float(machine["availability"] == "active")
    for name, service in sorted(swarm["services"].items()):
        labels = {"service": name}
        yield "chat_service_replicas_wanted", labels, service["wanted"]
        yield "chat_service_replicas_running", labels, service["running"]
        yield "chat_service_failed_tasks", labels, sum(moment(at) > now - HOUR_S for at in service["failed_at"])
        stopped = service["update"].startswith("rollback") or service["update"] == "paused"
        yield "chat_service_rolled_back", labels, float(stopped)
    yield "chat_release_run_failed", {}, float(run_failed(swarm["audit"]))
    yield "chat_lock_expiry_timestamp_seconds", {}, end_of(swarm["lock"], "expires")
    yield "chat_maintenance_until_timestamp_seconds", {}, end_of(swarm["window"], "until")


def spare(there: int, of: int) -> float:
    """How many of those that are there may go before they are no majority; negative when they are none already."""
    return float(there - (of // 2 + 1))


def end_of(note: Json, field: str) -> float:
    return moment(note[field]) if note else 0.0


def run_failed(audit: list[Json]) -> bool:
    """Whether the last run that rolled services failed; one that was refused touched nothing."""
    rolled = [run for run in audit if run["verb"] in ROLLING_VERBS and run["outcome"] != "refused"]
    return bool(rolled) and rolled[-1]["outcome"] == "failed"


def of_log_server(name: str, answer: Json) -> Iterator[Sample]:
    labels = {"server": name}
    yield "chat_nats_up", labels, float(not answer["error"])
    if answer["error"]:
        return
    jsz, varz = answer["jsz"], answer["varz"]
    leader = log_leader(answer)
    yield "chat_nats_healthy", labels, float(answer["healthz"].get("status") == "ok")
    yield "chat_nats_leader_known", labels, float(bool(leader))
    yield "chat_nats_connections", labels, varz.get("connections", 0)
    yield "chat_nats_slow_consumers", labels, varz.get("slow_consumers", 0)
    yield "chat_nats_memory_bytes", labels, varz.get("mem", 0)
    yield "chat_nats_stored_bytes", labels, jsz.get("storage", 0)
    yield "chat_nats_storage_limit_bytes", labels, jsz.get("config", {}).get("max_storage", 0)
    peers = jsz.get("meta_cluster", {}).get("replicas") or []
    if leader == name and len(peers) > 1:
        there = 1 + sum(not peer.get("offline") for peer in peers)
        yield "chat_nats_spare_servers", {}, spare(there, 1 + len(peers))
    for stream in streams(answer):
        yield "chat_nats_stream_entries", labels, stream["state"]["messages"]
        if stream["cluster"].get("leader") == name:
            for replica in stream["cluster"].get("replicas") or []:
                yield "chat_nats_replica_lag_entries", {"server": replica["name"]}, replica.get("lag", 0)


def of_check(timer: Json) -> Iterator[Sample]:
    if timer.get("acted"):
        yield "chat_health_level", {}, LEVELS[timer["level"]]
        yield "chat_health_checked_timestamp_seconds", {}, moment(timer["checked_at"])


def of_backup(backup: Json) -> Iterator[Sample]:
    if not backup:
        return
    yield "chat_backup_max_age_seconds", {}, backup["max_age_s"]
    for kind in ("config", "data"):
        known = backup.get(kind, {})
        yield "chat_backup_success_timestamp_seconds", {"kind": kind}, known.get("good_at", 0)
        yield "chat_backup_failed", {"kind": kind}, float(known.get("failed", False))


def of_probe(probe: Json) -> Iterator[Sample]:
    if probe:
        yield "chat_probe_success", {}, float(probe["ok"])
        yield "chat_probe_seconds", {}, probe["seconds"]
        yield "chat_probe_success_timestamp_seconds", {}, probe["good_at"]
