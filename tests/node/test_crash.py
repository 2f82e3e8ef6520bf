"""One node on SQLite that is killed, or stopped, in the middle of the work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from node.client import ChatClient, open_client
from node.errors import RequestError
from node.protocol.pushes import MessageEvent

from .process import NodeProcess, chat_node, until

MESSAGES = 10_000
IN_FLIGHT = 64


async def whole_history(client: ChatClient, room: str) -> list[MessageEvent]:
    """All messages of a room, page by page."""
    found: list[MessageEvent] = []
    before: int | None = None
    while page := await client.history(room, before=before, limit=500):
        found = page + found
        before = page[0].seq
    return found


async def take(feed: AsyncIterator[Any], count: int) -> list[Any]:
    return [await anext(feed) for _ in range(count)]


@pytest.mark.timeout(120)
async def test_kill_9_in_the_middle_of_10000_sends_loses_nothing_acknowledged(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, send_rate=0, request_rate=0) as node:
        acknowledged: dict[str, int] = {}
        numbers = iter(range(MESSAGES))

        async with open_client([node.url], user="ana") as ana, open_client([node.url], user="bo") as bo:
            await ana.create_room("a")
            feed = aiter(await bo.join("a", limit=0))

            async def send_some() -> None:
                for number in numbers:
                    acknowledged[str(number)] = (await ana.send("a", str(number))).seq

            async def kill_twice() -> None:
                for threshold in (MESSAGES // 3, 2 * MESSAGES // 3):
                    while len(acknowledged) < threshold:
                        await trio.sleep(0.005)
                    node.kill()
                    node.start()
                    await trio.to_thread.run_sync(node.wait_serving)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill_twice)
                for _ in range(IN_FLIGHT):
                    nursery.start_soon(send_some)

            history = await whole_history(ana, "a")
            live = await take(feed, MESSAGES)
        assert ana.connects == 3
        assert {message.body: message.seq for message in history} == acknowledged
        assert len(history) == MESSAGES
        assert [message.seq for message in history] == sorted(message.seq for message in history)
        assert live == history


async def test_sends_of_one_task_keep_their_order_through_a_kill(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, send_rate=0) as node:
        async with open_client([node.url], user="ana") as ana:
            await ana.create_room("a")
            for number in range(200):
                await ana.send("a", str(number))
                if number == 100:
                    node.kill()
                    node.start()
            assert [int(message.body) for message in await whole_history(ana, "a")] == list(range(200))


async def test_sigterm_drains_and_the_next_start_shows_the_same(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, drain_timeout=3) as node:
        async with open_client([node.url], user="ana") as ana:
            await ana.create_room("a")
            for number in range(20):
                await ana.send("a", str(number))
            before = await whole_history(ana, "a")
            ready = node.readiness()
            exit_code: list[int] = []

            async def stop_and_start() -> None:
                exit_code.append(await trio.to_thread.run_sync(node.stop))
                node.start()
                await trio.to_thread.run_sync(node.wait_serving)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop_and_start)
                for number in range(20, 60):  # work goes on through the drain
                    await ana.send("a", str(number))
            assert exit_code == [0]
            history = await whole_history(ana, "a")
            assert history[:20] == before
            assert [int(message.body) for message in history] == list(range(60))
            assert node.readiness()["epoch"] == ready["epoch"]
            assert ana.connects == 2


async def test_the_store_can_be_thrown_away(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, drain_timeout=0.5) as node:
        async with open_client([node.url], user="ana") as ana:
            await ana.create_room("a")
            for number in range(30):
                await ana.send("a", str(number))
            before, report = await whole_history(ana, "a"), node.readiness()
            node.stop()
            for path in (tmp_path / "data").glob("store.sqlite*"):
                path.write_bytes(b"?" * 5000)
            node.start()
            node.wait_serving()
            assert await whole_history(ana, "a") == before
            again = node.readiness()
            assert (again["digest"], again["applied"]) == (report["digest"], report["applied"])


async def test_damage_in_a_page_that_is_read_late_is_named_and_mended_by_a_restart(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, drain_timeout=0.5, send_rate=0) as node:
        async with open_client([node.url], user="ana") as ana:
            await ana.create_room("a")
            for number in range(300):
                await ana.send("a", f"{number} " + "x" * 4000)
            before, report = await whole_history(ana, "a"), node.readiness()
            node.stop()
            store = tmp_path / "data" / "store.sqlite"
            damaged = bytearray(store.read_bytes())
            damaged[400_000:800_000] = b"?" * 400_000
            store.write_bytes(damaged)
            node.start()
            node.wait_serving()  # nothing of that is read at the start
            found: list[list[MessageEvent]] = []

            async def read() -> None:
                found.append(await whole_history(ana, "a"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                assert await trio.to_thread.run_sync(node.wait_ended) == 1
                (line,) = [line for line in node.lines() if "the store is damaged" in line["event"]]
                assert "a restart rebuilds it" in line["event"]
                assert str(store) in line["reason"]
                assert "Traceback" not in node.output
                node.start()
                await trio.to_thread.run_sync(node.wait_serving)
            assert found == [before]
            assert node.readiness()["digest"] == report["digest"]


async def test_a_new_log_is_told_as_a_gap(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path, drain_timeout=0.5) as node:
        async with open_client([node.url], user="ana") as ana:
            await ana.create_room("a")
            await ana.send("a", "old")
            node.stop()
            for path in (tmp_path / "data").glob("log.sqlite*"):
                path.unlink()
            node.start()
            node.wait_serving()
            with pytest.raises(RequestError, match="no room"):
                await ana.send("a", "lost")
            assert (await ana.rooms()).rooms == []


def test_two_processes_do_not_share_a_directory(tmp_path: Path) -> None:
    with NodeProcess.running(tmp_path):
        second = chat_node("serve", data_dir=tmp_path / "data", websocket_port=0, http_port=0)
        assert second.returncode == 1
        assert "another process" in second.stderr
        assert "Traceback" not in second.stderr + second.stdout


def test_nor_do_they_when_the_log_is_elsewhere(tmp_path: Path) -> None:
    nowhere = {"nats_url": "nats://127.0.0.1:1", "data_dir": tmp_path / "data"}
    node = NodeProcess(tmp_path, **nowhere)
    try:
        node.start()
        until(lambda: any("log does not answer" in line["event"] for line in node.lines()))
        second = chat_node("serve", data_dir=nowhere["data_dir"], nats_url=nowhere["nats_url"], http_port=0)
        assert second.returncode == 1
        assert "node.lock is held by another process" in second.stderr
        assert "every node needs a directory of its own" in second.stderr
    finally:
        node.kill()
