"""Keys from an address: a real server on loopback that turns, tires, lies and goes away."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from node.jwks import MAX_ANSWER_BYTES, JwksFetcher
from node.keys import Key
from tests.issuer import JwksAddress, Signer, jwk_set, serving

from .local_node import LocalNode, local_node, talking, until

OLD, NEW = Signer.ed25519("old"), Signer.rsa("new")
OCT = {"kty": "oct", "k": "A" * 43, "kid": "shared"}


@pytest.fixture
def address() -> Iterator[JwksAddress]:
    with serving(jwk_set(OLD)) as address:
        yield address


class Fetching:
    """A fetcher at work, and what it has handed on."""

    def __init__(self, url: str, **options: Any) -> None:
        self.taken: list[tuple[Key, ...]] = []
        quick = {"max_age_s": 60.0, "min_interval_s": 0.2, "fetch_timeout_s": 1.0}
        self.fetcher = JwksFetcher(url, take=self.taken.append, **(quick | options))

    @property
    def names(self) -> list[list[str]]:
        return [[key.name for key in keys] for keys in self.taken]


@asynccontextmanager
async def fetching(url: str, **options: Any) -> AsyncGenerator[Fetching]:
    """A fetcher that has fetched, or tried to, once."""
    it = Fetching(url, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.fetcher.run)
        await it.fetcher.refresh()
        yield it
        nursery.cancel_scope.cancel()


async def test_keys_are_fetched_and_only_a_change_is_handed_on(address: JwksAddress) -> None:
    with structlog.testing.capture_logs() as lines:
        async with fetching(address.url) as it:
            assert await it.fetcher.refresh()
            address.document = jwk_set(OLD, NEW)
            assert await it.fetcher.refresh()
            assert it.names == [["EdDSA old"], ["EdDSA old", "RS256 new"]]
            assert it.fetcher.age_s is not None
            assert it.fetcher.age_s < 1
            address.document = jwk_set(NEW)
            await it.fetcher.refresh()
    changed = [line for line in lines if "changed" in line["event"]]
    assert [(line["keys"], line["gone"]) for line in changed] == [
        (["EdDSA old"], []),
        (["EdDSA old", "RS256 new"], []),
        (["RS256 new"], ["EdDSA old"]),
    ]
    assert OLD.jwk["x"] not in str(lines)


async def test_they_are_fetched_again_when_they_are_old(address: JwksAddress) -> None:
    async with fetching(address.url, max_age_s=0.3) as it:
        address.document = jwk_set(NEW)
        await until(lambda: it.names[-1] == ["RS256 new"], 3)
        asked = address.asked
        await trio.sleep(0.5)
        assert address.asked - asked <= 3


@pytest.mark.parametrize(
    ("told", "again"), [("public, max-age=0", True), ("max-age=9999", False), ("s-maxage=1", False)]
)
async def test_the_answer_may_shorten_its_age_but_not_below_the_interval(
    address: JwksAddress, told: str, again: bool
) -> None:
    address.headers["Cache-Control"] = told
    async with fetching(address.url, min_interval_s=0.3):
        await trio.sleep(0.1)
        assert address.asked == 1
        if again:
            await until(lambda: address.asked > 1, 5)
        else:
            await trio.sleep(0.4)
            assert address.asked == 1


async def test_a_crowd_of_callers_is_a_fetch_now_and_then(address: JwksAddress) -> None:
    async with fetching(address.url, min_interval_s=0.4) as it:
        begun_with = address.asked
        with trio.move_on_after(0.9):
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(_insist, it.fetcher)
        assert 1 <= address.asked - begun_with <= 3


async def _insist(fetcher: JwksFetcher) -> None:
    while True:
        assert await fetcher.refresh()


async def test_old_keys_stay_while_the_address_is_silent_and_change_when_it_is_back(address: JwksAddress) -> None:
    with structlog.testing.capture_logs() as lines:
        async with fetching(address.url) as it:
            address.stop()
            for _ in range(2):
                assert not await it.fetcher.refresh()
            assert it.names == [["EdDSA old"]]
            assert it.fetcher.age_s is not None
            assert it.fetcher.age_s > 0.2
            address.document = jwk_set(NEW)
            address.start()
            assert await it.fetcher.refresh()
            assert it.names[-1] == ["RS256 new"]
    told = [line["event"].split(",")[0] for line in lines]
    assert told.count("JWKS_URL gives no keys") == 1
    assert told.count("JWKS_URL answers again") == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (jwk_set(NEW) + " " * MAX_ANSWER_BYTES, "longer than"),
        ("<html>", "no proper JSON"),
        ("", "no proper JSON"),
        ('{"keys": []}', "no key that can be used"),
        (json.dumps({"keys": [OCT]}), "not secret any more"),
        (gzip.compress(jwk_set(NEW).encode()), "no proper JSON"),
    ],
)
async def test_an_answer_that_is_none_changes_nothing(address: JwksAddress, document: str | bytes, reason: str) -> None:
    with structlog.testing.capture_logs() as lines:
        async with fetching(address.url) as it:
            address.document = document
            address.headers["Content-Encoding"] = "gzip" if isinstance(document, bytes) else "identity"
            assert not await it.fetcher.refresh()
            assert it.names == [["EdDSA old"]]
    assert reason in lines[-1]["reason"]


@pytest.mark.parametrize("status", [204, 302, 404, 500])
async def test_another_status_is_no_answer(address: JwksAddress, status: int) -> None:
    address.status = status
    address.headers["Location"] = address.url
    with structlog.testing.capture_logs() as lines:
        async with fetching(address.url) as it:
            assert it.fetcher.age_s is None
    assert lines[0]["reason"] == f"it answered with status {status}"


async def test_an_answer_that_trickles_is_given_up(address: JwksAddress) -> None:
    address.pause_s = 0.05
    with structlog.testing.capture_logs() as lines:
        async with fetching(address.url, fetch_timeout_s=0.3) as it:
            assert it.taken == []
    assert lines[0]["reason"] == "no answer in 0.3 s"


async def test_shared_keys_and_others_are_passed_over(address: JwksAddress) -> None:
    address.document = json.dumps({"keys": [OCT, {"kty": "EC"}, NEW.jwk, OLD.jwk | {"use": "enc"}]})
    with structlog.testing.capture_logs() as lines:
        async with fetching(address.url) as it:
            assert it.names == [["RS256 new"]]
    assert len(lines[0]["faults"]) == 2


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://nowhere.invalid/", "http://127.0.0.1:99999/", "http://["]
)
async def test_no_address_however_wrong_ends_the_fetcher(url: str) -> None:
    async with fetching(url) as it:
        assert not await it.fetcher.refresh()


# --- at the door ---


@asynccontextmanager
async def a_door(directory: Path, address: JwksAddress) -> AsyncGenerator[LocalNode]:
    async with local_node(directory, jwt_key="", jwks_url=address.url, hello_timeout=2.0) as node:
        yield node


async def code_for(node: LocalNode, token: str) -> int:
    async with talking(node.url) as talker:
        await talker.say(op="hello", v=[1], token=token)
        return await talker.end()


async def test_a_key_that_the_node_does_not_know_yet_is_fetched_for_its_token(
    address: JwksAddress, tmp_path: Path
) -> None:
    async with a_door(tmp_path, address) as node:
        async with talking(node.url, token=OLD.token()):
            address.document = jwk_set(OLD, NEW)
            async with talking(node.url, token=NEW.token()), talking(node.url, token=OLD.token()):
                pass
        address.document = jwk_set(NEW)
        assert await code_for(node, Signer.ed25519("stranger").token()) == 4500
        assert await code_for(node, OLD.token()) == 4500
        async with talking(node.url, token=NEW.token()):
            pass


async def test_who_cannot_be_checked_now_may_come_back(address: JwksAddress, tmp_path: Path) -> None:
    async with a_door(tmp_path, address) as node:
        async with talking(node.url, token=OLD.token()):
            address.stop()
        assert await code_for(node, NEW.token()) == 1013
        async with talking(node.url, token=OLD.token()):
            pass
        address.document = jwk_set(NEW)
        address.start()
        async with talking(node.url, token=NEW.token()):
            pass


async def test_an_address_that_hangs_does_not_hold_up_others(address: JwksAddress, tmp_path: Path) -> None:
    async with a_door(tmp_path, address) as node, trio.open_nursery() as nursery:
        async with talking(node.url, token=OLD.token()):
            pass
        address.pause_s = 0.5
        codes: list[int] = []

        async def ask() -> None:
            codes.append(await code_for(node, NEW.token()))

        nursery.start_soon(ask)
        await trio.sleep(0.3)
        with trio.fail_after(0.5):
            async with talking(node.url, token=OLD.token()):
                pass
        await until(lambda: codes == [1013])
