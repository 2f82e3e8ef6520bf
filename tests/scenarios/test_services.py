"""Services are stopped, started, restarted and removed; two nodes stay, whatever is asked."""

from __future__ import annotations

import json

import pytest
import trio

from tests.scenarios import chatting, sampling
from tests.scenarios.lab import STACK, Lab, playbook


def _replicas(lab: Lab) -> dict[str, str]:
    lines = lab.ssh("host1", f"docker stack services {STACK} --format '{{{{json .}}}}'").splitlines()
    return {
        service["Name"].removeprefix(f"{STACK}_"): service["Replicas"].split()[0] for service in map(json.loads, lines)
    }


@pytest.mark.timeout(900)
async def test_restart_of_all_nodes_one_after_the_other(lab: Lab) -> None:
    async with chatting.talk(lab, "scenario.restart") as going, sampling.ready_nodes(lab) as samples:
        play = await trio.to_thread.run_sync(lambda: playbook("restart"))
    assert play.code == 0, play.output[-3000:]
    assert samples.fewest >= 2
    going.check(await chatting.histories(lab, going.room))


@pytest.mark.timeout(900)
def test_one_node_may_stop_and_no_second_one(lab: Lab) -> None:
    stopped = playbook("stop", "-e", "node=node2")
    assert stopped.code == 0, stopped.output[-3000:]
    assert _replicas(lab)["node2"] == "0/0"
    again = playbook("stop", "-e", "node=node2")
    assert (again.code, again.changed) == (0, 0), again.output[-3000:]
    for name in ("stop", "restart"):
        refused = playbook(name, "-e", "node=node1")
        assert refused.code != 0
        assert "node1 must stay, for node2 does not serve" in " ".join(refused.output.split())
        assert refused.changed == 0
    started = playbook("start", "-e", "node=node2")
    assert started.code == 0, started.output[-3000:]
    assert set(_replicas(lab).values()) == {"1/1"}
    again = playbook("start")
    assert (again.code, again.changed) == (0, 0), again.output[-3000:]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["stop", "remove"])
def test_the_whole_chat_ends_only_when_meant(lab: Lab, name: str) -> None:
    play = playbook(name, "-e", "node=all")
    assert play.code != 0
    assert f"confirm={STACK}" in play.output
    assert set(_replicas(lab).values()) == {"1/1"}


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_removed_and_deployed_again_it_has_all_its_messages(lab: Lab) -> None:
    async with chatting.talk(lab, "scenario.removed") as going:
        await trio.sleep(2)
    removed = playbook("remove", "-e", f"confirm={STACK}")
    assert removed.code == 0, removed.output[-3000:]
    assert f"{STACK}_nats1-data" in removed.output
    assert not _replicas(lab)
    deployed = playbook("deploy")
    assert deployed.code == 0, deployed.output[-3000:]
    going.check(await chatting.histories(lab, going.room))


@pytest.mark.timeout(600)
def test_what_was_stopped_as_a_whole_is_deployed_again(lab: Lab) -> None:
    stopped = playbook("stop", "-e", "node=all", "-e", f"confirm={STACK}")
    assert stopped.code == 0, stopped.output[-3000:]
    assert set(_replicas(lab).values()) == {"0/0"}
    deployed = playbook("deploy")
    assert deployed.code == 0, deployed.output[-3000:]
    assert set(_replicas(lab).values()) == {"1/1"}


@pytest.mark.timeout(300)
def test_a_second_operator_is_told_who_holds_the_lock(lab: Lab) -> None:
    note = {"run": "x", "owner": "ana@desk", "verb": "update", "reason": "new colours"}
    times = {"since": "2026-01-01T10:00:00Z", "expires": "2026-01-01T12:00:00Z"}
    labels = f"--label chat.notes-of={STACK} --label chat.note=lock"
    lab.ssh(
        "host1", f"sh -c 'echo {json.dumps(json.dumps(note | times))} | docker config create {labels} {STACK}.lock -'"
    )
    try:
        refused = playbook("restart", "-e", "node=node1")
        assert refused.code != 0
        assert "ana@desk holds the lock since 2026-01-01T10:00:00Z for update, because: new colours." in " ".join(
            refused.output.split()
        )
        assert refused.changed == 0
        nameless = playbook("lock", "-e", "state=release")
        assert nameless.code != 0
    finally:
        released = playbook("lock", "-e", "state=release", "-e", '{"reason": "that run is dead"}')
    assert released.code == 0, released.output[-3000:]
    told = " ".join(playbook("audit", "-e", "tail=2").output.split())
    assert "| refused | restart |" in told
    assert "that run is dead" in told
