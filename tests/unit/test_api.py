"""The admin API, operation by operation, and what it refuses."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from node import admin_key
from node.api import routes
from node.auth import sign_token
from node.errors import ErrorCode, LogUnavailable, RequestError
from node.state.records import PutAccount, decode_batch

from .api import Admin, administering
from .local_node import KEY, talking

PASSWORD = "secret word"  # noqa: S105
NEW = {"user": "ana", "password": PASSWORD}
LATER = int(time.time() * 1000) + 3_600_000


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncGenerator[Admin]:
    async with administering(tmp_path) as admin:
        yield admin


# --- what it does ---


async def test_accounts_are_made_listed_and_changed(admin: Admin) -> None:
    made = await admin.request("POST", "/users", json={**NEW, "roles": ["admin"]})
    ana = {"user": "ana", "roles": ["admin"], "disabled": False}
    assert (made.status_code, made.json(), made.headers["location"]) == (201, ana, "/api/v1/users/ana")
    for name in ("bo", "cy"):
        await admin.ask("POST", "/users", json={"user": name, "password": PASSWORD})
    status, page = await admin.ask("GET", "/users?limit=2")
    assert (status, [user["user"] for user in page["users"]], page["more"]) == (200, ["ana", "bo"], True)
    status, page = await admin.ask("GET", "/users?after=bo")
    assert (status, [user["user"] for user in page["users"]], page["more"]) == (200, ["cy"], False)
    assert await admin.ask("PATCH", "/users/ana", json={"disabled": True}) == (200, {**ana, "disabled": True})
    assert await admin.ask("GET", "/users/ana") == (200, {**ana, "disabled": True})
    assert await admin.ask("PATCH", "/users/ana", json={"disabled": False, "roles": []}) == (200, {**ana, "roles": []})


async def test_what_is_set_is_what_hello_wants(admin: Admin) -> None:
    await admin.ask("POST", "/users", json=NEW)
    async with talking(admin.local.url) as ana:
        assert "user" in await ana.ask(op="hello", v=[1], **NEW)
        await admin.ask("PATCH", "/users/ana", json={"password": "another word"})
        assert await ana.end() == 4500
    async with talking(admin.local.url) as ana:
        assert "user" in await ana.ask(op="hello", v=[1], user="ana", password="another word")  # noqa: S106


async def test_rooms_are_made_listed_changed_and_deleted(admin: Admin) -> None:
    hall = {"room": "hall", "title": "Hall", "members": 1, "head": 1}
    made = await admin.request("POST", "/rooms", json={"room": "hall", "title": "Hall"})
    assert (made.status_code, made.json(), made.headers["location"]) == (201, hall, "/api/v1/rooms/hall")
    assert await admin.ask("POST", "/rooms", json={"room": "hall", "title": "Hall"}) == (201, hall)
    async with talking(admin.local.url, "bo") as bo:
        await bo.ask(op="create_room", room="hidden", private=True)
        await bo.ask(op="join", room="hidden")
        status, page = await admin.ask("GET", "/rooms?prefix=h")
        assert (status, [room["room"] for room in page["rooms"]], page["more"]) == (200, ["hall", "hidden"], False)
        assert [room["room"] for room in (await admin.ask("GET", "/rooms?after=hall&limit=1"))[1]["rooms"]] == [
            "hidden"
        ]
        changed = {"room": "hidden", "title": "T", "members": 1, "head": 2, "private": True}
        assert await admin.ask("PATCH", "/rooms/hidden", json={"title": "T"}) == (200, changed)
        assert await admin.ask("GET", "/rooms/hidden") == (200, changed)
        member = {"user": "bo", "role": "owner", "online": True}
        assert await admin.ask("GET", "/rooms/hidden/members") == (200, {"members": [member], "more": False})
        assert await admin.ask("DELETE", "/rooms/hidden") == (204, None)
        assert [push["change"] for push in await bo.pushes(3)] == ["created", "updated", "deleted"]
    assert await admin.refused("GET", "/rooms/hidden") == (404, "no_room")


async def test_a_notice_is_told_listed_and_taken_back(admin: Admin) -> None:
    noon = {"level": "warning", "text": "Noon", "until": LATER}
    async with talking(admin.local.url, "bo") as bo:
        assert await admin.ask("POST", "/notices", json=noon) == (200, noon)
        assert await bo.hear() == {"op": "notice", **noon}
        assert await admin.ask("GET", "/notices") == (200, {"notices": [noon]})
        assert await admin.ask("DELETE", "/notices") == (204, None)
        assert (await bo.hear())["until"] == 0
    assert await admin.ask("GET", "/notices") == (200, {"notices": []})


async def test_the_log_is_exported_or_a_problem_says_why_not(admin: Admin) -> None:
    exported = await admin.request("GET", "/export")
    assert (exported.status_code, exported.headers["content-type"]) == (200, "application/x-ndjson")
    assert exported.text == "{}\n{}\n"
    admin.host.trouble = LogUnavailable("no quorum")
    assert await admin.refused("GET", "/export") == (503, "unavailable")
    admin.host.trouble = RequestError(ErrorCode.OVERLOADED, "another export is under way", 10_000)
    assert (await admin.request("GET", "/export")).headers["retry-after"] == "10"


async def test_the_node_is_told_to_drain_once_it_has_answered(admin: Admin) -> None:
    assert await admin.ask("POST", "/drain") == (202, {"draining": True})
    assert admin.host.stopped


async def test_the_node_and_its_peers_are_shown(admin: Admin) -> None:
    status, report = await admin.ask("GET", "/status")
    assert (status, report["ready"], report["node"], report["peers"]) == (200, True, "node1", ["node2"])
    status, found = await admin.ask("GET", "/peers")
    assert (status, found["node"]["node"], found["peers"][0]["beat"]["node"]) == (200, "node1", "node2")
    assert found["peers"][0]["age_s"] == 0.5


async def test_what_it_changes_stands_in_the_log_like_anybody_s_wish(admin: Admin) -> None:
    await admin.ask("POST", "/rooms", json={"room": "hall"})
    await admin.ask("POST", "/users", json=NEW)
    records = [record for entry in admin.local.log.entries for record in decode_batch(entry).records]
    assert [(type(record).__name__, record.user, record.admin) for record in records] == [
        ("CreateRoom", "operator", True),
        ("PutAccount", "operator", True),
    ]
    assert PASSWORD.encode() not in b"".join(admin.local.log.entries)


async def test_a_password_is_in_no_log_line_and_in_no_refusal(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    await admin.ask("POST", "/users", json={**NEW, "password": "canary password"})
    refused = await admin.request("POST", "/users", json={"user": "bo", "password": "canary"})
    assert refused.status_code == 422
    printed = capsys.readouterr().out
    assert "add_user" in printed
    assert "canary" not in printed + refused.text
    assert admin.headers["Authorization"][7:] not in printed


# --- who is let in ---


def chat_token(*roles: str, ttl_s: float = 60) -> dict[str, str]:
    return {"Authorization": f"Bearer {sign_token(KEY, 'ana', time.time(), ttl_s, roles)}"}


async def test_a_chat_token_of_an_admin_opens_it_and_no_other(admin: Admin) -> None:
    assert (await admin.ask("GET", "/users", headers=chat_token("admin")))[0] == 200
    assert await admin.refused("GET", "/users", headers=chat_token("friend")) == (403, "forbidden")
    assert await admin.refused("GET", "/users", headers=chat_token("admin", ttl_s=-1)) == (401, "token_expired")
    assert await admin.refused("GET", "/users", headers={"Authorization": "Basic eDp5"}) == (401, "unauthorized")
    assert await admin.refused("GET", "/users", headers={"Authorization": "Bearer x"}) == (401, "unauthorized")
    without = await admin.client.get("/api/v1/users")
    assert (without.status_code, without.headers["www-authenticate"]) == (401, 'Bearer realm="chat-node"')


async def test_a_disabled_admin_is_none(admin: Admin) -> None:
    await admin.local.submitter.commit(PutAccount("root", 1, "ana", "hash", disabled=True, new=True, admin=True))
    assert await admin.refused("GET", "/users", headers=chat_token("admin")) == (403, "forbidden")


async def test_the_node_s_own_key_opens_this_node_s_api_and_nothing_else(admin: Admin) -> None:
    own = admin.headers["Authorization"][7:]
    async with talking(admin.local.url) as client:
        await client.say(op="hello", v=[1], token=own)
        assert await client.end() == 4500
    for key, age_s, ttl_s, kind in (
        (admin_key.AdminKey("node2", admin.key.key), 0, 60, "unauthorized"),
        (admin.key, 100, 60, "token_expired"),
        (admin.key, 0, admin_key.MAX_TTL_S + 60, "unauthorized"),
    ):
        token = key.sign("operator", time.time() - age_s, ttl_s)
        assert await admin.refused("GET", "/users", headers={"Authorization": f"Bearer {token}"}) == (401, kind)


async def test_without_tokens_in_the_chat_only_the_node_s_own_key_opens_it(tmp_path: Path) -> None:
    async with administering(tmp_path, auth_mode=("accounts",)) as admin:
        assert (await admin.ask("GET", "/users"))[0] == 200
        assert await admin.refused("GET", "/users", headers=chat_token("admin")) == (401, "unauthorized")


async def test_who_asks_too_often_waits_and_strangers_do_not_hold_admins_up(tmp_path: Path) -> None:
    async with administering(tmp_path, api_rate=0.1, api_burst=2) as admin:
        for _ in range(2):
            assert (await admin.client.get("/api/v1/users")).status_code == 401
        assert (await admin.client.get("/api/v1/users")).status_code == 429
        for _ in range(2):
            assert (await admin.ask("GET", "/users"))[0] == 200
        slower = await admin.request("GET", "/users")
        assert (slower.status_code, 1 <= int(slower.headers["retry-after"]) <= 11) == (429, True)
        assert (await admin.ask("GET", "/users", headers=chat_token("admin")))[0] == 200


# --- what it refuses ---


@pytest.mark.parametrize(
    ("method", "path", "how", "refusal"),
    [
        ("GET", "/nowhere", {}, (404, "no_such_path")),
        ("GET", "/users/", {}, (404, "no_such_path")),
        ("PUT", "/users", {}, (405, "no_such_method")),
        ("OPTIONS", "/users", {}, (405, "no_such_method")),
        ("POST", "/openapi.json", {}, (405, "no_such_method")),
        ("POST", "/users", {"content": "x"}, (415, "no_json")),
        ("POST", "/users", {"content": "x", "headers": {"Content-Type": "application/json"}}, (400, "malformed")),
        ("POST", "/users", {"content": b"\xff", "headers": {"Content-Type": "application/json"}}, (400, "malformed")),
        ("POST", "/users", {"json": {"user": "x" * 70_000}}, (413, "too_large")),
        ("POST", "/users", {"json": {}}, (422, "invalid")),
        ("POST", "/users", {"json": []}, (422, "invalid")),
        ("POST", "/users", {"json": {**NEW, "admin": True}}, (422, "invalid")),
        ("POST", "/users", {"json": {**NEW, "user": "a b"}}, (422, "invalid")),
        ("POST", "/users", {"json": {**NEW, "password": "short"}}, (422, "invalid")),
        ("POST", "/users", {"json": {**NEW, "roles": ["king"]}}, (422, "invalid")),
        ("PATCH", "/users/ana", {"json": {"disabled": None}}, (422, "invalid")),
        ("PATCH", "/users/ana", {"json": {"disabled": True}}, (404, "no_user")),
        ("PATCH", "/users/ana", {"json": {"password": PASSWORD}}, (404, "no_user")),
        ("GET", "/users/ana", {}, (404, "no_user")),
        ("GET", "/users/a%20b", {}, (422, "invalid")),
        ("GET", "/users?limit=0", {}, (422, "invalid")),
        ("GET", "/users?limit=x", {}, (422, "invalid")),
        ("GET", "/users?limit=1&limit=2", {}, (422, "invalid")),
        ("GET", "/users?page=2", {}, (422, "invalid")),
        ("POST", "/rooms", {"json": {"room": "dm.0f"}}, (422, "invalid")),
        ("GET", "/rooms/none", {}, (404, "no_room")),
        ("GET", "/rooms/none/members", {}, (404, "no_room")),
        ("PATCH", "/rooms/none", {"json": {"title": "T"}}, (404, "no_room")),
        ("DELETE", "/rooms/none", {}, (404, "no_room")),
        ("DELETE", "/rooms/dm.0f", {}, (403, "forbidden")),
        ("POST", "/notices", {"json": {"text": "", "until": 1}}, (422, "invalid")),
        ("POST", "/notices", {"json": {"text": "x", "until": 1, "level": "loud"}}, (422, "invalid")),
    ],
)
async def test_a_refusal_says_what_is_wrong(
    admin: Admin, method: str, path: str, how: dict[str, Any], refusal: tuple[int, str]
) -> None:
    assert await admin.refused(method, path, **how) == refusal
    assert admin.local.log.entries == [] or refusal[1] == "no_room"


async def test_what_is_there_already_is_a_conflict(admin: Admin) -> None:
    await admin.ask("POST", "/users", json=NEW)
    assert await admin.refused("POST", "/users", json=NEW) == (409, "user_exists")
    await admin.ask("POST", "/rooms", json={"room": "hall"})
    assert await admin.refused("POST", "/rooms", json={"room": "hall", "title": "T"}) == (409, "room_exists")


async def test_two_people_s_room_is_theirs(admin: Admin) -> None:
    async with talking(admin.local.url, "ana") as ana:
        dm = (await ana.ask(op="dm", user="bo"))["room"]
    assert await admin.refused("PATCH", f"/rooms/{dm}", json={"title": "T"}) == (403, "forbidden")


async def test_what_one_can_do_here_is_told(admin: Admin) -> None:
    refused = await admin.request("PUT", "/rooms/hall")
    assert refused.headers["allow"] == "DELETE, GET, PATCH, HEAD"


async def test_a_body_that_does_not_come_is_not_waited_for(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_BODY_TIMEOUT_S", 0.1)

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await trio.sleep(0.03)

    with trio.fail_after(5):
        headers = {"Content-Type": "application/json"}
        assert await admin.refused("POST", "/users", content=dripping(), headers=headers) == (408, "too_slow")


async def test_a_node_that_cannot_know_says_when_to_ask_again(tmp_path: Path) -> None:
    async with administering(tmp_path, send_timeout=0.3) as admin:
        admin.local.log.up = False
        for method, path, body in (("GET", "/users", None), ("POST", "/users", NEW)):
            refused = await admin.request(method, path, json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert refused.json()["detail"] == "the node is not ready: cut off from the log"
        assert (await admin.ask("GET", "/status"))[1]["ready"] is False
        assert (await admin.ask("GET", "/peers"))[0] == 200


async def test_a_node_that_starts_takes_its_own_key_and_says_that_it_starts(admin: Admin) -> None:
    admin.host.node = None
    assert (await admin.ask("GET", "/status"))[0] == 200
    assert await admin.refused("GET", "/users") == (503, "not_ready")
    assert await admin.refused("GET", "/status", headers=chat_token("admin")) == (503, "not_ready")


async def test_a_log_that_fails_in_between_is_told_as_it_is(tmp_path: Path) -> None:
    async with administering(tmp_path, send_timeout=0.3) as admin:

        async def fall() -> None:
            admin.local.log.up = False
            await admin.local.log.last()  # raises, as an append would

        admin.local.log.trouble.append(fall)
        assert await admin.refused("POST", "/rooms", json={"room": "hall"}) == (503, "outcome_unknown")


async def test_a_mistake_of_the_node_is_a_problem_too(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(admin.host), "beats", lambda host: 1 / 0)
    assert await admin.refused("GET", "/peers") == (500, "internal")


async def test_there_is_no_cors_and_nothing_is_kept(admin: Admin) -> None:
    response = await admin.request("GET", "/users", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert response.headers["cache-control"] == "no-store"
