"""Wrong input is told plainly, before anything is touched; a version that does not serve is taken back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from tests.scenarios import chatting
from tests.scenarios.lab import STACK, Lab, playbook

SPARE_ADDRESS = "172.30.0.250"
"""In the lab's network, where nobody lives."""


@pytest.fixture
def inventory(lab: Lab, tmp_path: Path) -> Path:
    """A copy of the lab's inventory, to be spoilt."""
    copy = tmp_path / "lab"
    shutil.copytree(lab.inventory, copy)
    for file in copy.glob("group_vars/**/*.yml"):
        file.write_text(file.read_text().replace("{{ inventory_dir }}", str(lab.inventory)))
    return copy


def _spoil(inventory: Path, **changes: dict[str, Any]) -> None:
    """Change hosts' variables; None takes a variable away, a new name adds a host."""
    file = inventory / "hosts.yml"
    content = yaml.safe_load(file.read_text())
    hosts = content["chat"]["children"]["swarm_managers"]["hosts"]
    for host, variables in changes.items():
        hosts.setdefault(host, {}).update(variables)
    file.write_text(yaml.safe_dump(content))


@pytest.mark.timeout(200)
def test_two_hosts_for_one_label(inventory: Path) -> None:
    _spoil(inventory, host2={"node_type": "node1"})
    play = playbook("site", inventory=inventory)
    assert play.code != 0
    assert "node_type of its own" in play.output
    assert play.changed == 0


@pytest.mark.timeout(200)
def test_an_even_number_of_managers(inventory: Path) -> None:
    _spoil(inventory, host4={"ansible_host": SPARE_ADDRESS, "node_type": "node4"})
    play = playbook("site", inventory=inventory)
    assert play.code != 0
    assert "swarm_managers has 4 hosts" in play.output
    assert play.changed == 0


@pytest.mark.timeout(200)
def test_an_unreachable_host(inventory: Path) -> None:
    _spoil(inventory, host2={"ansible_host": SPARE_ADDRESS})
    play = playbook("site", inventory=inventory)
    assert play.code != 0
    assert f"host2 ({SPARE_ADDRESS}) cannot be reached" in " ".join(play.output.split())
    assert play.changed == 0


@pytest.mark.timeout(200)
@pytest.mark.parametrize("secret", ["chat_jwt_key", "chat_nats_password"])
def test_a_missing_secret(lab: Lab, secret: str) -> None:
    del lab
    play = playbook("deploy", "-e", f"{secret}=")
    assert play.code != 0
    assert f"secret {secret} is missing" in " ".join(play.output.split())
    assert play.changed == 0


@pytest.mark.timeout(200)
def test_a_password_that_no_configuration_can_hold(lab: Lab) -> None:
    del lab
    play = playbook("deploy", "-e", json.dumps({"chat_nats_password": 'a"' * 20}))
    assert play.code != 0
    assert "chat_nats_password has other characters" in " ".join(play.output.split())
    assert play.changed == 0


@pytest.mark.timeout(200)
def test_a_busy_port(lab: Lab) -> None:
    del lab
    play = playbook("deploy", "-e", "chat_websocket_port=22")
    assert play.code != 0
    assert "Port 22 of" in " ".join(play.output.split())
    assert play.changed == 0


@pytest.mark.timeout(600)
@pytest.mark.long
async def test_a_bad_setting_is_taken_back_and_told(lab: Lab) -> None:
    """A version that does not serve: the old one everywhere again, exit code not 0, the cause in the output."""
    before = {host: lab.readyz(host)["release"] for host in lab.hosts}
    arguments = ("-e", '{"chat_node_environment": {"LOG_LEVEL": "LOUD"}}')
    async with chatting.talk(lab, "scenario.bad-setting") as going:
        play = await trio.to_thread.run_sync(lambda: playbook("deploy", *arguments))
    assert play.code != 0
    assert "LOG_LEVEL: 'LOUD' wants one of DEBUG, INFO, WARNING, ERROR" in " ".join(play.output.split())
    assert {host: lab.readyz(host)["release"] for host in lab.hosts} == before
    services = lab.ssh("host1", f"docker stack services {STACK} --format '{{{{.Replicas}}}}'").split("\n")
    assert all(replicas.startswith("1/1") for replicas in services if replicas)
    going.check(await chatting.histories(lab, going.room))
