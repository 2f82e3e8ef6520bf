"""The cluster serves: every service where it belongs, one order for everyone."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import trio

from node.client import open_client
from node.protocol.pushes import MessageEvent
from node.protocol.requests import Since
from tests.scenarios import chatting
from tests.scenarios.lab import STACK, Lab, run


def test_services_are_complete_and_in_place(lab: Lab) -> None:
    first = next(iter(lab.hosts))
    lines = lab.ssh(first, f"docker stack services {STACK} --format '{{{{.Name}}}} {{{{.Replicas}}}}'").split("\n")
    services = dict(line.split(" ", 1) for line in lines if line)
    wanted = {f"{STACK}_{kind}{number}" for kind in ("node", "nats") for number in (1, 2, 3)}
    assert set(services) == wanted
    assert all(replicas.startswith("1/1") for replicas in services.values()), services
    for host, values in lab.hosts.items():
        running = lab.ssh(host, "docker ps --format '{{.Label \"com.docker.swarm.service.name\"}}'").split()
        number = values["node_type"].removeprefix("node")
        assert {f"{STACK}_node{number}", f"{STACK}_nats{number}", "chat-edge_edge"} == set(running)


@pytest.mark.timeout(300)
def test_a_thousand_messages_arrive_in_order_on_another_node(lab: Lab, tmp_path: Path) -> None:
    room, count = "scenario.thousand", 1000
    node = [sys.executable, "-m", "node"]
    with (tmp_path / "shown").open("w+") as shown:
        tail = subprocess.Popen(
            [
                *node,
                "tail",
                "--url",
                lab.url("node3"),
                "--room",
                room,
                "--create",
                "--limit",
                "0",
                "--json",
                f"--count={count}",
            ],
            env={"CHAT_TOKEN": lab.token("reader"), "PATH": ""},
            stdout=shown,
        )
        try:
            _wait_for_member(lab, room, "reader")
            sent = subprocess.run(
                [*node, "send", "--url", lab.url("node1"), "--room", room],
                env={"CHAT_TOKEN": lab.token("writer"), "PATH": ""},
                input="".join(f"message {number}\n" for number in range(1, count + 1)),
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            assert sent.returncode == 0, sent.stderr
            tail.wait(timeout=30)
        finally:
            tail.kill()
        shown.seek(0)
        events = [json.loads(line) for line in shown]
    bodies = [event["body"] for event in events if event["op"] == "msg"]
    assert bodies == [f"message {number}" for number in range(1, count + 1)]


def _wait_for_member(lab: Lab, room: str, user: str) -> None:
    async def wait() -> None:
        async with open_client(lab.urls, token=lab.token("watcher")) as client:
            with trio.fail_after(30):
                while not any(r.room == room and r.members for r in (await client.rooms(room)).rooms):
                    await trio.sleep(0.1)

    trio.run(wait)


async def test_since_brings_exactly_what_was_missed(lab: Lab) -> None:
    room = "scenario.since"
    async with open_client([lab.url("node1")], token=lab.token("writer")) as writer:
        feed = await chatting.join(writer, room)
        seen = await writer.send(room, "seen")
        missed = [(await writer.send(room, f"missed {number}")).seq for number in range(30)]
        async with open_client([lab.url("node2")], token=lab.token("writer")) as reader:
            later = await reader.join(room, since=Since(feed.epoch, seen.seq))
            with trio.fail_after(10):
                events = [await anext(aiter(later)) for _ in missed]
        assert [event.seq for event in events if isinstance(event, MessageEvent)] == missed


def test_the_printed_lines_work(lab: Lab) -> None:
    """What `make up` prints to open and to try is what it says, as it is printed."""
    printed = run("tests/lab/connect").stdout
    trusted = ssl.create_default_context(cafile=str(lab.inventory / "edge-root.pem"))
    pages = re.findall(r"https://[0-9.]+/", printed)
    assert len(pages) == len(lab.hosts)
    for page in pages:
        with urllib.request.urlopen(page, context=trusted, timeout=10) as answer:  # noqa: S310 - it is https, see above
            assert "<title>" in answer.read().decode()
    for_a_token = printed.split("Sign in with a token:")[1].splitlines()[0]
    assert run("sh", "-c", for_a_token).stdout.count(".") == 2  # RFC 7515, 7.1
    command = "  .venv/bin/chat-node send" + printed.split("  .venv/bin/chat-node send")[1].split("\n\n")[0]
    done = run("sh", "-c", command)
    assert done.returncode == 0, done.stderr
    assert '"seq":' in done.stdout
