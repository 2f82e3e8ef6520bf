"""Every operation of the protocol that is more than sending and reading, over sockets: answers, pushes, and to whom."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from node.accounts import Passwords
from node.auth import sign_token
from node.client import ChatClient, open_client
from node.errors import RequestError
from node.protocol.pushes import InvitePush, NoticePush, PresencePush, ReadPush, RoomEvent, TypingPush
from node.protocol.translate import dm_room_id
from node.state.records import PutAccount

from .fakes import MemoryBus, MemoryLog
from .local_node import KEY, LocalNode, Talker, local_node, talking, until

LATER = int(time.time() * 1000) + 3_600_000


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[LocalNode]:
    async with local_node(tmp_path) as node:
        yield node


def admin_token() -> str:
    return sign_token(KEY, "root", time.time(), 60, ("admin",))


async def silent(talker: Talker) -> None:
    """Nothing has been sent to a client but the answer to this."""
    request_id = await talker.say(op="ping")
    assert await talker.hear() == {"id": request_id, "ok": {}}


@asynccontextmanager
async def room(node: LocalNode, *users: str, private: bool = False) -> AsyncGenerator[list[Talker]]:
    """Users in a room of the first one, all of whom have heard of each other."""
    async with trio.open_nursery() as nursery:
        talkers: list[Talker] = []
        for user in users:
            talker = await nursery.start(_converse, node.url, user)
            if not talkers:
                assert (await talker.ask(op="create_room", room="a", private=private))["seq"] == 1
            elif private:
                await talkers[0].ask(op="invite", room="a", user=user)
            assert "head" in await talker.ask(op="join", room="a", limit=0)
            talkers.append(talker)
        node.hub.tell_what_waits()
        for talker in talkers:
            await talker.ask(op="ping")
        yield talkers
        nursery.cancel_scope.cancel()


async def _converse(url: str, user: str, task_status: trio.TaskStatus[Talker]) -> None:
    async with talking(url, user) as talker:
        task_status.started(talker)
        await trio.sleep_forever()


async def test_messages_are_edited_deleted_and_reacted_to(node: LocalNode) -> None:
    async with room(node, "ana", "bo") as (ana, bo):
        seq = (await ana.ask(op="send", room="a", cid="c", body="hello @bo"))["seq"]
        assert await ana.ask(op="edit", room="a", seq=seq, body="hullo") == {"room": "a", "seq": seq + 1}
        assert (await bo.ask(op="edit", room="a", seq=seq, body="mine"))["code"] == "forbidden"
        assert (await bo.ask(op="react", room="a", seq=seq, emoji="+"))["seq"] == seq + 2
        page = await ana.ask(op="history", room="a")
        assert (page["msgs"][0]["body"], page["msgs"][0]["reactions"]) == ("hullo", {"+": ["bo"]})
        reply = await bo.ask(op="send", room="a", cid="c", body="re", reply_to=seq)
        thread = (await ana.ask(op="history", room="a", thread=seq))["msgs"]
        assert [(m["seq"], m.get("thread"), m.get("replies")) for m in thread] == [
            (seq, None, 1),
            (reply["seq"], seq, None),
        ]
        assert (await ana.ask(op="delete", room="a", seq=seq))["seq"] == seq + 4
        assert (await ana.ask(op="react", room="a", seq=seq, emoji="+"))["code"] == "no_message"


async def test_events_are_pushed_in_order_of_their_seq(node: LocalNode) -> None:
    async with room(node, "ana", "bo") as (ana, bo):
        for request in (
            {"op": "send", "cid": "c", "body": "@bo"},
            {"op": "edit", "seq": 3, "body": "x"},
            {"op": "react", "seq": 3, "emoji": "+"},
            {"op": "delete", "seq": 3},
            {"op": "role", "user": "bo", "role": "moderator"},
            {"op": "mute", "user": "bo", "until": LATER},
            {"op": "update_room", "title": "T"},
        ):
            await ana.say(room="a", **request)
        told = await bo.pushes(7)
        assert [push["seq"] for push in told] == list(range(3, 10))
        assert [push["op"] for push in told] == ["msg", "edit", "react", "delete", "member", "member", "room"]
        assert (told[0]["mentions"], told[4]["by"], told[5]["until"]) == (["bo"], "ana", LATER)


@pytest.mark.parametrize("op", ["kick", "ban"])
async def test_nothing_is_delivered_after_a_kick_or_a_ban(node: LocalNode, op: str) -> None:
    async with room(node, "ana", "bo", "cy") as (ana, bo, cy):
        assert "seq" in await ana.ask(op=op, room="a", user="bo")
        await ana.ask(op="send", room="a", cid="c", body="not for bo")
        await ana.ask(op="typing", room="a")
        await silent(bo)
        told = [push["op"] for push in await cy.pushes(4)]
        assert sorted(told) == ["member", "msg", "presence", "typing"]
        assert told.index("member") < told.index("msg")
        for request in ("history", "members", "typing"):
            assert (await bo.ask(op=request, room="a"))["code"] == "forbidden"
        assert ("head" in await bo.ask(op="join", room="a")) == (op == "kick")


async def test_a_private_room_is_not_there_for_others(node: LocalNode) -> None:
    async with room(node, "ana", private=True) as (ana,), talking(node.url, "bo") as bo:
        for request in (
            {"op": "join"},
            {"op": "history"},
            {"op": "members"},
            {"op": "send", "cid": "c", "body": "x"},
            {"op": "search", "query": "x"},
        ):
            assert (await bo.ask(room="a", **request))["code"] == "no_room", request
        assert (await bo.ask(op="rooms"))["rooms"] == []
        assert "seq" in await ana.ask(op="invite", room="a", user="bo")
        assert await bo.hear() == {"op": "invite", "room": "a", "by": "ana"}
        listed = (await bo.ask(op="rooms", mine=True))["rooms"]
        assert [(r["room"], r["role"], r["private"]) for r in listed] == [("a", "invited", True)]
        assert (await bo.ask(op="history", room="a"))["code"] == "forbidden"
        assert "head" in await bo.ask(op="join", room="a")
        assert "seq" in await ana.ask(op="ban", room="a", user="bo")
        assert (await bo.ask(op="join", room="a"))["code"] == "no_room"
        async with talking(node.url, token=admin_token()) as root:
            assert "head" in await root.ask(op="join", room="a")


async def test_a_direct_room(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana, talking(node.url, "bo") as bo, talking(node.url, "cy") as cy:
        opened = (await ana.ask(op="dm", user="bo"))["room"]
        assert (await bo.hear())["room"] == opened
        assert (await bo.ask(op="dm", user="ana"))["room"] == opened
        assert (await cy.ask(op="dm", user="ana"))["room"] != opened
        for talker in (ana, bo):
            await talker.ask(op="join", room=opened)
        assert "seq" in await ana.ask(op="send", room=opened, cid="c", body="psst")
        assert (await cy.ask(op="join", room=opened))["code"] == "no_room"
        assert (await ana.ask(op="rooms", prefix=opened))["rooms"][0]["dm"]


async def test_nobody_makes_the_direct_room_of_two_others_before_they_do(node: LocalNode) -> None:
    theirs = dm_room_id("ana", "bo")
    async with talking(node.url, "ana") as ana, talking(node.url, "cy") as cy:
        assert (await cy.ask(op="create_room", room=theirs))["code"] == "bad_request"
        assert (await ana.ask(op="dm", user="bo"))["room"] == theirs
        assert (await cy.ask(op="join", room=theirs))["code"] == "no_room"


async def test_a_deleted_room_ends_with_its_last_event_and_is_made_anew(node: LocalNode) -> None:
    async with room(node, "ana", "bo") as (ana, bo):
        await ana.ask(op="send", room="a", cid="c", body="old words")
        await bo.pushes(1)
        assert await ana.ask(op="delete_room", room="a") == {"room": "a", "seq": 4}
        assert [(p["op"], p["change"], p["seq"]) for p in await bo.pushes(1)] == [("room", "deleted", 4)]
        assert (await bo.ask(op="history", room="a"))["code"] == "no_room"
        assert await ana.ask(op="create_room", room="a") == {"room": "a", "seq": 5}
        await ana.ask(op="send", room="a", cid="c", body="new")
        await silent(bo)
        await bo.ask(op="join", room="a", limit=0)
        joined = await bo.ask(op="join", room="a", since={"epoch": "memory", "seq": 3})
        assert (joined["recovered"], joined["reason"], joined["first"]) == (False, "position_gone", 5)
        assert [p["seq"] for p in await bo.pushes(3)] == [5, 6, 7]
        assert (await ana.ask(op="search", query="old"))["msgs"] == []


async def test_resuming_does_not_undo_a_kick(node: LocalNode) -> None:
    async with room(node, "ana", "bo") as (ana, bo):
        await ana.ask(op="kick", room="a", user="bo")
        resumed = await bo.ask(op="join", room="a", since={"epoch": "memory", "seq": 2})
        assert resumed["code"] == "forbidden"
        assert (await bo.ask(op="join", room="a", limit=0))["room"] == "a"


async def test_presence_and_typing_are_told_and_members_show_them(node: LocalNode) -> None:
    async with room(node, "ana", "bo") as (ana, bo):
        await bo.ask(op="typing", room="a")
        assert await ana.hear() == {"op": "typing", "room": "a", "user": "bo"}
        await ana.ask(op="mute", room="a", user="bo", until=LATER)
        async with talking(node.url, "cy") as cy:
            await cy.ask(op="join", room="a")
            found = await ana.ask(op="members", room="a", limit=2)
            assert found["more"]
            assert [(m["user"], m["online"], m.get("muted_until")) for m in found["members"]] == [
                ("ana", True, None),
                ("bo", True, LATER),
            ]
        assert {"op": "presence", "room": "a", "user": "cy", "online": False} in await bo.pushes(4)
        found = await ana.ask(op="members", room="a", after="bo")
        assert found == {"members": [{"user": "cy", "role": "member", "online": False}], "more": False}
        assert (await ana.ask(op="typing", room="b"))["code"] == "forbidden"


async def test_typing_is_rate_limited(tmp_path: Path) -> None:
    async with local_node(tmp_path, typing_rate=0.5) as node, room(node, "ana") as (ana,):
        assert await ana.ask(op="typing", room="a") == {}
        refused = await ana.ask(op="typing", room="a")
        assert (refused["code"], 0 < refused["retry_ms"] <= 2001) == ("rate_limited", True)


async def test_the_read_marker_is_on_all_connections_of_the_user_and_in_rooms(node: LocalNode) -> None:
    async with room(node, "ana", "bo") as (ana, bo), talking(node.url, "bo") as bo2:
        await ana.ask(op="send", room="a", cid="c", body="x")
        assert (await bo.ask(op="rooms"))["rooms"][0]["unread"] == 3
        assert await bo.ask(op="read", room="a", seq=2) == {"room": "a", "seq": 2}
        assert await bo2.hear() == {"op": "read", "room": "a", "seq": 2}
        assert (await bo2.ask(op="rooms"))["rooms"][0]["unread"] == 1
        assert (await ana.ask(op="rooms"))["rooms"][0]["unread"] == 3


async def test_search_is_over_the_user_s_rooms_page_by_page(node: LocalNode) -> None:
    async with room(node, "ana") as (ana,), talking(node.url, "bo") as bo:
        for i in range(3):
            await ana.ask(op="send", room="a", cid=f"{i}", body=f"word {i}")
        page = await ana.ask(op="search", query="WORD", limit=2)
        assert [m["body"] for m in page["msgs"]] == ["word 2", "word 1"]
        page = await ana.ask(op="search", query="word", room="a", limit=2, before=page["next"])
        assert ([m["body"] for m in page["msgs"]], "next" in page) == (["word 0"], False)
        assert (await bo.ask(op="search", query="word"))["msgs"] == []
        assert (await bo.ask(op="search", query="word", room="a"))["code"] == "forbidden"


async def test_a_notice_reaches_everyone_and_who_comes_later(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana, talking(node.url, token=admin_token()) as root:
        notice = {"op": "notice", "text": "Maintenance", "until": LATER, "level": "warning"}
        assert (await ana.ask(**notice))["code"] == "forbidden"
        assert await root.ask(**notice) == {}
        await root.ask(op="notice", text="over", until=1)
        assert await ana.hear() == {"op": "notice", "level": "warning", "text": "Maintenance", "until": LATER}
        async with talking(node.url, "bo") as bo:
            assert (await bo.hear())["text"] == "Maintenance"
            await silent(bo)


async def test_whoami(node: LocalNode) -> None:
    async with talking(node.url, token=admin_token()) as root, talking(node.url, "ana") as ana:
        found = await root.ask(op="whoami")
        assert (found["user"], found["roles"], found["node"]) == ("root", ["admin"], "node1")
        assert found["expires_at"] > time.time()
        assert (await ana.ask(op="whoami"))["expires_at"] is None


async def put_account(node: LocalNode, name: str, password: str, **fields: Any) -> None:
    password_hash = await Passwords().hash(password)
    await node.submitter.commit(PutAccount("root", 1, name, password_hash, new=True, admin=True, **fields))


async def test_an_account_wants_its_password_and_nobody_else_takes_its_name(node: LocalNode) -> None:
    await put_account(node, "ana", "secret word", roles=["admin"])
    await put_account(node, "gone", "secret word", disabled=True)
    async with talking(node.url) as ana:
        assert "user" in await ana.ask(op="hello", v=[1], user="ana", password="secret word")  # noqa: S106
        assert (await ana.ask(op="whoami"))["roles"] == ["admin"]
    for hello, code in (
        ({"user": "ana", "password": "wrong word"}, 4500),
        ({"user": "ana"}, 4500),
        ({"user": "bo", "password": "secret word"}, 4500),
        ({"user": "gone", "password": "secret word"}, 4503),
    ):
        async with talking(node.url) as other:
            await other.say(op="hello", v=[1], **hello)
            assert await other.end() == code, hello
    async with talking(node.url, "bo"):
        pass


async def test_accounts_are_not_asked_where_they_are_not_switched_on(tmp_path: Path) -> None:
    async with local_node(tmp_path, auth_mode=("guest",)) as node:
        await put_account(node, "ana", "secret word")
        async with talking(node.url, "ana"):
            pass


async def next_push(client: ChatClient, kind: type[Any]) -> Any:
    with trio.fail_after(5):
        while not isinstance(push := await anext(client.pushes), kind):
            pass
        return push


async def test_the_reference_client_asks_for_all_of_it(tmp_path: Path) -> None:
    async with (
        local_node(tmp_path) as node,
        open_client([node.url], token=admin_token()) as root,
        open_client([node.url], user="bo") as bo,
    ):
        await root.create_room("a", private=True)
        await root.update_room("a", title="T")
        await root.invite("a", "bo")
        assert await next_push(bo, InvitePush) == InvitePush("a", "root")
        await root.join("a", limit=0)
        feed = await bo.join("a", limit=0)
        assert await next_push(root, PresencePush) == PresencePush("a", "bo", online=True)
        await bo.typing("a")
        assert await next_push(root, TypingPush) == TypingPush("a", "bo")
        await root.set_role("a", "bo", "moderator")
        assert [m.role for m in (await bo.members("a")).members] == ["moderator", "owner"]
        sent = await bo.send("a", "hello")
        await bo.send("a", "re", reply_to=sent.seq)
        await bo.edit("a", sent.seq, "hullo")
        await root.react("a", sent.seq, "+")
        assert [m.body for m in await bo.history("a", thread=sent.seq)] == ["hullo", "re"]
        assert [m.seq for m in (await bo.search("hullo", room="a"))[0]] == [sent.seq]
        await bo.delete("a", sent.seq)
        await bo.mark_read("a", sent.seq)
        assert await next_push(bo, ReadPush) == ReadPush("a", sent.seq)
        await root.mute("a", "bo", LATER)
        with pytest.raises(RequestError, match="muted"):
            await bo.send("a", "x")
        await root.notice("soon", LATER)
        assert await next_push(bo, NoticePush) == NoticePush("info", "soon", LATER)
        assert (await bo.rooms(mine=True)).rooms[0].role == "moderator"
        await root.ban("a", "cy")
        await root.unban("a", "cy")
        assert (await root.whoami()).roles == ["admin"]
        assert (await bo.dm("root")).startswith("dm.")
        await root.delete_room("a")
        *_, last = [event async for event in feed]
        assert isinstance(last, RoomEvent)
        assert last.change == "deleted"
        await root.create_room("b")
        await bo.join("b")
        await root.kick("b", "bo")
        assert [m.user for m in (await root.members("b")).members] == ["root"]


async def test_two_nodes_share_presence_typing_and_the_cut(tmp_path: Path) -> None:
    log, bus = MemoryLog(), MemoryBus()
    async with (
        local_node(tmp_path, log=log, bus=bus, node_id="one") as one,
        local_node(tmp_path, log=log, bus=bus, node_id="two") as two,
        room(one, "ana") as (ana,),
        talking(two.url, "bo") as bo,
    ):
        await bo.ask(op="join", room="a", limit=0)
        assert [p["op"] for p in await ana.pushes(2)] in (["member", "presence"], ["presence", "member"])
        await until(lambda: two.presence.is_online("a", "ana"))
        await bo.ask(op="typing", room="a")
        assert (await ana.pushes(1))[0]["op"] == "typing"
        await ana.ask(op="kick", room="a", user="bo")
        await until(lambda: two.replica.applied == one.replica.applied)
        await ana.ask(op="send", room="a", cid="c", body="not for bo")
        await until(lambda: two.replica.applied == one.replica.applied)
        await silent(bo)
        await until(lambda: not one.presence.is_online("a", "bo"))
