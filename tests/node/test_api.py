"""The admin API of nodes as processes: every documented operation, and accounts from the first to a closed door."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from node.protocol.requests import UserName
from tests.nats_cluster import PASSWORD as NATS_PASSWORD
from tests.nats_cluster import USER as NATS_USER
from tests.nats_cluster import NatsCluster
from tests.openapi import Document
from tests.unit.local_node import Talker, talking

from .process import NodeProcess, chat_node, until

pytestmark = pytest.mark.timeout(120)
PASSWORD = "secret word"  # noqa: S105
LATER = int(time.time() * 1000) + 3_600_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess.running(tmp_path_factory.mktemp("node"), auth_mode="accounts", api_rate=0) as node:
        yield node


def admin_client(node: NodeProcess, **how: Any) -> httpx.Client:
    token = chat_node("admin-token", data_dir=node.data_dir).stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{node.http_port}/api/v1", headers=headers, trust_env=False, **how)


def user(node: NodeProcess, *arguments: str, text: str = "") -> Any:
    """Run ``chat-node user`` on the node's machine."""
    return chat_node("user", *arguments, text=text, data_dir=node.data_dir, http_port=node.http_port)


def test_a_notice_is_given_and_taken_back_on_the_command_line(node: NodeProcess) -> None:
    there: dict[str, Any] = {"data_dir": node.data_dir, "http_port": node.http_port}
    notice = {"level": "warning", "text": "Back at one", "until": LATER}
    with admin_client(node) as client:
        told = chat_node("notice", "--level", "warning", "--until", str(LATER / 1000), "Back at one", **there)
        assert (told.returncode, told.stdout) == (0, ""), told.stderr
        assert notice in client.get("/notices").json()["notices"]
        assert chat_node("notice", "--until", "1", "Back at one", **there).returncode == 0
        assert notice not in client.get("/notices").json()["notices"]
    silent = chat_node("notice", "--until", "1", "x", data_dir=node.data_dir, http_port=1)
    assert (silent.returncode, "does not answer" in silent.stderr) == (1, True)


# --- the document ---

CALLS: list[tuple[str, dict[str, str], str, Any]] = [
    ("add_user", {}, "", {"user": "ana", "password": PASSWORD, "roles": ["admin"]}),
    ("change_user", {"user": "ana"}, "", {"disabled": True}),
    ("get_user", {"user": "ana"}, "", None),
    ("list_users", {}, "?limit=1&after=a", None),
    ("create_room", {}, "", {"room": "hall", "title": "Hall", "private": True}),
    ("change_room", {"room": "hall"}, "", {"title": "Great hall"}),
    ("get_room", {"room": "hall"}, "", None),
    ("list_rooms", {}, "?prefix=h&limit=5", None),
    ("list_members", {"room": "hall"}, "?limit=5", None),
    ("delete_room", {"room": "hall"}, "", None),
    ("post_notice", {}, "", {"text": "Noon", "until": LATER, "level": "warning"}),
    ("list_notices", {}, "", None),
    ("clear_notices", {}, "", None),
    ("get_status", {}, "", None),
    ("list_peers", {}, "", None),
    ("get_openapi", {}, "", None),
    ("export", {}, "", None),
    ("drain", {}, "", None),
]
"""A good request for every operation, in an order in which each can be carried out."""

WRONG: dict[str, Any] = {
    "no token": {"headers": {"Authorization": ""}},
    "another's token": {"headers": {"Authorization": "Bearer x.y.z"}},
    "no JSON": {"content": "{", "headers": {"Content-Type": "application/json"}},
    "a form": {"data": {"user": "ana"}},
    "nothing that it wants": {"json": {"colour": "red"}},
    "too much": {"json": {"user": "x" * 70_000}},
    "an unknown parameter": {"params": {"colour": "red"}},
}


def read(response: httpx.Response) -> Any:
    if not response.content:
        return None
    return response.text if "ndjson" in response.headers["content-type"] else response.json()


