"""People on two nodes as processes with one log: presence, typing, the cut after a kick, notices, passwords."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from node.auth import sign_token
from node.client import ChatClient, ClientClosed, open_client
from node.protocol.pushes import NoticePush, PresencePush, TypingPush
from tests.nats_cluster import PASSWORD, USER, NatsCluster
from tests.unit.local_node import talking

from .accounts import put_account
from .process import NodeProcess, until

pytestmark = pytest.mark.timeout(120)
KEY = "a-key-that-is-long-enough-for-hs256"
LATER = int(time.time() * 1000) + 3_600_000


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NodeProcess]]:
    with ExitStack() as stack:
        nats = stack.enter_context(NatsCluster.running(tmp_path_factory.mktemp("nats")))
        shared = {"nats_url": ",".join(nats.urls), "nats_user": USER, "nats_password": PASSWORD}
        shared |= {"auth_mode": "token,guest", "jwt_key": KEY, "heartbeat_timeout": "1"}
        names = ["one", "two"]
        nodes = [
            stack.enter_context(NodeProcess.running(tmp_path_factory.mktemp(name), node_id=name, **shared))
            for name in names
        ]
        until(lambda: all(len(node.readiness()["peers"]) == 1 for node in nodes))
        yield nodes


async def until_online(client: ChatClient, room: str, users: list[str]) -> None:
    """Wait until these members, and no others, are online."""
    with trio.fail_after(15):
        while [m.user for m in (await client.members(room)).members if m.online] != users:
            await trio.sleep(0.05)


async def next_push(client: ChatClient, kind: type) -> object:
    with trio.fail_after(15):
        while not isinstance(push := await anext(client.pushes), kind):
            pass
        return push


async def test_who_is_online_and_typing_is_known_on_the_other_node(nodes: list[NodeProcess]) -> None:
    one, two = nodes
    async with open_client([one.url], user="ana") as ana:
        await ana.create_room("people")
        await ana.join("people")
        async with open_client([two.url], user="bo") as bo:
            await bo.join("people")
            assert await next_push(ana, PresencePush) == PresencePush("people", "bo", online=True)
            await until_online(bo, "people", ["ana", "bo"])
            await bo.typing("people")
            assert await next_push(ana, TypingPush) == TypingPush("people", "bo")
        assert await next_push(ana, PresencePush) == PresencePush("people", "bo", online=False)


async def test_a_killed_node_takes_its_people_with_it_and_brings_them_back(nodes: list[NodeProcess]) -> None:
    one, two = nodes
    async with open_client([one.url], user="ana") as ana, open_client([two.url], user="bo") as bo:
        await ana.create_room("killed")
        await ana.join("killed")
        await bo.join("killed")
        await until_online(ana, "killed", ["ana", "bo"])
        two.kill()
        await until_online(ana, "killed", ["ana"])
        two.start()
        await trio.to_thread.run_sync(two.wait_serving)
        await until_online(ana, "killed", ["ana", "bo"])
        await until_online(bo, "killed", ["ana", "bo"])


async def test_nothing_reaches_who_was_kicked_on_the_other_node(nodes: list[NodeProcess]) -> None:
    one, two = nodes
    async with open_client([one.url], user="ana") as ana, talking(two.url, "bo") as bo:
        await ana.create_room("kick")
        await bo.ask(op="join", room="kick", limit=0)
        await ana.kick("kick", "bo")
        sent = [await ana.send("kick", "not for bo") for _ in range(20)]
        await trio.to_thread.run_sync(until, lambda: two.readiness()["applied"] == one.readiness()["applied"])
        listed = await bo.ask(op="rooms", prefix="kick")
        assert listed["rooms"][0]["head"] == sent[-1].seq  # this node has them all
        request_id = await bo.say(op="ping")
        assert (await bo.hear())["id"] == request_id


async def test_a_notice_is_told_on_all_nodes_and_to_who_comes_later(nodes: list[NodeProcess]) -> None:
    one, two = nodes
    token = sign_token(KEY, "root", time.time(), 60, ("admin",))
    notice = NoticePush("warning", "Maintenance", LATER)
    async with open_client([one.url], token=token) as root, open_client([two.url], user="bo") as bo:
        await bo.whoami()
        await root.notice("Maintenance", LATER, "warning")
        assert await next_push(bo, NoticePush) == notice
    async with open_client([two.url], user="cy") as cy:
        assert await next_push(cy, NoticePush) == notice


async def test_an_account_is_let_in_with_its_password(tmp_path: Path) -> None:
    await put_account(tmp_path / "data", "ana", "correct horse")
    with NodeProcess.running(tmp_path, auth_mode="accounts") as node:
        async with open_client([node.url], user="ana", password="correct horse") as ana:  # noqa: S106
            assert (await ana.whoami()).roles == ["admin"]
        for user, password in (("ana", "wrong"), ("ana", None), ("bo", "correct horse")):
            async with open_client([node.url], user=user, password=password) as refused:
                with pytest.raises(ClientClosed, match="4500"), trio.fail_after(10):
                    await refused.whoami()
        node.stop()
