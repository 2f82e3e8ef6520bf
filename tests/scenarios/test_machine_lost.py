"""A machine goes, a service is restarted: nobody who was acknowledged loses anything, and nobody is needed."""

from __future__ import annotations

import pytest
import trio

from tests.scenarios import chatting
from tests.scenarios.lab import STACK, Lab


@pytest.mark.timeout(420)
async def test_a_host_is_killed_and_comes_back(lab: Lab) -> None:
    async with chatting.talk(lab, "scenario.host-lost") as going:
        await trio.sleep(5)
        await trio.to_thread.run_sync(lab.kill, "host2")
        await trio.sleep(25)
        await trio.to_thread.run_sync(lab.start, "host2")
        await trio.to_thread.run_sync(lab.wait_ready, "host2")
        await trio.sleep(5)
    assert going.nodes["tail2"][0] == "node2"
    assert len(going.nodes["tail2"]) > 1, "the tail on the lost node did not move"
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    assert going.longest_silence_s < 30


@pytest.mark.timeout(300)
async def test_a_service_is_restarted_by_force(lab: Lab) -> None:
    async with chatting.talk(lab, "scenario.forced") as going:
        await trio.sleep(3)
        force = f"docker service update --force {STACK}_node1"
        await trio.to_thread.run_sync(lambda: lab.ssh("host1", force, timeout_s=180))
        await trio.to_thread.run_sync(lab.wait_ready, "host1")
        await trio.sleep(3)
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
