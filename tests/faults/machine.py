"""A machine of the lab, as somebody with a hand on its plug, its cables and its processes has it.

Everything goes through the engine that the lab's machines are containers of, so that a machine which no packet reaches
can still be told to let packets through again.
"""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
import trio

from tests.faults.target import FaultError
from tests.scenarios.lab import STACK

_COMMAND_TIMEOUT_S = 60.0
_PATIENCE_S = 60.0
_POLL_S = 0.5
_TABLE = "inet faults"
_SPARE_BYTES = 24 * 2**20
"""Room that a small disk has beyond what is on it."""


class Machine:
    """One machine.

    Args:
        container: its name at the outer engine.
        name: its name in the inventory.
        node: the chat node on it, ``node1``.
        address: of its operators and clients.
    """

    def __init__(self, container: str, name: str, node: str, address: str) -> None:
        self.container, self.name, self.node, self.address = container, name, node, address

    @property
    def log_server(self) -> str:
        """The log server on it, ``nats1``."""
        return self.node.replace("node", "nats")

    async def unplug(self) -> None:
        """Take the power away."""
        await _run("docker", "kill", self.container)

    async def plug(self) -> None:
        """Give it power again; returns before anything has started."""
        await _run("docker", "start", self.container)

    async def shell(self, script: str, *, check: bool = True) -> str:
        """Run a script as root on the machine.

        Raises:
            FaultError: it did not end, or with an error and ``check`` is set.
        """
        return await _run("docker", "exec", self.container, "sh", "-ec", script, check=check)

    async def pid(self, service: str) -> str:
        """The first process of a service's container, in the machine's numbers; waits a little for there to be one.

        Raises:
            FaultError: there is none, or more than one: a fault that hits nothing, or who knows what, is none.
        """
        pids: list[str] = []
        # What an interrupted run gives back may need it as well.
        with trio.move_on_after(_PATIENCE_S, shield=True):
            while len(pids := await self._pids(service)) != 1:
                await trio.sleep(_POLL_S)
        if len(pids) != 1:
            raise FaultError(f"{service} has {len(pids)} processes on {self.name}, not one")
        return pids[0]

    async def _pids(self, service: str) -> list[str]:
        """The first process of each of a service's containers. Docker tells 0 of one that has ended."""
        listed = f"docker ps --quiet --filter label=com.docker.swarm.service.name={STACK}_{service}"
        told = await self.shell(f"docker inspect --format '{{{{.State.Pid}}}}' $({listed})", check=False)
        return [pid for pid in told.split() if pid != "0"]

    async def signal(self, signal: str, pid: str) -> None:
        """Send a signal to a process; one that is gone does not mind."""
        await self.shell(f"kill -{signal} {pid} || true")

    async def kill_service(self, service: str) -> None:
        """SIGKILL for what runs of it; Swarm starts another."""
        await self.signal("KILL", await self.pid(service))

    async def kill_engine(self) -> None:
        """SIGKILL for the Docker engine; systemd starts another."""
        await self.shell("systemctl kill --signal=KILL --kill-who=main docker")

    async def cut(self, *rules: str, pid: str = "") -> None:
        """Drop packets.

        Args:
            rules: ``prerouting`` or ``postrouting``, a colon, and what nftables is to drop there.
            pid: a process whose network is meant; the machine's own otherwise.
        """
        chains = " ".join(
            f"chain {hook}{number} {{ type filter hook {hook} priority -350; {match} drop; }};"
            for number, (hook, match) in enumerate(rule.split(":", 1) for rule in rules)
        )
        await self.shell(f"echo 'table {_TABLE} {{ {chains} }}' | {_inside(pid)} nft --file -")

    async def mend(self, pid: str = "") -> None:
        """Drop nothing any more. A network that went with its process need not be mended."""
        await self.shell(f"{_inside(pid)} nft delete table {_TABLE}", check=not pid)

    async def monitor(self, path: str) -> Any:
        """What the log server on the machine answers under a path of its monitoring; None if it does not."""
        try:
            pids = await self._pids(self.log_server)
            if len(pids) != 1:
                return None
            ask = f"{_inside(pids[0])} curl --silent --max-time 2 http://127.0.0.1:8222{path}"
            return msgspec.json.decode(await self.shell(ask, check=False))
        except (msgspec.DecodeError, FaultError):
            return None

    async def leads_swarm(self) -> bool:
        """Whether it leads the Swarm."""
        return "true" in await self.shell("docker node inspect self --format '{{.ManagerStatus.Leader}}'", check=False)

    async def small_disk(self, service: str) -> None:
        """Give a service's volume a file system of its own with little room, and everything that was on it.

        The process stands still while its files are copied, so that the disk loses nothing that was written.
        """
        await self._swap_disk(
            service,
            f"size=$(( $(du -sb $disk | cut -f1) * 5 / 4 + {_SPARE_BYTES} ))\n"
            "mkdir -p $small && mount -t tmpfs -o size=$size,mode=0777 tmpfs $small\n"
            "cp -a $disk/. $small/\n"
            "mount --bind $small $disk",
        )

    async def whole_disk(self, service: str) -> None:
        """Give the volume its place on the machine's disk back, with what is on it now."""
        await self._swap_disk(
            service,
            "umount --lazy $disk\nfind $disk -mindepth 1 -delete\ncp -a $small/. $disk/\numount --lazy $small",
        )

    async def wait_healthy(self, service: str) -> None:
        """Wait until Docker, which looks every few seconds, has found a service's container well.

        Raises:
            FaultError: it has not within a minute.
        """
        listed = (
            f"docker ps --quiet --filter health=healthy --filter label=com.docker.swarm.service.name={STACK}_{service}"
        )
        with trio.move_on_after(_PATIENCE_S):
            while not (await self.shell(listed, check=False)).strip():
                await trio.sleep(_POLL_S)
            return
        raise FaultError(f"{service} is not healthy on {self.name}")

    async def fill_disk(self, service: str) -> None:
        """Leave no byte of a small disk free."""
        await self.shell(f"{_disk(service)}\ndd if=/dev/zero of=$disk/.filler bs=64k 2>/dev/null || true\nsync")

    async def free_disk(self, service: str) -> None:
        """Take what filled it away."""
        await self.shell(f"{_disk(service)}\nrm -f $disk/.filler")

    async def _swap_disk(self, service: str, script: str) -> None:
        pid = await self.pid(service)
        try:
            await self.signal("STOP", pid)
            await self.shell(f"{_disk(service)}\n{script}")
        finally:  # Swarm starts another; one that stood still for ever would be no crash
            await self.signal("KILL", pid)


def _inside(pid: str) -> str:
    return f"nsenter --net --target {pid}" if pid else ""


def _disk(service: str) -> str:
    return f"disk=/var/lib/docker/volumes/{STACK}_{service}-data/_data small=/run/faults/{service}"


async def _run(*command: str, check: bool = True) -> str:
    # An interrupted run must still be able to give the machines back what it took from them.
    try:
        with trio.fail_after(_COMMAND_TIMEOUT_S, shield=True):
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    except trio.TooSlowError:
        raise FaultError(f"{shlex.join(command)}: no end after {_COMMAND_TIMEOUT_S:g} s") from None
    if check and done.returncode:
        raise FaultError(f"{shlex.join(command)}: {done.stderr.decode().strip()}")
    return str(done.stdout.decode())
