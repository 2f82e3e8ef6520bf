"""docs/protocol.md by name, over WebSocket, on a node with SQLite and on one with three NATS servers.

Every request, push and error has a test ``test_NAME_...`` here: ``tests/unit/test_named.py`` sees to it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel

from node.auth import sign_token
from tests.unit.local_node import Talker, talking

from .conftest import KEY, MAX_PENDING, Served

pytestmark = pytest.mark.timeout(60)
LATER = int(time.time() * 1000) + 3_600_000


@pytest.fixture
def url(served: Served) -> str:
    return served.node.url


@asynccontextmanager
async def people(url: str, room: str, *users: str, **fields: Any) -> AsyncGenerator[list[Talker]]:
    """Users on connections of their own, all of them in a room of the first one."""
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(talking(url, user)) for user in users]
        assert (await talkers[0].ask(op="create_room", room=room, **fields))["room"] == room
        for user, talker in zip(users, talkers, strict=True):
            if fields.get("private") and user != users[0]:
                await talkers[0].ask(op="invite", room=room, user=user)
            assert (await talker.ask(op="join", room=room, limit=0))["room"] == room
        yield talkers


def admin() -> str:
    return sign_token(KEY, "root", time.time(), 60, ("admin",))


async def push(talker: Talker, op: str, **fields: Any) -> dict[str, Any]:
    """The next push of a kind, with these fields."""
    while True:
        (found,) = await talker.pushes(1)
        if found["op"] == op and fields.items() <= found.items():
            return found


async def code(talker: Talker, **request: Any) -> str:
    return str((await talker.ask(**request)).get("code"))


# --- requests ---


async def test_hello_tells_who_where_and_the_limits(url: str) -> None:
    async with talking(url) as ana:
        welcome = await ana.ask(op="hello", v=[2, 1], user="ana", client="test/1")
        assert (welcome["v"], welcome["user"], welcome["node"], welcome["heartbeat_s"]) == (1, "ana", "node1", 5.0)
        assert welcome["limits"]["body_bytes"] == 16384
        assert welcome["epoch"]


async def test_ping_is_answered(url: str) -> None:
    async with talking(url, "ana") as ana:
        assert await ana.ask(op="ping") == {}


async def test_whoami_of_an_admin_with_a_token(url: str) -> None:
    async with talking(url, token=admin()) as root:
        me = await root.ask(op="whoami")
        assert (me["user"], me["roles"], me["node"]) == ("root", ["admin"], "node1")
        assert 0 < me["expires_at"] - time.time() <= 60


async def test_create_room_makes_its_owner_a_member(url: str) -> None:
    async with people(url, "create", "ana", title="T") as (ana,):
        (room,) = (await ana.ask(op="rooms", prefix="create"))["rooms"]
        assert room == {"room": "create", "title": "T", "members": 1, "head": 1, "role": "owner", "unread": 1}


async def test_update_room_changes_the_title_alone(url: str) -> None:
    async with people(url, "update", "ana", private=True) as (ana,):
        assert await ana.ask(op="update_room", room="update", title="New") == {"room": "update", "seq": 2}
        (room,) = (await ana.ask(op="rooms", prefix="update"))["rooms"]
        assert (room["title"], room["private"]) == ("New", True)


async def test_delete_room_takes_it_away_and_a_new_one_counts_on(url: str) -> None:
    async with people(url, "gone", "ana") as (ana,):
        assert (await ana.ask(op="delete_room", room="gone"))["seq"] == 2
        assert await code(ana, op="history", room="gone") == "no_room"
        assert (await ana.ask(op="create_room", room="gone"))["seq"] == 3
        joined = await ana.ask(op="join", room="gone", since={"epoch": "other", "seq": 1})
        assert (joined["first"], joined["reason"]) == (3, "epoch_changed")


async def test_dm_is_the_same_room_from_both_sides(url: str) -> None:
    async with talking(url, "ana") as ana, talking(url, "bo") as bo:
        room = (await ana.ask(op="dm", user="bo"))["room"]
        assert (await bo.ask(op="dm", user="ana"))["room"] == room
        assert "head" in await bo.ask(op="join", room=room)


async def test_rooms_come_page_by_page_in_order(url: str) -> None:
    async with talking(url, "ana") as ana:
        for i in range(5):
            await ana.ask(op="create_room", room=f"page{i}")
        first = await ana.ask(op="rooms", prefix="page", limit=3, mine=True)
        rest = await ana.ask(op="rooms", prefix="page", limit=3, after=first["rooms"][-1]["room"])
        assert [room["room"] for room in first["rooms"] + rest["rooms"]] == [f"page{i}" for i in range(5)]
        assert (first["more"], rest["more"]) == (True, False)


async def test_members_are_listed_with_role_and_presence(url: str) -> None:
    async with people(url, "members", "ana", "bo") as (ana, _):
        page = await ana.ask(op="members", room="members", limit=1)
        assert page == {"members": [{"user": "ana", "role": "owner", "online": True}], "more": True}


async def test_join_with_since_brings_what_was_missed(url: str) -> None:
    async with people(url, "since", "ana", "bo") as (ana, bo):
        epoch = (await bo.ask(op="join", room="since"))["epoch"]
        seqs = [(await ana.ask(op="send", room="since", cid=str(i), body="x"))["seq"] for i in range(5)]
    async with talking(url, "bo") as bo:
        joined = await bo.ask(op="join", room="since", since={"epoch": epoch, "seq": seqs[1]})
        assert (joined["recovered"], joined["head"]) == (True, seqs[-1])
        assert [event["seq"] for event in await bo.pushes(3)] == seqs[2:]


async def test_leave_ends_membership_and_delivery(url: str) -> None:
    async with people(url, "leave", "ana", "bo") as (ana, bo):
        seq = (await bo.ask(op="leave", room="leave"))["seq"]
        assert (await ana.ask(op="send", room="leave", cid="c", body="x"))["seq"] == seq + 1
        assert await code(bo, op="history", room="leave") == "forbidden"


async def test_invite_lets_into_a_private_room(url: str) -> None:
    async with people(url, "private", "ana", private=True) as (ana,), talking(url, "bo") as bo:
        assert await code(bo, op="join", room="private") == "no_room"
        await ana.ask(op="invite", room="private", user="bo")
        assert "head" in await bo.ask(op="join", room="private")


async def test_role_makes_a_moderator(url: str) -> None:
    async with people(url, "role", "ana", "bo") as (ana, bo):
        assert await code(bo, op="update_room", room="role", title="x") == "forbidden"
        await ana.ask(op="role", room="role", user="bo", role="moderator")
        assert "seq" in await bo.ask(op="update_room", room="role", title="x")


async def test_kick_ends_delivery_at_once(url: str) -> None:
    async with people(url, "kick", "ana", "bo") as (ana, bo):
        await ana.ask(op="kick", room="kick", user="bo")
        await ana.ask(op="send", room="kick", cid="c", body="not for bo")
        heard = await bo.say(op="ping")
        while (frame := await bo.hear()).get("id") != heard:
            assert frame["op"] == "presence"


async def test_ban_keeps_out_until_unban(url: str) -> None:
    async with people(url, "ban", "ana", "bo") as (ana, bo):
        await ana.ask(op="ban", room="ban", user="bo")
        assert await code(bo, op="join", room="ban") == "forbidden"


async def test_unban_lets_in_again(url: str) -> None:
    async with people(url, "unban", "ana", "bo") as (ana, bo):
        await ana.ask(op="ban", room="unban", user="bo")
        await ana.ask(op="unban", room="unban", user="bo")
        assert "head" in await bo.ask(op="join", room="unban")


async def test_mute_forbids_to_speak_until_it_is_lifted(url: str) -> None:
    async with people(url, "mute", "ana", "bo") as (ana, bo):
        await ana.ask(op="mute", room="mute", user="bo", until=LATER)
        assert await code(bo, op="send", room="mute", cid="c", body="x") == "forbidden"
        await ana.ask(op="mute", room="mute", user="bo", until=0)
        assert "seq" in await bo.ask(op="send", room="mute", cid="c", body="x")


async def test_send_again_with_its_cid_is_the_same_message(url: str) -> None:
    async with people(url, "send", "ana") as (ana,):
        first = await ana.ask(op="send", room="send", cid="c", body="x")
        assert await ana.ask(op="send", room="send", cid="c", body="x") == {**first, "dup": True}


async def test_edit_and_delete_show_in_history(url: str) -> None:
    async with people(url, "edit", "ana") as (ana,):
        seqs = [(await ana.ask(op="send", room="edit", cid=cid, body="x"))["seq"] for cid in "cd"]
        await ana.ask(op="edit", room="edit", seq=seqs[0], body="y")
        await ana.ask(op="delete", room="edit", seq=seqs[1])
        one, two = (await ana.ask(op="history", room="edit"))["msgs"]
        assert (one["body"], one["edited"] >= one["ts"]) == ("y", True)
        assert (two["body"], two["deleted"]) == ("", True)


async def test_delete_is_a_moderator_s_right_too(url: str) -> None:
    async with people(url, "delete", "ana", "bo", "cy") as (ana, bo, cy):
        seq = (await bo.ask(op="send", room="delete", cid="c", body="x"))["seq"]
        assert await code(cy, op="delete", room="delete", seq=seq) == "forbidden"
        assert (await ana.ask(op="delete", room="delete", seq=seq))["seq"] == seq + 1


async def test_react_puts_and_takes_away(url: str) -> None:
    async with people(url, "react", "ana") as (ana,):
        seq = (await ana.ask(op="send", room="react", cid="c", body="x"))["seq"]
        await ana.ask(op="react", room="react", seq=seq, emoji="👍")
        assert (await ana.ask(op="history", room="react"))["msgs"][0]["reactions"] == {"👍": ["ana"]}
        await ana.ask(op="react", room="react", seq=seq, emoji="👍", on=False)
        assert "reactions" not in (await ana.ask(op="history", room="react"))["msgs"][0]


async def test_read_counts_down_unread_and_tells_other_connections(url: str) -> None:
    async with people(url, "read", "ana") as (ana,), talking(url, "ana") as again:
        seq = (await ana.ask(op="send", room="read", cid="c", body="x"))["seq"]
        await ana.ask(op="read", room="read", seq=seq)
        assert await push(again, "read") == {"op": "read", "room": "read", "seq": seq}
        assert (await ana.ask(op="rooms", prefix="read"))["rooms"][0]["unread"] == 0


async def test_typing_is_told_to_the_others(url: str) -> None:
    async with people(url, "typing", "ana", "bo") as (ana, bo):
        assert await bo.ask(op="typing", room="typing") == {}
        assert await push(ana, "typing") == {"op": "typing", "room": "typing", "user": "bo"}


async def test_history_of_a_thread_and_before_a_seq(url: str) -> None:
    async with people(url, "history", "ana") as (ana,):
        root = (await ana.ask(op="send", room="history", cid="r", body="root"))["seq"]
        await ana.ask(op="send", room="history", cid="o", body="other")
        reply = (await ana.ask(op="send", room="history", cid="a", body="answer", reply_to=root))["seq"]
        thread = (await ana.ask(op="history", room="history", thread=root))["msgs"]
        assert [(m["seq"], m.get("replies")) for m in thread] == [(root, 1), (reply, None)]
        page = await ana.ask(op="history", room="history", before=reply, limit=1)
        assert [m["body"] for m in page["msgs"]] == ["other"]


async def test_search_finds_in_one_s_own_rooms_only(url: str) -> None:
    async with people(url, "search", "ana") as (ana,), talking(url, "bo") as bo:
        await ana.ask(op="send", room="search", cid="c", body="A Needle in a haystack")
        assert len((await ana.ask(op="search", query="needle"))["msgs"]) == 1
        assert (await bo.ask(op="search", query="needle"))["msgs"] == []


async def test_notice_of_an_admin_reaches_everybody_and_who_comes_later(url: str) -> None:
    until_ms = int(time.time() * 1000) + 2000
    told = {"op": "notice", "level": "warning", "text": "soon", "until": until_ms}
    async with talking(url, token=admin()) as root, talking(url, "bo") as bo:
        assert await root.ask(op="notice", level="warning", text="soon", until=until_ms) == {}
        assert await push(bo, "notice") == told
        assert await code(bo, op="notice", text="x", until=until_ms) == "forbidden"
    async with talking(url, "cy") as cy:
        assert await push(cy, "notice") == told


# --- pushes: those of typing, read and notice are above ---


async def test_msg_edit_delete_react_member_and_room_are_pushed_in_order(url: str) -> None:
    async with people(url, "pushed", "ana", "bo") as (ana, bo):
        for request in (
            {"op": "send", "cid": "c", "body": "@bo"},
            {"op": "edit", "seq": 3, "body": "x"},
            {"op": "react", "seq": 3, "emoji": "+"},
            {"op": "delete", "seq": 3},
            {"op": "role", "user": "bo", "role": "moderator"},
            {"op": "update_room", "title": "T"},
        ):
            assert "seq" in await ana.ask(room="pushed", **request)
        told = [event for event in await bo.pushes(6) if event["op"] != "presence"]
        assert [event["op"] for event in told] == ["msg", "edit", "react", "delete", "member", "room"]
        assert [event["seq"] for event in told] == list(range(3, 9))
        assert (told[0]["mentions"], told[1]["target"], told[4]["by"], told[5]["title"]) == (["bo"], 3, "ana", "T")


async def test_invite_is_pushed_to_the_invited(url: str) -> None:
    async with people(url, "invited", "ana") as (ana,), talking(url, "bo") as bo:
        await ana.ask(op="invite", room="invited", user="bo")
        assert await push(bo, "invite") == {"op": "invite", "room": "invited", "by": "ana"}


async def test_presence_is_pushed_when_somebody_comes_and_goes(url: str) -> None:
    async with people(url, "presence", "ana") as (ana,):
        async with talking(url, "bo") as bo:
            await bo.ask(op="join", room="presence")
            assert (await push(ana, "presence", user="bo"))["online"] is True
        assert (await push(ana, "presence", user="bo"))["online"] is False


# --- errors ---


async def test_bad_request_names_the_field_and_the_connection_goes_on(url: str) -> None:
    async with talking(url, "ana") as ana:
        refused = await ana.ask(op="join", room="No Room")
        assert (refused["code"], "room" in refused["msg"]) == ("bad_request", True)
        assert await ana.ask(op="ping") == {}


async def test_unauthorized_ends_it_with_4500(url: str) -> None:
    async with talking(url) as mallory:
        await mallory.say(op="hello", v=[1], token="forged")  # noqa: S106
        assert await mallory.end() == 4500


async def test_token_expired_ends_it_with_4014(url: str) -> None:
    async with talking(url) as late:
        await late.say(op="hello", v=[1], token=sign_token(KEY, "ana", time.time() - 90, 10))
        assert await late.end() == 4014


async def test_unsupported_version_ends_it_with_4505(url: str) -> None:
    async with talking(url) as old:
        await old.say(op="hello", v=[7], user="ana")
        assert await old.end() == 4505


async def test_forbidden_no_room_room_exists_no_message_and_cid_conflict(url: str) -> None:
    async with people(url, "errors", "ana") as (ana,), talking(url, "bo") as bo:
        assert await code(bo, op="history", room="errors") == "forbidden"
        assert await code(bo, op="join", room="nowhere") == "no_room"
        assert await code(bo, op="create_room", room="errors") == "room_exists"
        assert await code(ana, op="edit", room="errors", seq=9, body="x") == "no_message"
        await ana.ask(op="send", room="errors", cid="c", body="x")
        assert await code(ana, op="send", room="errors", cid="c", body="y") == "cid_conflict"


async def test_too_large_is_a_body_over_the_limit(url: str) -> None:
    async with people(url, "large", "ana") as (ana,):
        assert await code(ana, op="send", room="large", cid="c", body="é" * 8193) == "too_large"
        assert "seq" in await ana.ask(op="send", room="large", cid="c", body="é" * 8192)


async def test_rate_limited_says_when_to_come_again(url: str) -> None:
    async with people(url, "rate", "ana") as (ana,):
        await ana.ask(op="typing", room="rate")
        refused = await ana.ask(op="typing", room="rate")
        assert (refused["code"], refused["retry"]) == ("rate_limited", True)
        await trio.sleep(refused["retry_ms"] / 1000)
        assert await ana.ask(op="typing", room="rate") == {}


async def test_outcome_unknown_unavailable_and_overloaded_in_an_outage(served: Served) -> None:
    async with people(served.node.url, "outage", "ana") as (ana,):
        with served.outage():
            first = await ana.say(op="send", room="outage", cid="first", body="x")
            await trio.sleep(0.3)  # it is on its way
            rest = [await ana.say(op="read", room="outage", seq=1) for _ in range(MAX_PENDING + 10)]
            answers: dict[int, Any] = {}
            while len(answers) <= len(rest):
                with trio.fail_after(10):
                    frame = await ana.hear()
                answers[frame["id"]] = frame["err"]
        assert answers.pop(first)["code"] == "outcome_unknown"
        assert {answer["code"] for answer in answers.values()} == {"unavailable", "overloaded"}
        assert all(answer["retry"] for answer in answers.values())
        await trio.lowlevel.checkpoint()
        again = await ana.ask(op="send", room="outage", cid="first", body="x")
        assert len((await ana.ask(op="history", room="outage"))["msgs"]) == 1
        assert "seq" in again


async def test_drain_is_pushed_when_the_node_stops(served: Served) -> None:
    async with people(served.node.url, "drain", "ana") as (ana,), trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, served.node.stop)
        told = await push(ana, "drain")
        assert 0 <= told["reconnect_after_ms"] <= told["deadline_ms"] == 2000
        assert await ana.end() == 4001
    served.node.start()
    served.node.wait_serving()
