"""The judge of a cluster's health: every cause it knows is found, and the likeliest is told first."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable
from typing import Any

import ansible.module_utils  # type: ignore[import-untyped]
import pytest

from tests.unit import looks
from tests.unit.test_roles import ROLES, load

ansible.module_utils.__path__.append(str(ROLES / "chat/module_utils"))
observe = load("observe/filter_plugins/observe.py")
text = importlib.import_module("ansible.module_utils.observe_text")
swarm = importlib.import_module("ansible.module_utils.observe_swarm")
rules = importlib.import_module("ansible.module_utils.observe_rules")

Json = dict[str, Any]
EXPECTED = {f"host{n}": {"node": f"node{n}", "nats": f"nats{n}"} for n in (1, 2, 3)}
PROBED = {"stdout": '{"ok": true, "node": "x", "ms": 4.0}'}


def judged(
    hosts: dict[str, Json],
    silent: tuple[str, ...] = (),
    probes: dict[str, Json] | None = None,
    **more: Any,
) -> Json:
    answers: dict[str, Json] = {host: {"facts": found} for host, found in hosts.items() if host not in silent}
    answers |= {host: {"unreachable": True, "msg": "no route to host"} for host in silent}
    probes = dict.fromkeys(EXPECTED, PROBED) if probes is None else probes
    found: Json = observe.report(answers, EXPECTED, looks.NOW, probes, **more)
    return found


def faults(report: Json) -> list[str]:
    return [finding["cause"] for finding in report["findings"] if finding["level"] != "note"]


def test_a_healthy_cluster_is_healthy() -> None:
    report = judged(looks.healthy())
    assert (report["level"], report["findings"]) == ("healthy", [])
    assert [row["replicas"] for row in report["services"]] == ["1/1"] * 6
    assert report["log"] == {
        "servers": 3,
        "servers_leader": "nats3",
        "stream_leader": "nats2",
        "entries": 9,
        "bytes": 900,
        "replica_lag": 0,
    }


def lose_containers(hosts: dict[str, Json], number: int) -> None:
    facts = hosts[f"host{number}"]
    facts["nodes"], facts["nats"], facts["containers"] = {}, {}, []


def change_service(name: str, **changed: Any) -> Callable[[dict[str, Json]], None]:
    def change(hosts: dict[str, Json]) -> None:
        for facts in hosts.values():
            facts["swarm"]["services"][name].update(changed)
        lose_containers(hosts, int(name[-1]))

    return change


def put(path: str, value: Any, *numbers: int) -> Callable[[dict[str, Json]], None]:
    """Change one thing of what hosts tell; of all of them if no number is given."""

    def change(hosts: dict[str, Json]) -> None:
        for number in numbers or (1, 2, 3):
            place: Any = hosts[f"host{number}"]
            *way, last = path.split("/")
            for step in way:
                place = place[int(step) if step.isdigit() else step]
            place[int(last) if last.isdigit() else last] = value

    return change


ENGINE_DOWN = {"up": False, "version": "", "error": "connection refused"}
LATELY, LONG_AGO = "2027-01-15T07:50:00Z", "2027-01-15T05:50:00Z"
CRASHED = {"running": 0, "failed_at": [LONG_AGO] * 4, "errors": ["failed: task: non-zero exit (2)"]}


@pytest.mark.parametrize(
    ("change", "cause", "told"),
    [
        (put("engine", ENGINE_DOWN, 2), "engine", "Docker engine of host2"),
        (put("host/disks/0/used_percent", 98.0, 3), "disk", "host3 at / is 98 %"),
        (put("host/disks/0/inodes_percent", 99.0, 3), "disk", "99 %"),
        (put("host/disks/0/used_percent", 90.0, 3), "filling", "90 %"),
        (put("host/available_bytes", 10, 3), "memory", "memory of host3"),
        (put("swarm", {"state": "active", "manages": False, "error": "no leader"}), "swarm_quorum", "no leader"),
        (put("swarm", {"state": "inactive", "manages": False, "error": ""}), "swarm_quorum", "no host manages"),
        (put("swarm/machines/1/reachable", False), "unreachable", "does not hear its manager host2"),
        (put("swarm/services", {}), "not_deployed", "not deployed"),
        (change_service("node2", running=0, node_type="node9"), "label", "node_type=node9"),
        (change_service("node2", running=0, errors=["rejected: No such image: x"]), "image", "No such image"),
        (change_service("node2", running=0, missing_objects=["jwt_key-1"]), "secret", "jwt_key-1 is gone"),
        (change_service("node2", wanted=0, running=0), "scaled_to_0", "node2 is scaled to 0"),
        (change_service("node2", **CRASHED), "crash_loop", "non-zero exit (2)"),
        (change_service("node2", running=0), "not_running", "node2 is 0/1"),
        (put("swarm/services/node2/failed_at", [LATELY] * 3), "restarts", "went down 3 times"),
        (put("containers/1/health", "unhealthy", 2), "unhealthy", "node2 on host2 is unhealthy"),
        (put("nodes/node2/ready/peers", ["node3"], 2), "network", "node2 does not hear node1"),
        (put("nats/nats2/error", "timed out", 2), "unhealthy", "nats2 does not answer"),
        (put("nats/nats2/healthz", {"status": "unavailable", "error": "not current"}, 2), "behind", "not caught up"),
        (put("nodes/node2/ready/head", 5009, 2), "behind", "node2 is 5000 entries behind"),
        (put("nodes/node2/ready", {"ready": False, "reason": "draining"}, 2), "not_ready", "draining"),
        (put("nodes/node2", {"ready": {}, "error": "refused"}, 2), "not_ready", "node2 does not answer: refused"),
        (put("at", looks.NOW - 60, 2), "clock", "differs by 60 s"),
        (put("swarm/drift", ["node1 was changed by hand"]), "drift", "changed by hand"),
        (put("certificate/expires", looks.NOW + 86_400, 2), "certificate", "host2 expires"),
    ],
)
def test_each_cause_is_found(change: Callable[[dict[str, Json]], None], cause: str, told: str) -> None:
    hosts = looks.healthy()
    change(hosts)
    report = judged(hosts)
    first = report["findings"][0]
    assert (first["cause"], report["level"]) == (cause, "degraded")
    assert told in first["text"]
    assert first["next_step"]


def test_every_cause_has_its_place() -> None:
    assert len(set(rules.CAUSES)) == len(rules.CAUSES)


def test_a_lost_host_explains_what_it_takes_along() -> None:
    hosts = looks.healthy()
    for name in ("nats3", "node3"):
        change_service(name, running=0)(hosts)
    put("swarm/machines/2/state", "down")(hosts)
    put("swarm/machines/2/reachable", False)(hosts)
    probes: dict[str, Json] = {
        **dict.fromkeys(EXPECTED, PROBED),
        "host3": {"stdout": '{"ok": false, "reason": "refused"}'},
    }
    report = judged(hosts, silent=("host3",), probes=probes)
    assert report["level"] == "degraded"
    assert faults(report)[0] == "unreachable"
    assert "host3 cannot be reached: no route to host" in report["findings"][0]["text"]
    assert set(faults(report)) == {"unreachable", "not_running", "probe"}
    assert "Likeliest cause: host3 cannot be reached" in text.diagnosis(report)


def test_without_a_majority_it_is_down_and_the_lost_hosts_are_the_cause() -> None:
    hosts = looks.healthy()
    alone = hosts["host1"]
    alone["swarm"] = {"state": "active", "manages": True, "leads": False, "error": "The swarm does not have a leader"}
    alone["nodes"]["node1"]["ready"] = {"ready": False, "reason": "cut off from the log"}
    alone["nats"]["nats1"]["jsz"]["meta_cluster"]["leader"] = ""
    failed: Json = {"stdout": '{"ok": false, "reason": "no round trip"}'}
    report = judged(hosts, silent=("host2", "host3"), probes=dict.fromkeys(EXPECTED, failed))
    assert report["level"] == "down"
    assert faults(report)[:4] == ["unreachable", "unreachable", "swarm_quorum", "jetstream_quorum"]
    assert report["unknown"] == ["services", "drift", "lock", "window"]
    assert [row["replicas"] for row in report["services"]] == ["?"] * 6


def test_a_host_that_was_not_asked_is_not_missed() -> None:
    assert judged({"host1": looks.facts(1)}, probes={})["level"] == "healthy"


def test_one_of_several_replicas_is_enough_to_hear() -> None:
    hosts = looks.healthy()
    put("nodes/node2/ready/peers", ["node1-2", "node3"], 2)(hosts)
    assert judged(hosts)["level"] == "healthy"


def test_kept_out_is_told_from_not_ready() -> None:
    failed = {"host2": {"stdout": '{"ok": false, "reason": "timed out"}'}}
    report = judged(looks.healthy(), probes=dict.fromkeys(EXPECTED, PROBED) | failed)
    assert (report["level"], faults(report)) == ("degraded", ["firewall"])
    broken = {"host2": {"stdout": "", "stderr": "no such command", "msg": "x"}}
    assert "no such command" in judged(looks.healthy(), probes=broken)["findings"][0]["text"]


def token(**claims: Any) -> str:
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


def test_a_token_that_ends_soon_is_named_and_not_shown() -> None:
    watched = {"bot": token(exp=looks.NOW + 86_400), "fine": token(exp=looks.NOW + 1e7), "for ever": token(sub="x")}
    report = judged(looks.healthy(), tokens=watched)
    assert faults(report) == ["token"]
    assert "bot" in report["findings"][0]["text"]
    assert watched["bot"] not in json.dumps(report)


def test_lock_and_window_are_notes() -> None:
    hosts = looks.healthy()
    lock = {"owner": "ana", "since": "2027-01-15T07:00:00Z", "verb": "deploy", "expires": "2027-01-15T07:30:00Z"}
    put("swarm/lock", lock)(hosts)
    put("swarm/window", {"until": "2027-01-15T09:00:00Z", "owner": "bo"})(hosts)
    report = judged(hosts)
    assert (report["level"], faults(report)) == ("healthy", [])
    assert [finding["cause"] for finding in report["findings"]] == ["lock", "window"]
    assert "should be over" in report["findings"][0]["text"]


@pytest.mark.parametrize(
    ("checked_at", "level"), [("2027-01-15T07:30:00Z", "healthy"), ("2027-01-15T01:00:00Z", "degraded")]
)
def test_the_hourly_check_is_told_and_missed(checked_at: str, level: str) -> None:
    hosts = looks.healthy()
    put("timer", {"acted": True, "by": "host1", "level": "healthy", "checked_at": checked_at}, 1)(hosts)
    put("timer", {"acted": False, "by": "host2", "checked_at": "2027-01-15T07:59:00Z"}, 2)(hosts)
    report = judged(hosts)
    assert report["level"] == level
    assert "the hourly check on host1 said healthy" in report["findings"][0]["text"]


def test_what_went_down_long_ago_is_no_fault() -> None:
    hosts = looks.healthy()
    put("swarm/services/node2/failed_at", [LONG_AGO] * 3)(hosts)
    report = judged(hosts)
    assert report["level"] == "healthy"
    assert [row["restarts"] for row in report["services"] if row["service"] == "node2"] == [3]


def test_limits_can_be_moved() -> None:
    hosts = looks.healthy()
    put("host/disks/0/used_percent", 60.0, 1)(hosts)
    assert judged(hosts)["level"] == "healthy"
    assert judged(hosts, limits={"disk_percent": 50})["level"] == "degraded"


@pytest.mark.parametrize("show", ["health", "status", "resources", "diagnosis"])
def test_every_report_can_be_shown_whoever_is_missing(show: str) -> None:
    hosts = looks.healthy()
    put("engine", ENGINE_DOWN, 2)(hosts)
    lose_containers(hosts, 2)
    shown = getattr(text, show)(judged(hosts, silent=("host3",), probes={}))
    assert "host3" in shown


def test_tables_are_as_wide_as_their_cells() -> None:
    assert text.table([{"a": 1}, {"a": None}], [("x", lambda r: r["a"]), ("y", lambda _: "long")]).splitlines() == [
        "x  y",
        "1  long",
        "-  long",
    ]
    assert [text.span(s) for s in (0, 61, 3600, 90_061)] == ["0 s", "1 min 1 s", "1 h", "1 d 1 h"]
    assert [text.size(n) for n in (10, 2048, 3 << 40)] == ["10 B", "2.0 KiB", "3.0 TiB"]


def test_tasks_that_ended_well_are_no_restarts() -> None:
    template = {"ContainerSpec": {"Image": "i", "Secrets": [{"SecretName": "k"}]}}

    def task(state: str, at: str, error: str = "") -> Json:
        status = {"State": state, "Timestamp": at, "Err": error}
        return {
            "ID": at,
            "ServiceID": "s",
            "NodeID": "m1",
            "CreatedAt": at,
            "Spec": template,
            "DesiredState": "shutdown",
            "Status": status,
        }

    spec = {"TaskTemplate": template, "Mode": {}}
    tasks = [task("complete", "1"), task("failed", "2", "exit 1"), task("running", "3") | {"DesiredState": "running"}]
    tasks.append(task("failed", "0", "another release") | {"Spec": {"ContainerSpec": {"Image": "older"}}})
    row = swarm.service({"ID": "s", "Spec": spec}, tasks, {"m1": "host1"}, set())
    assert (row["running"], row["host"], row["failed_at"]) == (1, "host1", ["2"])
    assert row["missing_objects"] == ["k"]
    assert [t["state"] for t in row["tasks"]] == ["running", "failed", "complete", "failed"]