def ask(client: httpx.Client, document: Document, name: str, where: dict[str, str], query: str, **how: Any) -> int:
    """Ask for an operation, and hold the answer against the document; returns the status."""
    method, path, _ = document.operations[name]
    response = client.request(method, path.format(**where) + query, **how)
    document.check(name, response.status_code, dict(response.headers), read(response))
    return response.status_code


def test_every_operation_in_the_document_does_what_it_says(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, auth_mode="accounts", api_rate=0) as node, admin_client(node) as client:
        document = Document(client.get("/openapi.json", headers={"Authorization": ""}).json())
        assert sorted(name for name, *_ in CALLS) == sorted(document.operations)
        for name, where, query, body in CALLS:
            schema = document.operations[name][2].get("requestBody")
            if schema is not None:
                document.check_body(schema["content"]["application/json"]["schema"], body)
            if name == "drain":  # the node goes: what is wrong is tried before
                refuse_everywhere(client, document)
            status = ask(client, document, name, where, query, json=body)
            assert 200 <= status < 300, name
        assert node.wait(20) == 0


def refuse_everywhere(client: httpx.Client, document: Document) -> None:
    """Everything wrong with every operation: refused, and as the document says."""
    for name, where, query, body in CALLS:
        for wrong, how in WRONG.items():
            if body is None and how.keys() & {"content", "data", "json"}:
                continue  # what wants no body does not look at one
            if name == "get_openapi" and "params" in how:
                continue  # nor this at anything
            status = ask(client, document, name, where, query if "params" not in how else "", **how)
            assert (400 <= status < 500) == (name != "get_openapi"), (name, wrong, status)
        assert client.put(document.operations[name][1].format(**where)).status_code == 405


def test_an_export_is_whole(node: NodeProcess, tmp_path: Path) -> None:
    with admin_client(node) as client:
        client.post("/rooms", json={"room": "kept"})
        exported = tmp_path / "log.jsonl"
        exported.write_bytes(client.get("/export").content)
        verified = chat_node("verify", str(exported))
        assert verified.returncode == 0, verified.stderr
        assert client.head("/export").status_code == 405
        assert client.get("/export").status_code == 200  # the first one is over


def test_names_in_the_document_are_told_as_javascript_understands_them(node: NodeProcess) -> None:
    with admin_client(node) as client:
        text = client.get("/openapi.json").text
    assert UserName.__metadata__[0].pattern.replace(r"\Z", "$") in text  # type: ignore[attr-defined]
    assert r"\\Z" not in text


# --- accounts, from the command line to a closed door ---


async def hello(talker: Talker, name: str, password: str) -> dict[str, Any]:
    return await talker.ask(op="hello", v=[1], user=name, password=password)


async def test_an_account_s_life(node: NodeProcess) -> None:
    async def run(*arguments: str, text: str = "") -> str:
        done = await trio.to_thread.run_sync(lambda: user(node, *arguments, text=text))
        assert done.returncode == 0, done.stderr
        printed: str = done.stdout
        return printed

    assert await run("add", "bo", text=f"{PASSWORD}\n") == "added bo\n"
    async with talking(node.url) as bo:
        assert (await hello(bo, "bo", PASSWORD))["user"] == "bo"
        await run("disable", "bo")
        assert await bo.end() == 4503
    async with talking(node.url) as bo:
        await bo.say(op="hello", v=[1], user="bo", password=PASSWORD)
        assert await bo.end() == 4503
    await run("enable", "bo")
    async with talking(node.url) as bo:
        await hello(bo, "bo", PASSWORD)
        await run("passwd", "bo", text="another word\n")
        assert await bo.end() == 4500
    async with talking(node.url) as bo:
        assert (await hello(bo, "bo", "another word"))["user"] == "bo"
    await run("add", "--admin", "cy", text=PASSWORD)
    listed = [json.loads(line) for line in (await run("list", "--json")).splitlines()]
    assert {"user": "bo", "roles": [], "disabled": False} in listed
    assert {"user": "cy", "roles": ["admin"], "disabled": False} in listed
    assert "cy                               enabled   admin\n" in await run("list")


