"""Maintenance windows, and the nodes' parts in the Swarm: what is refused, and what is done while people chat."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import yaml

from node.client import open_client
from node.protocol.pushes import NoticePush
from tests.scenarios import chatting
from tests.scenarios.lab import STACK, Lab, Play, playbook

pytestmark = pytest.mark.long

MESSAGE = f"Back at noon, {secrets.token_hex(4)}"
"""A run of its own: the chat keeps what it was told before."""
OPEN = ("-e", "state=open", "-e", "minutes=30", "-e", json.dumps({"message": MESSAGE}))


@pytest.fixture(autouse=True)
def no_window(lab: Lab) -> Iterator[None]:
    """Whatever a test leaves behind, the next one begins with all machines in their places."""
    yield
    lab.ssh("host1", f"sh -c 'docker config rm {STACK}.window 2>/dev/null || true'")
    lab.ssh("host1", "sh -c 'for n in $(docker node ls -q); do docker node update --availability active $n; done'")
    for host in lab.hosts:
        lab.wait_ready(host)


async def play(name: str, *arguments: str) -> Play:
    """A playbook, while others go on."""
    return await trio.to_thread.run_sync(partial(playbook, name, *arguments))


def refused(play: Play, why: str) -> None:
    """It failed, for this reason, and changed nothing."""
    assert play.code != 0, play.output[-2000:]
    assert why in " ".join(play.output.split()), play.output[-3000:]
    assert play.changed == 0, play.output[-3000:]


def done(play: Play) -> None:
    assert play.code == 0, play.output[-4000:]


@asynccontextmanager
async def notices(lab: Lab) -> AsyncIterator[list[NoticePush]]:
    """What a user of the chat is told by the operators."""
    told: list[NoticePush] = []

    async def listen() -> None:
        async with open_client(lab.urls, token=lab.token("listener")) as client:
            async for push in client.pushes:
                if isinstance(push, NoticePush):
                    told.append(push)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        yield told
        nursery.cancel_scope.cancel()


def _make_older(lab: Lab, host: str, package: str) -> None:
    """Let a host believe that its package is an older version, so that there is a newer one to install."""
    edit = rf"/^Package: {package}$/,/^$/ s/^Version: \(.*\)$/Version: 0~\1/"
    lab.ssh(host, f"sed -i '{edit}' /var/lib/dpkg/status")


def _version(lab: Lab, host: str, package: str) -> str:
    return lab.ssh(host, f"dpkg-query --show --showformat '${{Version}}' {package}")


def _started(lab: Lab, host: str) -> str:
    return lab.ssh(host, "systemctl show --value --property UserspaceTimestamp")


def _availability(lab: Lab) -> list[str]:
    return lab.ssh("host1", "docker node ls --format '{{.Availability}}'").split()


@pytest.mark.timeout(1500)
async def test_a_window_from_its_opening_to_its_close(lab: Lab) -> None:
    """Told, worked through one machine at a time with people chatting, and put back as it was."""
    refused(
        await play("host_updates"), "host_updates takes machines away for a while, so it wants a maintenance window"
    )
    refused(await play("maintenance", *OPEN), "No backup is set up")
    async with chatting.talk(lab, "scenario.window") as going, notices(lab) as told:
        done(await play("maintenance", *OPEN, "-e", "without_backup=true"))
        assert [push.level for push in told if push.text == MESSAGE] == ["warning"]
        refused(await play("maintenance", *OPEN, "-e", "without_backup=true"), "Close it first")

        _make_older(lab, "host3", "tzdata")
        lab.ssh("host3", "touch /run/reboot-required")
        before = _started(lab, "host3"), _started(lab, "host2")
        done(updated := await play("host_updates", "-e", "node=host3"))
        assert MESSAGE in " ".join(updated.output.split()), "the play did not tell of the window"
        assert not _version(lab, "host3", "tzdata").startswith("0~")
        assert (_started(lab, "host3") != before[0], _started(lab, "host2") == before[1]) == (True, True)

        for host in ("host1", "host2"):
            _make_older(lab, host, "docker.io")
        done(await play("upgrade_docker"))
        assert not any(_version(lab, host, "docker.io").startswith("0~") for host in lab.hosts)
        assert _availability(lab) == ["Active"] * 3

        done(await play("swarm_nodes", "-e", "node=host1", "-e", "state=drain"))
        assert sorted(_availability(lab)) == ["Active", "Active", "Drain"]
        done(closed := await play("maintenance", "-e", "state=close", "-e", "maintenance_watch_minutes=0.1"))
        assert re.search(r"watched for \d+ s, \d+ samples", closed.output)
        assert _availability(lab) == ["Active"] * 3
        await trio.sleep(0.5)
        assert told[-1].text == "The maintenance is over."
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    assert going.longest_silence_s < 15


async def _kill_while_watched(lab: Lab, host: str, node: str) -> None:
    """Let a node die as soon as the chat is watched."""
    watching = "sh -c 'pgrep -f async_wrappe[r] || true'"
    while not await trio.to_thread.run_sync(lab.ssh, "host1", watching):
        await trio.sleep(0.5)
    await trio.to_thread.run_sync(lab.ssh, host, f"sh -c 'docker kill $(docker ps -q -f name={STACK}_{node})'")


@pytest.mark.timeout(600)
async def test_what_becomes_worse_after_a_window_fails_its_close(lab: Lab) -> None:
    """A node that dies while the chat is watched; and a window that has expired is no window."""
    done(await play("maintenance", *OPEN, "-e", "without_backup=true"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_kill_while_watched, lab, "host3", "node3")
        closed = await play("maintenance", "-e", "state=close", "-e", "maintenance_watch_minutes=0.5")
        nursery.cancel_scope.cancel()
    assert closed.code != 0, closed.output[-3000:]
    assert re.search(r"After the maintenance node3 was (started|not ready)", " ".join(closed.output.split()))
    expired = {"owner": "ana@desk", "since": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z", "message": "old"}
    labels = f"--label chat.notes-of={STACK} --label chat.note=window"
    lab.ssh("host1", f"sh -c 'echo {json.dumps(json.dumps(expired))} | docker config create {labels} {STACK}.window -'")
    assert "It has expired and counts no more" in " ".join((await play("maintenance")).output.split())
    refused(await play("upgrade_docker"), "so it wants a maintenance window, and none is open")


@pytest.fixture
def one_manager(lab: Lab, tmp_path: Path) -> Path:
    """The lab's inventory with host1 as its one manager."""
    copy = tmp_path / "lab"
    shutil.copytree(lab.inventory, copy)
    content = yaml.safe_load((copy / "hosts.yml").read_text())
    managers = content["chat"]["children"]["swarm_managers"]["hosts"]
    content["chat"]["children"]["swarm_workers"] = {"hosts": {host: managers.pop(host) for host in ("host2", "host3")}}
    (copy / "hosts.yml").write_text(yaml.safe_dump(content))
    return copy


