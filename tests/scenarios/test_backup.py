"""A backup is made, tried and refused where it must be; the chat comes back from it on bare hosts, and where it was."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from node.client import ChatClient, open_client
from tests.scenarios import chatting
from tests.scenarios.lab import LAB_NAME, STACK, Lab, Play, playbook, run

pytestmark = pytest.mark.long
CHAT_S = 3.0
SLOW_DOCKER, WANTED, WRITTEN = "/usr/local/bin/docker", "/run/stop-of-nodes-wanted", "/run/late-message-written"
WAIT_BEFORE_STOP = f"""\
#!/bin/sh
case "$*" in
  "service scale"*_node1=0*) touch {WANTED}; timeout 60 sh -c 'until test -e {WRITTEN}; do sleep 0.1; done' ;;
esac
exec /usr/bin/docker "$@"
"""
"""A command in docker's place that gives people a moment before the nodes stop."""
PASSWORD_FILE = "/etc/chat-ops/backup.password"  # noqa: S105 - where it is, not what it is


@dataclass
class Backups:
    """A repository on a lab's first host, with the arguments that name it."""

    lab: Lab
    path: str
    password: str

    @property
    def arguments(self) -> tuple[str, str]:
        values = {"backup_repository": self.path, "backup_host": "host1", "backup_password": self.password}
        return "-e", json.dumps(values)

    def play(self, name: str, *more: str) -> Play:
        return playbook(name, *self.arguments, *more, inventory=self.lab.inventory)

    def refused(self, command: str) -> str:
        """What the program on the host says when it refuses."""
        said = self.lab.ssh("host1", f"sh -c '! /usr/local/sbin/chat-backup {command} 2>&1'", timeout_s=300)
        return " ".join(said.split())

    @contextmanager
    def wrong_password(self) -> Iterator[None]:
        self.lab.ssh("host1", f"cp --preserve {PASSWORD_FILE} {PASSWORD_FILE}.right")
        self.lab.ssh("host1", f"sh -c 'echo another-password > {PASSWORD_FILE}'")
        try:
            yield
        finally:
            self.lab.ssh("host1", f"mv {PASSWORD_FILE}.right {PASSWORD_FILE}")

    @contextmanager
    def damage(self) -> Iterator[None]:
        """One byte in the middle of each pack is another."""
        self._flip()
        try:
            yield
        finally:
            self._flip()

    def _flip(self) -> None:
        program = (
            "import pathlib\n"
            f'for p in pathlib.Path("{self.path}/data").glob("*/*"):\n'
            " d = bytearray(p.read_bytes()); d[len(d) // 2] ^= 255; p.chmod(0o600); p.write_bytes(d)"
        )
        self.lab.ssh("host1", f"python3 -c '{program}'")


@pytest.fixture
def backups(lab: Lab) -> Iterator[Backups]:
    """A repository of its own; gone afterwards, and with it timers and settings."""
    made = Backups(lab, f"/var/backups/chat-{secrets.token_hex(4)}", secrets.token_hex(32))
    yield made
    timers = [f"/etc/systemd/system/chat-backup-{what}.timer" for what in ("config", "data")]
    names = " ".join(Path(timer).name for timer in timers)
    made.lab.ssh("host1", f"sh -c 'systemctl disable --now {names} || true'")
    made.lab.ssh("host1", f"rm -rf {' '.join(timers)} {made.path} /etc/chat-ops/backup.json {PASSWORD_FILE}")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Lab]:
    """Three more hosts, on which nothing is, with an inventory and secrets of their own."""
    made = Lab()
    made.inventory = tmp_path / "bare"
    names = {"lab_name": f"{LAB_NAME}-bare", "lab_first_address": 61, "lab_inventory_dir": str(made.inventory)}
    _lab_play("hosts", names)
    yield made
    _lab_play("destroy", names)


def _lab_play(name: str, variables: dict[str, object]) -> None:
    arguments = ("-i", "localhost,", f"tests/lab/{name}.yml", "-e", json.dumps(variables))
    done = run("ansible-playbook", *arguments, timeout_s=300)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.timeout(1800)
