"""The NATS connection as nodes use it to talk to each other: cheap, lossy, and back by itself."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio

from node.errors import LogUnavailable
from node.log.nats_thread import NatsThread
from tests.nats_cluster import PASSWORD, USER, NatsCluster

from .conftest import JetStreamBackend


async def test_what_is_published_reaches_subscribers_everywhere(jetstream: JetStreamBackend) -> None:
    async with jetstream.connection() as one, jetstream.connection() as two:
        subscription = two.subscribe("chat.peer.>")
        await two.call(lambda client: client.flush())
        await trio.sleep(0.1)
        for i in range(100):
            one.publish(f"chat.peer.{i}", b"%d" % i)
        expected = [(f"chat.peer.{i}", b"%d" % i) for i in range(100)]
        with trio.fail_after(5):
            assert [await anext(aiter(subscription)) for _ in expected] == expected


async def test_a_slow_subscriber_loses_the_oldest(jetstream: JetStreamBackend) -> None:
    async with jetstream.connection() as nats:
        subscription = nats.subscribe("chat.peer.x", capacity=10)
        for i in range(100):
            nats.publish("chat.peer.x", b"%d" % i)
        await nats.call(lambda client: client.flush())
        await trio.sleep(0.1)
        with trio.fail_after(5):
            assert [(await anext(aiter(subscription)))[1] for _ in range(10)] == [b"%d" % i for i in range(90, 100)]


async def test_subscriptions_outlive_a_connection(jetstream: JetStreamBackend) -> None:
    cluster = jetstream.cluster
    async with jetstream.connection() as nats:
        subscription = nats.subscribe("chat.peer.x")
        await trio.to_thread.run_sync(cluster.servers[0].kill)
        with trio.fail_after(10):
            while nats.connected:
                await trio.sleep(0.01)
        nats.publish("chat.peer.x", b"lost")
        await nats.wait_connected(10)
        nats.publish("chat.peer.x", b"kept")
        with trio.fail_after(5):
            assert await anext(aiter(subscription)) == ("chat.peer.x", b"kept")


async def test_waiting_does_not_end_with_a_connection_that_has_just_broken(jetstream: JetStreamBackend) -> None:
    async with jetstream.connection() as nats:
        for server in jetstream.cluster.servers:
            server.kill()
        time.sleep(0.2)  # noqa: ASYNC251 - no checkpoint: Trio hears of the end only while it waits for the next one
        for server in jetstream.cluster.servers:
            server.start()
        await nats.wait_connected(10)
        await nats.call(lambda client: client.flush())


async def test_a_frozen_server_fails_calls_and_is_left(jetstream: JetStreamBackend) -> None:
    async with jetstream.connection() as nats:
        jetstream.cluster.servers[0].freeze()
        with trio.fail_after(6), pytest.raises(LogUnavailable, match="connection broke"):
            await nats.call(lambda client: client.request("nobody.answers", timeout=60))
        await nats.wait_connected(10)
        await nats.call(lambda client: client.flush())


async def test_the_nearest_server_comes_first(nats_cluster: NatsCluster) -> None:
    nats_cluster.heal()
    for url in nats_cluster.urls:
        others = [other for other in nats_cluster.urls if other != url]
        nats = NatsThread([url, *others], USER, PASSWORD, name="test")
        nats.start()
        try:
            await nats.wait_connected(5)
            assert await nats.call(_connected_to) == url
        finally:
            await nats.aclose()


async def _connected_to(client: object) -> str:
    return str(client.connected_url.geturl())  # type: ignore[attr-defined]


async def test_aclose_ends_calls_that_wait(jetstream: JetStreamBackend) -> None:
    nats = NatsThread(jetstream.cluster.urls, USER, PASSWORD, name="test")
    await nats.aclose()
    nats = NatsThread(jetstream.cluster.urls, USER, PASSWORD, name="test")
    nats.start()
    await nats.wait_connected(5)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(LogUnavailable):
                await nats.call(lambda client: client.request("nobody.answers", timeout=60))

        await trio.sleep(0.1)
        await nats.aclose()
        await nats.aclose()
    with pytest.raises(LogUnavailable):
        await nats.call(lambda client: client.flush())
    nats.publish("chat.peer.x", b"dropped")


async def test_a_reset_does_not_hide_who_refuses(jetstream: JetStreamBackend) -> None:
    with resetting() as resetter:
        nats = NatsThread([jetstream.cluster.urls[0], resetter], USER, "wrong", name="test")
        nats.start()
        try:
            with pytest.raises(LogUnavailable, match="Authorization Violation"):
                await nats.wait_connected(3)
        finally:
            await nats.aclose()


@contextmanager
def resetting() -> Iterator[str]:
    """The address of a server that resets every connection at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"nats://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
