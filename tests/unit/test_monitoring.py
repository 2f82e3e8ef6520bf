"""What a host tells Prometheus of itself and of the cluster, out of what a look at it finds."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible.module_utils  # type: ignore[import-untyped]
import pytest

from tests.unit import looks
from tests.unit.test_observe import put
from tests.unit.test_roles import ROLES, load

ansible.module_utils.__path__.append(str(ROLES / "monitoring/module_utils"))
monitoring = load("monitoring/module_utils/monitoring_figures.py")
metrics = load("monitoring/files/metrics.py")

Json = dict[str, Any]
MEMORY: Json = {
    "backup": {"max_age_s": 93_600, "data": {"good_at": looks.NOW - 3600, "failed": False}},
    "probe": {"ok": True, "seconds": 0.4, "good_at": looks.NOW - 60},
}
DAY_S = 86_400
SPOILT = "2027-01-15T07:59:00Z"
LAST_RUN = "swarm/audit"
EDGE = {"begins": looks.NOW - DAY_S, "expires": looks.NOW + DAY_S}
CERTIFICATES = {"swarm": {"begins": looks.NOW - DAY_S, "expires": looks.NOW + 90 * DAY_S}, "edge": EDGE}


def told(
    change: Callable[[dict[str, Json]], None] = lambda hosts: None, number: int = 1, memory: Json | None = None
) -> dict[str, float]:
    """Sample, as it is written -> value, of one host."""
    hosts = looks.healthy()
    for host in hosts.values():
        host["certificates"] = dict(CERTIFICATES)
    change(hosts)
    facts = {"certificates": CERTIFICATES, **hosts[f"host{number}"]}
    text = monitoring.render(monitoring.figures(facts, MEMORY if memory is None else memory, looks.NOW))
    return {sample: float(value) for sample, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def test_of_a_healthy_cluster_a_manager_tells_that_it_is() -> None:
    found = told()
    assert found["chat_swarm_quorum"] == found["chat_engine_up"] == found["chat_probe_success"] == 1
    assert found["chat_swarm_spare_managers"] == 1
    assert found['chat_service_replicas_running{service="node2"}'] == 1
    assert found['chat_nats_healthy{server="nats1"}'] == 1
    assert found['chat_disk_used_ratio{of="bytes",path="/"}'] == 0.4
    assert found['chat_certificate_expiry_timestamp_seconds{certificate="swarm"}'] == looks.NOW + 90 * DAY_S
    assert found['chat_backup_success_timestamp_seconds{kind="config"}'] == 0
    assert found["chat_maintenance_until_timestamp_seconds"] == found["chat_release_run_failed"] == 0
    # The servers' leader alone knows who of the others is there, the log's how far its copies are.
    assert "chat_nats_spare_servers" not in found
    assert told(number=3)["chat_nats_spare_servers"] == 1
    assert told(number=2)['chat_nats_replica_lag_entries{server="nats1"}'] == 0


def run(verb: str, outcome: str) -> Json:
    return {"verb": verb, "outcome": outcome}


@pytest.mark.parametrize(
    ("path", "value", "sample", "expected"),
    [
        ("certificates/edge", {}, "chat_edge_up", 0),
        ("certificates/edge", EDGE, "chat_edge_up", 1),
        ("swarm/machines/2/reachable", False, "chat_swarm_spare_managers", 0),
        ("swarm/machines/2/state", "down", 'chat_swarm_machine_ready{machine="host3"}', 0),
        ("swarm/machines/2/availability", "drain", 'chat_swarm_machine_active{machine="host3"}', 0),
        ("swarm/services/node2/running", 0, 'chat_service_replicas_running{service="node2"}', 0),
        ("swarm/services/node2/failed_at", [SPOILT, SPOILT], 'chat_service_failed_tasks{service="node2"}', 2),
        ("swarm/services/node2/failed_at", ["2027-01-15T06:00:00Z"], 'chat_service_failed_tasks{service="node2"}', 0),
        ("swarm/services/node2/update", "rollback_completed", 'chat_service_rolled_back{service="node2"}', 1),
        ("swarm/services/node2/update", "completed", 'chat_service_rolled_back{service="node2"}', 0),
        (LAST_RUN, [run("update", "failed")], "chat_release_run_failed", 1),
        (LAST_RUN, [run("update", "failed"), run("backup", "done")], "chat_release_run_failed", 1),
        (LAST_RUN, [run("update", "failed"), run("rollback", "done")], "chat_release_run_failed", 0),
        (LAST_RUN, [run("update", "done"), run("update", "refused")], "chat_release_run_failed", 0),
        ("swarm/window", {"until": SPOILT}, "chat_maintenance_until_timestamp_seconds", looks.NOW - 60),
        ("swarm/lock", {"expires": SPOILT}, "chat_lock_expiry_timestamp_seconds", looks.NOW - 60),
        ("nats/nats1/error", "refused", 'chat_nats_up{server="nats1"}', 0),
        ("nats/nats1/healthz", {"status": "unavailable"}, 'chat_nats_healthy{server="nats1"}', 0),
        ("nats/nats1/jsz", {}, 'chat_nats_leader_known{server="nats1"}', 0),
        ("engine/up", False, "chat_engine_up", 0),
        ("timer", {"acted": True, "level": "down", "checked_at": SPOILT}, "chat_health_level", 2),
    ],
)
def test_what_is_wrong_is_told(path: str, value: Any, sample: str, expected: float) -> None:
    assert told(put(path, value, 1))[sample] == expected


def test_a_manager_without_a_quorum_says_just_that() -> None:
    alone = {"manages": False, "leads": False, "error": "the swarm does not have a leader", "state": "active"}
    found = told(put("swarm", alone, 1))
    assert found["chat_swarm_quorum"] == 0
    assert not any(sample.startswith(("chat_service", "chat_maintenance")) for sample in found)


def test_a_worker_tells_nothing_of_the_swarm() -> None:
    found = told(put("swarm", {"manages": False, "leads": False, "error": "", "state": "active"}, 1))
    assert not any("swarm" in sample and "certificate" not in sample for sample in found)
    assert "chat_engine_up" in found


def test_a_lost_log_server_is_one_less_to_spare() -> None:
    hosts = looks.healthy()
    peers = hosts["host3"]["nats"]["nats3"]["jsz"]["meta_cluster"]["replicas"]
    peers[0]["offline"] = True
    found = told(lambda changed: changed.update(hosts), number=3)
    assert found["chat_nats_spare_servers"] == 0


def test_every_metric_is_explained() -> None:
    facts = looks.healthy()
    names = set()
    for number, host in enumerate(facts.values(), 1):
        host["timer"] = {"acted": True, "level": "healthy", "checked_at": SPOILT}
        names |= {sample.partition("{")[0] for sample in told(lambda hosts: hosts.update(facts), number)}
    assert names == set(monitoring.HELP)


def test_labels_are_quoted_as_prometheus_reads_them() -> None:
    assert monitoring.render([("chat_engine_up", {"a": 'x"\\\n'}, 1.0)]).splitlines()[-1] == (
        'chat_engine_up{a="x\\"\\\\\\n"} 1'
    )


def test_a_failed_backup_does_not_make_the_good_one_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "STATE", tmp_path)
    settings = {"backups": True, "backup_max_age_s": 10}
    noted = tmp_path / "backup.json"
    noted.write_text(json.dumps({"data": {"outcome": "done", "at": "2027-01-15T07:59:00+00:00"}}))
    good = metrics.backups(settings, {})
    assert good["data"] == {"good_at": looks.NOW - 60, "failed": False}
    noted.write_text(json.dumps({"data": {"outcome": "failed", "at": "2027-01-15T08:00:00+00:00"}}))
    assert metrics.backups(settings, good)["data"] == {"good_at": looks.NOW - 60, "failed": True}
    assert metrics.backups({"backups": False}, good) == {}


def test_a_message_is_sent_now_and_then_and_the_last_success_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"node": "node1", "probe_every_s": 300, "probe_url": "ws://h:8080/ws"}
    asked: list[list[str]] = []
    codes = iter([0, 1])

    def answer(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess(command, next(codes))

    monkeypatch.setattr(metrics.subprocess, "run", answer)
    facts = looks.facts(1)
    first = metrics.probe(settings, facts, {}, 1000.0)
    assert (first["ok"], first["good_at"]) == (True, 1000.0)
    assert metrics.probe(settings, facts, first, 1200.0) == first
    second = metrics.probe(settings, facts, first, 1300.0)
    assert (second["ok"], second["good_at"], len(asked)) == (False, 1000.0, 2)
    assert asked[0][:3] == ["docker", "exec", facts["containers"][1]["id"]]
    facts["containers"] = []
    assert not metrics.probe(settings, facts, second, 1700.0)["ok"]
    assert metrics.probe(settings | {"probe_every_s": 0}, facts, second, 2000.0) == {}


def test_the_dates_of_a_certificate_are_read(tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "3", "-subj", "/CN=x"]
    key = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*made, *key], check=True, capture_output=True)
    found = metrics.dates((tmp_path / "certificate.pem").read_bytes())
    assert found["expires"] - found["begins"] == 3 * DAY_S
    assert abs(found["begins"] - time.time()) < 60
    assert metrics.dates(b"no certificate") == {}
