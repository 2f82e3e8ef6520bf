"""The reference client against real nodes that come and go: it keeps its place, its order and its promises."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Request

from node.auth import sign_token
from node.client import ChatClient, ClientClosed, Connected, ConnectionLost, Gap, Resumed, RoomFeed, open_client
from node.client_link import backoff_s, next_urls, refusal
from node.errors import CloseCode, ErrorCode, RequestError
from node.protocol.answers import Joined
from node.protocol.pushes import MemberEvent, MessageEvent
from node.protocol.requests import Since
from node.transport.websocket import connect

from .fakes import MemoryLog
from .local_node import KEY, LocalNode, local_node, until


async def take(feed: AsyncIterator[Any], count: int) -> list[Any]:
    with trio.fail_after(10):
        return [await anext(feed) for _ in range(count)]


async def make_room(client: ChatClient, count: int = 0) -> None:
    with trio.fail_after(10):
        await client.create_room("a")
        for i in range(count):
            await client.send("a", str(i))


def cut_off(node: LocalNode, code: CloseCode = CloseCode.TRY_AGAIN_LATER) -> None:
    """End all connections of a node."""
    for connection in list(node.server._connections):
        connection.end(code, "test")


async def test_everything_it_can_ask(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, open_client([node.url], user="ana") as ana:
        await make_room(ana, 3)
        assert [message.body for message in await ana.history("a")] == ["0", "1", "2"]
        assert [message.body for message in await ana.history("a", before=4, limit=1)] == ["1"]
        assert [room.room for room in (await ana.rooms()).rooms] == ["a"]
        feed = await ana.join("a", limit=2)
        assert [event.seq for event in await take(aiter(feed), 2)] == [3, 4]
        await ana.leave("a")
        assert [event async for event in feed] == []
        with pytest.raises(RequestError) as refused:
            await ana.send("a", "x")
        assert refused.value.code is ErrorCode.FORBIDDEN
        with pytest.raises(RequestError):
            await ana.join("none")
        assert (ana.node, ana.connects) == ("node1", 1)


async def test_a_feed_goes_on_over_reconnects_without_a_hole(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, open_client([node.url], user="bo") as bo:
        async with open_client([node.url], user="ana") as ana:
            await make_room(ana)
            feed = aiter(await bo.join("a", limit=0))
            for i in range(60):
                await ana.send("a", str(i))
                if i % 20 == 10:
                    cut_off(node)
            events = await take(feed, 60)
        assert [event.body for event in events] == [str(i) for i in range(60)]
        assert bo.connects > 1


async def test_sends_are_resent_until_committed_and_appear_once(tmp_path: Path) -> None:
    log = MemoryLog()
    async with local_node(tmp_path, log=log, send_timeout=0.5) as node, open_client([node.url], user="ana") as ana:
        await make_room(ana)
        log.up = False
        acknowledged: list[int] = []

        async def send(number: int) -> None:
            acknowledged.append((await ana.send("a", str(number))).seq)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(send, number)
            await trio.sleep(0.7)
            cut_off(node)
            await trio.sleep(0.3)
            log.up = True
            log.wake()
        history = await ana.history("a", limit=100)
        assert sorted(message.seq for message in history) == sorted(acknowledged)
        assert sorted(int(message.body) for message in history) == list(range(20))


async def test_a_crash_moves_it_to_another_node(tmp_path: Path) -> None:
    log = MemoryLog()
    async with (
        local_node(tmp_path, log=log, node_id="one") as one,
        local_node(tmp_path, log=log, node_id="two") as two,
        open_client([one.url, two.url], user="ana") as ana,
    ):
        await make_room(ana)
        feed = aiter(await ana.join("a", limit=0))
        (one if ana.node == "one" else two).crash()
        for i in range(20):
            await ana.send("a", str(i))
        assert ana.connects == 2
        assert [event.body for event in await take(feed, 20)] == [str(i) for i in range(20)]


async def test_drain_moves_it_to_the_preferred_node(tmp_path: Path) -> None:
    log = MemoryLog()
    async with (
        local_node(tmp_path, log=log, node_id="one") as one,
        local_node(tmp_path, log=log, node_id="two") as two,
        open_client([one.url], user="ana") as ana,
    ):
        await make_room(ana)
        feed = aiter(await ana.join("a", limit=0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.server.drain, 1.0, lambda: [two.url])
            for i in range(20):
                await ana.send("a", str(i))
                await trio.sleep(0.05)
        assert ana.node == "two"
        said = await take(ana.pushes, 4)
        lost = ConnectionLost("the node goes away (drain)")
        assert said == [Connected("one"), lost, Connected("two"), Resumed("a")]
        assert [event.body for event in await take(feed, 20)] == [str(i) for i in range(20)]


@pytest.mark.parametrize("alive", [0, 1, 2])
async def test_it_finds_the_one_node_that_is_up(tmp_path: Path, alive: int) -> None:
    async with local_node(tmp_path) as node:
        urls = ["ws://127.0.0.1:1/ws", "ws://127.0.0.1:2/ws"]
        urls.insert(alive, node.url)
        async with open_client(urls, user="ana") as ana:
            await make_room(ana, 1)


async def test_a_feed_takes_each_event_once() -> None:
    feed = RoomFeed("a", limit=0, since=None)
    feed.joined(Joined("a", "e1", first=1, head=5))
    for seq in (5, 6, 6, 7, 5, 7, 8):
        await feed.deliver(MemberEvent("a", seq, "bo", "join", 0))
    assert [event.seq for event in await take(aiter(feed), 3)] == [6, 7, 8]
    assert feed.request(1).since == Since("e1", 8)
    feed.joined(Joined("a", "e2", first=1, head=2, recovered=False, reason="epoch_changed"))
    assert await take(aiter(feed), 1) == [Gap("a", "epoch_changed")]
    assert feed.request(1).since == Since("e2", 2)


async def test_an_event_that_a_lost_connection_interrupts_is_not_seen(autojump_clock: trio.testing.MockClock) -> None:
    feed = RoomFeed("a", limit=0, since=Since("e", 5))
    event = MemberEvent("a", 6, "bo", "join", 0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await feed.deliver(event)
    assert feed.request(1).since == Since("e", 5)
    await feed.deliver(event)
    assert await take(aiter(feed), 1) == [event]


def test_every_address_has_its_turn() -> None:
    known = ["a", "b", "c"]
    tried, urls = [], known
    for _ in range(6):
        tried.append(urls[0])
        urls = next_urls(urls, urls[0], [], known)
    assert tried == [*known, *known]
    assert next_urls(known, "a", ["x"], known) == ["x", "b", "c", "a"]
    assert next_urls(["x", "b", "c", "a"], "x", [], known) == ["b", "c", "a"]
    assert next_urls(known, "a", ["c"], known) == ["c", "b", "a"]
    assert next_urls(["wss://a", "wss://b"], "wss://a", ["ws://c", "wss://d"], ["wss://a"]) == [
        "wss://d",
        "wss://b",
        "wss://a",
    ]


async def test_a_node_that_does_not_want_it_is_believed(tmp_path: Path) -> None:
    async with local_node(tmp_path, auth_mode=("token",)) as node, open_client([node.url], user="ana") as ana:
        for _ in range(2):
            with pytest.raises(ClientClosed) as refused, trio.fail_after(5):
                await ana.join("a")
            assert refused.value.code == 4500


def token(ttl_s: float) -> str:
    return sign_token(KEY, "ana", time.time(), ttl_s)


async def test_an_expired_token_is_final_without_another(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node:
        old = token(-1)
        for shown in (old, lambda: old):
            async with open_client([node.url], token=shown) as ana:
                with pytest.raises(ClientClosed) as refused, trio.fail_after(5):
                    await ana.whoami()
                assert refused.value.code == CloseCode.TOKEN_EXPIRED


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_provider_is_asked_for_a_token_before_every_connection(tmp_path: Path, is_async: bool) -> None:
    tokens = iter([token(-1), token(2), token(60)])

    async def provide() -> str:
        return next(tokens)

    provider = provide if is_async else lambda: next(tokens)
    async with local_node(tmp_path) as node, open_client([node.url], token=provider) as ana:
        await make_room(ana)
        with trio.fail_after(5):
            while ana.connects < 2:
                await ana.send("a", "goes on when the second token expires")
                await trio.sleep(0.1)
        assert ((await ana.whoami()).expires_at or 0) > time.time() + 30


async def test_it_says_how_its_connection_is(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, open_client([node.url], user="ana") as ana:
        assert await take(ana.pushes, 1) == [Connected("node1")]
        cut_off(node)
        lost, again = await take(ana.pushes, 2)
        assert isinstance(lost, ConnectionLost)
        assert "1013" in lost.reason
        assert again == Connected("node1")


async def test_a_node_that_takes_it_and_drops_it_is_not_hammered(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, open_client([node.url], user="ana") as ana:
        with trio.move_on_after(2):
            while True:
                await trio.sleep(0.01)
                if ana.node:
                    cut_off(node)
        assert 1 < ana.connects < 12


def test_back_off_grows_to_ten_seconds_and_stays_there_for_ever() -> None:
    assert [backoff_s(rounds) for rounds in (0, 1, 2, 5, 6, 10**9)] == [0.1, 0.2, 0.4, 3.2, 4, 4]


@pytest.mark.parametrize(("retry", "code"), [(True, ErrorCode.UNAVAILABLE), (False, ErrorCode.INTERNAL)])
def test_an_error_of_a_later_version_is_repeated_if_the_node_says_so(retry: bool, code: ErrorCode) -> None:
    refused = refusal({"code": "quantum", "msg": "m", "retry": retry})
    assert (refused.code, refused.retry, refused.msg) == (code, retry, "m")


async def test_being_refused_later_ends_feeds_and_calls(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, open_client([node.url], user="ana") as ana:
        await make_room(ana)
        feed = aiter(await ana.join("a", limit=0))
        cut_off(node, CloseCode.ACCOUNT_DISABLED)
        (gap,) = await take(feed, 1)
        assert isinstance(gap, Gap)
        assert "4503" in gap.reason
        with pytest.raises(StopAsyncIteration):
            await anext(feed)
        with pytest.raises(ClientClosed):
            await ana.send("a", "x")


async def test_a_position_that_cannot_be_served_is_a_gap_not_a_hole(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, open_client([node.url], user="ana") as ana:
        await make_room(ana, 5)
        feed = aiter(await ana.join("a", since=Since("another", 3), limit=2))
        gap, *events = await take(feed, 3)
        assert gap == Gap("a", "epoch_changed")
        assert [event.seq for event in events] == [5, 6]


async def test_what_names_a_message_of_one_log_is_not_asked_of_another(tmp_path: Path) -> None:
    restored = MemoryLog()
    restored.epoch = "restored"
    async with local_node(tmp_path / "a") as node, open_client([node.url], user="ana") as ana:
        await make_room(ana, 2)
        node.crash()
        await until(lambda: ana.node is None)
        refused: list[RequestError] = []

        async def edit() -> None:
            with pytest.raises(RequestError) as caught:
                await ana.edit("a", 3, "meant for another message")
            refused.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(edit)
            async with local_node(tmp_path / "b", log=restored, port=node.port) as other:
                async with open_client([other.url], user="ana") as also_ana:
                    await make_room(also_ana, 2)
                await until(lambda: bool(refused))
                assert [message.body for message in await ana.history("a")] == ["0", "1"]
        assert refused[0].code is ErrorCode.NO_MESSAGE


async def test_rate_limits_slow_it_down_only(tmp_path: Path) -> None:
    async with local_node(tmp_path, send_rate=50.0, send_burst=2) as node, open_client([node.url], user="ana") as ana:
        await make_room(ana, 6)
        feed = aiter(await ana.join("a"))
        messages = [event.body for event in await take(feed, 7) if isinstance(event, MessageEvent)]
        assert messages == ["0", "1", "2", "3", "4", "5"]


async def test_a_dead_node_is_left_without_a_word_from_it(tmp_path: Path) -> None:
    """As when its machine dies: the connection stays open, nothing comes."""
    async with local_node(tmp_path) as node, trio.open_nursery() as nursery:
        mute = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]

        async def relay(stream: trio.SocketStream) -> None:
            async with await trio.open_tcp_stream("127.0.0.1", node.port) as upstream, trio.open_nursery() as pumps:
                pumps.start_soon(pump, stream, upstream)
                pumps.start_soon(pump, upstream, stream)

        async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            async for data in source:
                if dead:
                    await trio.sleep_forever()
                await sink.send_all(data)

        dead: list[bool] = []
        nursery.start_soon(trio.serve_listeners, relay, [mute])
        mute_url = f"ws://127.0.0.1:{mute.socket.getsockname()[1]}/ws"
        async with open_client([mute_url], user="ana", ping_s=0.2) as ana:
            await make_room(ana)
            ana._link._urls.append(node.url)
            dead.append(True)
            with trio.fail_after(8):
                await ana.send("a", "x")
            assert ana.connects == 2
        nursery.cancel_scope.cancel()


async def test_both_ends_part_without_delay(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node:
        began = trio.current_time()
        async with open_client([node.url], user="ana") as ana:
            await make_room(ana)
            cut_off(node)
            await until(lambda: ana.connects == 2)
        await until(lambda: node.server.connection_count == 0)
        assert trio.current_time() - began < 1


async def test_a_ping_that_crosses_its_close_does_no_harm() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        async for data in stream:
            server.receive_data(bytes(data))
            for event in server.events():
                if isinstance(event, Request):
                    await stream.send_all(server.send(AcceptConnection()))
                elif isinstance(event, CloseConnection):
                    ping = b"\x89\x00"
                    await stream.send_all(ping + server.send(event.response()))

    async with trio.open_nursery() as nursery:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/ws"
        async with connect(url, timeout_s=5, max_frame_bytes=1000):
            pass
        nursery.cancel_scope.cancel()
