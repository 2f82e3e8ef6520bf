"""A node whose keys come from an address, as its operators and users meet it: the rotation, the probe, the words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from node.client import open_client
from node.transport.websocket import Disconnected
from tests.issuer import JwksAddress, Signer, jwk_set, serving
from tests.unit.local_node import talking

from .process import NodeProcess, chat_node, until

OLD, NEW = Signer.rsa("2026-10"), Signer.ed25519("2026-11")
SHARED = "a-key-that-is-long-enough-for-hs256"


@pytest.fixture(scope="module")
def address() -> Iterator[JwksAddress]:
    with serving(jwk_set(OLD)) as address:
        yield address


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, address: JwksAddress) -> Iterator[NodeProcess]:
    settings: dict[str, Any] = {
        "auth_mode": "token",
        "jwks_url": address.url,
        "jwks_max_age": 1,
        "jwt_audience": "chat",
    }
    with NodeProcess.running(tmp_path_factory.mktemp("node"), **settings) as node:
        until(lambda: node.readiness()["ready"])
        yield node


def token_of(signer: Signer, tmp_path: Path, *options: str) -> str:
    """A token, made as an operator makes one."""
    key_file = tmp_path / "private.pem"
    key_file.write_text(signer.private_pem)
    made = chat_node("token", "--user", "ana", "--key-file", str(key_file), *options, jwt_audience="chat")
    assert made.returncode == 0, made.stderr
    token: str = made.stdout.strip()
    return token


def keys_of(node: NodeProcess) -> int:
    keys: int = node.readiness()["token_keys"]
    return keys


async def answer_to(node: NodeProcess, token: str) -> str | int:
    """The user's name where the token opens the door, else the close code."""
    async with talking(node.url) as talker:
        await talker.say(op="hello", v=[1], token=token)
        try:
            user: str = (await talker.hear())["ok"]["user"]
        except Disconnected as gone:
            return gone.code
        return user


async def test_the_rotation_of_a_key(node: NodeProcess, address: JwksAddress, tmp_path: Path) -> None:
    old, new = (token_of(signer, tmp_path, "--kid", signer.kid or "") for signer in (OLD, NEW))
    nameless = token_of(OLD, tmp_path)
    assert [await answer_to(node, token) for token in (old, nameless)] == ["ana", "ana"]
    async with open_client([node.url], token=old) as ana:
        await ana.rooms()
        address.document = jwk_set(OLD, NEW)
        assert [await answer_to(node, token) for token in (new, old)] == ["ana", "ana"]
        assert keys_of(node) == 2
        address.document = jwk_set(NEW)
        await trio.to_thread.run_sync(until, lambda: keys_of(node) == 1)
        assert [await answer_to(node, token) for token in (new, old, nameless)] == ["ana", 4500, 4500]
        await ana.create_room("still-here")  # who is in stays until the token's own end
    changes = [line for line in node.lines() if line["event"] == "keys of JWKS_URL changed"]
    assert changes[-1]["keys"] == ["EdDSA 2026-11"]
    assert changes[-1]["gone"] == ["RS256 2026-10"]


async def test_the_age_of_the_keys_tells_of_an_address_that_is_silent(node: NodeProcess, address: JwksAddress) -> None:
    address.document = jwk_set(NEW)
    until(lambda: keys_of(node) == 1)
    assert 0 <= node.metric("chat_jwks_age_seconds") < 5
    address.stop()
    try:
        until(lambda: node.metric("chat_jwks_age_seconds") > 2.5)
        assert node.metric("chat_token_keys") == 1
        assert node.readiness()["ready"]
        assert await answer_to(node, NEW.token(aud="chat")) == "ana"
    finally:
        address.start()
    until(lambda: node.readiness()["jwks_age_s"] < 2)


async def test_the_end_of_a_token_is_the_end_of_its_connection(node: NodeProcess, address: JwksAddress) -> None:
    address.document = jwk_set(NEW)
    until(lambda: keys_of(node) == 1)
    async with talking(node.url) as ana:
        await ana.ask(op="hello", v=[1], token=NEW.token(aud="chat", exp=time.time() + 2))
        assert await ana.end() == 4014


def test_a_node_without_any_key_is_not_ready(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, auth_mode="token", jwks_url="http://127.0.0.1:1/keys") as node:
        report = node.readiness()
        assert (report["ready"], report["token_keys"], report["jwks_age_s"]) == (False, 0, None)
        assert report["reason"] == "no keys for tokens yet: JWKS_URL does not give any"


def test_probe_where_the_node_cannot_sign(node: NodeProcess, address: JwksAddress, tmp_path: Path) -> None:
    for key in ("", NEW.public_pem):
        refused = chat_node("probe", "--url", node.url, jwks_url=address.url, jwt_key=key)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--token-file" in refused.stderr
    address.document = jwk_set(NEW)
    (tmp_path / "token").write_text(token_of(NEW, tmp_path) + "\n")
    probed = chat_node("probe", "--url", node.url, "--token-file", str(tmp_path / "token"))
    assert probed.returncode == 0, probed.stdout + probed.stderr


def test_probe_signs_what_the_node_wants(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{SHARED}-new\n{SHARED}-old\n")
    shared: dict[str, Any] = {
        "auth_mode": "token",
        "jwt_key_file": tmp_path / "keys",
        "jwt_issuer": "https://id",
        "jwt_audience": "me",
    }
    with NodeProcess.running(tmp_path / "node", **shared) as node:
        assert chat_node("probe", "--url", node.url, **shared).returncode == 0
        (tmp_path / "keys").write_text(f"{SHARED}-old\n")
        assert chat_node("probe", "--url", node.url, **shared).returncode == 0
        assert chat_node("probe", "--url", node.url, **shared | {"jwt_audience": "you"}).returncode == 1


def test_token_says_why_it_cannot_sign(tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_text(NEW.public_pem)
    told = chat_node("token", "--user", "ana", "--key-file", str(tmp_path / "public.pem"))
    assert (told.returncode, told.stdout) == (2, "")
    assert "public.pem: holds public keys only, and those cannot sign; give a private key" in told.stderr
    (tmp_path / "private.pem").write_text(NEW.private_pem)
    refused = chat_node("serve", auth_mode="token", jwt_key_file=tmp_path / "private.pem", data_dir=tmp_path)
    assert refused.returncode == 2
    assert "JWT_KEY: is a private key" in refused.stderr
    assert NEW.private_pem.splitlines()[1] not in refused.stderr
