"""Versions come and go while people chat: two nodes serve at all times, and what does not serve is taken back."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from tests.scenarios import chatting, sampling, versions
from tests.scenarios.lab import STACK, Lab, Play, playbook


def _image(lab: Lab, node: str) -> str:
    template = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
    return lab.ssh("host1", f"docker service inspect {STACK}_{node} --format '{template}'").strip()


async def _play(name: str, *arguments: str) -> Play:
    return await trio.to_thread.run_sync(partial(playbook, name, *arguments))


@pytest.fixture(scope="module")
def first_image(lab: Lab) -> str:
    """The image that serves before anything is tried; all other versions are built upon it."""
    image = _image(lab, "node1")
    for version in versions.LAYERS:
        versions.publish(image, version)
    return image


@pytest.mark.timeout(1200)
async def test_an_update_and_the_way_back(lab: Lab, first_image: str) -> None:
    async with chatting.talk(lab, "scenario.update") as going, sampling.ready_nodes(lab) as samples:
        updated = await _play("update", "-e", "version=v2", "-e", "reason=scenario")
        assert updated.code == 0, updated.output[-3000:]
        images = await trio.to_thread.run_sync(_images, lab)
        assert len(images) == 1
        assert images != {first_image}
        ledger = await _play("releases")
        repeated = await _play("update", "-e", "version=v2")
        back = await _play("rollback")
        assert back.code == 0, back.output[-3000:]
    assert "| current | version v2 |" in " ".join(ledger.output.split())
    assert repeated.code == 0, repeated.output[-3000:]
    assert repeated.changed == 0
    assert _images(lab) == {first_image}
    assert samples.fewest >= 2, f"{samples.ready.count(1)} looks saw one node, {samples.ready.count(0)} none"
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s, {len(samples.ready)} looks")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("version", "cause"),
    [
        pytest.param("does-not-start", "non-zero exit (1)", marks=pytest.mark.long),
        pytest.param("unhealthy", "unhealthy", marks=pytest.mark.long),
        pytest.param("cannot-serve", "a body is at most 1 bytes", marks=pytest.mark.long),
        ("fails-on-node2", "The roll failed at node2"),
    ],
)
async def test_a_bad_version_is_taken_back_and_told(lab: Lab, first_image: str, version: str, cause: str) -> None:
    del first_image
    before = {node: _image(lab, node) for node in ("node1", "node2", "node3")}
    async with chatting.talk(lab, f"scenario.{version}") as going:
        play = await _play("update", "-e", f"version={version}")
    assert play.code != 0
    assert cause in " ".join(play.output.split()), play.output[-3000:]
    assert {node: _image(lab, node) for node in before} == before
    assert all(lab.readyz(host)["ready"] for host in lab.hosts)
    going.check(await chatting.histories(lab, going.room))
    audit = playbook("audit", "-e", "tail=1")
    assert "| failed | update |" in " ".join(audit.output.split())


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_a_version_that_was_taken_back_may_come_again(lab: Lab, first_image: str) -> None:
    """And is taken back again: each is a release of its own."""
    async with chatting.talk(lab, "scenario.again") as going, sampling.ready_nodes(lab) as samples:
        for arguments in (("update", "-e", "version=v2"), ("rollback",)) * 2:
            play = await _play(*arguments)
            assert play.code == 0, play.output[-3000:]
            images = await trio.to_thread.run_sync(_images, lab)
            assert (images == {first_image}) == (arguments[0] == "rollback")
    assert samples.fewest >= 2, f"{samples.ready.count(1)} looks saw one node, {samples.ready.count(0)} none"
    going.check(await chatting.histories(lab, going.room))


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_the_leaders_host_is_lost_in_the_middle(lab: Lab, first_image: str) -> None:
    """The run fails and says so; when the host is back, the same command completes what it began."""
    before = _image(lab, "node1")
    arguments = ("-e", f"version={'v2' if before == first_image else first_image}")
    leader = next(host for host in lab.hosts if _leads(lab, host))
    plays: list[Play] = []

    async def update() -> None:
        plays.append(await _play("update", *arguments))

    async with chatting.talk(lab, "scenario.leader") as going, trio.open_nursery() as nursery:
        nursery.start_soon(update)
        with trio.fail_after(300):
            while await trio.to_thread.run_sync(_images, lab) == {before}:
                await trio.sleep(0.2)
        lab.kill(leader)
        with trio.fail_after(600):
            while not plays:
                await trio.sleep(0.5)
        lab.start(leader)
        for host in lab.hosts:
            await trio.to_thread.run_sync(lab.wait_ready, host)
        await trio.to_thread.run_sync(_release_what_the_lost_run_holds)
        again = await _play("update", *arguments)
    assert plays[0].code != 0
    assert again.code == 0, again.output[-3000:]
    images = _images(lab)
    assert len(images) == 1
    assert images != {before}
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")


def _leads(lab: Lab, host: str) -> bool:
    return lab.ssh(host, "docker node inspect self --format '{{.ManagerStatus.Leader}}'").strip() == "true"


def _images(lab: Lab) -> set[str]:
    return {_image(lab, node) for node in ("node1", "node2", "node3")}


def _release_what_the_lost_run_holds() -> None:
    """The lock says what happened; it is there only if no manager could release it."""
    lock = " ".join(playbook("lock").output.split())
    if "Nobody holds the lock" in lock:
        audit = " ".join(playbook("audit", "-e", "tail=1").output.split())
        assert "| failed | update |" in audit, audit
        return
    assert "for update" in lock
    released = playbook("lock", "-e", "state=release", "-e", '{"reason": "its host was lost"}')
    assert released.code == 0, released.output[-2000:]


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("update", [], "Say which version"),
        ("update", ["-e", "version=no-such-version"], "cannot pull"),
        ("update", ["-e", "version=v2", "-e", "node=node9"], "node is node9; it is one of"),
        ("rollback", ["-e", "version=4711"], "There is no release 4711"),
        ("configure", [], "Give settings of the nodes"),
        ("configure", ["-e", '{"chat_env": {"NODE_ID": "x"}}'], "are not changed here"),
    ],
)
def test_wrong_words_are_refused(lab: Lab, name: str, arguments: list[str], said: str) -> None:
    del lab
    play = playbook(name, *arguments)
    assert play.code != 0
    assert said in " ".join(play.output.split()), play.output[-3000:]
    assert play.changed == 0


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_settings_are_changed_on_one_node_and_taken_back(lab: Lab) -> None:
    play = await _play(
        "configure", "-e", '{"chat_env": {"LOG_LEVEL": "DEBUG", "HEARTBEAT_INTERVAL": 20}}', "-e", "node=node3"
    )
    assert play.code == 0, play.output[-3000:]
    assert "chat_node_environment" in play.output
    assert '"LOG_LEVEL=DEBUG"' in lab.environment("node3")
    assert '"HEARTBEAT_INTERVAL=20"' in lab.environment("node3")
    assert '"LOG_LEVEL=DEBUG"' not in lab.environment("node1")
    back = await _play("rollback")
    assert back.code == 0, back.output[-3000:]
    assert '"LOG_LEVEL=DEBUG"' not in lab.environment("node3")
