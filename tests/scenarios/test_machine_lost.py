"""A machine goes, a service is restarted: nobody who was acknowledged loses anything, and nobody is needed."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio

from node.cli.token import sign_as_configured
from node.client import ChatClient, open_client
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


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_all_nodes_are_restarted_in_turn_while_fifty_people_chat(lab: Lab) -> None:
    key = lab.inventory / "secrets" / "jwt_key"

    def connect(user: str) -> AbstractAsyncContextManager[ChatClient]:
        token = sign_as_configured(user, 3600, key_file=key, remedy="the lab has one")
        return open_client(lab.urls, token=token, ping_s=2)

    async with chatting.crowd(connect, "scenario.roll", 50) as going:
        await trio.sleep(3)
        for host, values in lab.hosts.items():
            force = f"docker service update --force {STACK}_{values['node_type']}"
            await trio.to_thread.run_sync(partial(lab.ssh, host, force, timeout_s=180))
            await trio.to_thread.run_sync(lab.wait_ready, host)
        await trio.sleep(3)
    going.check(await chatting.histories(lab, going.room))
    moved = {name for nodes in going.nodes.values() for name in nodes[1:]}
    assert moved == {values["node_type"] for values in lab.hosts.values()}
    print(
        f"{len(going.acknowledged)} messages; longest time without a successful send: {going.longest_silence_s:.1f} s"
    )
    assert going.longest_silence_s < 15
