"""The benchmark works from end to end, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys

import psutil  # type: ignore[import-untyped]
import pytest

from tests.nats_cluster import die_with_parent

from .process import until

BENCH = [sys.executable, "-m", "bench", "--quick"]


@pytest.mark.timeout(180)
def test_a_quick_run_measures_the_node_beside_its_peers() -> None:
    done = subprocess.run(BENCH, capture_output=True, text=True, timeout=170, preexec_fn=die_with_parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in lines[0][1:5]] == ["work", "chat", "nats", "websockets"]
    fan_out = next(line for line in lines if line[1].startswith(" 1 room x 200"))
    assert all(float(cell.replace(",", "").strip(" *")) > 0 for cell in fan_out[2:5])


@pytest.mark.timeout(120)
def test_a_quick_run_measures_what_things_cost_as_they_grow() -> None:
    command = [sys.executable, "-m", "bench.growth", "--quick", "--only", "members history"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, preexec_fn=die_with_parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout
    assert all(re.search(r": (CPU of a message|memory) \d[\d,.]* (µs|MB)$", line) for line in lines), done.stdout


def test_what_it_started_does_not_outlive_it() -> None:
    with subprocess.Popen(BENCH, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent) as bench:
        try:
            process = psutil.Process(bench.pid)
            until(lambda: len(process.children(recursive=True)) >= 2, 30)
            started = process.children(recursive=True)
        finally:
            bench.kill()
    assert psutil.wait_procs(started, timeout=10)[1] == []


def test_a_wrong_row_is_named_with_those_there_are() -> None:
    done = subprocess.run([*BENCH, "--only", "nonsense"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "fanout200" in done.stderr