@pytest.mark.timeout(900)
def test_parts_in_the_swarm_change_only_while_quorum_and_service_allow_it(
    lab: Lab, one_manager: Path, tmp_path: Path
) -> None:
    lab.ssh("host1", f"docker service scale --detach=false {STACK}_node3=0", timeout_s=120)
    try:
        why = "1 of 3 chat nodes would serve (node1), and 2 are the least; node3 does not serve now"
        drain = ("-e", "node=host2", "-e", "state=drain")
        refused(playbook("swarm_nodes", *drain), why)
        isolate = (
            "-e",
            "node=host2",
            "-e",
            "state=isolate",
            "-e",
            "reason=disk",
            "-e",
            f"report={tmp_path / 'record.md'}",
        )
        refused(playbook("emergency", *isolate), why)
        assert why in (tmp_path / "record.md").read_text().partition("## What failed")[2]
    finally:
        lab.ssh("host1", f"docker service scale --detach {STACK}_node3=1")
    refused(
        playbook("swarm_nodes", "-e", "node=host2", "-e", "state=demote"), "first move it to the group swarm_workers"
    )
    alone = playbook("swarm_nodes", "-e", "node=host2", "-e", "state=demote", inventory=one_manager)
    refused(alone, "2 managers survive no more failures than 1")
    both = ("swarm_nodes", "-e", "node=host2,host3")
    done(playbook(*both, "-e", "state=demote", inventory=one_manager))
    assert lab.ssh("host1", "docker node ls --format '{{.ManagerStatus}}'").split() == ["Leader"]
    done(playbook(*both, "-e", "state=promote"))
    statuses = lab.ssh("host1", "docker node ls --format '{{.ManagerStatus}}'").split()
    assert sorted(statuses) == ["Leader", "Reachable", "Reachable"]