@pytest.mark.parametrize(
    ("arguments", "text", "code", "told"),
    [
        (["add", "dan"], "", 2, "the first line of standard input is the password"),
        (["add", "dan"], "short\n", 1, "wrong: Expected `str` of length >= 8 - at `$.password`"),
        (["add", "a b"], f"{PASSWORD}\n", 1, "$.user"),
        (["disable", "nobody"], "", 1, "There is no such account: there is no account nobody"),
        (["disable"], "", 2, "Missing argument 'NAME'"),
        (["list", "--api", "localhost:9090"], "", 2, "wants an address like http://"),
        (["list", "--api", "http://127.0.0.1:1"], "", 1, "http://127.0.0.1:1 does not answer"),
        (["list", "--token-file", "/none"], "", 2, "'/none' does not exist"),
    ],
)
def test_what_does_not_work_is_told_plainly(
    node: NodeProcess, arguments: list[str], text: str, code: int, told: str
) -> None:
    done = user(node, *arguments, text=text)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_key_a_token_is_wanted(node: NodeProcess, tmp_path: Path) -> None:
    refused = chat_node("user", "list", data_dir=tmp_path, http_port=node.http_port)
    assert refused.returncode == 1
    assert f"{tmp_path}/admin.key: no node has made it; set DATA_DIR" in refused.stderr
    token = tmp_path / "token"
    token.write_text(chat_node("admin-token", "--user", "root", data_dir=node.data_dir).stdout)
    assert chat_node("user", "list", "--token-file", str(token), http_port=node.http_port).returncode == 0
    token.write_text("nonsense")
    refused = chat_node("user", "list", "--token-file", str(token), http_port=node.http_port)
    assert (refused.returncode, "A token of an admin is wanted" in refused.stderr) == (1, True)
    assert chat_node("admin-token", "--ttl", "7200", data_dir=node.data_dir).returncode == 2


def test_the_key_is_the_node_s_own_and_lasts(node: NodeProcess) -> None:
    key = node.data_dir / "admin.key"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    key.chmod(0o644)
    node.stop()
    node.start()
    node.wait_serving()
    assert (key.read_bytes(), key.stat().st_mode & 0o777) == (before, 0o600)
    assert any("could read the admin key" in line["event"] for line in node.lines())


# --- on the cluster ---


async def test_who_is_disabled_through_one_node_is_put_out_by_the_other(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with ExitStack() as stack:
        nats = stack.enter_context(NatsCluster.running(tmp_path_factory.mktemp("nats")))
        shared = {"nats_url": ",".join(nats.urls), "nats_user": NATS_USER, "nats_password": NATS_PASSWORD}
        one, two = (
            stack.enter_context(
                NodeProcess.running(tmp_path_factory.mktemp(name), node_id=name, auth_mode="accounts", **shared)
            )
            for name in ("one", "two")
        )
        assert user(one, "add", "ana", text=PASSWORD).returncode == 0
        until(lambda: one.readiness()["applied"] == two.readiness()["applied"])
        async with talking(two.url) as ana:
            assert (await hello(ana, "ana", PASSWORD))["node"] == "two"
            await trio.to_thread.run_sync(user, one, "disable", "ana")
            assert await ana.end() == 4503
        with admin_client(two) as client:
            assert client.get("/users/ana").json()["disabled"] is True
            until(lambda: client.get("/peers").json()["peers"])
            (peer,) = client.get("/peers").json()["peers"]
        assert (peer["beat"]["node"], peer["beat"]["ready"], 0 <= peer["age_s"] < 5) == ("one", True, True)
        with admin_client(one) as client:  # the key of one does not open the other
            client.base_url = f"http://127.0.0.1:{two.http_port}/api/v1"
            assert client.get("/users").status_code == 401
