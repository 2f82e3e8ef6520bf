"""A backup is made, tried and refused where it must be; then the chat is lost, and comes back from it.

With ``RESTORE_INVENTORY`` set to the inventory of three bare hosts, it comes back there instead.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from node.client import open_client
from tests.scenarios import chatting
from tests.scenarios.lab import STACK, Lab, Play, playbook, run

pytestmark = pytest.mark.long
CHAT_S = 3.0
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
    made.lab.ssh("host1", f"systemctl disable --now {' '.join(Path(timer).name for timer in timers)}")
    made.lab.ssh("host1", f"rm -rf {' '.join(timers)} {made.path} /etc/chat-ops/backup.json {PASSWORD_FILE}")


@pytest.mark.timeout(900)
async def test_the_chat_comes_back_from_its_backup(lab: Lab, backups: Backups, tmp_path: Path) -> None:
    async with chatting.talk(lab, "scenario.backup") as going:
        await trio.sleep(CHAT_S)
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

    async with open_client(lab.urls, token=lab.token("late")) as client:
        await chatting.join(client, going.room)
        await client.send(going.room, "after the backup")
    _assert_refusals(backups)
    held = await trio.to_thread.run_sync(lambda: backups.play("restore"))
    assert held.code != 0
    assert "is not empty" in held.output
    assert lab.readyz("host1")["epoch"] == epoch
    await trio.to_thread.run_sync(_assert_no_secret_kept, backups)

    await trio.to_thread.run_sync(_lose, backups, tmp_path)
    target = backups.lab
    await _play(backups, "restore", "-e", f"snapshot={data['snapshot']}")
    assert await _rooms(target) == rooms
    for history in await chatting.histories(target, going.room):
        assert [(e.seq, e.from_, e.body, e.ts) for e in history] == [(e.seq, e.from_, e.body, e.ts) for e in before]
    assert {target.readyz(host)["epoch"] for host in target.hosts} == {target.readyz("host1")["epoch"]} != {epoch}


async def _play(backups: Backups, name: str, *more: str) -> Play:
    began = time.monotonic()
    play = await trio.to_thread.run_sync(lambda: backups.play(name, *more))
    print(f"{name} {' '.join(more)}: {time.monotonic() - began:.0f} s")
    assert play.code == 0, play.output[-4000:]
    assert backups.password not in play.output
    return play


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
    with backups.damage():
        assert "the repository is damaged" in backups.refused("check")
        assert "the repository is damaged" in backups.refused("drill")
    assert "no such snapshot" in backups.refused("fetch --snapshot 00000000")


def _assert_no_secret_kept(backups: Backups) -> None:
    """The copy of the inventory, which every backup of the configuration holds."""
    copy = backups.lab.ssh("host1", "cat /var/lib/chat-ops/inventory.json")
    assert "hosts.yml" in json.loads(copy)["files"]
    for name in ("jwt_key", "nats_password", "ssh_key"):
        assert (backups.lab.inventory / "secrets" / name).read_text().strip() not in copy


def _lose(backups: Backups, directory: Path) -> None:
    """The stack and its volumes are gone, and an empty one is there; or a new cluster on other hosts."""
    other = os.environ.get("RESTORE_INVENTORY")
    if other is None:
        _remove(backups.lab)
        deployed = playbook("deploy", inventory=backups.lab.inventory)
    else:
        target = Lab()
        target.inventory = Path(other)
        deployed = playbook("site", inventory=target.inventory)
        _carry(backups.path, backups.lab.inventory, target.inventory, directory)
        backups.lab = target
    assert deployed.code == 0, deployed.output[-3000:]


def _remove(lab: Lab) -> None:
    lab.ssh("host1", f"docker stack rm {STACK}", timeout_s=120)
    label = f"label=com.docker.stack.namespace={STACK}"
    gone = f'[ -z "$(docker ps -aq --filter {label})$(docker network ls -q --filter {label})" ]'
    for host in lab.hosts:
        lab.ssh(host, f"timeout 100 sh -c 'until {gone}; do sleep 0.5; done'", timeout_s=120)
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
