"""A machine is lost for good, and another takes its place; a machine is taken out that still works."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.scenarios import chatting
from tests.scenarios.lab import Lab, Play, playbook
from tests.scenarios.spares import add_spare, spare_in, wipe

pytestmark = pytest.mark.long

FORWARD = ("-e", "node=host2", "-e", "replacement=host4")
BACK = ("-e", "node=host4", "-e", "replacement=host2")


def _give_way(inventory: dict[str, Any]) -> None:
    """The spare has the place of host2."""
    managers, spares = inventory["chat"]["children"]["swarm_managers"]["hosts"], inventory["spares"]["hosts"]
    old, new = managers.pop("host2"), spares.pop("host4")
    managers["host4"] = {**old, "ansible_host": new["ansible_host"]}
    spares["host2"] = {"ansible_host": old["ansible_host"]}


@pytest.fixture
def moved(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """The lab with a spare, and an inventory in which the spare has the place of host2."""
    with spare_in(lab, tmp_path, _give_way) as there:
        yield there


async def replace(lab: Lab, *arguments: str) -> Play:
    return await trio.to_thread.run_sync(partial(playbook, "replace_host", *arguments, inventory=lab.inventory))


def _refused(play: Play, why: str) -> None:
    assert play.code != 0, play.output[-2000:]
    assert why in " ".join(play.output.split()), play.output[-3000:]
    assert play.changed == 0, play.output[-3000:]


def _managers(lab: Lab) -> dict[str, str]:
    lines = lab.ssh("host1", "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'").splitlines()
    return {host: status for host, _, status in (line.partition(" ") for line in lines)}


async def _wait_until_lost(lab: Lab) -> None:
    with trio.fail_after(90):
        while "Unreachable" not in (await trio.to_thread.run_sync(_managers, lab)).values():
            await trio.sleep(1)


@pytest.mark.timeout(2400)
async def test_a_lost_host_is_replaced_and_its_successor_too(lab: Lab, moved: Lab) -> None:
    _refused(await replace(moved, *FORWARD), "still answers: the Swarm says ready")
    _refused(await replace(lab, *FORWARD), "it is a host of the inventory's group chat that answers")
    async with chatting.talk(lab, "scenario.replaced") as going:
        await trio.to_thread.run_sync(lab.kill, "host2")
        await _wait_until_lost(lab)
        record = moved.inventory.parent / "incident.md"
        assessed = await trio.to_thread.run_sync(partial(playbook, "emergency", "-e", f"report={record}"))
        assert assessed.code == 0, assessed.output[-3000:]
        assert "| hosts that did not | host2 |" in record.read_text()
        assert "- chat node node2 DOES NOT SERVE" in record.read_text()
        play = await replace(moved, *FORWARD)
        assert play.code == 0, play.output[-4000:]
    assert sorted(_managers(lab)) == ["host1", "host3", "host4"]
    assert sorted(_managers(lab).values()) == ["Leader", "Reachable", "Reachable"]
    assert moved.readyz("host4")["node"] == "node2"
    # All three nodes, the new one from its own disk, which the log filled.
    going.check(await chatting.histories(moved, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    assert going.longest_silence_s < 60
    # Nothing is left to do: it has its edge, its timers, all that the one before it had.
    site = await trio.to_thread.run_sync(partial(playbook, "site", inventory=moved.inventory))
    assert (site.code, site.changed) == (0, 0), site.output[-4000:]

    # And back, which is the other case: the one that goes is well, and the one that comes is bare.
    wipe("host2")
    add_spare(lab)
    _refused(await replace(lab, *BACK), "still answers")
    async with chatting.talk(moved, "scenario.replaced-back") as going:
        play = await replace(lab, *BACK, "-e", "force=true")
        assert play.code == 0, play.output[-4000:]
    assert sorted(_managers(lab)) == ["host1", "host2", "host3"]
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    assert going.longest_silence_s < 30

    _refused(playbook("remove_host", "-e", "node=host2"), "host2 is in the inventory's group chat")
    _refused(
        playbook("remove_host", "-e", "node=host2", "--limit", "host1,host3", inventory=moved.inventory),
        "host2 runs node2 and nats2, which is a part of the log",
    )
