"""The monitoring on the lab: it sees everything; alerts fire for a lost machine, are silent in a window, and clear."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.scenarios.lab import STACK, Lab, playbook

Json = dict[str, Any]
pytestmark = pytest.mark.timeout(900)
SERVER = "host1"
EARLIER = {"ChatRestarts", "ChatReleaseRolledBack"}
"""These go on after what other scenarios did to the services and the release, so they tell nothing here."""

SILENT_S = 120.0
"""Longer than an alert about a node waits before it is told."""


def ask(lab: Lab, path: str, host: str = SERVER) -> Any:
    """An answer of the Prometheus on a host."""
    return json.loads(lab.ssh(host, f"curl --silent --globoff 'http://127.0.0.1:9095/api/v1/{path}'"))["data"]


def values(lab: Lab, metric: str, host: str = SERVER) -> dict[str, float]:
    """Host -> value of a metric."""
    found = ask(lab, f"query?query={metric}", host)["result"]
    return {row["metric"].get("host", ""): float(row["value"][1]) for row in found}


def firing(lab: Lab) -> set[str]:
    """The alerts that fire, as Prometheus knows it."""
    found = ask(lab, "alerts")["alerts"]
    return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"} - EARLIER


def told(lab: Lab) -> set[str]:
    """The alerts that Alertmanager would tell somebody: neither silenced nor explained by another."""
    address = lab.hosts[SERVER]["ansible_host"]
    asked = f"http://{address}:9093/api/v2/alerts?active=true&silenced=false&inhibited=false"
    answer = lab.ssh(SERVER, f"curl --silent '{asked}'")
    return {alert["labels"]["alertname"] for alert in json.loads(answer)} - EARLIER


def until(condition: Callable[[], bool], timeout_s: float) -> float:
    """Wait; returns the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s} s"
        time.sleep(2)
    return time.monotonic() - began


def look_now(lab: Lab, *hosts: str) -> None:
    """What happens every minute, at once."""
    for host in hosts:
        lab.ssh(host, "systemctl start chat-metrics.service", timeout_s=120)


def is_there(lab: Lab) -> bool:
    """Whether a host is monitored."""
    return "chat-metrics" in lab.ssh("host1", "systemctl list-timers --all")


@pytest.fixture(scope="module")
def monitored(lab: Lab) -> Iterator[Lab]:
    """The lab with its monitoring, which goes again."""
    play = playbook("monitoring")
    assert play.code == 0, play.output[-4000:]
    yield lab
    lab.ssh("host1", f"sh -c 'docker config rm {STACK}.window 2>/dev/null || true'")
    play = playbook("monitoring", "-e", "state=absent")
    assert play.code == 0, play.output[-4000:]
    assert not is_there(lab)


@pytest.mark.long
def test_a_second_run_changes_nothing(monitored: Lab) -> None:
    assert monitored
    play = playbook("monitoring")
    assert (play.code, play.changed) == (0, 0), play.output[-4000:]


@pytest.mark.long
def test_site_takes_it_away_and_sets_it_up_as_the_inventory_says(monitored: Lab) -> None:
    for enabled, changes in (("false", True), ("true", True), ("true", False)):
        play = playbook("site", "-e", f"monitoring_enabled={enabled}")
        assert (play.code, play.changed > 0) == (0, changes), play.output[-4000:]
        assert is_there(monitored) == (enabled == "true")


def test_everything_is_seen(monitored: Lab) -> None:
    lab = monitored
    look_now(lab, *lab.hosts)
    for server in lab.hosts:
        until(partial(_sees_all, lab, server), 60)
    assert set(values(lab, "chat_probe_success").values()) == {1.0}
    assert set(values(lab, "chat_swarm_spare_managers").values()) == {1.0}
    assert set(values(lab, "chat_nats_spare_servers").values()) == {1.0}
    assert all(value > time.time() for value in values(lab, "chat_certificate_expiry_timestamp_seconds").values())
    assert firing(lab) == set()


def _sees_all(lab: Lab, server: str) -> bool:
    targets = ask(lab, "targets?state=active", server)["activeTargets"]
    probed = values(lab, "chat_probe_success", server)
    return len(targets) == 10 and {target["health"] for target in targets} == {"up"} and set(probed) == set(lab.hosts)


def test_nothing_of_it_is_public(monitored: Lab) -> None:
    lab = monitored
    own = {"prometheus": "127.0.0.1:9095", "prometheus-node": ":9100", "prometheus-aler": ":9093"}
    listening = lab.ssh(SERVER, "ss --listening --tcp --numeric --processes --no-header")
    for program, address in own.items():
        row = next(line for line in listening.splitlines() if f'"{program}"' in line and address in line)
        assert re.split(r"\s+", row)[3] in (address, f"{lab.hosts[SERVER]['ansible_host']}{address}")
    rules = lab.ssh(SERVER, "nft list chain inet host_firewall input")
    opened = [line for line in rules.splitlines() if re.search(r"\b(9093|9100)\b", line)]
    assert opened
    assert all("@peers" in line for line in opened)


def test_an_alert_fires_for_a_lost_machine_and_clears(monitored: Lab) -> None:
    lab = monitored
    lab.kill("host3")
    try:
        took_s = until(lambda: {"ChatHostDown", "ChatNodeDown"} <= firing(lab), 180)
        print(f"a lost machine was told of after {took_s:.0f} s")
        until(lambda: "ChatHostDown" in told(lab), 60)
        assert "ChatNodeDown" not in told(lab)  # the machine explains its node
    finally:
        lab.start("host3")
        lab.wait_ready("host3")
    took_s = until(lambda: not firing(lab) and not told(lab), 240)
    print(f"nothing was wrong any more {took_s:.0f} s after the machine was back")


def test_an_alert_for_a_stopped_node_is_silent_in_a_window_only(monitored: Lab) -> None:
    lab = monitored
    message = json.dumps({"message": "work on node3"})
    play = playbook("maintenance", "-e", "state=open", "-e", "minutes=30", "-e", message, "-e", "without_backup=true")
    assert play.code == 0, play.output[-4000:]
    look_now(lab, *lab.hosts)
    until(lambda: values(lab, "chat:window:open") == {"": 1.0}, 60)
    lab.ssh("host1", f"docker service scale --detach {STACK}_node3=0")
    try:
        ends = time.monotonic() + SILENT_S
        while time.monotonic() < ends:
            assert not firing(lab) | told(lab)
            time.sleep(2)
        lab.ssh("host1", f"docker config rm {STACK}.window")
        look_now(lab, *lab.hosts)
        until(lambda: "ChatNodeDown" in told(lab), 180)
    finally:
        lab.ssh("host1", f"docker service scale --detach {STACK}_node3=1")
        lab.wait_ready("host3")
    until(lambda: not firing(lab) and not told(lab), 240)
