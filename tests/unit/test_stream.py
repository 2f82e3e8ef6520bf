"""The shared stream: what the kernel does not take at once goes ahead of what is said next; nothing is cut in two."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from node.transport.stream import SharedStream

MUCH = b"m" * 8_000_000


@pytest.fixture
async def pair() -> AsyncIterator[tuple[SharedStream, trio.SocketStream]]:
    ours, theirs = trio.socket.socketpair()
    async with trio.SocketStream(ours) as transport, trio.SocketStream(theirs) as peer:
        yield SharedStream(transport, b"", 1000), peer


async def read(peer: trio.SocketStream, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        parts += await peer.receive_some()
    return bytes(parts)


async def test_what_the_kernel_takes_is_sent_at_once(pair: tuple[SharedStream, trio.SocketStream]) -> None:
    stream, peer = pair
    assert stream.send_now(b"one")
    assert stream.send_now(b"two")
    assert await read(peer, 6) == b"onetwo"


@pytest.mark.parametrize("following", [b"next", b""])
async def test_the_rest_goes_ahead_of_what_is_sent_next(
    pair: tuple[SharedStream, trio.SocketStream], following: bytes
) -> None:
    stream, peer = pair
    assert not stream.send_now(MUCH)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, following)
            assert await read(peer, len(MUCH + following)) == MUCH + following
    assert stream.send_now(b"again")
    assert await read(peer, 5) == b"again"


async def test_nothing_goes_between_the_parts_of_another(pair: tuple[SharedStream, trio.SocketStream]) -> None:
    stream, peer = pair
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, MUCH)
            await trio.testing.wait_all_tasks_blocked()
            assert not stream.send_now(b"between")
            nursery.start_soon(stream.send_all, b"")
            assert await read(peer, len(MUCH) + 7) == MUCH + b"between"


async def test_after_an_end_nothing_is_sent(pair: tuple[SharedStream, trio.SocketStream]) -> None:
    stream, _ = pair
    await stream.aclose()
    assert not stream.send_now(b"late")
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"")


async def test_a_rest_that_is_not_read_in_time_is_told(pair: tuple[SharedStream, trio.SocketStream]) -> None:
    stream, _ = pair
    assert not stream.send_now(MUCH)
    with pytest.raises(trio.TooSlowError):
        await stream.send_all(b"", timeout_s=0.05)
    assert stream.torn
    assert not stream.send_now(b"late")


async def test_nothing_follows_a_goodbye(pair: tuple[SharedStream, trio.SocketStream]) -> None:
    stream, peer = pair
    goodbye = b"\x88\x02\x03\xe8"
    assert not stream.send_now(MUCH)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.say_last, goodbye)
            await trio.testing.wait_all_tasks_blocked()
            assert not stream.send_now(b"late")
            nursery.start_soon(refused, stream)
            assert await read(peer, len(MUCH) + 4) == MUCH + goodbye
    await stream.abort()
    assert await peer.receive_some() == b""


async def refused(stream: SharedStream) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"")
