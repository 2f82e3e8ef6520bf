"""The playbooks that look and change nothing: what they tell of a quiet cluster, and of one that loses its hosts."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.lab import ROOT, STACK, Lab, Play, playbook, run

Json = dict[str, Any]


def look(name: str, report: Path, *arguments: str) -> tuple[Play, Json]:
    """Run a playbook that writes a report; it must not have changed anything."""
    play = playbook(name, "-e", f"report={report}", *arguments, timeout_s=240)
    assert play.changed == 0, play.output[-3000:]
    return play, json.loads(report.read_text())


def health(report: Path) -> tuple[int, Json, str]:
    """The exit code of ``bin/health``, the report, and what it printed."""
    done = run(str(ROOT / "bin/health"), "-e", f"report={report}", timeout_s=240)
    return done.returncode, json.loads(report.read_text()), done.stdout + done.stderr


def faults(report: Json) -> list[str]:
    return [finding["cause"] for finding in report["findings"] if finding["level"] != "note"]


@pytest.fixture(scope="module")
def quiet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Json:
    """The report of a health check after the managers have had their own."""
    for host in lab.hosts:
        lab.ssh(host, "systemctl start chat-health.service", timeout_s=120)
    began = time.monotonic()
    code, report, output = health(tmp_path_factory.mktemp("health") / "report.json")
    print(f"health took {time.monotonic() - began:.1f} s")
    assert (code, report["level"]) == (0, "healthy"), output[-3000:]
    return report


@pytest.mark.timeout(300)
def test_a_quiet_cluster_is_healthy(quiet: Json) -> None:
    assert [(row["service"], row["replicas"], row["health"]) for row in quiet["services"]] == [
        (f"{kind}{number}", "1/1", "healthy") for kind in ("nats", "node") for number in (1, 2, 3)
    ]
    assert {row["probe"] for row in quiet["hosts"]} == {"ok"}
    assert all(row["certificate_days"] > 0 and row["disk_percent"] > 0 for row in quiet["hosts"])
    assert quiet["log"]["servers"] == 3
    assert quiet["log"]["replica_lag"] == 0
    assert faults(quiet) == []


def test_the_manager_that_leads_checks_every_hour(lab: Lab, quiet: Json) -> None:
    reports = [json.loads(lab.ssh(host, "cat /var/lib/chat-ops/health.json")) for host in lab.hosts]
    assert sorted(report["acted"] for report in reports) == [False, False, True]
    leader = next(report for report in reports if report["acted"])
    assert leader["level"] == "healthy"
    assert any(finding["cause"] == "timer" for finding in quiet["findings"])
    journal = lab.ssh(leader["by"], "journalctl --unit chat-health --priority info --lines 20")
    assert "the cluster is healthy" in journal
    assert "active" in lab.ssh("host1", "systemctl is-active chat-health.timer")


@pytest.mark.timeout(300)
def test_status_and_resources_measure(lab: Lab, tmp_path: Path) -> None:
    del lab
    play, report = look("status", tmp_path / "status.json")
    assert play.code == 0, play.output[-3000:]
    nodes = [row for row in report["services"] if row["service"].startswith("node")]
    assert all("chat_messages_in_total" in row["rates"] and row["connections"] is not None for row in nodes)
    assert "messages in/s" in play.output
    assert report["releases"]
    play, report = look("resources", tmp_path / "resources.json")
    assert play.code == 0, play.output[-3000:]
    assert all(row["usage"]["memory_bytes"] > 0 and row["usage"]["processes"] > 0 for row in report["services"])
    assert any(row["container_rates"]["cpu_percent"] > 0 for row in report["services"])
    assert all(row["rates"]["cpu_percent"] > 0 for row in report["hosts"])


def test_a_report_is_written_where_the_operator_is(lab: Lab) -> None:
    del lab
    here = Path(".make") / f"{secrets.token_hex(4)}.json"
    play = playbook("releases", "-e", f"report={here}")
    assert play.code == 0, play.output[-3000:]
    assert json.loads((ROOT / here).read_text())[0]["current"]
    (ROOT / here).unlink()


def _objects(lab: Lab) -> list[str]:
    kinds = ("network ls --quiet", "ps --all --quiet", "image ls --all --quiet", "volume ls --quiet")
    return [lab.ssh(host, f"docker {kind}") for host in lab.hosts for kind in kinds]


@pytest.mark.timeout(300)
def test_the_network_is_examined_and_nothing_is_left(lab: Lab, tmp_path: Path) -> None:
    before = _objects(lab)
    play, report = look("network", tmp_path / "network.json")
    assert play.code == 0, play.output[-3000:]
    assert report["faults"] == []
    assert set(report["hosts"]) == set(lab.hosts)
    for found in report["hosts"].values():
        assert set(found["names"]) == set(report["targets"])
        assert found["lost"] == []
        assert found["mtu"]["overlay"] < found["mtu"]["host"]
    assert _objects(lab) == before
    assert "probe" not in lab.ssh("host1", "ps -eo args")


# Sends the specification back as it is but for a label. `docker service update` would restart the task.
BEND = """
import json, subprocess, sys
def ask(path, *more):
    command = ["curl", "-s", "--unix-socket", "/var/run/docker.sock", "http://docker" + path, *more]
    return json.loads(subprocess.check_output(command))