@pytest.mark.timeout(600)
def test_an_emergency_is_acted_upon_and_written_down(lab: Lab, tmp_path: Path) -> None:
    isolate = ("emergency", "-e", "state=isolate", "-e", "node=host3", "-e", f"report={tmp_path / 'incident.md'}")
    refused(playbook(*isolate), "reason is not given, wanted for the record")
    done(playbook(*isolate, "-e", '{"reason": "disk errors"}'))
    assert sorted(_availability(lab)) == ["Active", "Active", "Drain"]
    before, _, after = (tmp_path / "incident.md").read_text().partition("## After")
    assert "| why | disk errors |" in before
    assert "- chat node node3 serves" in before
    assert "- chat node node3 DOES NOT SERVE" in after
    assert "- machine host3 Ready Drain Reachable" in after
    done(
        playbook(
            "emergency",
            "-e",
            "state=release",
            "-e",
            "node=host3",
            "-e",
            f"report={tmp_path / 'end.md'}",
            "-e",
            "reason=ok",
        )
    )
    assert _availability(lab) == ["Active"] * 3


@pytest.mark.timeout(300)
def test_join_tokens_are_renewed_and_never_shown(lab: Lab) -> None:
    tokens = [f"docker swarm join-token --quiet {part}" for part in ("worker", "manager")]
    before = [lab.ssh("host1", token).strip() for token in tokens]
    play = playbook("rotate_tokens", "-vvv")
    done(play)
    after = [lab.ssh("host1", token).strip() for token in tokens]
    assert not set(before) & set(after)
    assert "SWMTKN" not in play.output


@pytest.mark.timeout(300)
def test_where_managers_are_locked_the_key_is_renewed_and_never_shown(lab: Lab) -> None:
    key = "docker swarm unlock-key --quiet"
    lab.ssh("host1", "docker swarm update --autolock=true")
    try:
        before = lab.ssh("host1", key).strip()
        play = playbook("rotate_tokens", "-vvv")
        done(play)
        after = lab.ssh("host1", key).strip()
    finally:
        lab.ssh("host1", "docker swarm update --autolock=false")
    assert before.startswith("SWMKEY")
    assert after not in ("", before)
    assert "SWMKEY" not in play.output


@pytest.mark.timeout(900)
async def test_an_emergency_restarts_a_node_and_takes_a_release_back(lab: Lab, tmp_path: Path) -> None:
    async with chatting.talk(lab, "scenario.emergency") as going:
        await _emergency(tmp_path, "before", "assess")
        first = await _on_host2(lab, "docker ps --quiet --filter name=_node2")
        restarted = await _emergency(tmp_path, "restart", "restart", "-e", "node=node2")
        assert await _on_host2(lab, "docker ps --quiet --filter name=_node2") != first
        assert "- chat node node2 serves" in restarted.partition("## After")[2]
        done(await play("configure", "-e", '{"chat_env": {"LOG_LEVEL": "DEBUG"}}'))
        assert "LOG_LEVEL=DEBUG" in await _on_host2(lab, ENVIRONMENT)
        taken_back = await _emergency(tmp_path, "rollback", "rollback")
        assert "LOG_LEVEL=DEBUG" not in await _on_host2(lab, ENVIRONMENT)
        assert "| why | it burns |" in taken_back
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    going.check(await chatting.histories(lab, going.room))


@pytest.mark.timeout(600)
async def test_with_a_machine_dead_an_emergency_is_assessed_and_acted_upon_without_it(lab: Lab, tmp_path: Path) -> None:
    async with chatting.talk(lab, "scenario.dead") as going:
        await trio.to_thread.run_sync(lab.kill, "host3")
        try:
            assessed = await _emergency(tmp_path, "dead", "assess")
            assert "host3" in assessed
            assert "- chat node node3 DOES NOT SERVE" in assessed
            isolated = await _emergency(tmp_path, "isolated", "isolate", "-e", "node=host3")
            assert "- machine host3 Down Drain" in isolated.partition("## After")[2]
        finally:
            await trio.to_thread.run_sync(lab.start, "host3")
        with trio.fail_after(60):
            while not await trio.to_thread.run_sync(_answers, lab, "host3"):
                await trio.sleep(1)
        await _emergency(tmp_path, "released", "release", "-e", "node=host3")
        await trio.to_thread.run_sync(lab.wait_ready, "host3")
    going.check(await chatting.histories(lab, going.room))


def _answers(lab: Lab, host: str) -> bool:
    try:
        lab.ssh(host, "true")
    except AssertionError:
        return False
    return True


ENVIRONMENT = "docker exec $(docker ps --quiet --filter name=_node2) env"


async def _on_host2(lab: Lab, command: str) -> str:
    return await trio.to_thread.run_sync(lab.ssh, "host2", f"sh -c '{command}'")


async def _emergency(directory: Path, name: str, state: str, *more: str) -> str:
    """Act, and return the record of it."""
    record = directory / f"{name}.md"
    done(
        await play("emergency", "-e", json.dumps({"state": state, "reason": "it burns", "report": str(record)}), *more)
    )
    return record.read_text()
