"""Conversations with a node over sockets: what clients are promised, by request and by close code."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from node.auth import sign_token
from node.errors import CloseCode
from node.outbox import Outbox
from node.state.records import SendMessage
from node.transport.websocket import Disconnected

from .local_node import KEY, LocalNode, Talker, local_node, talking, until

_PONG_FRAME = b"\x8a\x00"
QUICK: Any = {"heartbeat_interval": 0.1, "heartbeat_timeout": 0.1}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[LocalNode]:
    async with local_node(tmp_path) as node:
        yield node


async def upgrade(port: int) -> str:
    """What a node answers to a client's handshake, up to the end of the connection."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    request = f"GET /ws HTTP/1.1\r\nHost: x\r\n{headers}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n"
    answer = b""
    with trio.fail_after(5):
        try:
            await stream.send_all(request.encode())
            async for data in stream:
                answer += data
        except trio.BrokenResourceError:
            pass
    return answer.decode()


async def fill(talker: Talker, room: str, count: int, size: int = 1) -> None:
    await talker.ask(op="create_room", room=room)
    for i in range(count):
        await talker.say(op="send", room=room, cid=f"{i}", body="x" * size)
    assert "seq" in await talker.ask(op="send", room=room, cid="last", body="x")


def seqs(pushes: list[dict[str, Any]]) -> list[int]:
    return [push["seq"] for push in pushes]


