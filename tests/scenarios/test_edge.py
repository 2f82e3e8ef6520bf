"""The edge on real machines: one authority for all, no socket cut, and who is lost comes back by another one."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Browser, expect, sync_playwright

from node.client import ChatClient, open_client
from tests.browser.conftest import CHROMIUM
from tests.browser.people import Person
from tests.node.process import program
from tests.scenarios.lab import STACK, Lab, Play, playbook, run
from tests.unit.test_roles import load

pytestmark = pytest.mark.timeout(420)
probe = load("edge/library/edge_probe.py")
LIMIT = 40
"""Connections of one address, as the lab's inventory has it."""


def edge(**given: object) -> Play:
    """Run the playbook as somebody with this in their inventory would."""
    play = playbook("edge", "-e", json.dumps(given), timeout_s=400)
    assert play.code == 0, play.output[-5000:]
    return play


@pytest.fixture(scope="module")
def trusted(lab: Lab) -> ssl.SSLContext:
    """What trusts the edges' root, as `make up` left it."""
    return ssl.create_default_context(cafile=str(lab.inventory / "edge-root.pem"))


def address(lab: Lab, host: str) -> str:
    return lab.hosts[host]["ansible_host"]


def urls(lab: Lab, first: str) -> list[str]:
    """All machines' edges, one of them first."""
    hosts = [first, *(host for host in lab.hosts if host != first)]
    return [f"wss://{address(lab, host)}/ws" for host in hosts]


def client(lab: Lab, trusted: ssl.SSLContext, host: str, user: str) -> AbstractAsyncContextManager[ChatClient]:
    """A client that goes to a machine's edge first."""
    token = partial(trio.to_thread.run_sync, lab.token, user)
    return open_client(urls(lab, host), token=token, shuffle=False, ping_s=2, ssl_context=trusted)


def test_every_machine_shows_the_page_and_hides_the_rest(lab: Lab, trusted: ssl.SSLContext) -> None:
    edges = [probe.Edge(address(lab, host), address(lab, host), trusted, 443, 80) for host in lab.hosts]
    assert probe.probe(edges, 5) == []


@pytest.fixture
def browser(lab: Lab, trusted: ssl.SSLContext, tmp_path: Path) -> Iterator[Browser]:
    """A browser of somebody who trusts the lab's authority."""
    assert trusted
    known = tmp_path / ".pki" / "nssdb"
    known.mkdir(parents=True)
    root = str(lab.inventory / "edge-root.pem")
    for arguments in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "lab", "-i", root]):
        assert run("certutil", "-d", f"sql:{known}", *arguments).returncode == 0
    with sync_playwright() as playwright:
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(tmp_path)}
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=CHROMIUM, env=environment)
        yield browser
        browser.close()


def person(browser: Browser, lab: Lab, host: str, name: str) -> Person:
    """Somebody at the page of a machine's edge."""
    made = Person(browser.new_context(), name)
    made.page.goto(f"https://{address(lab, host)}/")
    made.page.locator("#token").fill(lab.token(name))
    made.page.get_by_role("button", name="Sign in").click()
    expect(made.status).to_contain_text(f"Connected to {lab.hosts[host]['node_type']}")
    return made


def test_browsers_chat_with_each_other_through_every_machine(lab: Lab, browser: Browser) -> None:
    room = f"edge-{secrets.token_hex(4)}"
    people = [person(browser, lab, host, f"edna-{host}") for host in lab.hosts]
    people[0].create(room)
    for one in people[1:]:
        one.join(room)
    for one in people:
        one.say(f"from {one.name}")
    for one in people:
        for other in people:
            expect(one.message(f"from {other.name}")).to_have_count(1)
        assert one.problems == []


def test_a_page_whose_machine_dies_goes_on_by_another(lab: Lab, browser: Browser) -> None:
    room = f"edge-{secrets.token_hex(4)}"
    stays, moves = person(browser, lab, "host1", "stays"), person(browser, lab, "host3", "moves")
    moves.create(room)
    stays.join(room)
    moves.say("before")
    expect(stays.message("before")).to_have_count(1)
    lab.kill("host3")
    try:
        moves.say("meanwhile")
        expect(stays.message("meanwhile")).to_have_count(1, timeout=60_000)
        expect(moves.status).to_contain_text(re.compile("moved from node3 to node[12]"))
        stays.say("after")
        expect(moves.message("after")).to_have_count(1)
        expect(moves.message("meanwhile")).to_have_count(1)
        assert moves.problems == []
    finally:
        lab.start("host3")
        lab.wait_ready("host3")


async def test_a_change_and_a_stopped_node_cut_no_other_socket(lab: Lab, trusted: ssl.SSLContext) -> None:
    async with client(lab, trusted, "host1", "ann") as ann, client(lab, trusted, "host2", "bob") as bob:
        await ann.whoami()
        await bob.whoami()
        assert (ann.node, bob.node) == ("node1", "node2")
        for idle_s in (77, 120):
            play = await trio.to_thread.run_sync(partial(edge, edge_idle_timeout_s=idle_s))
            assert play.changed > 0
        await bob.whoami()
        await trio.to_thread.run_sync(lab.ssh, "host1", f"docker service scale {STACK}_node1=0", 120)
        with trio.fail_after(40):
            while ann.node in (None, "node1"):
                await trio.sleep(0.2)
        async with client(lab, trusted, "host1", "cyd") as cyd:
            await cyd.whoami()
            assert cyd.node == "node2"
            assert cyd.connects == 1, "the edge of a machine whose node is gone serves through the others"
        await trio.to_thread.run_sync(lab.ssh, "host1", f"docker service scale {STACK}_node1=1", 120)
        await trio.to_thread.run_sync(lab.wait_ready, "host1")
        assert bob.connects == 1


def test_one_address_has_so_many_connections_and_no_more(lab: Lab, trusted: ssl.SSLContext) -> None:
    assert trusted
    with ExitStack() as stack:
        made = 0
        for _ in range(LIMIT + 20):
            with suppress(OSError):
                stack.enter_context(socket.create_connection((address(lab, "host3"), 443), timeout=2))
                made += 1
        assert LIMIT - 5 < made <= LIMIT
        stack.enter_context(socket.create_connection((address(lab, "host2"), 443), timeout=2))


async def test_with_a_machine_dead_clients_come_back_by_the_others(lab: Lab, trusted: ssl.SSLContext) -> None:
    async with client(lab, trusted, "host3", "dee") as dee:
        room = await dee.join("ops.probe", limit=0)
        assert room
        assert dee.node == "node3"
        await trio.to_thread.run_sync(lab.kill, "host3")
        try:
            with trio.fail_after(40):
                await dee.send("ops.probe", "by another machine")
            assert dee.node != "node3"
        finally:
            await trio.to_thread.run_sync(lab.start, "host3")
            await trio.to_thread.run_sync(lab.wait_ready, "host3")
        with trio.fail_after(60):
            while True:
                async with client(lab, trusted, "host3", "eve") as eve:
                    await eve.whoami()
                    if eve.node == "node3" and eve.connects == 1:
                        break
                await trio.sleep(1)


@pytest.mark.long
def test_it_can_be_taken_away_and_comes_back_with_the_same_root(lab: Lab, trusted: ssl.SSLContext) -> None:
    edge(edge_enabled=False)
    for host in lab.hosts:
        assert lab.ssh(host, "docker ps --quiet --filter name=chat-edge") == ""
    edge()
    test_every_machine_shows_the_page_and_hides_the_rest(lab, trusted)
