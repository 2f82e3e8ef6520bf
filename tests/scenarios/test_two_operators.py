"""Two operators at once, and one whose run is killed: the lock tells, and nothing is left half done for long."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio

from tests.scenarios import chatting
from tests.scenarios.lab import ROOT, Lab, playbook

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
REASON = "ana tries a log level"
FREE = "Nobody holds the lock."


@contextmanager
def first_operator(lab: Lab) -> Iterator[subprocess.Popen[str]]:
    """A rolling change that is under way; the block begins once it holds the lock."""
    given = json.dumps({"chat_env": {"LOG_LEVEL": "DEBUG"}, "reason": REASON})
    command = ["ansible-playbook", "playbooks/configure.yml", "-e", given]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            _wait_for_lock(lab, process)
            yield process
        finally:
            # With all its workers, as when a laptop goes dark.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for_lock(lab: Lab, process: subprocess.Popen[str], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while "chat.note=lock" not in lab.ssh("host1", "docker config ls --format '{{.Labels}}'"):
        assert process.poll() is None, "it ended before it had the lock"
        assert time.monotonic() < deadline
        time.sleep(0.5)


def _told(name: str, *arguments: str) -> str:
    play = playbook(name, *arguments)
    assert play.code == 0, play.output[-3000:]
    return " ".join(play.output.split())


def _assert_refused() -> None:
    """Somebody else is told who, since when and why, and changes nothing."""
    refused = playbook("restart", "-e", "node=node1")
    assert refused.code != 0
    assert refused.changed == 0
    told = " ".join(refused.output.split())
    today = time.strftime("%Y-%m-%dT", time.gmtime())
    assert re.search(rf"holds the lock since {today}\S+ for configure, because: {REASON}\.", told), told[-2000:]


async def test_the_second_is_refused_and_the_first_completes(lab: Lab) -> None:
    async with chatting.talk(lab, "scenario.operators") as going:
        with first_operator(lab) as first:
            await trio.to_thread.run_sync(_assert_refused)
            output, _ = await trio.to_thread.run_sync(lambda: first.communicate(timeout=400))
        assert first.returncode == 0, output[-3000:]
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    assert FREE in await trio.to_thread.run_sync(_told, "lock")
    going.check(await chatting.histories(lab, going.room))
    await trio.to_thread.run_sync(_told, "rollback")


async def test_a_killed_run_keeps_the_lock_until_it_is_released_and_is_run_again(lab: Lab) -> None:
    async with chatting.talk(lab, "scenario.killed-run") as going:
        with first_operator(lab) as first:
            await trio.sleep(15)
            assert first.poll() is None, "it was over before it could be killed"
        await trio.to_thread.run_sync(_assert_refused)
        reason = json.dumps({"state": "release", "reason": "that run was killed"})
        await trio.to_thread.run_sync(_told, "lock", "-e", reason)
        given = json.dumps({"chat_env": {"LOG_LEVEL": "DEBUG"}, "reason": "again"})
        await trio.to_thread.run_sync(_told, "configure", "-e", given)
        again = await trio.to_thread.run_sync(lambda: playbook("configure", "-e", given))
        assert (again.code, again.changed) == (0, 0), again.output[-3000:]
        await trio.to_thread.run_sync(_told, "rollback")
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    assert FREE in await trio.to_thread.run_sync(_told, "lock")
    going.check(await chatting.histories(lab, going.room))