async def test_a_page_ends_where_its_head_says(node: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(node.url, "ana") as ana:
        await fill(ana, "a", 2)
        read, reads = node.replica.read, itertools.count(1)

        async def slow_read(query: Any) -> Any:
            if next(reads) == 2:  # the head is known, the messages are not read yet
                await node.submitter.commit(SendMessage(room="a", user="ana", ts=1, cid="late", body="y"))
            return await read(query)

        monkeypatch.setattr(node.replica, "read", slow_read)
        page = await ana.ask(op="history", room="a", before=1000)
    assert next(reads) > 2
    assert page["msgs"][-1]["seq"] == page["head"]


async def test_an_acknowledged_message_is_in_the_next_page_and_on_the_next_join(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana, talking(node.url, "bo") as bo:
        await ana.ask(op="create_room", room="a", title="Title")
        ack = await ana.ask(op="send", room="a", cid="c", body="hi")
        assert (ack["seq"], ack["dup"]) == (2, False)
        page = await ana.ask(op="history", room="a")
        assert [(m["seq"], m["cid"], m["from"], m["body"]) for m in page["msgs"]] == [(2, "c", "ana", "hi")]
        joined = await bo.ask(op="join", room="a")
        assert (joined["head"], "recovered" in joined) == (3, False)
        assert [push["op"] for push in await bo.pushes(3)] == ["room", "msg", "member"]
        listed = await bo.ask(op="rooms", prefix="a")
        assert listed == {
            "rooms": [{"room": "a", "title": "Title", "members": 2, "head": 3, "role": "member", "unread": 3}],
            "more": False,
        }


async def test_pipelined_sends_keep_their_order(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana:
        await ana.ask(op="create_room", room="a")
        await ana.ask(op="join", room="a", limit=0)
        ids = [await ana.say(op="send", room="a", cid=f"c{i}", body=str(i)) for i in range(300)]
        acks: list[dict[str, Any]] = []
        pushed: list[dict[str, Any]] = []
        while len(acks) < 300:
            frame = await ana.hear()
            (pushed if "op" in frame else acks).append(frame)
        assert [frame["id"] for frame in acks] == ids
        assert [frame["ok"]["seq"] for frame in acks] == list(range(2, 302))
        assert [frame["body"] for frame in pushed] == [str(i) for i in range(300)]


async def test_the_same_cid_is_the_same_message(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana:
        await ana.ask(op="create_room", room="a")
        first = await ana.ask(op="send", room="a", cid="c", body="hi")
        again = await ana.ask(op="send", room="a", cid="c", body="hi")
        assert again == {**first, "dup": True}
        assert (await ana.ask(op="send", room="a", cid="c", body="ho"))["code"] == "cid_conflict"


async def test_since_brings_what_was_missed_in_order_then_what_is_live(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana, talking(node.url, "ana") as back:
        await fill(ana, "a", 1500, size=200)  # more than one page of the store
        joined = await back.ask(op="join", room="a", since={"epoch": "memory", "seq": 7})
        assert (joined["recovered"], joined["head"]) == (True, 1502)
        await ana.ask(op="send", room="a", cid="live", body="x")
        assert seqs(await back.pushes(1496)) == list(range(8, 1504))


@pytest.mark.parametrize(
    ("since", "reason"),
    [({"epoch": "other", "seq": 2}, "epoch_changed"), ({"epoch": "memory", "seq": 99}, "position_ahead")],
)
async def test_a_position_that_cannot_be_served_is_named(node: LocalNode, since: dict[str, Any], reason: str) -> None:
    async with talking(node.url, "ana") as ana:
        await fill(ana, "a", 5)
        joined = await ana.ask(op="join", room="a", since=since, limit=3)
        assert (joined["recovered"], joined["reason"]) == (False, reason)
        assert seqs(await ana.pushes(3)) == [5, 6, 7]


@pytest.mark.parametrize(("limit", "first"), [(0, 8), (3, 5), (500, 1)])
async def test_join_begins_with_the_last_events(node: LocalNode, limit: int, first: int) -> None:
    async with talking(node.url, "ana") as ana:
        await fill(ana, "a", 5)
        await ana.ask(op="join", room="a", limit=limit)
        await ana.ask(op="send", room="a", cid="new", body="x")
        async with talking(node.url, "ana") as again:
            await again.ask(op="join", room="a", limit=limit)
            assert seqs(await again.pushes(min(limit, 8))) == list(range(9 - min(limit, 8), 9))
        await ana.ask(op="join", room="a", since={"epoch": "memory", "seq": first - 1})
        assert seqs(await ana.pushes(9 - first)) == list(range(first, 9))


async def test_nothing_is_delivered_after_a_leave(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana, talking(node.url, "bo") as bo, talking(node.url, "bo") as bo2:
        await fill(ana, "a", 1)
        for connection in (bo, bo2):
            await connection.ask(op="join", room="a", limit=0)
        assert (await bo.ask(op="leave", room="a"))["seq"] == 5
        await ana.ask(op="send", room="a", cid="secret", body="not for bo")
        for connection in (bo, bo2):
            assert (await connection.ask(op="history", room="a"))["code"] == "forbidden"
            assert (await connection.ask(op="send", room="a", cid="x", body="x"))["code"] == "forbidden"
            await connection.say(op="ping")
            assert "ok" in await connection.hear()


async def test_refusals_name_what_is_wrong(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana:
        await ana.ask(op="create_room", room="a")
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"op": "create_room", "room": "a", "title": "Other"}, "room_exists"),
            ({"op": "join", "room": "none"}, "no_room"),
            ({"op": "history", "room": "none"}, "no_room"),
            ({"op": "send", "room": "none", "cid": "c", "body": "x"}, "no_room"),
            ({"op": "send", "room": "a", "cid": "c", "body": "x" * 16385}, "too_large"),
            ({"op": "hello", "v": [1], "user": "bo"}, "bad_request"),
            ({"op": "fly"}, "bad_request"),
        ]
        for request, code in refusals:
            answer = await ana.ask(**request)
            assert (answer["code"], answer["retry"]) == (code, False), request
        assert await ana.ask(op="ping") == {}


@pytest.mark.parametrize("max_unsent_bytes", [2**19, 2**17])
async def test_a_page_larger_than_the_reader_s_limit_comes_in_parts(tmp_path: Path, max_unsent_bytes: int) -> None:
    async with local_node(tmp_path, max_unsent_bytes=max_unsent_bytes) as node, talking(node.url, "ana") as ana:
        await fill(ana, "a", 60, size=16_000)
        found: list[int] = []
        before = 10**6
        while page := (await ana.ask(op="history", room="a", before=before, limit=500))["msgs"]:
            found = seqs(page) + found
            before = page[0]["seq"]
        assert found == list(range(2, 63))


async def test_what_a_search_finds_comes_in_parts_too(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, talking(node.url, "ana") as ana:
        await ana.ask(op="create_room", room="a")
        for number in range(80):
            await ana.ask(op="send", room="a", cid=f"c-{number}", body=f"word {number} {'x' * 16_000}")
        found: list[int] = []
        where: dict[str, int] = {}
        while True:
            page = await ana.ask(op="search", query="word", limit=500, **where)
            found += seqs(page["msgs"])
            if "next" not in page:
                break
            where = {"before": page["next"]}
        assert found == list(range(81, 1, -1))
        assert await ana.ask(op="ping") == {}


async def test_a_connection_joins_so_many_rooms(tmp_path: Path) -> None:
    async with local_node(tmp_path, max_rooms=2) as node, talking(node.url, "ana") as ana:
        for room in "abc":
            await ana.ask(op="create_room", room=room)
        assert "head" in await ana.ask(op="join", room="a")
        assert "head" in await ana.ask(op="join", room="b")
        assert (await ana.ask(op="join", room="c"))["code"] == "forbidden"
        assert "head" in await ana.ask(op="join", room="a")
        await ana.ask(op="leave", room="a")
        assert "head" in await ana.ask(op="join", room="c")


async def test_a_user_has_so_many_connections(tmp_path: Path) -> None:
    async with local_node(tmp_path, max_user_connections=1) as node:
        async with talking(node.url, "ana"), talking(node.url) as second, talking(node.url, "bo"):
            await second.say(op="hello", v=[1], user="ana")
            assert await second.end() == 4504
        await until(lambda: node.server.connection_count == 0)
        async with talking(node.url, "ana"):
            pass


async def test_a_full_node_takes_no_more(tmp_path: Path) -> None:
    async with local_node(tmp_path, max_connections=1) as node, talking(node.url, "ana") as ana:
        refused = await upgrade(node.port)
        assert refused.startswith("HTTP/1.1 503")
        assert "retry-after: 5\r\n" in refused.lower()
        assert refused.endswith("this node is full; try another\n")
        with pytest.raises(Disconnected, match="1006"):
            async with talking(node.url, "bo", timeout_s=1):
                pass
        assert await ana.ask(op="ping") == {}


async def test_a_full_node_refuses_only_so_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.server._REFUSALS_AT_ONCE", 1)
    monkeypatch.setattr("node.server._REFUSAL_TIMEOUT_S", 0.5)
    async with local_node(tmp_path, max_connections=1) as node, talking(node.url, "ana"):
        silent = await trio.open_tcp_stream("127.0.0.1", node.port)
        await until(lambda: node.server._refusals == 1)
        assert await upgrade(node.port) == ""
        with trio.fail_after(5):
            assert await silent.receive_some() == b""  # it said nothing, and was not waited for
        assert "503" in await upgrade(node.port)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"id":1,"op":"hello","v":[9],"user":"ana"}', 4505),
        ('{"id":1,"op":"hello","v":[1]}', 4500),
        ('{"id":1,"op":"hello","v":[1],"user":"a b"}', 4500),
        ('{"id":1,"op":"hello","v":[1],"token":"nonsense"}', 4500),
        ('{"id":1,"op":"ping"}', 4501),
        ("nonsense", 4501),
        ("{}", 4501),
    ],
)
async def test_a_bad_beginning_ends_it(node: LocalNode, frame: str, code: int) -> None:
    async with talking(node.url) as talker:
        await talker.socket.send(frame)
        assert await talker.end() == code
    assert node.closed(code) == 1


async def test_what_is_not_json_ends_it_later_too(node: LocalNode) -> None:
    async with talking(node.url, "ana") as ana:
        await ana.socket.send("{")
        assert await ana.end() == 4501


async def test_an_expired_token_ends_the_connection(node: LocalNode) -> None:
    async with talking(node.url) as ana, talking(node.url) as late:
        await late.say(op="hello", v=[1], token=sign_token(KEY, "ana", time.time() - 100, 10))
        assert await late.end() == 4014
        soon = sign_token(KEY, "ana", time.time(), 2)
        assert (await ana.ask(op="hello", v=[1], token=soon))["user"] == "ana"
        assert await ana.end() == 4014


async def test_silence_before_hello_and_after(tmp_path: Path) -> None:
    async with local_node(tmp_path, hello_timeout=0.3, inactivity_timeout=0.3, **QUICK) as node:
        async with talking(node.url) as silent:
            assert await silent.end() == 4501
        async with talking(node.url, "ana") as idle:  # answers pings, but asks nothing
            assert await idle.end() == 1001


async def test_a_client_that_asks_or_answers_pings_stays(tmp_path: Path) -> None:
    async with local_node(tmp_path, **QUICK) as node:
        async with talking(node.url, "ana") as ana:
            await trio.sleep(0.6)
            assert await ana.ask(op="ping") == {}
        assert node.closed(4012) == 0


async def test_a_cut_off_node_answers_what_it_knows_and_lets_nobody_new_in(tmp_path: Path) -> None:
    async with local_node(tmp_path, send_timeout=0.3) as node, talking(node.url, "ana") as ana:
        await fill(ana, "a", 1)
        node.log.up = False
        answer = await ana.ask(op="send", room="a", cid="lost", body="x")
        assert (answer["code"], answer["retry"]) == ("outcome_unknown", True)
        await until(lambda: not node.replica.ready)
        assert len((await ana.ask(op="history", room="a"))["msgs"]) == 2
        async with talking(node.url) as newcomer:
            await newcomer.say(op="hello", v=[1], user="bo")
            assert await newcomer.end() == 1013
        node.log.up = True
        await until(lambda: node.replica.ready)
        with trio.fail_after(10):
            while "seq" not in (answer := await ana.ask(op="send", room="a", cid="lost", body="x")):
                assert answer["retry"]
                await trio.sleep(0.1)
        assert (await ana.ask(op="history", room="a"))["msgs"][-1]["cid"] == "lost"


async def test_a_close_gets_through_a_room_that_never_falls_silent(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Outbox.take
    async with talking(node.url, "ana") as ana:
        monkeypatch.setattr(Outbox, "take", lambda outbox: take(outbox) or _PONG_FRAME)
        assert await ana.ask(op="ping") == {}
        await ana.socket.send("{")
        assert await ana.end() == 4501


async def test_drain_moves_everyone_away_and_names_where(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, talking(node.url, "ana") as ana, talking(node.url, "bo") as bo:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.server.drain, 1.0, lambda: ["ws://other/ws"])
            for talker in (ana, bo):
                drain = await talker.hear()
                assert (drain["op"], drain["deadline_ms"], drain["prefer"]) == ("drain", 1000, ["ws://other/ws"])
                assert 0 <= drain["reconnect_after_ms"] <= 500
            assert await ana.ask(op="create_room", room="late") == {"room": "late", "seq": 1}
            refused = await upgrade(node.port)
            assert (refused[:12], refused.endswith("this node goes away; try another\n")) == ("HTTP/1.1 503", True)
            assert await ana.end() == 4001
            assert await bo.end() == 4001
        assert node.server.connection_count == 0


@pytest.mark.parametrize(("writes", "patience_s"), [(False, 10), (True, 20)])
async def test_a_ping_behind_much_else_has_twice_the_time(tmp_path: Path, writes: bool, patience_s: int) -> None:
    slow: Any = {"heartbeat_interval": 1000, "heartbeat_timeout": 10}
    async with local_node(tmp_path, **slow) as node, talking(node.url, "ana"):
        (connection,) = node.server._connections
        silent_at = trio.current_time() + 1001
        connection._writes = writes
        for after_s in (0, patience_s - 1, patience_s):
            assert connection._ending is None
            connection.keep(silent_at + after_s, wall_s=0)
        assert connection._ending is not None
        assert connection._ending.code is CloseCode.NO_PONG


async def test_only_who_has_been_written_to_is_too_slow(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, talking(node.url, "ana"):
        (connection,) = node.server._connections
        for writes in (False, True):
            connection._writes = writes
            connection._too_slow()
            assert (connection._ending is not None) is writes
        connection._writes = False
