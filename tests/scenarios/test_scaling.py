"""A machine comes, one node has a second replica there, which goes and comes by a playbook; then the machine goes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.scenarios import chatting
from tests.scenarios.lab import STACK, Lab, Play, playbook
from tests.scenarios.spares import spare_in

pytestmark = pytest.mark.long


def _make_room(inventory: dict[str, Any]) -> None:
    """The spare is a worker with room for a second node1."""
    spare = inventory["spares"]["hosts"].pop("host4")
    spare["swarm_labels"] = {"node_type": "node1"}
    inventory["chat"]["children"]["swarm_workers"] = {"hosts": {"host4": spare}}
    inventory["chat"]["vars"] = {"chat_replicas": {"node1": 2}}


@pytest.fixture
def wider(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """The lab with a spare, and an inventory in which it has room for a second node1."""
    with spare_in(lab, tmp_path, _make_room) as there:
        yield there


def _replicas(lab: Lab) -> str:
    ls = f"docker service ls --filter name={STACK}_node1 --format '{{{{.Replicas}}}}'"
    return lab.ssh("host1", ls).split()[0]


def _nodes(lab: Lab) -> dict[str, str]:
    lines = lab.ssh("host1", "docker node ls --format '{{.Hostname}} {{.Availability}}'").splitlines()
    return {host: availability for host, _, availability in (line.partition(" ") for line in lines)}


async def _play(name: str, lab: Lab, *arguments: str) -> Play:
    return await trio.to_thread.run_sync(partial(playbook, name, *arguments, inventory=lab.inventory))


async def _done(name: str, lab: Lab, *arguments: str) -> Play:
    play = await _play(name, lab, *arguments)
    assert play.code == 0, play.output[-4000:]
    return play


@pytest.mark.timeout(2400)
async def test_a_second_replica_comes_goes_and_comes_and_its_machine_goes(lab: Lab, wider: Lab) -> None:
    async with chatting.talk(lab, "scenario.scaling") as going:
        await _done("site", wider)
        assert (_replicas(lab), _nodes(lab)["host4"]) == ("2/2", "Active")

        fewer = await _done("scale", wider, "-e", "node=node1", "-e", "replicas=1")
        assert fewer.changed > 0
        assert (_replicas(lab), _nodes(lab)["host4"]) == ("1/1", "Drain")
        assert (await _done("scale", wider, "-e", "node=node1", "-e", "replicas=1")).changed == 0
        # What the release says counts, although the inventory still says two.
        await _done("restart", wider, "-e", "node=node1")
        await _done("configure", wider, "-e", '{"chat_env": {"LOG_LEVEL": "DEBUG"}}', "-e", "node=node1")
        assert _replicas(lab) == "1/1"

        await _done("scale", wider, "-e", "node=node1", "-e", "replicas=2")
        assert (_replicas(lab), _nodes(lab)["host4"]) == ("2/2", "Active")
        peers = lab.readyz("host2")["peers"]
        assert isinstance(peers, list)
        assert {"node1", "node1-2"} <= set(peers)
        # Back to before the setting, past the release that differs in replicas alone; there are as many as before.
        await _done("rollback", wider)
        assert _replicas(lab) == "2/2"
        assert '"LOG_LEVEL=DEBUG"' not in lab.environment("node1")

        refused = await _play("scale", wider, "-e", "node=node1", "-e", "replicas=3")
        assert refused.code != 0
        assert "node1 has room for 2" in " ".join(refused.output.split())
        assert "scale was refused" in refused.output

        await _done("scale", wider, "-e", "node=node1", "-e", "replicas=1")
        await _done("remove_host", lab, "-e", "node=host4")
        await _done("deploy", lab)
    assert sorted(_nodes(lab)) == ["host1", "host2", "host3"]
    assert _replicas(lab) == "1/1"
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