async def test_the_chat_comes_back_from_its_backup(lab: Lab, backups: Backups, bare: Lab, tmp_path: Path) -> None:
    async with chatting.talk(lab, "scenario.backup") as going:
        await trio.sleep(CHAT_S)
        account = f"kept-{secrets.token_hex(4)}"
        await trio.to_thread.run_sync(_in_node, lab, f"chat-node user add {account}", secrets.token_hex(12))
        assert (await _play(backups, "backup", "--check", "--diff")).changed > 0
        said = set(going.acknowledged)
        made = await _play(backups, "backup")
    assert made.changed > 0
    before = (await chatting.histories(lab, going.room))[0]
    rooms, epoch = await _rooms(lab), lab.readyz("host1")["epoch"]
    again = await _play(backups, "backup", "-e", "what=config")
    assert again.changed == 0, again.output[-3000:]
    listed = await _listed(backups, tmp_path)
    assert [item["what"] for item in listed] == ["config", "data"]
    data = listed[1]
    assert data["epoch"] == epoch
    await _drill(backups, tmp_path, data)
    await trio.to_thread.run_sync(_assert_timer_backs_up, backups, data["snapshot"])

    async with open_client(lab.urls, token=lab.token("late")) as client:
        await chatting.join(client, going.room)
        await client.send(going.room, "after the backup")
    _assert_refusals(backups)
    held = await trio.to_thread.run_sync(lambda: backups.play("restore"))
    assert held.code != 0
    assert "is not empty" in held.output
    assert lab.readyz("host1")["epoch"] == epoch
    await trio.to_thread.run_sync(_assert_no_secret_kept, backups)

    elsewhere = replace(backups, lab=bare)
    await trio.to_thread.run_sync(_settle, backups, elsewhere, tmp_path)
    await trio.to_thread.run_sync(_lose, lab)
    await _assert_late_message_kept(backups)
    for there, more in ((elsewhere, ()), (backups, ("-e", f"replace={STACK}"))):
        await _play(there, "restore", "-e", f"snapshot={data['snapshot']}", *more)
        assert await _rooms(there.lab) == rooms
        assert account in _in_node(there.lab, "chat-node user list")
        for history in await chatting.histories(there.lab, going.room):
            found = [(e.seq, e.from_, e.body, e.ts) for e in history]
            assert found == [(e.seq, e.from_, e.body, e.ts) for e in before][: len(found)]
            assert said <= {body for _, _, body, _ in found}
        epochs = {there.lab.readyz(host)["epoch"] for host in there.lab.hosts}
        assert len(epochs) == 1
        assert epochs != {epoch}


async def _play(backups: Backups, name: str, *more: str) -> Play:
    began = time.monotonic()
    play = await trio.to_thread.run_sync(lambda: backups.play(name, "-vvv", *more))
    print(f"{name} {' '.join(more)}: {time.monotonic() - began:.0f} s")
    assert play.code == 0, play.output[-4000:]
    assert backups.password not in play.output
    return play


def _in_node(lab: Lab, command: str, stdin: str = "") -> str:
    """Run a command within the first host's node."""
    container = f"docker ps --quiet --filter label=com.docker.swarm.service.name={STACK}_node1"
    return lab.ssh("host1", f"sh -c 'echo {stdin} | docker exec --interactive $({container}) {command}'")


async def _listed(backups: Backups, directory: Path) -> list[dict[str, object]]:
    report = directory / "backups.json"
    await _play(backups, "backups", "-e", f"report={report}")
    found: list[dict[str, object]] = json.loads(report.read_text())
    return found


async def _drill(backups: Backups, directory: Path, data: dict[str, object]) -> None:
    report = directory / "drill.json"
    await _play(backups, "drill", "-e", f"report={report}")
    found = json.loads(report.read_text())
    assert (found["digest"], found["count"]) == (data["digest"], data["count"])
    assert found["rto_s"] > 0
    assert found["rpo_s"] >= 0


async def _rooms(lab: Lab) -> list[str]:
    found: list[str] = []
    async with open_client(lab.urls, token=lab.token("reader")) as client:
        while (page := await client.rooms(after=found[-1] if found else "")).rooms:
            found += [room.room for room in page.rooms]
            if not page.more:
                break
    return found


def _assert_refusals(backups: Backups) -> None:
    with backups.wrong_password():
        assert "the password does not open the repository" in backups.refused("list all")
    wrong = replace(backups, password=secrets.token_hex(32)).play("restore")
    assert wrong.code != 0
    assert "the password does not open the repository" in " ".join(wrong.output.split())
    assert backups.lab.ssh("host1", f"cat {PASSWORD_FILE}") == backups.password
    with backups.damage():
        assert "the repository is damaged" in backups.refused("check")
        assert "the repository is damaged" in backups.refused("drill")
        damaged = backups.play("restore")
        assert damaged.code != 0
        assert "the repository is damaged" in " ".join(damaged.output.split())
    assert "no such snapshot" in backups.refused("fetch --snapshot 00000000")


def _assert_timer_backs_up(backups: Backups, former: object) -> None:
    """Both timers wait for their time; what they start makes another backup, and leaves word of it."""
    waiting = backups.lab.ssh("host1", "systemctl is-active chat-backup-config.timer chat-backup-data.timer")
    assert waiting.split() == ["active", "active"]
    backups.lab.ssh("host1", "systemctl start chat-backup@data", timeout_s=120)
    outcome = json.loads(backups.lab.ssh("host1", "cat /var/lib/chat-ops/backup.json"))["data"]
    assert outcome["outcome"] == "done"
    assert outcome["snapshot"] != former
    assert outcome["snapshot"] in backups.lab.ssh("host1", "/usr/local/sbin/chat-backup list data", timeout_s=120)


