"""Hands on a machine: they hit exactly one process, and let go of it whatever happens."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.faults.machine import Machine
from tests.faults.target import FaultError


class Scripted(Machine):
    """A machine that answers what it is told to.

    Args:
        pids: what Docker tells each time when it is asked for the processes of a service; the last one for ever.
        fails: a word of the scripts that fail.
    """

    def __init__(self, *pids: str, fails: str = "") -> None:
        super().__init__("lab-host1", "host1", "node1", "10.0.0.1")
        self._pids_told = list(pids)
        self._fails = fails
        self.signals: list[str] = []

    async def shell(self, script: str, *, check: bool = True) -> str:
        if "docker inspect" in script:
            return self._pids_told.pop(0) if len(self._pids_told) > 1 else self._pids_told[0]
        if script.startswith("kill"):
            self.signals.append(script.removesuffix(" || true"))
        if self._fails and self._fails in script:
            raise FaultError(f"{self._fails} failed")
        return "{}"


async def test_the_one_process_there_is_is_hit() -> None:
    machine = Scripted("17\n")
    assert await machine.pid("node1") == "17"
    await machine.kill_service("node1")
    assert machine.signals == ["kill -KILL 17"]


async def test_a_task_that_is_being_replaced_is_waited_for(autojump_clock: MockClock) -> None:
    assert await Scripted("", "0\n", "17\n18\n", "19\n").pid("node1") == "19"


async def test_an_interrupted_run_waits_as_well(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as interrupted:
        interrupted.cancel()
        assert await Scripted("", "19\n").pid("node1") == "19"


@pytest.mark.parametrize(("told", "count"), [("", 0), ("0\n", 0), ("17\n18\n", 2)])
async def test_a_fault_that_would_hit_nothing_certain_fails(autojump_clock: MockClock, told: str, count: int) -> None:
    machine = Scripted(told)
    with pytest.raises(FaultError, match=f"node1 has {count} processes on host1, not one"):
        await machine.kill_service("node1")
    assert machine.signals == []


async def test_who_only_asks_a_log_server_does_not_wait_for_it() -> None:
    assert await Scripted("").monitor("/healthz") is None
    assert await Scripted("17\n", fails="curl").monitor("/healthz") is None
    assert await Scripted("17\n").monitor("/healthz") == {}


@pytest.mark.parametrize("fails", ["mount", "kill -STOP"])
async def test_a_process_does_not_stand_still_when_its_disk_cannot_be_swapped(fails: str) -> None:
    machine = Scripted("17\n", fails=fails)
    with pytest.raises(FaultError, match=f"{fails} failed"):
        await machine.small_disk("node1")
    assert machine.signals == ["kill -STOP 17", "kill -KILL 17"]
