"""Passwords of local accounts."""

from __future__ import annotations

import pytest
import trio

from node.accounts import Passwords


async def test_a_password_fits_its_own_hash_only() -> None:
    passwords = Passwords()
    one, again = await passwords.hash("correct horse"), await passwords.hash("correct horse")
    assert one != again
    assert one.startswith("$argon2id$")
    assert "correct" not in one
    assert await passwords.match(one, "correct horse")
    assert not await passwords.match(one, "correct horse ")
    assert not await passwords.match(one, "")


@pytest.mark.parametrize("password_hash", ["", "nonsense", "$argon2id$v=19$m=1", None])
async def test_what_is_no_hash_fits_no_password(password_hash: str | None) -> None:
    assert not await Passwords().match(password_hash, "nobody's password")


async def test_the_node_goes_on_meanwhile() -> None:
    passwords, ticks = Passwords(), 0
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(passwords.hash, "password")
        while passwords._limiter.statistics().tasks_waiting or not ticks:
            await trio.sleep(0.001)
            ticks += 1
        assert passwords._limiter.total_tokens == 2
    assert ticks
