"""Every playbook there is, in check mode and as loud as can be: nothing is changed, and no secret is shown."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.scenarios.lab import ROOT, STACK, Lab, playbook

# What it is told; a playbook that is not named is run as it is.
ARGUMENTS: dict[str, dict[str, str]] = {
    "configure": {"chat_env": '{"LOG_LEVEL": "DEBUG"}'},
    "diagnose": {"export": "{scratch}/diagnosis.tar.gz"},
    "emergency": {"state": "restart", "node": "node1", "reason": "a look", "report": "{scratch}/record.md"},
    "host_updates": {"without_window": "true"},
    "inspect": {"node": "node1"},
    "lock": {"state": "show"},
    "logs": {"tail": "5", "node": "all"},
    "maintenance": {"state": "open", "minutes": "5", "message": "a look", "without_backup": "true"},
    "publish": {"version": "look"},
    "remove": {"confirm": STACK},
    "remove_host": {"node": "host3"},
    "replace_host": {"node": "host3"},
    "restart": {"node": "node2"},
    "rollback": {"version": "current"},
    "scale": {"node": "node1", "replicas": "1"},
    "scan": {"offline": "true", "report": "{scratch}/sbom.json"},
    "secrets": {"state": "close"},
    "stop": {"node": "node2"},
    "swarm_nodes": {"node": "host3", "state": "drain"},
    "update": {"version": "{image}"},
    "upgrade_docker": {"without_window": "true", "node": "host3"},
}
# A host of the chat is not removed. Replacing one that is in its place already is a run that was finished before.
REFUSE = {"remove_host"}
# They ask a repository for its snapshots, and the lab has none; test_backup.py gives it one.
WANT_A_REPOSITORY = {"backup", "backups", "drill", "restore"}
PLAYBOOKS = sorted({path.stem for path in (ROOT / "playbooks").glob("*.yml")} - WANT_A_REPOSITORY)


@pytest.fixture(scope="module")
def unspeakable(lab: Lab) -> set[str]:
    """All that nobody may read: the inventory's secrets, what follows from them, and the Swarm's join tokens."""
    files = [path for path in (lab.inventory / "secrets").iterdir() if path.suffix != ".pub"]
    values = {
        line for path in files for line in path.read_text().splitlines() if len(line) >= 32 and "----" not in line
    }
    password = (lab.inventory / "secrets" / "nats_password").read_text().strip()
    values.add(hashlib.sha256(f"{password} routes".encode()).hexdigest())
    return values | {lab.ssh("host1", f"docker swarm join-token -q {role}").strip() for role in ("manager", "worker")}


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_look_with_every_playbook(lab: Lab, unspeakable: set[str], name: str, tmp_path: Path) -> None:
    before = _state(lab)
    image = lab.ssh(
        "host1", f"docker service inspect {STACK}_node1 --format '{{{{.Spec.TaskTemplate.ContainerSpec.Image}}}}'"
    )
    given = {
        key: json.loads(value) if value.startswith('{"') else value.format(scratch=tmp_path, image=image.strip())
        for key, value in ARGUMENTS.get(name, {}).items()
    }
    play = playbook(name, "--check", "--diff", "-vvv", "-e", json.dumps(given), timeout_s=390)
    if name in REFUSE:
        assert play.code != 0
        assert "Nothing was changed." in " ".join(play.output.split()), play.output[-4000:]
    else:
        assert play.code == 0, play.output[-4000:]
    assert _state(lab) == before
    assert not [value for value in unspeakable if value in play.output]


def _state(lab: Lab) -> str:
    """Services with their versions, machines with their parts, and the Swarm's objects."""
    looks = (
        f"docker service inspect $(docker stack services -q {STACK}) --format '{{{{.ID}}}} {{{{.Version.Index}}}}'",
        "docker node inspect $(docker node ls -q) --format '{{.ID}} {{.Spec}}'",
        "docker config ls --format '{{.Name}}'",
        "docker secret ls --format '{{.Name}}'",
    )
    return lab.ssh("host1", f'sh -c "{"; ".join(looks)}"')
