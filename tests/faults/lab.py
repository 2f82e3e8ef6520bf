"""The cluster under test as the lab's machines, each with a node and a log server, and what can befall them."""

from __future__ import annotations

import functools
import secrets
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import httpx
import trio

from node.cli.token import sign_as_configured
from tests.faults.clients.wire import Wire
from tests.faults.machine import Machine
from tests.faults.target import FaultError, FaultKind, Look, Target, look_at
from tests.scenarios.lab import LAB_NAME, Lab, playbook

_CRASH_LIMIT_S = 10.0
_HANG_LIMIT_S = 15.0
"""Nothing tells of a machine that is silent; it is found out by heartbeats, which take their time."""
_ROLL_LIMIT_S = 1.0
_TOKEN_TTL_S = 24 * 3600
_WHOLE_TIMEOUT_S = 300.0
_POLL_S = 0.5
_STORM_KILLS = 4
_STORM_PAUSE_S = 3.0
_SPARE_DESCRIPTORS = 4
_ROUTE_PORT = 6222
_DISK_ROOM = "faults.disk"


class LabTarget(Target):
    """See :class:`~tests.faults.target.Target`.

    Args:
        lab: up, with the stack deployed.
        http: used to look at the nodes.
    """

    def __init__(self, lab: Lab, http: httpx.AsyncClient) -> None:
        self._lab = lab
        self._http = http
        self._machines = [
            Machine(f"{LAB_NAME}-{host}", host, values["node_type"], values["ansible_host"])
            for host, values in lab.hosts.items()
        ]
        self.nodes = [machine.node for machine in self._machines]

    def url(self, node: str) -> str:
        return self._lab.url(node)

    async def token(self, user: str) -> str:
        key = self._lab.inventory / "secrets" / self._lab.signs_with
        return sign_as_configured(user, _TOKEN_TTL_S, key_file=key, remedy="the lab has one")

    async def look(self, node: str, *, figures: bool = False) -> Look | None:
        return await look_at(self._http, f"http://{self._by(node).address}:9090", figures=figures)

    async def whole(self) -> None:
        with trio.move_on_after(_WHOLE_TIMEOUT_S):
            while not (await self._nodes_agree() and await self._log_servers_are_well()):
                await trio.sleep(_POLL_S)
            return
        raise TimeoutError(f"not whole after {_WHOLE_TIMEOUT_S:g} s: {await self._state()}")

    @functools.cached_property
    def faults(self) -> Mapping[str, FaultKind]:
        servers = [machine.log_server for machine in self._machines]
        hosts = [machine.name for machine in self._machines]
        return {
            "node killed": FaultKind(self.nodes, _CRASH_LIMIT_S, self._service_killed),
            "log server killed": FaultKind(servers, _CRASH_LIMIT_S, self._service_killed),
            "log leader killed": FaultKind(["leader"], _CRASH_LIMIT_S, self._log_leader_killed),
            "engine killed": FaultKind(hosts, _CRASH_LIMIT_S, self._engine_killed),
            "host killed": FaultKind(hosts, _CRASH_LIMIT_S, self._host_killed),
            "log leader's host killed": FaultKind(["leader"], _CRASH_LIMIT_S, self._log_leaders_host_killed),
            "swarm leader's host killed": FaultKind(["leader"], _CRASH_LIMIT_S, self._swarm_leaders_host_killed),
            "all killed": FaultKind(["all"], None, self._all_killed),
            "node frozen": FaultKind(self.nodes, _HANG_LIMIT_S, self._service_frozen),
            "log server frozen": FaultKind(servers, _HANG_LIMIT_S, self._service_frozen),
            "host cut off": FaultKind(hosts, _HANG_LIMIT_S, self._host_cut_off),
            "host hears nothing": FaultKind(hosts, _HANG_LIMIT_S, self._host_hears_nothing),
            "log servers cut off": FaultKind(servers, _HANG_LIMIT_S, self._routes_cut),
            "clients cut off": FaultKind(self.nodes, _HANG_LIMIT_S, self._clients_cut_off),
            "restart storm": FaultKind(hosts, _HANG_LIMIT_S, self._restart_storm),
            "node disk full": FaultKind(self.nodes, _HANG_LIMIT_S, self._disk_full),
            "log disk full": FaultKind(servers, _HANG_LIMIT_S, self._disk_full),
            "all log disks full": FaultKind(["all"], None, self._all_log_disks_full),
            "descriptors exhausted": FaultKind(self.nodes, _HANG_LIMIT_S, self._descriptors_exhausted),
            "rolling update": FaultKind(["all"], _ROLL_LIMIT_S, self._rolling_update),
            "rollback": FaultKind(["all"], _ROLL_LIMIT_S, self._rollback),
        }

    def _by(self, name: str) -> Machine:
        """The machine with this name, or with the node or the log server of this name."""
        return next(m for m in self._machines if name in (m.name, m.node, m.log_server))

    async def _nodes_agree(self) -> bool:
        looks = [await self.look(node) for node in self.nodes]
        reports = [look.readyz for look in looks if look is not None and look.ready]
        if len(reports) < len(self.nodes) or len({(r["applied"], r["digest"]) for r in reports}) > 1:
            return False
        return all(len(report["peers"]) == len(self.nodes) - 1 for report in reports)

    async def _log_servers_are_well(self) -> bool:
        answers = [await machine.monitor("/healthz") for machine in self._machines]
        return all(answer is not None and answer["status"] == "ok" for answer in answers)

    async def _state(self) -> str:
        looks = {node: await self.look(node) for node in self.nodes}
        logs = {machine.log_server: await machine.monitor("/healthz") for machine in self._machines}
        return f"{ {node: look.readyz if look else None for node, look in looks.items()} } {logs}"

    async def _log_leader(self) -> Machine:
        """The machine whose log server leads the nodes' stream."""
        for machine in self._machines:
            told = await machine.monitor("/jsz?streams=true")
            for account in (told or {}).get("account_details", []):
                for stream in account.get("stream_detail", []):
                    return self._by(stream["cluster"]["leader"])
        raise FaultError("no log server tells who leads the stream")

    async def _swarm_leader(self) -> Machine:
        for machine in self._machines:
            if await machine.leads_swarm():
                return machine
        raise FaultError("no machine leads the Swarm")

    @asynccontextmanager
    async def _service_killed(self, service: str) -> AsyncIterator[None]:
        await self._by(service).kill_service(service)
        yield

    @asynccontextmanager
    async def _log_leader_killed(self, _: str) -> AsyncIterator[None]:
        leader = await self._log_leader()
        async with self._service_killed(leader.log_server):
            yield

    @asynccontextmanager
    async def _engine_killed(self, host: str) -> AsyncIterator[None]:
        await self._by(host).kill_engine()
        yield

    def _host_killed(self, host: str) -> AbstractAsyncContextManager[None]:
        return _unplugged([self._by(host)])

    @asynccontextmanager
    async def _log_leaders_host_killed(self, _: str) -> AsyncIterator[None]:
        async with _unplugged([await self._log_leader()]):
            yield

    @asynccontextmanager
    async def _swarm_leaders_host_killed(self, _: str) -> AsyncIterator[None]:
        async with _unplugged([await self._swarm_leader()]):
            yield

    def _all_killed(self, _: str) -> AbstractAsyncContextManager[None]:
        return _unplugged(self._machines)

    @asynccontextmanager
    async def _service_frozen(self, service: str) -> AsyncIterator[None]:
        machine = self._by(service)
        pid = await machine.pid(service)
        await machine.signal("STOP", pid)
        try:
            yield
        finally:
            await machine.signal("CONT", pid)

    def _host_cut_off(self, host: str) -> AbstractAsyncContextManager[None]:
        return _cut(self._by(host), "prerouting:iifname eth0", "postrouting:oifname eth0")

    def _host_hears_nothing(self, host: str) -> AbstractAsyncContextManager[None]:
        return _cut(self._by(host), "prerouting:iifname eth0")

    def _clients_cut_off(self, node: str) -> AbstractAsyncContextManager[None]:
        return _cut(self._by(node), "prerouting:iifname eth0 tcp dport 8080")

    @asynccontextmanager
    async def _routes_cut(self, server: str) -> AsyncIterator[None]:
        machine = self._by(server)
        both = f"tcp dport {_ROUTE_PORT}", f"tcp sport {_ROUTE_PORT}"
        rules = [f"{hook}:{match}" for hook in ("prerouting", "postrouting") for match in both]
        async with _cut(machine, *rules, pid=await machine.pid(server)):
            yield

    @asynccontextmanager
    async def _restart_storm(self, host: str) -> AsyncIterator[None]:
        machine = self._by(host)
        for _ in range(_STORM_KILLS):
            await machine.kill_service(machine.log_server)
            await machine.kill_service(machine.node)
            await trio.sleep(_STORM_PAUSE_S)
        yield

    @asynccontextmanager
    async def _small_disk(self, service: str) -> AsyncIterator[None]:
        machine = self._by(service)
        await machine.small_disk(service)
        try:
            await self.whole()
            # Else it is new to its health check, which bears with it for two minutes before it has it restarted.
            await machine.wait_healthy(service)
            yield
        finally:
            await machine.free_disk(service)
            await machine.whole_disk(service)

    @asynccontextmanager
    async def _disk_full(self, *services: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for service in services:
                await stack.enter_async_context(self._small_disk(service))
            for service in services:
                await self._by(service).fill_disk(service)
            yield
            for service in services:
                await self._by(service).free_disk(service)
            await self.whole()
            # On the disks that were full, before they are taken away.
            await self._take_messages()

    async def _take_messages(self) -> None:
        """A message is sent through each node.

        Raises:
            FaultError: one is refused.
        """
        hello = {"token": await self.token("disk-keeper")}
        for node in self.nodes:
            async with Wire.opened(self.url(node), hello) as wire, trio.open_nursery() as nursery:
                nursery.start_soon(wire.read, lambda frame, at: None)
                await wire.ask(op="create_room", room=_DISK_ROOM)
                answer = await wire.ask(
                    op="send", room=_DISK_ROOM, cid=secrets.token_hex(8), body="there is room again"
                )
                nursery.cancel_scope.cancel()
            if answer.code:
                raise FaultError(f"there is room again, and {node} answers {answer.code}")

    def _all_log_disks_full(self, _: str) -> AbstractAsyncContextManager[None]:
        return self._disk_full(*(machine.log_server for machine in self._machines))

    @asynccontextmanager
    async def _descriptors_exhausted(self, node: str) -> AsyncIterator[None]:
        machine = self._by(node)
        pid = await machine.pid(node)
        # As the node's own user: not even root may do it without a capability that the lab's machines lack.
        prlimit = f"setpriv --reuid 10001 --regid 10001 --clear-groups prlimit --pid {pid}"
        before = (await machine.shell(f"{prlimit} --nofile --output SOFT --noheadings")).strip()
        limit = f"$(( $(ls /proc/{pid}/fd | wc -l) + {_SPARE_DESCRIPTORS} ))"
        await machine.shell(f"{prlimit} --nofile={limit}:")
        try:
            yield
        finally:
            await machine.shell(f"{prlimit} --nofile={before}: || true")

    @asynccontextmanager
    async def _rolling_update(self, _: str) -> AsyncIterator[None]:
        """Settings, since they need no other image; the roll is the same."""
        await _play("configure", "-e", '{"chat_env": {"HEARTBEAT_INTERVAL": 24}, "reason": "faults"}')
        yield

    @asynccontextmanager
    async def _rollback(self, _: str) -> AsyncIterator[None]:
        await _play("rollback", "-e", "reason=faults")
        yield


@asynccontextmanager
async def _unplugged(machines: Sequence[Machine]) -> AsyncIterator[None]:
    try:
        async with trio.open_nursery() as nursery:
            for machine in machines:
                nursery.start_soon(machine.unplug)
        yield
    finally:
        for machine in machines:
            await machine.plug()


@asynccontextmanager
async def _cut(machine: Machine, *rules: str, pid: str = "") -> AsyncIterator[None]:
    await machine.cut(*rules, pid=pid)
    try:
        yield
    finally:
        await machine.mend(pid)


async def _play(name: str, *arguments: str) -> None:
    try:
        play = await trio.to_thread.run_sync(lambda: playbook(name, *arguments))
    except subprocess.TimeoutExpired as late:
        raise FaultError(f"{name}.yml: no end after {late.timeout:g} s") from None
    if play.code:
        raise FaultError(f"{name}.yml: {play.output[-3000:]}")