def _assert_no_secret_kept(backups: Backups) -> None:
    """The copy of the inventory, which every backup of the configuration holds."""
    copy = backups.lab.ssh("host1", "cat /var/lib/chat-ops/inventory.json")
    assert "hosts.yml" in json.loads(copy)["files"]
    for name in ("jwt_key", "nats_password", "ssh_key"):
        assert (backups.lab.inventory / "secrets" / name).read_text().strip() not in copy


async def _assert_late_message_kept(backups: Backups) -> None:
    """Who writes between the first look at an empty log and the stop of the nodes is not overwritten, and goes on."""
    lab = backups.lab
    lab.ssh("host1", f"sh -c 'cat > {SLOW_DOCKER} && chmod +x {SLOW_DOCKER}' <<'END'\n{WAIT_BEFORE_STOP}END")
    try:
        async with open_client(lab.urls, token=lab.token("late")) as client, trio.open_nursery() as nursery:
            nursery.start_soon(_write_when_nodes_are_to_stop, lab, client)
            late = await trio.to_thread.run_sync(lambda: backups.play("restore"))
    finally:
        lab.ssh("host1", f"rm -f {SLOW_DOCKER} {WANTED} {WRITTEN}")
    assert late.code != 0
    assert "is not empty" in late.output
    assert "start again" in late.output
    for host in lab.hosts:
        lab.wait_ready(host)
    for history in await chatting.histories(lab, "late"):
        assert [entry.body for entry in history] == ["written at the last moment"]


async def _write_when_nodes_are_to_stop(lab: Lab, client: ChatClient) -> None:
    look = f"sh -c 'test -e {WANTED} && echo yes || true'"
    with trio.fail_after(300):
        while not await trio.to_thread.run_sync(lab.ssh, "host1", look):
            await trio.sleep(0.5)
        await chatting.join(client, "late")
        await client.send("late", "written at the last moment")
        await trio.to_thread.run_sync(lab.ssh, "host1", f"touch {WRITTEN}")


def _settle(backups: Backups, elsewhere: Backups, directory: Path) -> None:
    """A new cluster on bare hosts, by the inventory in the backup, and the repository beside it."""
    _take_inventory(backups, elsewhere.lab, directory)
    deployed = playbook("site", inventory=elsewhere.lab.inventory)
    assert deployed.code == 0, deployed.output[-3000:]
    _carry(backups.path, backups.lab.inventory, elsewhere.lab.inventory, directory)


def _take_inventory(backups: Backups, bare: Lab, directory: Path) -> None:
    """The inventory out of the backup, with other addresses, the secrets and the hosts' keys put into it."""
    lab, made = backups.lab, directory / "restored" / "inventory"
    taken = f"restic --repo {backups.path} --password-file {PASSWORD_FILE} restore latest --tag chat-config"
    lab.ssh("host1", f"sh -c 'rm -rf /root/restored && {taken} --target /root/restored'")
    for name in lab.ssh("host1", "find /root/restored/inventory -type f -printf %P\\\\n").split():
        text = lab.ssh("host1", f"cat /root/restored/inventory/{name}").replace(str(lab.inventory), str(made))
        for host, values in lab.hosts.items():
            text = text.replace(values["ansible_host"], bare.hosts[host]["ansible_host"])
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    lab.ssh("host1", "rm -rf /root/restored")
    assert not (made / "secrets").exists()
    shutil.copytree(bare.inventory / "secrets", made / "secrets")
    shutil.copy(lab.inventory / "secrets" / "jwt_key", made / "secrets" / "jwt_key")
    shutil.copy(bare.inventory / "known_hosts", made / "known_hosts")
    bare.inventory = made


def _lose(lab: Lab) -> None:
    """The stack and its volumes are gone, and an empty one is there."""
    _remove(lab)
    deployed = playbook("deploy", inventory=lab.inventory)
    assert deployed.code == 0, deployed.output[-3000:]


def _remove(lab: Lab) -> None:
    removed = playbook("remove", "-e", f"confirm={STACK}", inventory=lab.inventory)
    assert removed.code == 0, removed.output[-3000:]
    label = f"label=com.docker.stack.namespace={STACK}"
    for host in lab.hosts:
        lab.ssh(host, f"sh -c 'docker volume rm $(docker volume ls -q --filter {label})'")


def _carry(path: str, source: Path, target: Path, directory: Path) -> None:
    """A copy of the repository, as it would be read from a store, on another cluster's first host."""
    archive = directory / "repository.tar"
    for inventory, module, arguments in (
        (source, "command", f"tar --create --file /root/repository.tar --directory / {path.lstrip('/')}"),
        (source, "fetch", f"src=/root/repository.tar dest={archive} flat=yes"),
        (source, "file", "path=/root/repository.tar state=absent"),
        (target, "unarchive", f"src={archive} dest=/"),
    ):
        done = run("ansible", "host1", "-i", str(inventory), "--become", "-m", module, "-a", arguments)
        assert done.returncode == 0, done.stdout + done.stderr