service = ask("/services/" + sys.argv[1])
labels = service["Spec"]["Labels"]
labels.pop("bent", None)
labels.update({"bent": word for word in sys.argv[2:]})
path = "/services/%s/update?version=%d" % (service["ID"], service["Version"]["Index"])
ask(path, "-H", "Content-Type: application/json", "-d", json.dumps(service["Spec"]))
"""


def bend(lab: Lab, service: str, *label: str) -> None:
    """Put a label on a service by hand, or take it off."""
    lab.ssh("host1", shlex.join(["python3", "-c", BEND, f"{STACK}_{service}", *label]))


@pytest.mark.timeout(300)
def test_what_was_bent_by_hand_is_told(lab: Lab, tmp_path: Path) -> None:
    bend(lab, "node3", "yes")
    try:
        code, report, output = health(tmp_path / "report.json")
        play = playbook("inspect", "-e", "node=node3")
    finally:
        bend(lab, "node3")
    assert (code, faults(report)) == (1, ["drift"]), output[-3000:]
    assert "node3 was changed by hand" in output
    assert "label bent: yes, in the release none" in play.output
    assert re.search(r"CURRENT STATE", play.output)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("inspect", ["node=node9"], "it is one of: nats1, nats2"),
        ("logs", ["node=node9"], "node1, node2, node3"),
        ("logs", ["level=loud"], "debug, info, warning"),
        ("logs", ["tail=some"], "tail is"),
        ("logs", ["since=yesterday"], "10m"),
        ("logs", ["grep=("], "grep is"),
    ],
)
def test_wrong_values_are_refused_with_the_right_ones(lab: Lab, name: str, arguments: list[str], told: str) -> None:
    del lab
    play = playbook(name, *(part for argument in arguments for part in ("-e", argument)))
    assert play.code != 0
    assert told in re.sub(r"\s+", " ", play.output)


@pytest.fixture(scope="module")
def canary(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A secret that a node has logged, and the file of variables that says it is one."""
    value = f"canary-{secrets.token_hex(12)}"
    variables = tmp_path_factory.mktemp("canary") / "variables.json"
    variables.write_text(json.dumps({"some_bot_token": value}))
    container = lab.ssh("host1", f"docker ps --quiet --filter name={STACK}_node1").strip()
    lab.ssh("host1", f"docker exec {container} sh -c 'echo this is {value} in a line >/proc/1/fd/1'")
    return value, variables


@pytest.mark.timeout(300)
def test_logs_are_chosen_merged_and_without_secrets(lab: Lab, canary: tuple[str, Path], tmp_path: Path) -> None:
    value, variables = canary
    export = tmp_path / "logs.jsonl"
    play = playbook("logs", "-vvv", "-e", f"@{variables}", "-e", f"export={export}", "-e", "tail=0")
    assert play.code == 0, play.output[-3000:]
    lines = [json.loads(line) for line in export.read_text().splitlines()]
    assert {line["service"] for line in lines} >= {"node1", "node2", "node3", "nats1", "nats2", "nats3"}
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert any("this is [secret] in a line" in line["line"] for line in lines)
    assert value not in export.read_text() + play.output
    play = playbook("logs", "-e", "room_id=ops.probe", "-e", "node=node2", "-e", "tail=1", "-e", "follow=2")
    assert play.code == 0, play.output[-3000:]
    assert re.search(r"node2 INFO joined .*room_id=ops.probe", play.output), play.output[-3000:]
    del lab


@pytest.mark.timeout(900)
def test_hosts_are_lost_one_by_one(lab: Lab, canary: tuple[str, Path], tmp_path: Path) -> None:
    value, variables = canary
    bundle = tmp_path / "bundle.tar.gz"
    lab.kill("host3")
    try:
        code, report, output = health(tmp_path / "one.json")
        assert (code, report["level"]) == (1, "degraded"), output[-3000:]
        assert "host3 cannot be reached" in report["findings"][0]["text"]
        play = playbook("logs", "-e", "tail=2", "-e", "node=all")
        assert play.code == 0, play.output[-3000:]
        assert "no answer from host3" in re.sub(r"\s+", " ", play.output)
        assert "node1" in play.output

        lab.kill("host2")
        code, report, output = health(tmp_path / "two.json")
        assert (code, report["level"]) == (2, "down"), output[-3000:]
        began = time.monotonic()
        play = playbook("diagnose", "-vvv", "-e", f"export={bundle}", "-e", f"@{variables}", timeout_s=300)
        print(f"diagnose with one of three hosts took {time.monotonic() - began:.1f} s")
    finally:
        lab.start("host2")
        lab.start("host3")
        for host in lab.hosts:
            lab.wait_ready(host)
    assert play.code == 0, play.output[-3000:]
    said = re.sub(r"\s+", " ", play.output)
    assert "Likeliest cause: host2 cannot be reached" in said
    assert "the Swarm has no quorum" in said
    assert "the log has no quorum" in said
    with tarfile.open(bundle) as archive:
        texts = {member.name: archive.extractfile(member).read().decode() for member in archive}  # type: ignore[union-attr]
    names = {name.partition("/")[2] for name in texts}
    assert names >= {"diagnosis.txt", "report.json", "host1/host/disk", "host1/docker/daemon.json", "host1/nats1/jsz"}
    assert names >= {"host2/no-answer", "host3/no-answer"}
    everything = "".join(texts.values())
    assert "this is [secret] in a line" in everything
    keys = [(lab.inventory / "secrets" / name).read_text().strip() for name in ("jwt_key", "nats_password")]
    assert not [key for key in [value, *keys] if key in everything + play.output]
