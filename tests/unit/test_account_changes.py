"""What becomes of open connections when the local account of their user changes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from node.accounts import Passwords
from node.auth import sign_token
from node.state.records import PutAccount

from .fakes import MemoryLog
from .local_node import KEY, LocalNode, Talker, local_node, talking, until

PASSWORD = "secret word"  # noqa: S105


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[LocalNode]:
    async with local_node(tmp_path) as node:
        await change(node, password_hash=await Passwords().hash(PASSWORD), new=True)
        yield node


async def change(node: LocalNode, **fields: Any) -> None:
    await node.submitter.commit(PutAccount("root", 1, "ana", admin=True, **fields))


async def by_password(talker: Talker) -> None:
    assert "user" in await talker.ask(op="hello", v=[1], user="ana", password=PASSWORD)


def ana_s_token() -> str:
    return sign_token(KEY, "ana", time.time(), 60)


async def test_a_disabled_account_shuts_its_name_out_however_it_came_in(node: LocalNode) -> None:
    async with talking(node.url) as one, talking(node.url, token=ana_s_token()) as two, talking(node.url, "bo") as bo:
        await by_password(one)
        await change(node, disabled=True)
        assert [await one.end(), await two.end()] == [4503, 4503]
        assert await bo.ask(op="ping") == {}
    for hello in ({"user": "ana", "password": PASSWORD}, {"token": ana_s_token()}):
        async with talking(node.url) as late:
            await late.say(op="hello", v=[1], **hello)
            assert await late.end() == 4503
    await change(node, disabled=False)
    async with talking(node.url) as back:
        await by_password(back)


@pytest.mark.parametrize(("changed", "code"), [({"password_hash": "other"}, 4500), ({"roles": ["admin"]}, 4014)])
async def test_another_password_or_role_ends_what_the_old_one_opened(
    node: LocalNode, changed: dict[str, Any], code: int
) -> None:
    async with talking(node.url) as one, talking(node.url, token=ana_s_token()) as two:
        await by_password(one)
        await change(node, **changed)
        assert await one.end() == code
        assert await two.ask(op="ping") == {}


async def test_what_changes_nothing_ends_nothing(node: LocalNode) -> None:
    async with talking(node.url) as one:
        await by_password(one)
        await change(node, disabled=False)
        assert await one.ask(op="ping") == {}


async def test_it_ends_on_the_other_node_too(tmp_path: Path) -> None:
    log = MemoryLog()
    async with (
        local_node(tmp_path, log=log, node_id="one") as one,
        local_node(tmp_path, log=log, node_id="two") as two,
        talking(two.url) as ana,
    ):
        await change(one, password_hash=await Passwords().hash(PASSWORD), new=True)
        await until(lambda: two.replica.applied == one.replica.applied)
        await by_password(ana)
        await change(one, disabled=True)
        assert await ana.end() == 4503


async def test_a_change_while_the_password_is_looked_at_counts(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    match = Passwords.match
    matched, go_on = trio.Event(), trio.Event()

    async def match_and_wait(*arguments: Any) -> bool:
        fits = await match(*arguments)
        matched.set()
        await go_on.wait()
        return fits

    monkeypatch.setattr(Passwords, "match", match_and_wait)
    async with talking(node.url) as ana:
        await ana.say(op="hello", v=[1], user="ana", password=PASSWORD)
        await matched.wait()
        await change(node, disabled=True)
        go_on.set()
        assert await ana.end() == 4503


async def test_accounts_mean_nothing_where_they_are_not_switched_on(tmp_path: Path) -> None:
    async with local_node(tmp_path, auth_mode=("guest",)) as node, talking(node.url, "ana") as ana:
        await change(node, password_hash="hash", new=True, disabled=True)  # noqa: S106
        assert await ana.ask(op="ping") == {}
