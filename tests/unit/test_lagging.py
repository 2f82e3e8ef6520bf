"""A node that has not come as far as the log: whom it lets in, and what it tells of places that it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from .fakes import MemoryLog
from .local_node import local_node, talking, until
from .test_conversation import fill


async def test_a_node_that_lags_does_not_take_a_place_for_ahead(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, talking(node.url, "ana") as ana:
        await fill(ana, "a", 1)
        since = {"epoch": node.log.epoch, "seq": 100}
        node.log.up = False
        refusal = await ana.ask(op="join", room="a", since=since)
        assert (refusal["code"], refusal["retry"]) == ("unavailable", True)
        assert (await ana.ask(op="join", room="a", since={**since, "seq": 2}))["recovered"]
        node.log.up = True
        await until(lambda: node.replica.ready)
        assert (await ana.ask(op="join", room="a", since=since))["reason"] == "position_ahead"


@pytest.mark.parametrize(("room", "code"), [("a", "forbidden"), ("b", "no_room")])
async def test_a_node_that_lags_sends_nobody_away_who_has_a_place(tmp_path: Path, room: str, code: str) -> None:
    """Whoever has a place in a room was let in where the node has not come to yet, or the room was made there."""
    async with local_node(tmp_path) as node, talking(node.url, "ana") as ana, talking(node.url, "bo") as bo:
        await fill(ana, "a", 1)
        since = {"epoch": node.log.epoch, "seq": 100}
        node.log.up = False
        refusal = await bo.ask(op="join", room=room, since=since)
        assert (refusal["code"], refusal["retry"]) == ("unavailable", True)
        node.log.up = True
        await until(lambda: node.replica.ready)
        assert (await bo.ask(op="join", room=room, since=since))["code"] == code


async def test_a_join_waits_for_what_another_node_has_acknowledged(tmp_path: Path) -> None:
    log = MemoryLog()
    async with (
        local_node(tmp_path, log=log, node_id="one") as one,
        local_node(tmp_path, log=log, node_id="two") as two,
        talking(one.url, "ana") as ana,
        talking(two.url, "ana") as elsewhere,
    ):
        apply = two.replica._apply

        async def apply_late(*arguments: Any) -> Any:
            await trio.sleep(0.3)
            return await apply(*arguments)

        await ana.ask(op="create_room", room="a")
        assert "head" in await elsewhere.ask(op="join", room="a")
        two.replica._apply = apply_late  # type: ignore[assignment,method-assign]
        ack = await ana.ask(op="send", room="a", cid="c", body="x")
        assert (await elsewhere.ask(op="join", room="a"))["head"] == ack["seq"]


async def test_a_join_that_fails_ends_nothing_that_goes_on(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, talking(node.url, "ana") as ana, talking(node.url, "bo") as bo:
        await fill(ana, "a", 1)
        await bo.ask(op="join", room="a", limit=0)
        node.log.up = False
        refusal = await bo.ask(op="join", room="a", since={"epoch": node.log.epoch, "seq": 100})
        assert refusal["code"] == "unavailable"
        node.log.up = True
        await until(lambda: node.replica.ready)
        said = await ana.ask(op="send", room="a", cid="c", body="x")
        with trio.fail_after(5):
            while (await bo.hear()).get("seq") != said["seq"]:
                pass
